"""What a reference keeps of items: the held-out ones that it is calibrated on, and samples for maps and comparisons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class HeldOut:
    """Held-out items: never used to train the model, one per group; none that people call none of the model's classes.

    scores, clusters: (n,) deciding score and nearest cluster. hashes: uint64, of the content of all held-out items whose labels
    this reference and those before it looked at, to recognise them.
    attempts: the most that were made at any of them. labelled, correct: how many have labels, and how many of those the model has right.
    """

    scores: Array
    clusters: Array
    hashes: Array
    labelled: int
    correct: int
    attempts: int


@dataclass(frozen=True)
class Sample:
    """Seeded items kept for the map, for `compare` and for faces.

    ids, labels: (s,). clusters: (s,) nearest cluster. compressed: (s, n) float16. thumbnails: (bytes,) uint8, one after the
    other; ends: (s,) where each ends.
    activations: one (c, d) float16 array per layer, of the first c items; scales: what each was divided by. logits: (c, m).
    label_index: (c,) index into LabelSpace.names, -1 unlabelled.
    """

    ids: tuple[str, ...]
    labels: tuple[str, ...]
    clusters: Array
    compressed: Array
    thumbnails: Array
    ends: Array
    activations: tuple[Array, ...]
    scales: tuple[float, ...]
    logits: Array
    label_index: Array

    def thumbnail(self, place: int) -> bytes:
        """The encoded picture of one item, b"" if it has none."""
        start = int(self.ends[place - 1]) if place else 0
        return bytes(self.thumbnails[start : int(self.ends[place])])

    def full_activations(self) -> tuple[Array, ...]:
        """The kept activations in their own units, float32."""
        return tuple(kept.astype(np.float32) * np.float32(scale) for kept, scale in zip(self.activations, self.scales, strict=True))
