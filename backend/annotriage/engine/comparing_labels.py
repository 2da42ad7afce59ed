"""Where incoming data carry labels: whether the automatic ones are right, by class, and how many strangers were seen as such."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from annotriage.data import Item
from annotriage.engine.labels import FOREIGN, LabelSpace
from annotriage.engine.verdict import Verdict
from annotriage.guarantee.binomial import clopper_pearson
from annotriage.states import Route


@dataclass(frozen=True, slots=True)
class ClassErrors:
    """Automatic labels of one class that could be compared, and how many of them are wrong."""

    name: str
    n: int
    wrong: int


@dataclass(frozen=True, slots=True)
class LabelComparison:
    """Verdicts beside the labels that the data carry.

    labelled: items with a label. auto, wrong: automatic ones of them; low, high: 95% limits of the share that is wrong, None without
    any. held: whether at most `max_error` of them are wrong; None where there are more, but so few that chance may have made them.
    alike: that is all that is guaranteed, so that no class has a limit by itself and no error costs more than another.
    foreign: items whose label is none of the model's classes; foreign_auto: of them automatic, foreign_seen: called outliers.
    classes: of the automatic labels, those most often wrong first.
    """

    labelled: int
    auto: int
    wrong: int
    low: float | None
    high: float | None
    max_error: float
    held: bool | None
    foreign: int
    foreign_auto: int
    foreign_seen: int
    classes: tuple[ClassErrors, ...]
    alike: bool = True


class LabelTally:
    """Counts verdicts that are right and wrong while items pass. max_error, alike: as in `LabelComparison`."""

    def __init__(self, space: LabelSpace, max_error: float, *, alike: bool = True) -> None:
        self._space, self._max_error, self._alike = space, max_error, alike
        self._counts: Counter[str] = Counter()
        self._automatic: Counter[str] = Counter()
        self._wrong: Counter[str] = Counter()

    def add(self, item: Item, verdict: Verdict) -> None:
        """Count an item; one without a label, or without a score, counts for nothing."""
        if item.labels is None or verdict.route == Route.FAILED:
            return
        label = self._space.known_or_foreign(item)
        if label is None:
            return
        self._counts["labelled"] += 1
        foreign = label == FOREIGN
        if foreign:
            self._counts["foreign"] += 1
            self._counts["foreign_seen"] += verdict.route == Route.OUTLIER
            self._counts["foreign_auto"] += verdict.route == Route.AUTO
        if verdict.route == Route.AUTO:
            name = " + ".join(verdict.labels)
            self._automatic[name] += 1
            self._wrong[name] += foreign or verdict.labels != self._space.texts(label)

    def counters(self) -> dict[str, dict[str, int]]:
        """What was counted, as plain values that `absorb` takes."""
        return {"counts": dict(self._counts), "automatic": dict(self._automatic), "wrong": dict(self._wrong)}

    def absorb(self, counters: Mapping[str, Mapping[str, int]]) -> None:
        """Count what another tally, of the same space and limits, has counted."""
        for own, name in ((self._counts, "counts"), (self._automatic, "automatic"), (self._wrong, "wrong")):
            own.update(counters[name])

    def comparison(self) -> LabelComparison | None:
        """What came of it; None if no item carried a label."""
        if not self._counts["labelled"]:
            return None
        auto, wrong = self._automatic.total(), self._wrong.total()
        low, high = clopper_pearson(wrong, auto) if auto else (None, None)
        held = True if not auto or wrong / auto <= self._max_error else False if low is not None and low > self._max_error else None
        classes = [ClassErrors(name, n, self._wrong[name]) for name, n in self._automatic.items()]
        return LabelComparison(
            labelled=self._counts["labelled"],
            auto=auto,
            wrong=wrong,
            low=low,
            high=high,
            max_error=self._max_error,
            held=held,
            foreign=self._counts["foreign"],
            foreign_auto=self._counts["foreign_auto"],
            foreign_seen=self._counts["foreign_seen"],
            classes=tuple(sorted(classes, key=lambda row: (-row.wrong / row.n, -row.n, row.name))),
            alike=self._alike,
        )
