"""A dataset as the model's layers see it, held in memory: what samples, queries and the atlas start from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.data import Dataset, Item, Source, open_dataset
from annotriage.diagnosis.view import UNLABELLED, View
from annotriage.engine.diagnosis.held import Pictures
from annotriage.engine.kept_rows import check_room, put_in_order, room_for, taken
from annotriage.engine.labels import FOREIGN, LabelSpace
from annotriage.engine.reference import Reference
from annotriage.engine.sampling import SeededSample
from annotriage.errors import DataError
from annotriage.model import Model, Outputs, candidate_layers
from annotriage.model.inputs import Loaded, thumbnail
from annotriage.model.spec import ModelSpec
from annotriage.model.stream import Batch, stream
from annotriage.progress import Progress, silent
from annotriage.settings import ServiceSettings, Settings

Array = NDArray[Any]

Cut = Callable[[Loaded, Outputs, int], tuple[bytes, ...]]

MEMORY = 2**31  # bytes of activations and pictures that are held; of a larger dataset a seeded sample
FEW = 4_096  # items for which room is made at first where nobody knows how many come
PICTURE = 3_000  # bytes of a thumbnail, roughly
NO_CLASS = "none of the model's classes"
LOGITS = "logits"


class _Fact(IntEnum):
    """What is known of an item besides its activations: the columns of a table of whole numbers."""

    PLACE = 0
    TRUTH = 1
    PREDICTED = 2
    STRANGE = 3


@dataclass(frozen=True)
class Inside:
    """N items of a dataset as the model sees them.

    names: of the classes, `NO_CLASS` last. ids, paths: (N,). layers: (N, d) each, in the order in which the model computes them, the last
    hidden one and the logits at the end; of a feature map the mean of each channel. layer_names: as the model has them. maps: which of
    the layers are feature maps. pictures: (N,) encoded thumbnails, empty if none were asked for. strange: (N,) bool, which are outliers,
    if that was asked for. read: items of the dataset. failures: what is wrong with those that could not be used. notes: what was left out,
    and why. cuts: (N,) each, what else was cut out of each picture, if that was asked for.
    """

    dataset: str
    names: tuple[str, ...]
    ids: tuple[str, ...]
    paths: tuple[str, ...]
    view: View
    layers: tuple[Array, ...]
    layer_names: tuple[str, ...]
    maps: tuple[bool, ...]
    pictures: Sequence[bytes]
    strange: Array
    read: int
    failures: tuple[str, ...]
    notes: tuple[str, ...]
    cuts: tuple[Sequence[bytes], ...] = ()

    def rows(self, which: Array) -> Inside:
        """Some of the items, by index."""
        view = self.view.rows(which)
        layers = tuple(taken(layer, which) for layer in self.layers)
        ids, paths = (tuple(part[row] for row in which) for part in (self.ids, self.paths))
        pictures, *cuts = (_some_of(part, which) for part in (self.pictures, *self.cuts))
        return replace(
            self, ids=ids, paths=paths, view=view, layers=layers, pictures=pictures, strange=self.strange[which], cuts=tuple(cuts)
        )

    def noted(self, note: str) -> Inside:
        """With one more note."""
        return replace(self, notes=(*self.notes, note))

    @property
    def last_hidden(self) -> int:
        """The place of the layer whose activations are the latent."""
        return len(self.layers) - 2

    @property
    def last_map(self) -> int:
        """The place of the last feature map; of a model without one, the hidden layer before the last, or the last."""
        found = [place for place, is_map in enumerate(self.maps) if is_map]
        return found[-1] if found else max(self.last_hidden - 1, 0)


def _some_of(pictures: Sequence[bytes], which: Array) -> Sequence[bytes]:
    """Those of some items, by index; none where there are none."""
    if isinstance(pictures, Pictures):
        return Pictures(which.tolist(), pictures)
    return tuple(pictures[row] for row in which) if pictures else ()


def look_inside(
    reference: Reference,
    data: Source,
    *,
    model: Model | ModelSpec | Path | str | None = None,
    settings: Settings | None = None,
    labeling_config: Path | None = None,
    server: ServiceSettings | None = None,
    pictures: bool = False,
    wanted: Callable[[Item], bool] | None = None,
    memory: int = MEMORY,
    progress: Progress = silent,
) -> Inside:
    """Run a dataset through the reference's model and hold what its layers make of it.

    Arguments as of `annotriage.triage`. pictures: keep thumbnails. wanted: which items to run at all. memory: bytes to hold; items beyond
    are left out at random, and a note says so.
    Raises DataError if no item could be used, ModelError, MismatchError; single broken items are left out and counted in a note.
    """
    settings = settings or reference.settings
    dataset = open_dataset(data, labeling_config=labeling_config, classes=reference.space.classes, server=server)
    model = reference.open_model(model, settings)
    return look_through(model, reference.space, dataset, settings, pictures=pictures, wanted=wanted, memory=memory, progress=progress)


def look_through(
    model: Model,
    space: LabelSpace,
    dataset: Dataset,
    settings: Settings,
    *,
    pictures: bool = False,
    wanted: Callable[[Item], bool] | None = None,
    strange: Callable[[Outputs], Array] | None = None,
    cut: Cut | None = None,
    memory: int = MEMORY,
    most: int | None = None,
    progress: Progress = silent,
) -> Inside:
    """As `look_inside`, for any model with these classes.

    strange: which of a batch are outliers, (n,) bool. cut: what to cut out of an item's picture, given the item, what the model made of
    its batch, and its row there. most: items to hold at most, in a file where `memory` does not do. Raises OutputError if that has no room.
    """
    kept: _Kept | None = None
    failures: list[str] = []
    read = good = 0
    dataset = dataset.renamed(dict(model.spec.aliases))
    chosen = dataset if wanted is None else Dataset(dataset.name, None, lambda: filter(wanted, dataset), dataset.notes)
    with progress(f"items of {dataset.name}", chosen.count) as advance:
        for batch in stream(model, chosen, settings):
            failures += batch.failures
            if batch.outputs is not None:
                if kept is None:
                    kept = _Kept(model, space, batch.outputs, settings, chosen.count, memory, most, pictures, cut)
                flags = np.zeros(len(batch.rows), dtype=bool) if strange is None else strange(batch.outputs)
                kept.take(batch, batch.outputs, flags, read)
                good += len(batch.rows)
            read += len(batch.items)
            advance(len(batch.items))
    if kept is None:
        why = f": {failures[0]}" if failures else ""
        raise DataError(f"{dataset.name}: none of its {read:,} items could be used{why}")
    notes = [*dataset.notes, *model.notes]
    if failures:
        notes.append(f"{len(failures):,} of {read:,} items could not be used and were left out: {'; '.join(failures[:3])}")
    if kept.count < good:
        notes.append(
            f"The activations of all {good:,} items are too many to hold, so {kept.count:,} of them, drawn at random, stand for all."
        )
    return kept.inside(dataset.name, read, tuple(failures), tuple(notes))


class _Kept:
    """Items of a pass, in slots: a seeded sample if there are too many, each newcomer in the slot of what falls out."""

    def __init__(
        self,
        model: Model,
        space: LabelSpace,
        outputs: Outputs,
        settings: Settings,
        coming: int | None,
        memory: int,
        most: int | None,
        pictures: bool,
        cut: Cut | None,
    ) -> None:
        """outputs: of the first batch. coming: how many items there are, None if nobody knows."""
        self._space, self._cut, self._side = space, cut, settings.thumbnail if pictures else 0
        ranks = {layer.name: len(layer.shape) for layer in candidate_layers(model.spec)}
        order = [*range(1, len(model.layers)), 0]  # the deciding layer stands first in the model's list, and is its last hidden one
        self._order, self._names = order, (*(model.layers[place] for place in order), LOGITS)
        self._maps = (*(ranks.get(model.layers[place], 1) > 1 for place in order), False)
        parts = [*(outputs.activations[place] for place in order), outputs.logits]
        # of a feature map, pooled to mean and deviation of each channel, the means: a neuron's activation
        halved = [is_map and place for place, is_map in zip((*order, 0), self._maps, strict=True)]
        self._widths = [part.shape[1] // 2 if half else part.shape[1] for part, half in zip(parts, halved, strict=True)]
        fitting = max(1, memory // (4 * sum(self._widths) + (PICTURE * pictures if most is None else 0)))
        size = fitting if most is None else most
        self._sample: SeededSample[int] = SeededSample(size, settings.seed, "inside")
        slots = min(size, FEW if coming is None else max(1, coming))
        self._size, self._fitting = size, fitting
        if slots > fitting:  # beside all of it, an atlas takes the usual items' activations of one layer after the other, and their logits
            check_room(slots * (sum(self._widths) + max(self._widths) + self._widths[-1]) * parts[0].itemsize)
        self._layers = [self._room(slots, width, part.dtype) for width, part in zip(self._widths, parts, strict=True)]
        self._facts = np.empty((slots, len(_Fact)), dtype=np.int64)
        self._ids: list[str] = []
        self._paths: list[str] = []
        self._pictures = Pictures()
        self._cuts: list[Pictures] = []

    @property
    def count(self) -> int:
        """How many items are held."""
        return len(self._ids)

    def take(self, batch: Batch, outputs: Outputs, flags: Array, read: int) -> None:
        """Take in the items of a batch that belong to the sample. flags: which are strange. read: items before it."""
        for place, (row, answer) in enumerate(zip(batch.rows, self._space.predicted(outputs.logits), strict=True)):
            item, loaded = batch.items[row], batch.loaded[place]
            facts = (read + row, self._truth(item), self._space.index(answer), int(flags[place]))
            self._sample.offer(item.id, partial(self._put, item, loaded, outputs, place, facts))

    def inside(self, name: str, read: int, failures: tuple[str, ...], notes: tuple[str, ...]) -> Inside:
        """All that is held, in the order in which it came."""
        count = self.count
        order = np.argsort(self._facts[:count, _Fact.PLACE], kind="stable")
        facts = self._facts[order]
        layers = tuple(layer[:count] for layer in self._layers)
        for layer in layers:
            put_in_order(layer, order)
        rows = order.tolist()
        return Inside(
            name,
            (*self._space.names, NO_CLASS),
            tuple(self._ids[row] for row in rows),
            tuple(self._paths[row] for row in rows),
            View(layers[-2], facts[:, _Fact.PREDICTED].astype(np.intp), facts[:, _Fact.TRUTH].astype(np.intp), len(self._space.names)),
            layers,
            self._names,
            self._maps,
            Pictures(rows, self._pictures) if self._side else (),
            facts[:, _Fact.STRANGE] == 1,
            read,
            failures,
            notes,
            tuple(Pictures(rows, cut) for cut in self._cuts),
        )

    def _grow(self) -> None:
        """Make twice the room: more come than anybody knew."""
        slots, held = min(self._size, 2 * len(self._facts)), len(self._facts)
        for place, former in enumerate(self._layers):
            larger = self._room(slots, former.shape[1], former.dtype)
            larger[:held] = former
            self._layers[place] = larger
        self._facts = np.concatenate([self._facts, np.empty((slots - held, len(_Fact)), dtype=np.int64)])

    def _room(self, slots: int, width: int, kind: np.dtype[Any]) -> Array:
        return room_for(slots, width, kind) if slots > self._fitting else np.empty((slots, width), dtype=kind)

    def _truth(self, item: Item) -> int:
        labels = self._space.known_or_foreign(item)
        return UNLABELLED if labels is None else len(self._space.names) if labels == FOREIGN else self._space.index(labels)

    def _put(self, item: Item, loaded: Loaded, outputs: Outputs, place: int, facts: tuple[int, ...]) -> int:
        slot = self._sample.outgoing
        if slot is None:
            slot = len(self._ids)
            if slot == len(self._facts):
                self._grow()
            self._ids.append("")
            self._paths.append("")
        self._ids[slot], self._paths[slot], self._facts[slot] = item.id, item.path, facts
        if self._cut is not None:
            pieces = self._cut(loaded, outputs, place)
            self._cuts = self._cuts or [Pictures() for _ in pieces]
            for cuts, piece in zip(self._cuts, pieces, strict=True):
                cuts.put(slot, piece)
        if self._side:
            self._pictures.put(slot, b"" if loaded.picture is None else thumbnail(loaded.picture, self._side))
        parts = (*(outputs.activations[layer] for layer in self._order), outputs.logits)
        for held, part, width in zip(self._layers, parts, self._widths, strict=True):
            held[slot] = part[place, :width]
        return slot
