"""How much each sample matters for training, beside its perplexity: EL2N, GraNd and forgetting events.

Low scores can be pruned; the highest are often mislabelled and belong into a label audit. Sources: Paul et al., Deep Learning on a Data
Diet, arXiv 2107.07075 (EL2N, GraNd, early in training and over several initialisations); Toneva et al., arXiv 1812.05159 (forgetting).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.progress import Progress, silent
from annotriage.training.course import run
from annotriage.training.learner import Head, probabilities
from annotriage.training.plan import Plan

Array = NDArray[Any]

INITIALISATIONS = 10
EARLY = 2  # epochs


@dataclass(frozen=True)
class Importance:
    """Scores of N samples, larger = more is learned from it. el2n: E||p - y||, grand: E||gradient of the loss||, both (N,)."""

    el2n: Array
    grand: Array


def early_scores(activations: Array, targets: Array, plan: Plan, *, multiple: bool = False, progress: Progress = silent) -> Importance:
    """EL2N and GraNd early in the training of a head, over 10 initialisations: (N, d) activations, (N, m) targets.

    With a frozen head the gradient of a sample is (p - y) times its activation a and 1, so GraNd = EL2N * sqrt(||a||^2 + 1) for each
    initialisation; a is standardised, as the head sees it.
    """
    early = replace(plan, epochs=EARLY, perplexity="off", drop_below=None, drop_above=None, smoothing=0.0, mixup=0.0, whole=False)
    everyone = np.arange(len(targets))
    total = np.zeros(len(targets))
    lengths = np.zeros(len(targets))
    with progress("scores of the samples", INITIALISATIONS) as advance:
        for start in range(INITIALISATIONS):
            seed = plan.seed + start
            head = Head(activations, targets.shape[1], multiple=multiple, weight_decay=plan.weight_decay, seed=seed)
            run(head, targets, replace(early, seed=seed), multiple=multiple)
            seen = head.look(everyone)
            total += np.linalg.norm(probabilities(seen.logits, multiple) - targets, axis=1)
            lengths = np.sqrt(np.square(seen.activations).sum(axis=1) + 1)
            advance(1)
    el2n = total / INITIALISATIONS
    return Importance(el2n, el2n * lengths)


def forgetting(right: Array) -> Array:
    """How often each sample was right in one epoch and wrong when it was seen next: (E, N) 1, 0 or -1 (not seen) -> (N,) float.

    Infinite for those that were never right.
    """
    events = np.zeros(right.shape[1])
    before: Array = np.full(right.shape[1], -1)
    for now in right:
        events += (before == 1) & (now == 0)
        before = np.where(now >= 0, now, before)
    events[~(right == 1).any(axis=0)] = np.inf
    return events
