"""Many rows a few at a time: never all of them in double precision, nor in memory where they lie on disk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

PIECE = 4_096  # rows at a time


def pieces(count: int) -> Iterator[slice]:
    """The rows of `count`, a piece at a time."""
    return (slice(start, start + PIECE) for start in range(0, count, PIECE))


def mean_of(activations: Array, rows: Array) -> Array:
    """The mean of some rows, by number: (N, d), (k,) -> (d,) in double precision."""
    total = np.zeros(activations.shape[1])
    for some in pieces(len(rows)):
        total += activations[rows[some]].sum(axis=0, dtype=np.float64)
    return total / len(rows)
