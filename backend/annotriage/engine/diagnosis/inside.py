"""A dataset as the model's layers see it, held in memory: what samples, queries and the atlas start from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.data import Dataset, Item, Source, open_dataset
from annotriage.diagnosis.view import UNLABELLED, View
from annotriage.engine.labels import FOREIGN, LabelSet, LabelSpace
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
PICTURE = 3_000  # bytes of a thumbnail, roughly
NO_CLASS = "none of the model's classes"
LOGITS = "logits"


@dataclass(frozen=True)
class Inside:
    """N items of a dataset as the model sees them.

    names: of the classes, `NO_CLASS` last. ids, paths: (N,). layers: (N, d) each, in the order in which the model computes them, the last
    hidden one and the logits at the end; of a feature map the mean of each channel. layer_names: as the model has them. maps: which of
    the layers are feature maps. pictures: (N,) encoded thumbnails, empty if none were asked for. strange: (N,) bool, which are outliers,
    if that was asked for. read: items of the dataset. failures: what is wrong with those that could not be used. notes: what was left out,
    and why. cuts: (N,) what else was cut out of each picture, if that was asked for.
    """

    dataset: str
    names: tuple[str, ...]
    ids: tuple[str, ...]
    paths: tuple[str, ...]
    view: View
    layers: tuple[Array, ...]
    layer_names: tuple[str, ...]
    maps: tuple[bool, ...]
    pictures: tuple[bytes, ...]
    strange: Array
    read: int
    failures: tuple[str, ...]
    notes: tuple[str, ...]
    cuts: tuple[tuple[bytes, ...], ...] = ()

    def rows(self, which: Array) -> Inside:
        """Some of the items, by index."""
        view = self.view.rows(which)
        layers = tuple(layer[which] for layer in self.layers)
        ids, paths, pictures = (tuple(part[row] for row in which) if part else () for part in (self.ids, self.paths, self.pictures))
        cuts = tuple(self.cuts[row] for row in which) if self.cuts else ()
        return replace(self, ids=ids, paths=paths, view=view, layers=layers, pictures=pictures, strange=self.strange[which], cuts=cuts)

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


@dataclass(frozen=True)
class _Kept:
    """One item of the pass."""

    place: int
    id: str
    path: str
    truth: int
    predicted: int
    logits: Array
    activations: tuple[Array, ...]
    picture: bytes
    strange: bool
    cuts: tuple[bytes, ...]


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
    its batch, and its row there. most: items to hold at most.
    """
    kept: SeededSample[_Kept] | None = None
    failures: list[str] = []
    read = good = 0
    dataset = dataset.renamed(dict(model.spec.aliases))
    chosen = dataset if wanted is None else Dataset(dataset.name, None, lambda: filter(wanted, dataset), dataset.notes)
    with progress(f"items of {dataset.name}", chosen.count) as advance:
        for batch in stream(model, chosen, settings):
            failures += batch.failures
            if batch.outputs is not None:
                if kept is None:
                    width = sum(layer.shape[1] for layer in (batch.outputs.logits, *batch.outputs.activations))
                    fitting = max(1, memory // (4 * width + PICTURE * pictures))
                    kept = SeededSample(min(fitting, most or fitting), settings.seed, "inside")
                flags = np.zeros(len(batch.rows), dtype=bool) if strange is None else strange(batch.outputs)
                _keep(kept, batch, batch.outputs, flags, space, read, settings.thumbnail if pictures else 0, cut)
                good += len(batch.rows)
            read += len(batch.items)
            advance(len(batch.items))
    if kept is None:
        why = f": {failures[0]}" if failures else ""
        raise DataError(f"{dataset.name}: none of its {read:,} items could be used{why}")
    rows = sorted(kept.values(), key=lambda row: row.place)
    notes = [*dataset.notes, *model.notes]
    if failures:
        notes.append(f"{len(failures):,} of {read:,} items could not be used and were left out: {'; '.join(failures[:3])}")
    if len(rows) < good:
        notes.append(
            f"The activations of all {good:,} items are too many to hold, so {len(rows):,} of them, drawn at random, stand for all."
        )
    return _inside(model, space, dataset.name, rows, read, tuple(failures), tuple(notes), pictures)


def _keep(
    kept: SeededSample[_Kept], batch: Batch, outputs: Outputs, flags: Array, space: LabelSpace, read: int, side: int, cut: Cut | None
) -> None:
    for place, (row, answer) in enumerate(zip(batch.rows, space.predicted(outputs.logits), strict=True)):
        item, loaded = batch.items[row], batch.loaded[place]
        kept.offer(item.id, partial(_kept, item, loaded, outputs, place, space, answer, read + row, side, bool(flags[place]), cut))


def _kept(
    item: Item,
    loaded: Loaded,
    outputs: Outputs,
    place: int,
    space: LabelSpace,
    answer: LabelSet,
    row: int,
    side: int,
    strange: bool,
    cut: Cut | None,
) -> _Kept:
    labels = space.known_or_foreign(item)
    truth = UNLABELLED if labels is None else len(space.names) if labels == FOREIGN else space.index(labels)
    picture = thumbnail(loaded.picture, side) if side and loaded.picture is not None else b""
    activations = tuple(layer[place].copy() for layer in outputs.activations)
    cuts = () if cut is None else cut(loaded, outputs, place)
    return _Kept(row, item.id, item.path, truth, space.index(answer), outputs.logits[place].copy(), activations, picture, strange, cuts)


def _inside(
    model: Model,
    space: LabelSpace,
    name: str,
    rows: Sequence[_Kept],
    read: int,
    failures: tuple[str, ...],
    notes: tuple[str, ...],
    pictures: bool,
) -> Inside:
    ranks = {layer.name: len(layer.shape) for layer in candidate_layers(model.spec)}
    order = [*range(1, len(model.layers)), 0]  # the deciding layer stands first in the model's list, and is its last hidden one
    layers, maps = [], []
    for place in order:
        values = np.stack([row.activations[place] for row in rows])
        is_map = ranks.get(model.layers[place], 1) > 1
        if is_map and place:  # pooled to mean and deviation of each channel: a neuron's activation is the mean
            values = values[:, : values.shape[1] // 2]
        layers.append(values)
        maps.append(is_map)
    latent = layers[-1]
    layers.append(np.stack([row.logits for row in rows]))
    predicted, truth = (np.array([getattr(row, key) for row in rows], dtype=np.intp) for key in ("predicted", "truth"))
    return Inside(
        name,
        (*space.names, NO_CLASS),
        tuple(row.id for row in rows),
        tuple(row.path for row in rows),
        View(latent, predicted, truth, len(space.names)),
        tuple(layers),
        (*(model.layers[place] for place in order), LOGITS),
        (*maps, False),
        tuple(row.picture for row in rows) if pictures else (),
        np.array([row.strange for row in rows], dtype=bool),
        read,
        failures,
        notes,
        tuple(row.cuts for row in rows) if rows[0].cuts else (),
    )
