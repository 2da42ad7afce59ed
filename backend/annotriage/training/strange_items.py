"""What strange items bring to a training: heads trained with and without those that the former reference calls outliers, measured.

People label outliers, and a model learns most from what it does not know; or it learns junk. Beside it stands leaving out as many others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.guarantee.paired import Paired, paired
from annotriage.progress import Progress, silent
from annotriage.training.course import run
from annotriage.training.learner import Head, is_right
from annotriage.training.plan import Plan

Array = NDArray[Any]

REPEATS = 3


@dataclass(frozen=True)
class StrangeItems:
    """Accuracies on held-out items. strange: so many of the items that were added are outliers; added: of so many.

    compared: heads trained without them (old) and with them (new) on the same held-out items. random: accuracy where as many others of the
    added items were left out, mean of three random choices. Both None where none of the added items is strange, or all are.
    """

    strange: int
    added: int
    compared: Paired | None = None
    random: float | None = None


def gain_of_strange(
    activations: Array,
    targets: Array,
    strange: Array,
    added: Array,
    held_out: tuple[Array, Array],
    plan: Plan,
    *,
    multiple: bool = False,
    progress: Progress = silent,
) -> StrangeItems:
    """Train heads on (N, d) activations with (N, m) targets, and measure; nothing where none of the added items is strange, or all are.

    strange, added: (N,) bool. held_out: (n, d) activations, (n, m) targets.
    """
    out = strange & added
    others = np.flatnonzero(added & ~strange)
    count = int(out.sum())
    if not count or not len(others):
        return StrangeItems(count, int(added.sum()))
    small = replace(plan, perplexity="off", drop_below=None, drop_above=None, whole=False)

    def right(kept: Array, seed: int) -> Array:
        head = Head(activations[kept], targets.shape[1], multiple=multiple, weight_decay=plan.weight_decay, seed=seed)
        run(head, targets[kept], replace(small, seed=seed), multiple=multiple)
        return np.asarray(is_right(head.logits(held_out[0]), held_out[1], multiple), dtype=bool)

    everyone = np.arange(len(targets))
    with progress("what strange items bring", 2 + REPEATS) as advance:
        with_all = right(everyone, plan.seed)
        advance(1)
        without = right(np.flatnonzero(~out), plan.seed)
        advance(1)
        at_random = []
        for repeat in range(REPEATS):
            drawn = np.random.default_rng([plan.seed, repeat]).permutation(others)[:count]
            at_random.append(float(right(np.setdiff1d(everyone, drawn), plan.seed).mean()))
            advance(1)
    return StrangeItems(count, int(added.sum()), paired(without, with_all), float(np.mean(at_random)))
