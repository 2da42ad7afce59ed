"""What may be trained on: the training set and what people reviewed, without anything that a guarantee rests or will rest on.

Random items stay apart: spot checks (sample and audit), gold tasks, held-out items, their groups and their near twins are never trained
on, for a comparison or a guarantee on items that a model has seen is worth nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.advice.numbers import count
from annotriage.data import Dataset, Item
from annotriage.engine.collecting import Collected, collect
from annotriage.engine.duplicates import have_near_twins
from annotriage.engine.labels import FOREIGN, LabelSet, LabelSpace
from annotriage.errors import DataError, TrainingError
from annotriage.latent.compression import l2_normalise
from annotriage.model import Model, Outputs
from annotriage.progress import Progress
from annotriage.settings import Settings

Array = NDArray[Any]
NearTwins = Callable[[Collected, int, Collected], Array]  # all items, how many of the first are the training set, those kept out

FEWEST_OF_A_CLASS = 10  # labelled items that make a new class
NO_CLASS = "none of these"  # the choice for what fits nowhere, however it is spelt: it is never learned as a class


@dataclass(frozen=True)
class Sources:
    """The datasets of a training run. train, reviewed, augmented are trained on; held_out and kept_out never are."""

    train: Dataset
    reviewed: Dataset | None = None
    augmented: Dataset | None = None
    held_out: Dataset | None = None
    kept_out: Dataset | None = None

    @property
    def learned_from(self) -> tuple[Dataset, ...]:
        """Those that are trained on."""
        return tuple(dataset for dataset in (self.train, self.reviewed, self.augmented) if dataset is not None)


@dataclass(frozen=True)
class Examples:
    """What is trained on. collected: what the base model makes of it. targets: (N, m) 0/1.
    added: (N,) bool, those that are not of the training set. items: the items themselves, where they are read again, to train a whole
    network. left_out: how many were, by reason."""

    collected: Collected
    targets: Array
    added: Array
    items: Sequence[Item] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out, in words."""
        return tuple(f"Not trained on: {count(number, 'item')}, {reason}." for reason, number in self.left_out.items() if number)


def classes_to_learn(sources: Sources, known: Sequence[str], wanted: Sequence[str] | None) -> tuple[tuple[str, ...], list[str]]:
    """The classes of the new model, the known ones first and in their order, and notes on labels that become none.

    wanted: further classes to learn; None = every name with at least 10 labelled items. Raises TrainingError if there are no labels,
    fewer than two classes, or no item of a class that is wanted.
    """
    counts: Counter[str] = Counter()
    labelled = 0
    for dataset in sources.learned_from:
        for item in dataset:
            if item.labels is not None and not item.spot_check:
                labelled += 1
                counts.update(label for label in item.labels if isinstance(label, str) and not _is_no_class(label))
                if not known and any(not isinstance(label, str) for label in item.labels):
                    raise DataError(
                        f"{item.path or item.id}: its label is a number, and there are no class names yet; give names, or name the classes"
                        " in the encoder's spec"
                    )
    if not labelled:
        raise TrainingError(f"{sources.train.name}: nothing is labelled, so there is nothing to learn; label some items first")
    if missing := [name for name in wanted or () if not counts[name] and name not in known]:
        raise TrainingError(f"--new-class {missing[0]}: no item has this label; the labels are {', '.join(sorted(counts)[:12])}")
    unknown = {name: number for name, number in sorted(counts.items()) if name not in known}
    new = [name for name, number in unknown.items() if (name in wanted if wanted is not None else number >= FEWEST_OF_A_CLASS)]
    if len(known) + len(new) < 2:
        found = ", ".join(f"{number} of {name}" for name, number in unknown.items()) or "none"
        raise TrainingError(
            f"only one class is to be learned ({', '.join((*known, *new)) or 'none'}): a model tells at least two apart. A new class needs"
            f" {FEWEST_OF_A_CLASS} labelled items; there are {found}"
        )
    left = [f"{name} ({number})" for name, number in unknown.items() if name not in new]
    notes = [f"New classes: {', '.join(f'{name} ({unknown[name]} labelled items)' for name in new)}."] if new and known else []
    if left:
        how = "they were not asked for" if wanted is not None else f"a new class needs {FEWEST_OF_A_CLASS} items, or --new-class"
        notes.append(f"Labels that the model does not know and did not learn ({how}): {', '.join(left)}.")
    return (*known, *new), notes


def _is_no_class(label: str) -> bool:
    return label.casefold().replace("-", " ").replace("_", " ") == NO_CLASS


def gather(
    model: Model,
    sources: Sources,
    space: LabelSpace,
    held_out: Collected | None,
    looked_at: Array,
    settings: Settings,
    progress: Progress,
    *,
    keep_items: bool = False,
) -> Examples:
    """Run what may be trained on through the model.

    held_out: never trained on. looked_at: content hashes of earlier held-out items. keep_items: give the items themselves, too.
    Raises TrainingError if nothing is left, or if one class alone is.
    """
    left: Counter[str] = Counter()
    parts, items = [], []

    def label_of(item: Item) -> LabelSet | None:
        if keep_items:
            items.append(item)
        return space.known_or_foreign(item)

    for dataset, what in zip(sources.learned_from, ("training items", "reviewed items", "augmented items"), strict=False):
        parts.append(collect(model, _without_spot_checks(dataset, left), space, settings, progress, what, label_of))
    kept_out = [] if held_out is None else [held_out]
    if sources.kept_out is not None:
        kept_out.append(collect(model, sources.kept_out, space, settings, progress, "items to keep out", lambda item: None))
    everything = parts[0] if len(parts) == 1 else joined(parts, sources.train.name)
    usable = _usable(everything, kept_out, looked_at, len(parts[0].ids), left, partial(_near_twins, model, settings))
    rows = np.flatnonzero(usable)
    if not len(rows):
        raise TrainingError(f"{sources.train.name}: nothing is left to train on ({'; '.join(f'{n} {why}' for why, n in left.items())})")
    collected = everything.rows(rows)
    targets = np.zeros((len(rows), len(space.classes)), dtype=np.float32)
    for row, labels in enumerate(collected.labels):
        targets[row, list(labels or ())] = 1
    if not space.multiple and np.count_nonzero(targets.sum(axis=0)) < 2:
        raise TrainingError(f"{sources.train.name}: all {len(rows)} items to train on are of one class; a model learns from at least two")
    return Examples(collected, targets, rows >= len(parts[0].ids), [items[row] for row in rows] if keep_items else (), dict(left))


def joined(parts: Sequence[Collected], name: str) -> Collected:
    """Several datasets as one."""
    ids = [id for part in parts for id in part.ids]
    starts = np.cumsum([0, *(len(part.ids) for part in parts)])
    return replace(
        parts[0],
        name=name,
        ids=ids,
        labels=[labels for part in parts for labels in part.labels],
        groups=[group for part in parts for group in part.groups],
        hashes=np.concatenate([part.hashes for part in parts]),
        logits=np.concatenate([part.logits for part in parts]),
        activations=tuple(np.concatenate(layers) for layers in zip(*(part.activations for part in parts), strict=True)),
        pictures={
            int(start) + place: picture for start, part in zip(starts, parts, strict=False) for place, picture in part.pictures.items()
        },
        contents={
            int(start) + place: content for start, part in zip(starts, parts, strict=False) for place, content in part.contents.items()
        },
        read=sum(part.read for part in parts),
        failures=[failure for part in parts for failure in part.failures],
        notes=tuple(note for part in parts for note in part.notes),
    )


def _without_spot_checks(dataset: Dataset, left: Counter[str]) -> Dataset:
    def read() -> Iterator[Item]:
        for item in dataset:
            if item.spot_check:
                left["spot checks: they carry the guarantee, now or later"] += 1
            else:
                yield item

    return Dataset(dataset.name, dataset.count, read, dataset.notes)


def _usable(
    everything: Collected, kept_out: Sequence[Collected], looked_at: Array, training: int, left: Counter[str], near_twins: NearTwins
) -> Array:
    """Which items may be trained on. training: so many of the first are the training set, which the base model has seen anyway."""
    usable = np.ones(len(everything.ids), dtype=bool)

    def leave(which: Array | Iterable[bool], reason: str) -> None:
        out = np.asarray(which, dtype=bool) & usable
        left[reason] += int(out.sum())
        usable[out] = False

    leave([labels is None for labels in everything.labels], "without a label")
    leave([labels == FOREIGN for labels in everything.labels], "whose label is no class of the new model")
    leave(np.isin(everything.hashes, looked_at), "held-out items of the current reference")
    for kept in kept_out:
        leave(np.isin(everything.hashes, kept.hashes), f"in {kept.name} too, which must not be trained on")
        groups = {group for group in kept.groups if group}
        leave([group in groups for group in everything.groups], f"of a group (patient, series) in {kept.name}")
        near = np.zeros(len(usable), dtype=bool)
        if training < len(usable):
            near[training:] = near_twins(everything, training, kept)
        leave(near, f"near twins of items in {kept.name}")
    first, repeats = np.unique(everything.hashes, return_index=True)[1], np.ones(len(usable), dtype=bool)
    repeats[first] = False
    repeats[:training] = False
    leave(repeats, "in the training set already, or twice")
    return usable


def _near_twins(model: Model, settings: Settings, everything: Collected, training: int, kept: Collected) -> Array:
    """Which items after the first `training` ones are near twins of some that are kept out: (N - training,) bool.

    By the rule of `engine.duplicates`, on directions of the deciding layer, which a model without a reference has, too.
    """
    mine, theirs = l2_normalise(everything.activations[0]), l2_normalise(kept.activations[0])

    def place(outputs: Outputs) -> Array:
        return l2_normalise(outputs.activations[0])

    return have_near_twins(mine[training:], theirs, mine[:training], kept.contents, place, model, settings)
