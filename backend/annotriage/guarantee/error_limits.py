"""What automatic labels have to keep: one limit, limits of classes and groups of classes, and what each kind of error costs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from annotriage.guarantee.answered import Answered

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class ClassLimit:
    """A limit of the labels of some classes together. name: as it was given; classes: their indices."""

    name: str
    classes: tuple[int, ...]
    max_error: float


@dataclass(frozen=True)
class ErrorLimits:
    """max_error: the largest share of wrong labels, or with `costs` the largest expected cost of a label.

    never: (m,) bool, classes that are never automatic. each_class: it holds for each predicted class by itself. class_limits: of classes
    that have one of their own, tested by themselves. costs: (m + 1, m), what a label costs by the true class (the last row: none of
    them) and the predicted one, 0 where both are the same; None where all errors cost the same.
    """

    max_error: float
    never: BoolArray
    each_class: bool = False
    class_limits: tuple[ClassLimit, ...] = ()
    costs: FloatArray | None = None

    @cached_property
    def parts(self) -> tuple[tuple[BoolArray, float | None], ...]:
        """What is tested by itself: (m,) the predicted classes of each part, and its limit, None for `max_error`."""
        own = [(np.isin(np.arange(self.never.size), part.classes), part.max_error) for part in self.class_limits]
        rest = ~np.any([classes for classes, _ in own], axis=0) if own else np.ones(self.never.size, dtype=bool)
        if self.each_class:
            return (*own, *((np.arange(rest.size) == place, None) for place in np.flatnonzero(rest)))
        return (*own, (rest, None)) if rest.any() or not own else tuple(own)

    @cached_property
    def dearest(self) -> float | None:
        """The most that one label can cost; None without costs."""
        return None if self.costs is None else float(self.costs[:, ~self.never].max(initial=0.0)) or 1.0

    @property
    def most_wrong(self) -> float:
        """The largest share of wrong labels that keeps the limits, as far as it follows from them; at most 0.5."""
        able = [self.max_error if limit is None else limit for classes, limit in self.parts if np.any(classes & ~self.never)]
        largest = max(able, default=self.max_error)
        if self.costs is None:
            return largest
        cheapest = float(self.costs[:, ~self.never][_wrong(self.never.size)[:, ~self.never]].min(initial=1.0))
        return min(0.5, largest / cheapest) if cheapest else 0.5

    def cost(self, answered: Answered) -> FloatArray:
        """What the label of each item would cost: (n,)."""
        if self.costs is None:
            return np.asarray(~answered.correct, dtype=np.float64)
        return np.where(answered.correct, 0.0, self.costs[answered.true, answered.predicted])

    def foreseen(self, answered: Answered) -> FloatArray:
        """What the model itself expects the label of each item to cost, whatever the truth is: (n,)."""
        if self.costs is None:
            return answered.miss
        wrong = _wrong(self.never.size)
        usual = (self.costs * wrong).sum(axis=0) / wrong.sum(axis=0)
        return np.asarray(answered.miss * usual[answered.predicted])


def _wrong(classes: int) -> BoolArray:
    """Where a label is wrong: (m + 1, m)."""
    return ~np.eye(classes + 1, classes, dtype=bool)
