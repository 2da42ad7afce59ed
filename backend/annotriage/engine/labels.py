"""Labels as people and the model give them -> class indices, and the label sets that form clusters."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.data import Item
from annotriage.errors import DataError

LabelSet = tuple[int, ...]  # class indices, ascending; one for single choice
FOREIGN: LabelSet = (-1,)  # people's answer is none that the model can give: whatever it says is wrong

CLOSE = 0.75  # how alike two names are of which one may be meant for the other
FEWEST_OF_A_SET = 20  # multi-choice: rarer label sets share one cluster
OTHER_SETS = "other combinations"
NOTHING = "none of them"


@dataclass(frozen=True)
class LabelSpace:
    """The answers that a model can give.

    classes: (m,) names. multiple: several classes at once. sets: the label sets with a cluster of their own, by index:
    every class for single choice; for multiple choice the frequent ones, all others sharing the index after the last.
    """

    classes: tuple[str, ...]
    multiple: bool
    sets: tuple[LabelSet, ...]

    @classmethod
    def of(cls, classes: Sequence[str], multiple: bool, training: Sequence[LabelSet] = ()) -> LabelSpace:
        """The label space of a model; for multiple choice the sets are those with at least 20 of the training items."""
        if not multiple:
            return cls(tuple(classes), False, tuple((index,) for index in range(len(classes))))
        frequent = sorted(labels for labels, count in Counter(training).items() if count >= FEWEST_OF_A_SET)
        return cls(tuple(classes), True, tuple(frequent))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """A name for every index that `index` gives."""
        names = tuple(" + ".join(self.texts(labels)) or NOTHING for labels in self.sets)
        return (*names, OTHER_SETS) if self.multiple else names

    def names_with(self, classes: Sequence[str]) -> set[str]:
        """The names of all label sets that hold one of the classes; the rare sets that share a cluster may all hold it."""
        wanted = {place for place, name in enumerate(self.classes) if name in classes}
        names = {name for name, labels in zip(self.names, self.sets, strict=False) if wanted & set(labels)}
        return names | {OTHER_SETS} if wanted and self.multiple else names

    def index(self, labels: LabelSet) -> int:
        """The index of a label set, that of the rest if it has none of its own."""
        return self._places.get(labels, len(self.sets))

    def indices(self, labels: Sequence[LabelSet]) -> NDArray[np.intp]:
        """The index of each label set: (N,)."""
        places, rest = self._places, len(self.sets)
        return np.array([places.get(label_set, rest) for label_set in labels], dtype=np.intp)

    def texts(self, labels: LabelSet) -> tuple[str, ...]:
        """The class names of a label set."""
        return tuple(self.classes[index] for index in labels)

    def predicted(self, logits: NDArray[Any]) -> list[LabelSet]:
        """What the model says of N items: the largest logit, or all positive ones for multiple choice."""
        if not self.multiple:
            return [(index,) for index in logits.argmax(axis=1).tolist()]
        return [tuple(np.flatnonzero(row).tolist()) for row in logits > 0]

    def known(self, item: Item) -> LabelSet | None:
        """The label set that people gave an item, None if it has none.

        Raises DataError naming the item if the model does not know a label, or has several for single choice.
        """
        if item.labels is None:
            return None
        where = item.path or f"item {item.id}"
        if not self.multiple and len(item.labels) != 1:
            raise DataError(
                f"{where}: has {len(item.labels)} labels, but the model knows one per item; leave one. (A model"
                ' that gives several classes at once says so in its spec: choice = "multiple")'
            )
        if unknown := self.unknown(item):
            classes = ", ".join(self.classes)
            raise DataError(f"{where}: label {unknown[0]!r} is none of the model's classes ({classes}){self._hint(unknown[0])}")
        return tuple(sorted({label if isinstance(label, int) else self._class_places[label] for label in item.labels}))

    def unknown(self, item: Item) -> list[str | int]:
        """The labels of an item that the model does not know."""
        return [label for label in item.labels or () if not self._is_known(label)]

    def meant(self, label: str) -> str | None:
        """The class that a name which the model does not know is likely to mean: the same but for case and separators, or nearly so."""
        plain = {_plain(name): name for name in reversed(self.classes)}
        close = difflib.get_close_matches(_plain(label), plain, n=1, cutoff=CLOSE)
        return plain[close[0]] if close else None

    def known_or_foreign(self, item: Item) -> LabelSet | None:
        """As `known`, for answers of people who were shown more than the model knows: FOREIGN where the model cannot be right."""
        if item.labels is not None and (self.unknown(item) or not (self.multiple or len(item.labels) == 1)):
            return FOREIGN
        return self.known(item)

    def _hint(self, label: str | int) -> str:
        meant = self.meant(label) if isinstance(label, str) else None
        if meant is None:
            return ""
        alias, name = json.dumps(label, ensure_ascii=False), json.dumps(meant, ensure_ascii=False)
        return f"; did you mean {meant!r}? The model spec can say so: [model] aliases = {{ {alias} = {name} }}"

    def _is_known(self, label: str | int) -> bool:
        return 0 <= label < len(self.classes) if isinstance(label, int) else label in self._class_places

    @cached_property
    def _places(self) -> dict[LabelSet, int]:
        return {labels: place for place, labels in enumerate(self.sets)}

    @cached_property
    def _class_places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.classes)}


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum()) or name
