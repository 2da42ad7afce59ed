"""What is found of units and concepts, and the model over the items that have any: what masks and labels are held against units with."""

from __future__ import annotations

import io
from collections.abc import Iterator, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from annotriage.data import Dataset
from annotriage.data.concepts import ConceptLabels, Masks
from annotriage.engine.diagnosis.item_batches import ItemBatch, item_batches
from annotriage.engine.sampling import SeededSample
from annotriage.errors import DataError
from annotriage.model import Model
from annotriage.progress import Advance, Progress
from annotriage.settings import Settings

Array = NDArray[Any]

ITEMS = 1_000  # with concepts that are looked at; a seeded sample of more
BATCH = 16
EXAMPLES = 4  # pictures of a unit
SIDE = 96  # pixels of an example


@dataclass(frozen=True)
class Concept:
    """A concept. items: with it; of: how many were looked at for it. coverage: share of all pixels, NaN without masks."""

    name: str
    items: int
    of: int
    coverage: float


@dataclass(frozen=True)
class Example:
    """An item that excites a unit. picture: encoded; of masks, what excites it bright and the concept outlined."""

    id: str
    picture: bytes = field(repr=False)


@dataclass(frozen=True)
class Unit:
    """A unit and the concept that it goes with. value: IoU or AUROC. low, high: the interval of an AUROC, NaN of an IoU.

    detects: the IoU is above the limit, or the interval leaves out 0.5.
    """

    unit: int
    concept: str
    value: float
    low: float
    high: float
    detects: bool
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True)
class DissectedLayer:
    """One layer. units: how many it has. found: the detectors, the best first; of labels the best units of each concept."""

    name: str
    units: int
    found: tuple[Unit, ...]

    @property
    def detectors(self) -> list[Unit]:
        """Those that stand for a concept."""
        return [unit for unit in self.found if unit.detects]


@dataclass(frozen=True)
class Found:
    """What was found. level: of each interval of an AUROC, NaN with masks. comparisons: pairs of unit and concept."""

    concepts: tuple[Concept, ...]
    layers: tuple[DissectedLayer, ...]
    level: float
    comparisons: int
    notes: list[str]


class ConceptRun:
    """The model over the items with concepts, as often as it takes."""

    def __init__(self, model: Model, dataset: Dataset, settings: Settings, progress: Progress) -> None:
        self.model, self.settings = model, settings
        self._dataset, self._progress = dataset, progress
        self._failures: dict[str, None] = {}

    def choose(self, given: Masks | ConceptLabels) -> tuple[dict[str, str], int]:
        """The ids of the items to look at with the keys of their concepts, and how many there are."""
        sample: SeededSample[tuple[str, str]] = SeededSample(ITEMS, self.settings.seed, "dissection")
        total, used = 0, dict[Path, str]()
        for item in self._dataset:
            key = item.id
            if isinstance(given, Masks):
                files = given.of(item.id)
                if files is None:
                    continue
                for file in files:
                    if file is not None and used.setdefault(file, item.id) != item.id:
                        raise DataError(
                            f"{file}: fits two items, {used[file]} and {item.id}; put masks into folders as the items are:"
                            " concept/folder/item.png"
                        )
            elif item.id not in given.rows:
                if item.path not in given.rows:
                    continue
                key = item.path
            total += 1
            sample.offer(item.id, lambda id=item.id, key=key: (id, key))  # type: ignore[misc]
        if not total:
            what = "mask" if isinstance(given, Masks) else "row of the CSV file"
            raise DataError(
                f"{self._dataset.name}: no {what} belongs to any of its items; they must be named like the items' ids, such as"
                f" {next(iter(self._dataset)).id!r}"
            )
        return dict(sample.values()), total

    def step(self, doing: str, total: int) -> AbstractContextManager[Advance]:
        """A step of its own: whoever looks sees how far it is, and it can be cancelled."""
        return self._progress(doing, total)

    def batches(self, ids: Set[str], doing: str) -> Iterator[tuple[ItemBatch, tuple[Array, ...]]]:
        """The items with these ids and what the layers make of them."""
        with self._progress(doing, len(ids)) as advance:
            for batch in item_batches(self._dataset, ids, self.model.spec, self.settings, self.model.fixed_batch or BATCH):
                self._failures |= dict.fromkeys(batch.failures)
                if batch.items:
                    yield batch, self.model.run_whole(batch.tensors).layers
                advance(len(batch.items) + len(batch.failures))

    def failed(self) -> list[str]:
        """A note on items that could not be used."""
        failures = list(self._failures)
        return [f"{len(failures):,} items could not be used and were left out: {'; '.join(failures[:3])}"] if failures else []


def lit(content: Array, active: Array, mask: Array) -> bytes:
    """An image with what excites a unit bright, the rest dim, and the concept outlined."""
    image = Image.fromarray(content[:, :, 0] if content.shape[2] == 1 else content).convert("RGB")
    factor = max(1, round(SIDE / max(image.size)))
    image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    image.thumbnail((SIDE, SIDE))
    bright, there = (
        np.asarray(Image.fromarray(part.astype(np.uint8) * 255).resize(image.size, Image.Resampling.NEAREST)) > 0 for part in (active, mask)
    )
    pixels = np.asarray(image, dtype=np.float32)
    pixels = np.where(bright[:, :, None], pixels, 0.35 * pixels + 40)
    inner = there.copy()
    inner[1:-1, 1:-1] = there[1:-1, 1:-1] & there[:-2, 1:-1] & there[2:, 1:-1] & there[1:-1, :-2] & there[1:-1, 2:]
    pixels[there & ~inner] = (240, 180, 41)
    return _encoded(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)))


def _encoded(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return stream.getvalue()
