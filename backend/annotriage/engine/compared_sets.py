"""The sets that `compare` tries its rules on: what the model makes of a seeded sample of each, and which items are foreign."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.data import Item
from annotriage.engine.labels import LabelSpace
from annotriage.engine.sampling import SeededSample
from annotriage.errors import DataError
from annotriage.model import Model, Outputs
from annotriage.model.stream import stream
from annotriage.progress import Progress
from annotriage.settings import Settings

Array = NDArray[Any]


@dataclass(frozen=True)
class ComparedSet:
    """N items of one set. known, foreign: (N,) as labels tell; of an unlabelled item neither."""

    name: str
    outputs: Outputs
    known: Array
    foreign: Array

    def __len__(self) -> int:
        return len(self.outputs.logits)


def read_set(
    model: Model, dataset: Any, space: LabelSpace, settings: Settings, size: int, progress: Progress, *, name: str = ""
) -> ComparedSet:
    """At most `size` items of a dataset. Raises DataError if none can be scored. name: instead of the dataset's own."""
    kept: SeededSample[tuple[Item, Array, tuple[Array, ...]]] = SeededSample(size, settings.seed, "compare")
    failures: list[str] = []
    with progress(f"items of {name or dataset.name}", dataset.count) as advance:
        for batch in stream(model, dataset, settings):
            failures += batch.failures[: 1 - len(failures)]
            if batch.outputs is not None:
                for place, row in enumerate(batch.rows):
                    kept.offer(batch.items[row].id, partial(_taken, batch.items[row], batch.outputs, place))
            advance(len(batch.items))
    rows = kept.values()
    if not rows:
        why = failures[0] if failures else "it holds none; check its place"
        raise DataError(f"{name or dataset.name}: no item could be scored, so there is nothing to compare: {why}")
    layers = range(len(model.layers))
    outputs = Outputs(
        np.stack([logits for _, logits, _ in rows]), tuple(np.stack([parts[layer] for _, _, parts in rows]) for layer in layers)
    )
    foreign = np.array([_is_foreign(item, space) for item, _, _ in rows])
    labelled = np.array([item.labels is not None for item, _, _ in rows])
    return ComparedSet(name or dataset.name, outputs, labelled & ~foreign, foreign)


def _taken(item: Item, outputs: Outputs, place: int) -> tuple[Item, Array, tuple[Array, ...]]:
    bare = Item(item.id, None, item.labels, item.group, item.path)
    return bare, outputs.logits[place].copy(), tuple(layer[place].copy() for layer in outputs.activations)


def _is_foreign(item: Item, space: LabelSpace) -> bool:
    try:
        space.known(item)
    except DataError:
        return True
    return False
