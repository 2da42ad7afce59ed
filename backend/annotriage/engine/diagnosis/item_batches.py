"""Some items of a dataset, loaded for the model in batches, for what looks at whole feature maps."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.data import Dataset, Item
from annotriage.errors import MediaError
from annotriage.model.inputs import load
from annotriage.model.spec import ModelSpec
from annotriage.settings import Settings

Array = NDArray[Any]


@dataclass(frozen=True)
class ItemBatch:
    """n items. tensors: (n, ...) as the model takes them. contents: what it sees of each before scaling. failures: of items left out."""

    items: list[Item]
    tensors: Array
    contents: list[Array]
    failures: list[str]


def item_batches(dataset: Dataset, ids: Set[str], spec: ModelSpec, settings: Settings, size: int) -> Iterator[ItemBatch]:
    """The items with these ids, in the dataset's order. Broken ones are left out and named. size: items of a batch."""
    chosen = (item for item in dataset if item.id in ids)
    while piece := list(islice(chosen, size)):
        items, tensors, contents, failures = [], [], [], []
        for item in piece:
            where = item.path or f"item {item.id}"
            if item.media is None:
                failures.append(item.problem.text if item.problem else f"{where}: there is nothing to look at; give the item a file")
                continue
            try:
                loaded = load(item.media, spec.input, settings.max_pixels, where)
            except MediaError as error:
                failures.append(str(error))
                continue
            items.append(item)
            tensors.append(loaded.tensor)
            contents.append(loaded.content)
        yield ItemBatch(items, np.stack(tensors) if tensors else np.empty((0, *spec.input.shape), np.float32), contents, failures)
