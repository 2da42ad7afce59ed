"""Two axes of strangeness -> one score: each axis is measured against held-out items, then the two are joined.

An axis has no scale of its own. What counts is how rare a value is among held-out items: its surprise is -ln(share of them that are
at least as strange), which is 3 for one in twenty. Beyond the last 5% there are too few to count, and it goes on in a straight line,
as steep as between the 80% and the 95% quantile, so that no two strangers tie.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Line = tuple[Array, Array]  # of each of N items: where it begins and how steep it is

TAIL = 0.05  # share of the held-out items beyond which the line begins
FOOT = 4  # times that share: where its slope is taken from
EASY = -float(np.log(TAIL))  # surprise up to which the second axis hardly weighs
BLOCK = 256  # items that are compared with held-out ones at a time


@dataclass(frozen=True)
class Tails:
    """What held-out items reach on each axis.

    values: (h, a) of h >= 1 items on a = 1 or 2 axes, in any order; larger is stranger. The first axis counts in full, the second
    where it is high: score = surprise_1 + ln(1 + exp(surprise_2 - 3)), 3 being the surprise of one in twenty.
    """

    values: Array

    def surprise(self, axes: Array) -> Array:
        """How rare N items' values are on each axis: (N, a) -> (N, a), 0 = as usual as can be, 3 = stranger than 95%."""
        return np.column_stack([axis.surprise(column, axis.line(column)) for axis, column in zip(self._axes, axes.T, strict=True)])

    def scores(self, axes: Array) -> Array:
        """The joined score of N items, (N, a) -> (N,), each at its exact place among `own`.

        The line is drawn through the same held-out items that the threshold is taken from. If a new item had no part in it, up to
        a quarter too many items like them would be flagged where they are few. So its own values count among theirs wherever it is
        compared: it is then one of h + 1 items that are treated alike, and as likely to take any place among them as they are.
        How many held-out items are at least as strange is counted so, and the score moved between those of `own` that say the same.
        """
        return self.judge(axes)[1]

    def judge(self, axes: Array) -> tuple[Array, Array]:
        """What `surprise` and `scores` say of N items, (N, a) -> (N, a), (N,): the one is on the way to the other."""
        most, least = self._limits
        surprise, scores = np.empty(axes.shape), np.empty(len(axes))
        for start in range(0, len(axes), BLOCK):
            rows = slice(start, start + BLOCK)
            columns = axes[rows].T
            lines = [axis.line(column) for axis, column in zip(self._axes, columns, strict=True)]
            for place, (axis, column, line) in enumerate(zip(self._axes, columns, lines, strict=True)):
                surprise[rows, place] = axis.surprise(column, line)
            plain = np.asarray(sum(axis.weigh(of) for axis, of in zip(self._axes, surprise[rows].T, strict=True)))
            stranger = self._stranger(columns, lines, plain)
            scores[rows] = np.minimum(np.maximum(plain, least[stranger]), np.maximum(most[stranger], least[stranger]))
        return surprise, scores

    @cached_property
    def own(self) -> Array:
        """The joined scores of the held-out items, in their order: (h,)."""
        columns = self.values.min(axis=0, keepdims=True).T
        lines = [axis.line(column) for axis, column in zip(self._axes, columns, strict=True)]
        return np.asarray(self._theirs(columns, lines, np.arange(len(self.values)))[0])

    @cached_property
    def _axes(self) -> tuple[_Axis, ...]:
        return tuple(_Axis(column, weigh) for column, weigh in zip(self.values.T, (_in_full, _where_high), strict=False))

    @cached_property
    def _limits(self) -> tuple[Array, Array]:
        """The largest and smallest score of an item than which 0, 1, ... h held-out ones are at least as strange: two arrays (h + 1,)."""
        falling = -np.sort(-self.own)
        return np.append(np.inf, falling), np.nextafter(np.append(falling, -np.inf), np.inf)

    def _stranger(self, columns: Array, lines: Sequence[Line], plain: Array) -> Array:
        """How many held-out items score at least as high as each of N items, plain: (N,), if it counts among them: (N,).

        columns: (a, N), the items' values on each axis, with the axis's line for them.

        Few of them need be looked at: those that may lie on the line, and those near whose score an item's own falls. Of all others a new
        item moves the score by one place at most, and least and most of it were put in order before.
        """
        least, highest, order = self._ranges
        first, last = np.searchsorted(highest, plain, side="left"), np.searchsorted(least, plain, side="left")
        places = first[:, None] + np.arange(max(0, int((last - first).max(initial=0))))
        near = self._theirs(columns, lines, order[np.minimum(places, len(order) - 1)]) if places.size else np.empty(places.shape)
        beyond = self._theirs(columns, lines, self._beyond)
        counted = ((near >= plain[:, None]) & (places < last[:, None])).sum(axis=1) + (beyond >= plain[:, None]).sum(axis=1)
        return np.asarray(counted + len(order) - last)

    def _theirs(self, columns: Array, lines: Sequence[Line], which: Array) -> Array:
        """Scores of held-out items when each of N new ones counts among them. which: (k,) or (N, k) of them -> (N, k)."""
        return np.asarray(sum(axis.theirs(column, line, which) for axis, column, line in zip(self._axes, columns, lines, strict=True)))

    @cached_property
    def _beyond(self) -> Array:
        """The held-out items that may lie on the line of an axis."""
        return np.flatnonzero(np.any([axis.may_lie_on_line for axis in self._axes], axis=0))

    @cached_property
    def _ranges(self) -> tuple[Array, Array, Array]:
        """Of all others the least score, ascending, the highest of any up to each, and which they are: three arrays (h - b,)."""
        others = np.flatnonzero(~np.any([axis.may_lie_on_line for axis in self._axes], axis=0))
        least, most = (np.asarray(sum(axis.counted[more][others] for axis in self._axes)) for more in (1, 0))
        order = np.argsort(least, kind="stable")
        return least[order], np.maximum.accumulate(most[order]), others[order]


class _Axis:
    """The held-out values of one axis, (h,), and what is made of a surprise before it is added up."""

    def __init__(self, held_out: Array, weigh: Callable[[Array], Array]) -> None:
        self.values, self.weigh = np.asarray(held_out, dtype=np.float64), weigh
        self.ordered = np.sort(self.values)
        self.size = len(self.values) + 1  # with the item that is measured
        edge = max(1, int(TAIL * self.size))  # places, the strangest being 1
        self.begins = min(edge + 1, self.size - 1)
        self.foot = max(self.begins + 1, min(FOOT * edge + 1, self.size))
        self._from, self._fall = -np.log(self.begins / self.size), np.log(self.foot / self.begins)
        self.at_least = self._at_least(self.values)
        self.may_lie_on_line = self.values > self.ordered[-self.begins]
        self.counted = weigh(-np.log(self.at_least / self.size)), weigh(-np.log((self.at_least + 1) / self.size))

    def line(self, items: Array) -> Line:
        """Where the line begins and its slope, with each of N items among the held-out ones: two arrays (N,)."""
        begin, foot = self._at(self.begins, items), self._at(self.foot, items)
        return begin, self._fall / np.maximum(begin - foot, 1e-9 * np.maximum(np.abs(begin), 1e-9))

    def surprise(self, items: Array, line: Line) -> Array:
        """(N,) -> (N,). line: that of the items, here as below."""
        return self._along(items, *line, -np.log((1 + self._at_least(items)) / self.size))

    def theirs(self, items: Array, line: Line, which: Array) -> Array:
        """Weighed surprises of held-out items with each of N items among them. which: (k,) or (N, k) of them -> (N, k)."""
        values = self.values[which]
        theirs = np.where(items[:, None] >= values, self.counted[1][which], self.counted[0][which])
        if which.ndim == 1 and len(beyond := np.flatnonzero(self.may_lie_on_line[which])):
            # most items have one of three lines: it moves only with an item that lies at one of its ends
            lines, of = np.unique(line[0] + 1j * line[1], return_inverse=True)
            begin, slope = lines.real[:, None], lines.imag[:, None]
            far = values[beyond]
            along = self.weigh(self._along(far, begin, slope, 0.0))
            theirs[:, beyond] = np.where((far > begin)[of], along[of], theirs[:, beyond])
        return theirs

    def _along(self, values: Array, begin: Array, slope: Array, counted: Array | float) -> Array:
        """The line where the values lie beyond its beginning, else what was counted."""
        return np.where(values > begin, self._from + (values - begin) * slope, counted)

    def _at(self, place: int, items: Array) -> Array:
        """The value at a place, 1 being the strangest, with each of N items among the held-out ones: (N,)."""
        least = self.ordered[-place] if place < self.size else -np.inf
        return np.asarray(np.minimum(np.maximum(items, least), self.ordered[-place + 1] if place > 1 else np.inf))

    def _at_least(self, values: Array) -> Array:
        """How many held-out values are >= each: (N,)."""
        return self.size - 1 - np.searchsorted(self.ordered, values, side="left")


def _in_full(surprise: Array) -> Array:
    return surprise


def _where_high(surprise: Array) -> Array:
    return np.asarray(np.logaddexp(0.0, surprise - EASY))
