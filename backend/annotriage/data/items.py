"""What a dataset is: a named stream of items, each with its media and what is known about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from annotriage.states import Failure
from annotriage.text import name_of, storable

Media = Path | bytes | NDArray[Any]


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an item cannot be judged. text: a sentence for people: which item, what is wrong and what to do."""

    failure: Failure
    text: str

    def __post_init__(self) -> None:
        """Clean what was given as text."""
        object.__setattr__(self, "text", storable(self.text))


@dataclass(frozen=True, slots=True)
class Item:
    """One data candidate.

    media: a file, its bytes, or an array ((H, W[, C]) uint8 image, or a row of numbers); None if `problem` says why not.
    labels: what people called it, by class name, or by class index (an int); several for multi-choice. None if unlabelled;
        () if they looked and none of the classes applies.
    group: items of one patient, series or video share a group; None if the item stands alone.
    path: where it comes from, for people's eyes. record: the labeling tool's own task, kept for its predictions.
    spot_check: its task says that it was drawn at random to be answered blind: a guarantee rests on it, and no model learns it.
    Text is made storable (`annotriage.text`), and class names comparable, whoever makes the item.
    """

    id: str
    media: Media | None
    labels: tuple[str | int, ...] | None = None
    group: str | None = None
    path: str = ""
    problem: Problem | None = None
    record: Mapping[str, Any] | None = None
    spot_check: bool = False

    def __post_init__(self) -> None:
        """Clean what was given as text."""
        for key in ("id", "group", "path"):
            if isinstance(value := getattr(self, key), str):
                object.__setattr__(self, key, storable(value))
        if self.labels is not None:
            labels = tuple(name_of(label) if isinstance(label, str) else label for label in self.labels)
            object.__setattr__(self, "labels", labels)


@dataclass(frozen=True)
class Dataset:
    """A named set of items that can be read again from the start; `count` is None where counting would mean reading.

    notes: sentences for people about the reading: what was left out, what was detected and not stated. part: reads the items from one place
    up to another, as many workers do; None where all before would have to be fetched, too.
    """

    name: str
    count: int | None
    read: Callable[[], Iterator[Item]]
    notes: tuple[str, ...] = ()
    part: Callable[[int, int], Iterator[Item]] | None = None

    def __iter__(self) -> Iterator[Item]:
        return self.read()

    def renamed(self, names: Mapping[str, str]) -> Dataset:
        """The same items, with other names for some labels. names: what the data say -> what is meant."""
        if not names:
            return self
        part = self.part
        return replace(
            self,
            read=lambda: (_renamed(item, names) for item in self.read()),
            part=None if part is None else lambda start, stop: (_renamed(item, names) for item in part(start, stop)),
        )


def _renamed(item: Item, names: Mapping[str, str]) -> Item:
    if item.labels is None or not any(label in names for label in item.labels):
        return item
    return replace(item, labels=tuple(names.get(label, label) if isinstance(label, str) else label for label in item.labels))
