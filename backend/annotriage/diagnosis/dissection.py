"""Units against concepts: how well the places that excite a unit most are those where a concept is, or its values say whether it is there.

Sources: Bau et al., Network Dissection: Quantifying Interpretability of Deep Visual Representations, CVPR 2017, section 2; intervals of the
area under the ROC curve: DeLong et al., Biometrics 1988, on the logit scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

QUANTILE = 0.005  # of all places, above which a unit counts as active
LEAST = 0.04  # IoU from which a unit is a detector
PIECE = 2**26  # numbers at a time


@dataclass
class Overlap:
    """Pixels counted so far. both: (C, K) active and of the concept. active: (C,). there: (K,). pixels: of all images."""

    both: Array
    active: Array
    there: Array
    pixels: int = 0

    @classmethod
    def of(cls, units: int, concepts: int) -> Overlap:
        """Nothing counted yet."""
        return cls(np.zeros((units, concepts)), np.zeros(units), np.zeros(concepts))

    @property
    def iou(self) -> Array:
        """(C, K) intersection over union, over all images together; 0 where neither is anywhere."""
        union = self.active[:, None] + self.there[None, :] - self.both
        return np.asarray(np.where(union > 0, self.both / np.where(union > 0, union, 1), 0.0))

    @property
    def limits(self) -> Array:
        """(C, K) the IoU above which a unit is a detector: 0.04, and at least twice what two areas of these sizes have by chance.

        With the published quantile chance gives less than 0.01; twice of it is our choice, for larger ones.
        """
        active, there = self.active[:, None] / max(self.pixels, 1), self.coverage[None, :]
        either = active + there - active * there
        return np.asarray(np.maximum(LEAST, 2 * np.where(either > 0, active * there / np.where(either > 0, either, 1), 0)))

    @property
    def coverage(self) -> Array:
        """(K,) share of all pixels that each concept covers."""
        return self.there / max(self.pixels, 1)


def thresholds(values: Array, quantile: float = QUANTILE) -> Array:
    """The value that each unit exceeds at this share of all places: (places, C) -> (C,)."""
    return np.asarray(np.quantile(values, 1 - quantile, axis=0, method="higher"))


def highest_iou(coverage: Array, quantile: float = QUANTILE) -> Array:
    """The largest IoU that a unit can have with concepts that cover these shares of all pixels: it is active on a share of its own."""
    share = np.maximum(coverage, 1e-12)
    return np.asarray(np.minimum(share / quantile, quantile / share))


def count_overlap(counted: Overlap, maps: Array, limits: Array, masks: Array) -> None:
    """Add some images. maps: (n, C, h, w). limits: (C,) of `thresholds`. masks: (n, K, H, W) bool, to whose size maps are enlarged."""
    height, width = masks.shape[2:]
    step = max(1, PIECE // max(1, height * width))
    for image, mask in zip(maps, masks, strict=True):
        flat = mask.reshape(len(mask), -1).astype(np.float32)
        for start in range(0, len(image), step):
            part = slice(start, start + step)
            active = enlarged(image[part], height, width) > limits[part, None, None]
            rows = active.reshape(len(active), -1).astype(np.float32)
            counted.both[part] += rows @ flat.T
            counted.active[part] += rows.sum(axis=1)
        counted.there += flat.sum(axis=1)
        counted.pixels += height * width


def enlarged(maps: Array, height: int, width: int) -> Array:
    """Maps (C, h, w) at the size of the image, bilinear between the middles of their places: (C, H, W)."""
    rows, columns = (_weights(size, to) for size, to in zip(maps.shape[1:], (height, width), strict=True))
    return np.asarray(np.matmul(np.matmul(rows, maps), columns.T))


def _weights(size: int, to: int) -> Array:
    """(to, size) weights of bilinear interpolation along one side."""
    at = np.clip((np.arange(to) + 0.5) * size / to - 0.5, 0, size - 1)
    lower = np.minimum(at.astype(np.intp), max(size - 2, 0))
    weights = np.zeros((to, size), dtype=np.float32)
    rows = np.arange(to)
    weights[rows, lower] = 1 - (at - lower)
    if size > 1:
        weights[rows, lower + 1] = at - lower
    return weights


@dataclass(frozen=True)
class Ranking:
    """How well each of C units tells items with a concept from others. auroc, low, high: (C,), 0.5 is chance; below it falls with it."""

    auroc: Array
    low: Array
    high: Array


def rankings(values: Array, there: Array, level: float = 0.95) -> Ranking:
    """The area under the ROC curve of each unit, with intervals of this level.

    values: (n, C). there: (n,) bool, with at least two items of either kind. level: of each interval by itself: for c comparisons that
    shall hold together with 95%, 1 - 0.05 / c.
    """
    from scipy.stats import norm, rankdata

    positives, negatives = values[there], values[~there]
    m, n = len(positives), len(negatives)
    ranks = rankdata(values, axis=0)
    above = (ranks[there] - rankdata(positives, axis=0)) / n  # of each positive item, the share of negative ones below it
    below = 1 - (ranks[~there] - rankdata(negatives, axis=0)) / m
    auroc = above.mean(axis=0)
    variance = above.var(axis=0, ddof=1) / m + below.var(axis=0, ddof=1) / n
    inside = np.clip(auroc, 0.5 / (m * n), 1 - 0.5 / (m * n))  # a unit that tells all apart leaves half a pair of doubt
    least = inside * (1 - inside) / (m * n)
    logit, spread = np.log(inside / (1 - inside)), np.sqrt(np.maximum(variance, least)) / (inside * (1 - inside))
    reach = float(norm.ppf((1 + level) / 2)) * spread
    low, high = (1 / (1 + np.exp(-(logit + sign * reach))) for sign in (-1, 1))
    return Ranking(auroc, np.minimum(low, auroc), np.maximum(high, auroc))
