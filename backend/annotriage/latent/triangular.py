"""Products with a lower triangular matrix, block by block: little more than half of the work, for one row as for many."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

BLOCK = 128  # columns at a time: narrower ones spare little more, and each costs a call


def from_right(points: Array, lower: Array) -> Array:
    """points @ lower, (N, n), (n, n) -> (N, n). lower: nothing above its diagonal."""
    found = np.empty((len(points), len(lower)), dtype=np.result_type(points, lower))
    for start in range(0, len(lower), BLOCK):
        block = slice(start, start + BLOCK)
        np.matmul(points[:, start:], lower[start:, block], out=found[:, block])
    return found


def from_left(points: Array, lower: Array) -> Array:
    """points @ lower.T, (N, n), (n, n) -> (N, n): what `from_right` is for the transposed matrix."""
    found = np.empty((len(points), len(lower)), dtype=np.result_type(points, lower))
    for end in range(BLOCK, len(lower) + BLOCK, BLOCK):
        block = slice(end - BLOCK, end)
        np.matmul(points[:, :end], lower[block, :end].T, out=found[:, block])
    return found
