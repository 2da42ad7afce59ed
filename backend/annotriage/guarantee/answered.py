"""Labelled held-out items, column by column: what the gate is calibrated on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Answered:
    """Labelled held-out items that could be scored, one per group of related items; each column (n,).

    sureness: what the gate compares. correct: whether the model is right. typical: no outlier, and so eligible to be automatic.
    predicted, true: index of the class that the model and that people say; true is -1 where people say none of them. miss: 1 - largest
    probability, the model's own estimate of being wrong. scores: deciding outlier score. clusters: index of the nearest one.
    """

    sureness: FloatArray
    correct: BoolArray
    typical: BoolArray
    predicted: IntArray
    true: IntArray
    miss: FloatArray
    scores: FloatArray
    clusters: IntArray

    @classmethod
    def none(cls) -> Self:
        """No items at all."""
        floats, flags, places = np.empty(0), np.empty(0, dtype=bool), np.empty(0, dtype=np.int64)
        return cls(floats, flags, flags, places, places, floats, floats, places)

    def __len__(self) -> int:
        return len(self.sureness)
