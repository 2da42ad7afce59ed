"""Two axes of strangeness -> one score: each axis is measured against held-out items, then the two are joined.

An axis has no scale of its own. What counts is how rare a value is among held-out items: its surprise is -ln(share of them that are
at least as strange), which is 3 for one in twenty. Beyond the last 5% there are too few to count, and it goes on in a straight line,
as steep as between the 80% and the 95% quantile, so that no two strangers tie.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

TAIL = 0.05  # share of the held-out items beyond which the line begins
FOOT = 4  # times that share: where its slope is taken from
EASY = -float(np.log(TAIL))  # surprise up to which the second axis hardly weighs
BLOCK = 64  # items that are compared with all held-out ones at a time


@dataclass(frozen=True)
class Tails:
    """What held-out items reach on each axis.

    values: (h, a) of h >= 1 items on a = 1 or 2 axes, in any order; larger is stranger. The first axis counts in full, the second
    where it is high: score = surprise_1 + ln(1 + exp(surprise_2 - 3)), 3 being the surprise of one in twenty.
    """

    values: Array

    def surprise(self, axes: Array) -> Array:
        """How rare N items' values are on each axis: (N, a) -> (N, a), 0 = as usual as can be, 3 = stranger than 95%."""
        return np.column_stack([axis.surprise(column) for axis, column in zip(self._axes, axes.T, strict=True)])

    def scores(self, axes: Array) -> Array:
        """The joined score of N items, (N, a) -> (N,), each at its exact place among `own`.

        The line is drawn through the same held-out items that the threshold is taken from. If a new item had no part in it, up to
        a quarter too many items like them would be flagged where they are few. So its own values count among theirs wherever it is
        compared: it is then one of h + 1 items that are treated alike, and as likely to take any place among them as they are.
        How many held-out items are at least as strange is counted so, and the score moved between those of `own` that say the same.
        """
        most, least = self._limits
        scores = np.empty(len(axes))
        for start in range(0, len(axes), BLOCK):
            block = slice(start, start + BLOCK)
            plain, theirs = self._together(axes[block])
            stranger = (theirs >= plain[:, None]).sum(axis=1)
            scores[block] = np.clip(plain, least[stranger], np.maximum(most[stranger], least[stranger]))
        return scores

    @cached_property
    def own(self) -> Array:
        """The joined scores of the held-out items, in their order: (h,)."""
        _, theirs = self._together(self.values.min(axis=0, keepdims=True))
        return np.asarray(theirs[0])

    @cached_property
    def _axes(self) -> tuple[_Axis, ...]:
        return tuple(_Axis(column, weigh) for column, weigh in zip(self.values.T, (_in_full, _where_high), strict=False))

    @cached_property
    def _limits(self) -> tuple[Array, Array]:
        """The largest and smallest score of an item than which 0, 1, ... h held-out ones are at least as strange: two arrays (h + 1,)."""
        falling = -np.sort(-self.own)
        return np.append(np.inf, falling), np.nextafter(np.append(falling, -np.inf), np.inf)

    def _together(self, axes: Array) -> tuple[Array, Array]:
        """Scores of N new items, (N,), and of the held-out ones when each of these counts among them: (N, h)."""
        parts = [axis.together(column) for axis, column in zip(self._axes, axes.T, strict=True)]
        return np.asarray(sum(items for items, _ in parts)), np.asarray(sum(theirs for _, theirs in parts))


class _Axis:
    """The held-out values of one axis, (h,), and what is made of a surprise before it is added up."""

    def __init__(self, held_out: Array, weigh: Callable[[Array], Array]) -> None:
        self.values, self.weigh = np.asarray(held_out, dtype=np.float64), weigh
        self.ordered = np.sort(self.values)
        self.size = len(self.values) + 1  # with the item that is measured
        edge = max(1, int(TAIL * self.size))  # places, the strangest being 1
        self.begins = min(edge + 1, self.size - 1)
        self.foot = max(self.begins + 1, min(FOOT * edge + 1, self.size))
        self.at_least = self._at_least(self.values)
        self.beyond = np.flatnonzero(self.values > self.ordered[-self.begins])  # those that may lie on the line
        self.counted = weigh(-np.log(self.at_least / self.size)), weigh(-np.log((self.at_least + 1) / self.size))

    def surprise(self, items: Array) -> Array:
        """(N,) -> (N,)."""
        begin, slope = self._line(items)
        return self._along(items, begin, slope, -np.log((1 + self._at_least(items)) / self.size))

    def together(self, items: Array) -> tuple[Array, Array]:
        """Weighed surprises of N items, (N,), and of the held-out ones with each of these among them: (N, h)."""
        begin, slope = (values[:, None] for values in self._line(items))
        theirs = np.where(items[:, None] >= self.values, self.counted[1], self.counted[0])
        far = self.values[self.beyond]
        theirs[:, self.beyond] = np.where(far > begin, self.weigh(self._along(far, begin, slope, 0.0)), theirs[:, self.beyond])
        return self.weigh(self.surprise(items)), theirs

    def _along(self, values: Array, begin: Array, slope: Array, counted: Array | float) -> Array:
        """The line where the values lie beyond its beginning, else what was counted."""
        return np.where(values > begin, -np.log(self.begins / self.size) + (values - begin) * slope, counted)

    def _line(self, items: Array) -> tuple[Array, Array]:
        """Where the line begins and its slope, with each of N items among the held-out ones: two arrays (N,)."""
        begin, foot = self._at(self.begins, items), self._at(self.foot, items)
        return begin, np.log(self.foot / self.begins) / np.maximum(begin - foot, 1e-9 * np.maximum(np.abs(begin), 1e-9))

    def _at(self, place: int, items: Array) -> Array:
        """The value at a place, 1 being the strangest, with each of N items among the held-out ones: (N,)."""
        least = self.ordered[-place] if place < self.size else -np.inf
        return np.clip(items, least, self.ordered[-place + 1] if place > 1 else np.inf)

    def _at_least(self, values: Array) -> Array:
        """How many held-out values are >= each: (N,)."""
        return self.size - 1 - np.searchsorted(self.ordered, values, side="left")


def _in_full(surprise: Array) -> Array:
    return surprise


def _where_high(surprise: Array) -> Array:
    return np.asarray(np.logaddexp(0.0, surprise - EASY))
