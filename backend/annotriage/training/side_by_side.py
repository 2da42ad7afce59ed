"""The old and the new model beside each other, on labelled items that neither has seen and nobody chose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.engine.collecting import Collected
from annotriage.engine.labels import FOREIGN, LabelSpace
from annotriage.engine.reference import Reference
from annotriage.guarantee.binomial import clopper_pearson
from annotriage.guarantee.conformal import one_per_group
from annotriage.guarantee.paired import Paired, paired
from annotriage.model import Outputs

Array = NDArray[Any]

NOT_WORSE = 0.01  # of the old classes' accuracy, that the interval must exclude to have been lost
SHOWN_BETTER = 0.05  # level of the one-sided test on fresh items


@dataclass(frozen=True)
class Standing:
    """How one model does on the items. low, high: 95% limits of its accuracy. automatic: share that its guarantee lets it label alone;
    automatic_wrong: wrong ones among them. strange: share of outliers.
    """

    right: int
    n: int
    low: float
    high: float
    automatic: int
    automatic_wrong: int
    strange: int

    @property
    def accuracy(self) -> float:
        """Share that is right."""
        return self.right / self.n


@dataclass(frozen=True)
class ClassStanding:
    """One true class: n items, how many each model has right, and whether the old model knew it."""

    name: str
    n: int
    old: int
    new: int
    known: bool


@dataclass(frozen=True)
class SideBySide:
    """What the comparison says. old: None where there was no model before. fresh: on items that no reference was calibrated on yet;
    old_classes: on items of classes that the old model knows. takes_over: "yes", "no" or "undecided", and why.
    """

    old: Standing | None
    new: Standing
    all_items: Paired | None
    fresh: Paired | None
    old_classes: Paired | None
    classes: tuple[ClassStanding, ...]
    takes_over: str


def side_by_side(
    old: tuple[Reference, Collected] | None, new: tuple[Reference, Collected], space: LabelSpace, looked_at: Array
) -> SideBySide | None:
    """Compare on the labelled held-out items, one of each group; None if there are none.

    Each model comes with its reference and what it made of the same held-out items, in the same order and with the labels of `space`,
    the new model's. looked_at: content hashes of items that an earlier reference was calibrated on.
    """
    one_each = one_per_group(new[1].ids, new[1].groups, new[0].settings.seed)
    labelled = np.flatnonzero(one_each & np.array([labels is not None for labels in new[1].labels], dtype=bool))
    if not len(labelled):
        return None
    truth = new[1].rows(labelled)
    now, now_right = _standing(*new, labelled, space)
    if old is None:
        classes = _classes(truth, now_right & False, now_right, (), space)
        return SideBySide(None, now, None, None, None, classes, "yes")
    before, before_right = _standing(*old, labelled, space)
    known = old[0].space.classes
    old_class = np.array(
        [labels is not None and labels != FOREIGN and all(index < len(known) for index in labels) for labels in truth.labels]
    )
    fresh = ~np.isin(truth.hashes, looked_at)
    kept, gained = paired(before_right[old_class], now_right[old_class]), paired(before_right[fresh], now_right[fresh])
    return SideBySide(
        before,
        now,
        paired(before_right, now_right),
        gained,
        kept,
        _classes(truth, before_right, now_right, known, space),
        _verdict(kept, gained),
    )


def _standing(reference: Reference, collected: Collected, rows: Array, space: LabelSpace) -> tuple[Standing, Array]:
    some = collected.rows(rows)
    judged = reference.judge(Outputs(some.logits, some.activations))
    right = np.array([mine == theirs for mine, theirs in zip(judged.labels, some.labels, strict=True)], dtype=bool)
    automatic = judged.route == "auto"
    low, high = clopper_pearson(int(right.sum()), len(right))
    standing = Standing(
        int(right.sum()),
        len(right),
        low,
        high,
        int(automatic.sum()),
        int((automatic & ~right).sum()),
        int((judged.route == "outlier").sum()),
    )
    return standing, right


def _classes(truth: Collected, before: Array, now: Array, known: tuple[str, ...], space: LabelSpace) -> tuple[ClassStanding, ...]:
    rows = []
    for place, name in enumerate(space.classes):
        of_class = np.array([labels is not None and place in labels for labels in truth.labels])
        rows.append(ClassStanding(name, int(of_class.sum()), int(before[of_class].sum()), int(now[of_class].sum()), name in known))
    return tuple(rows)


def _verdict(kept: Paired, gained: Paired) -> str:
    """Whether the new model should take over: not worse on the old classes, by the interval, and better on fresh items, by the test."""
    if kept.high < 0:
        return "no"
    if kept.low >= -NOT_WORSE and gained.p_better <= SHOWN_BETTER:
        return "yes"
    return "undecided"
