"""How many items of each cell go into a sample."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def proportional(sizes: Array, total: int) -> Array:
    """Quotas in proportion to the cells, whose rounding adds up: largest remainders first, among equal ones the larger cell.

    sizes: (c,) items per cell. total: at most their sum. Returns (c,), each at most its cell.
    """
    exact = sizes * (total / max(int(sizes.sum()), 1))
    quotas = np.floor(exact + 1e-9).astype(np.intp)
    missing = total - int(quotas.sum())
    order = np.lexsort((-sizes, -(exact - quotas).round(9)))
    quotas[order[:missing]] += 1
    return quotas


def equal(sizes: Array, total: int) -> Array:
    """The same quota for every cell that holds anything; a cell with less gives what it has, so that fewer may come out.

    Source: Mehta et al., Sampling for Deep Learning Model Diagnosis, 2020, section V-C (their grid alone samples so).
    """
    occupied = max(int((sizes > 0).sum()), 1)
    return np.minimum(sizes, max(1, round(total / occupied)))


def spread_evenly(sizes: Array, total: int) -> Array:
    """Quotas as equal as the cells allow, which add up to `total` (at most the sum of the sizes): small cells go in whole."""
    quotas = np.zeros(len(sizes), dtype=np.intp)
    left = total
    order = np.argsort(sizes, kind="stable")
    for place, cell in enumerate(order):
        quotas[cell] = min(int(sizes[cell]), round(left / (len(order) - place)))
        left -= int(quotas[cell])
    return quotas
