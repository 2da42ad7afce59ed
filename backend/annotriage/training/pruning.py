"""Which part of the training set can go, and what that costs: measured, beside leaving out as many at random."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.progress import Progress, silent
from annotriage.training.course import run
from annotriage.training.learner import Head, is_right
from annotriage.training.plan import Plan

Array = NDArray[Any]

SHARES = (0.1, 0.25, 0.5, 0.75)
REPEATS = 3
FREE = 0.005  # of the accuracy, that a pruning may cost


@dataclass(frozen=True)
class Pruned:
    """A share of the samples left out: accuracies on held-out items, by what was left out.

    el2n: the lowest EL2N scores. proxy: a coreset chosen by a small proxy model, here the head at its end: those whose answer is
    surest go (Coleman et al., Selection via Proxy, arXiv 1906.11829). random: mean of three random choices, with the smallest and largest.
    """

    share: float
    el2n: float
    proxy: float
    random: float
    random_low: float
    random_high: float


@dataclass(frozen=True)
class Proposal:
    """What can go. whole: accuracy with all samples. share: the largest part that costs at most half a point; 0 if none does."""

    whole: float
    rows: tuple[Pruned, ...]
    share: float


def pruning(
    activations: Array,
    targets: Array,
    el2n: Array,
    held_out: tuple[Array, Array],
    plan: Plan,
    *,
    multiple: bool = False,
    progress: Progress = silent,
) -> Proposal:
    """Train heads on what is left of (N, d) activations with (N, m) targets, and measure. held_out: (n, d) activations, (n, m) targets."""
    small = replace(plan, perplexity="off", drop_below=None, drop_above=None, whole=False)

    def accuracy(kept: Array, seed: int) -> float:
        head = Head(activations[kept], targets.shape[1], multiple=multiple, weight_decay=plan.weight_decay, seed=seed)
        run(head, targets[kept], replace(small, seed=seed), multiple=multiple)
        return float(is_right(head.logits(held_out[0]), held_out[1], multiple).mean())

    everyone = np.arange(len(targets))
    proxy = Head(activations, targets.shape[1], multiple=multiple, weight_decay=plan.weight_decay, seed=plan.seed)
    run(proxy, targets, small, multiple=multiple)
    whole = float(is_right(proxy.logits(held_out[0]), held_out[1], multiple).mean())
    ordered = np.sort(proxy.look(everyone).logits, axis=1)
    margin = np.abs(ordered).min(axis=1) if multiple else ordered[:, -1] - ordered[:, -2]
    rows = []
    with progress("what can be left out", len(SHARES)) as advance:
        for share in SHARES:
            out = round(share * len(targets))
            drawn = [np.random.default_rng([plan.seed, repeat]).permutation(everyone)[out:] for repeat in range(REPEATS)]
            at_random = [accuracy(kept, plan.seed + repeat) for repeat, kept in enumerate(drawn)]
            rows.append(
                Pruned(
                    share,
                    accuracy(np.argsort(el2n, kind="stable")[out:], plan.seed),
                    accuracy(np.argsort(-margin, kind="stable")[out:], plan.seed),
                    float(np.mean(at_random)),
                    min(at_random),
                    max(at_random),
                )
            )
            advance(1)
    free = [row.share for row in rows if row.el2n >= whole - FREE]
    return Proposal(whole, tuple(rows), max(free, default=0.0))
