"""Two models on the same items: whether one is right more often than the other, and by how much."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, norm

BoolArray = NDArray[np.bool_]
Array = NDArray[Any]


@dataclass(frozen=True)
class Paired:
    """n items answered by both. old, new: how many each has right. gained: the new alone is right; lost: the old alone.

    low, high: 95% limits of the difference of the accuracies, new - old. p_better: one-sided exact McNemar, p_different: two-sided.
    """

    n: int
    old: int
    new: int
    gained: int
    lost: int
    low: float
    high: float
    p_better: float
    p_different: float

    @property
    def difference(self) -> float:
        """New - old accuracy; NaN without items."""
        return (self.gained - self.lost) / self.n if self.n else math.nan


def paired(old: BoolArray, new: BoolArray, confidence: float = 0.95) -> Paired:
    """Compare two models by which of the same n items each has right, (n,) bool both.

    The test is McNemar's, exact: of the items that only one has right, half would fall to each by chance (Psychometrika 1947). The
    interval adds half an item to each of the four cells, which keeps its level with few items (Agresti and Min, Statistics in Medicine
    2005).
    """
    n, gained, lost = len(old), int((new & ~old).sum()), int((old & ~new).sum())
    if not n:
        return Paired(0, 0, 0, 0, 0, -1.0, 1.0, 1.0, 1.0)
    apart = gained + lost
    better = float(binom.sf(gained - 1, apart, 0.5)) if apart else 1.0
    worse = float(binom.cdf(gained, apart, 0.5)) if apart else 1.0
    up, down, all_ = gained + 0.5, lost + 0.5, n + 2.0
    middle = (up - down) / all_
    reach = float(norm.ppf((1 + confidence) / 2)) * math.sqrt(max(up + down - (up - down) ** 2 / all_, 0.0)) / all_
    return Paired(
        n,
        int(old.sum()),
        int(new.sum()),
        gained,
        lost,
        max(-1.0, middle - reach),
        min(1.0, middle + reach),
        better,
        min(1.0, 2 * min(better, worse)),
    )
