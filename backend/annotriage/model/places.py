"""Where the places of a layer lie: a map of an image, tokens that stand for its patches, or no places at all."""

from __future__ import annotations

import math

from annotriage.model.types import Array


def as_map(layer: Array) -> Array | None:
    """A layer (N, C, ...) as maps (N, C, h, w); None if it has no places in the plane.

    Tokens (N, C, T) are laid out as a square, without a first one that stands for the whole, as transformers have them.
    """
    if layer.ndim == 4:
        return layer if layer.shape[2] * layer.shape[3] > 1 else None
    if layer.ndim != 3 or layer.shape[2] < 4:
        return None
    for start in (0, 1):
        count = layer.shape[2] - start
        side = math.isqrt(count)
        if side * side == count:
            return layer[:, :, start:].reshape(*layer.shape[:2], side, side)
    return None
