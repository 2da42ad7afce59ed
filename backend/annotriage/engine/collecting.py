"""A labelled dataset through the model, for fitting: its outputs, on disk if they are many, its seeded sample, what failed and why."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.data import Dataset, Item
from annotriage.engine.kept_items import Sample
from annotriage.engine.kept_rows import KeptRows, taken
from annotriage.engine.labels import LabelSet, LabelSpace
from annotriage.engine.sampling import SeededSample
from annotriage.errors import FitError
from annotriage.latent.detector import Detector
from annotriage.model import Model
from annotriage.model.inputs import Loaded, content_hash, thumbnail
from annotriage.model.stream import Batch, stream
from annotriage.progress import Progress
from annotriage.settings import Settings

Array = NDArray[Any]

CONTENTS = 32  # items whose contents are kept, of which copies are made
KEPT_ACTIVATIONS = 4_000  # items whose activations stay in the reference, for `compare`


@dataclass
class Collected:
    """What the model made of a whole dataset. labels: None where people gave none, or `FOREIGN`; pictures: the seeded sample's.

    contents: what the model sees of a smaller seeded sample. logits, activations: read-only where they lie on disk.
    """

    name: str
    ids: list[str]
    labels: list[LabelSet | None]
    groups: list[str | None]
    hashes: Array
    logits: Array
    activations: tuple[Array, ...]
    pictures: dict[int, bytes]
    contents: dict[int, Array]
    read: int
    failures: list[str]
    notes: tuple[str, ...]

    def rows(self, which: Array) -> Collected:
        """Some of the items, by index."""
        places = {int(old): new for new, old in enumerate(which)}
        return replace(
            self,
            ids=[self.ids[i] for i in which],
            labels=[self.labels[i] for i in which],
            groups=[self.groups[i] for i in which],
            hashes=self.hashes[which],
            logits=taken(self.logits, which),
            activations=tuple(taken(layer, which) for layer in self.activations),
            pictures={places[old]: picture for old, picture in self.pictures.items() if old in places},
            contents={places[old]: content for old, content in self.contents.items() if old in places},
        )


def collect(
    model: Model,
    dataset: Dataset,
    space: LabelSpace,
    settings: Settings,
    progress: Progress,
    what: str,
    label_of: Callable[[Item], LabelSet | None] | None = None,
) -> Collected:
    """Run a labelled dataset through the model. label_of: reads an item's label, by default `space.known`, which raises DataError on
    those that the model does not know.
    """
    label_of = label_of or space.known
    ids: list[str] = []
    labels: list[LabelSet | None] = []
    groups: list[str | None] = []
    hashes = array("Q")
    known: dict[LabelSet | None, LabelSet | None] = {}  # one object for all items of a class
    logits, layers = KeptRows(), [KeptRows() for _ in model.layers]
    failures: list[str] = []
    kept: SeededSample[tuple[int, bytes]] = SeededSample(settings.map_sample, settings.seed, "map")
    contents: SeededSample[tuple[int, Array]] = SeededSample(CONTENTS, settings.seed, "contents")
    read = 0
    with progress(f"{what} of {dataset.name}", dataset.count) as advance:
        for batch in stream(model, dataset, settings):
            read += len(batch.items)
            failures += batch.failures
            for item, loaded in _good(batch):
                label = label_of(item)
                labels.append(known.setdefault(label, label))
                kept.offer(item.id, partial(_picture, len(ids), loaded, settings.thumbnail))
                contents.offer(item.id, partial(_content, len(ids), loaded))
                ids.append(item.id)
                groups.append(item.group)
                hashes.append(int(content_hash(loaded)[:16], 16))
            if batch.outputs is not None:
                logits.append(batch.outputs.logits)
                for layer, values in zip(layers, batch.outputs.activations, strict=True):
                    layer.append(values)
            advance(len(batch.items))
    if not ids:
        why = f": {failures[0]}" if failures else ""
        raise FitError(f"{what}: none of the {read} items of {dataset.name} could be used{why}")
    return Collected(
        dataset.name,
        ids,
        labels,
        groups,
        np.array(hashes, dtype=np.uint64),
        logits.whole(),
        tuple(layer.whole() for layer in layers),
        dict(kept.values()),
        dict(contents.values()),
        read,
        failures,
        tuple(dataset.notes),
    )


def collect_points(model: Model, dataset: Dataset, detector: Detector, settings: Settings, progress: Progress, what: str) -> Array:
    """Compressed points of a seeded sample of a dataset, whatever its labels: (N, n), N at most `map_sample`. Raises FitError if none."""
    kept: SeededSample[Array] = SeededSample(settings.map_sample, settings.seed, "map")
    with progress(f"{what} of {dataset.name}", dataset.count) as advance:
        for batch in stream(model, dataset, settings):
            if batch.outputs is not None:
                compressed = detector.measure(batch.outputs.activations, batch.outputs.logits).compressed.astype(np.float32)
                for (item, _), point in zip(_good(batch), compressed, strict=True):
                    kept.offer(item.id, partial(np.copy, point))
            advance(len(batch.items))
    points = kept.values()
    if not points:
        raise FitError(f"{what}: none of the items of {dataset.name} could be used")
    return np.stack(points)


def kept_sample(collected: Collected, detector: Detector, space: LabelSpace) -> Sample:
    """The seeded sample of a dataset that stays in the reference."""
    rows = np.fromiter(collected.pictures, dtype=np.intp, count=len(collected.pictures))
    kept = rows[:KEPT_ACTIVATIONS]
    activations = tuple(layer[kept] for layer in collected.activations)
    scales = tuple(max(float(np.abs(layer).max(initial=0.0)), 1e-30) for layer in activations)
    pictures = list(collected.pictures.values())
    labels = [collected.labels[row] for row in rows]
    measured = detector.measure(tuple(layer[rows] for layer in collected.activations), collected.logits[rows])
    return Sample(
        clusters=measured.cluster,
        ids=tuple(collected.ids[row] for row in rows),
        labels=tuple("" if label_set is None else " + ".join(space.texts(label_set)) for label_set in labels),
        compressed=measured.compressed.astype(np.float16),
        thumbnails=np.frombuffer(b"".join(pictures), dtype=np.uint8),
        ends=np.cumsum([len(picture) for picture in pictures], dtype=np.int64),
        activations=tuple((layer / scale).astype(np.float16) for layer, scale in zip(activations, scales, strict=True)),
        scales=scales,
        logits=collected.logits[kept],
        label_index=np.array([-1 if label_set is None else space.index(label_set) for label_set in labels[: len(kept)]], dtype=np.intp),
    )


def _picture(row: int, loaded: Loaded, side: int) -> tuple[int, bytes]:
    return row, b"" if loaded.picture is None else thumbnail(loaded.picture, side)


def _content(row: int, loaded: Loaded) -> tuple[int, Array]:
    return row, loaded.content


def _good(batch: Batch) -> Iterator[tuple[Item, Loaded]]:
    return ((batch.items[row], loaded) for row, loaded in zip(batch.rows, batch.loaded, strict=True))
