"""Fingerprints of pictures: 64 bits that stay nearly the same when a picture is recompressed, resized, or a little brighter.

The difference hash: the picture in 9 x 8 grey cells, and for each pair of neighbours whether it gets brighter to the right. It needs no
model, so that it tells copies which a model sees as different. A few lines of one's own instead of a library, whose hashes come with
wavelets and file formats that nobody needs here.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

SIDE = 8  # bits of a row, and rows
GREY = (0.299, 0.587, 0.114)  # of red, green and blue, as eyes see them
FLAT = 1e-6  # brightness by which a cell must be brighter, so that an even area gives the same bits everywhere


def difference_hash(pixels: Array) -> Array:
    """The bits of a picture: (H, W) or (H, W, C) of any kind of number -> (64,) float32 of 0 and 1.

    The squared distance of two of them is the number of bits that differ. Source: N. Krawetz, "Kind of Like That", 2013.
    """
    grey = np.asarray(pixels, dtype=np.float64)
    if grey.ndim == 3:
        grey = grey[..., :3] @ GREY if grey.shape[2] >= 3 else grey[..., 0]
    cells = _shares(grey.shape[0], SIDE) @ grey @ _shares(grey.shape[1], SIDE + 1).T
    return np.asarray(cells[:, 1:] - cells[:, :-1] > FLAT * max(float(np.ptp(grey)), 1.0), dtype=np.float32).ravel()


@lru_cache(64)  # pictures come in few sizes
def _shares(size: int, cells: int) -> Array:
    """How much each of `size` pixels adds to the mean of each of `cells` equal stretches: (cells, size)."""
    edges = np.arange(cells + 1) * size / cells
    pixels = np.arange(size)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    covered = np.clip(covered, 0, None)
    return np.asarray(covered / covered.sum(axis=1, keepdims=True))
