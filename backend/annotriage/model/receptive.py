"""What each place of a feature map sees of the input: found by trying, for every runtime and kind of layer."""

from __future__ import annotations

import numpy as np

from annotriage.model.places import as_map
from annotriage.model.types import Array, Model

EDGES = 32  # lines along each side of the input, at most, at which it is cut
TRIES = 2  # patterns, since a place may be dead for one of them
TINY = 1e-6  # of the layer's spread: smaller changes are rounding


def seen_boxes(model: Model, place: int, seed: int = 0) -> Array:
    """The part of the image that each place of a map depends on: (h, w, 4) of top, left, bottom, right, in shares of the image.

    place: of the layer in `model.layers`, which must be a map of an image, (C, h, w). Found by changing the image from each edge up to a
    line, and looking which places change with it; exact up to 1/32 of the side. What has seen the whole image gives (0, 0, 1, 1).
    """
    taken = model.spec.input
    rng = np.random.default_rng(seed)
    boxes: Array | None = None
    for _ in range(TRIES):
        base, other = (rng.standard_normal((1, taken.channels, *taken.size)).astype(np.float32) for _ in range(2))
        found = np.stack([_edge(model, place, base, other, axis, end) for axis, end in ((2, 0), (3, 0), (2, 1), (3, 1))], axis=-1)
        boxes = found if boxes is None else np.concatenate([np.minimum(boxes, found)[..., :2], np.maximum(boxes, found)[..., 2:]], -1)
    assert boxes is not None
    dead = boxes[..., 2] <= boxes[..., 0]
    boxes[dead] = (0, 0, 1, 1)
    return boxes


def boxes_of(model: Model, place: int) -> Array:
    """As `seen_boxes`, of any layer with places. Of tokens, which see the whole image after the first attention: the patch that each
    began as."""
    layer = model.run_whole(np.zeros((1, *model.spec.input.shape), np.float32)).layers[place]
    maps = as_map(layer)
    if layer.ndim == 4 or maps is None:
        return seen_boxes(model, place)
    height, width = maps.shape[2:]
    rows, columns = np.meshgrid(np.arange(height) / height, np.arange(width) / width, indexing="ij")
    return np.stack([rows, columns, rows + 1 / height, columns + 1 / width], axis=-1)


def _edge(model: Model, place: int, base: Array, other: Array, axis: int, end: int) -> Array:
    """Where what is seen begins (end 0) or ends (end 1) along an axis, (h, w)."""
    side = base.shape[axis]
    lines = np.unique(np.linspace(0, side, min(side, EDGES) + 1).astype(int))
    variants = []
    for line in lines:
        part = [slice(None)] * 4
        part[axis] = slice(0, int(line)) if end == 0 else slice(int(line), side)
        variant = base.copy()
        variant[tuple(part)] = other[tuple(part)]
        variants.append(variant)
    batch = np.concatenate(variants)
    given = batch if model.spec.input.layout == "NCHW" else batch.transpose(0, 2, 3, 1)
    layer = model.run_whole(np.ascontiguousarray(given)).layers[place]
    untouched = layer[0] if end == 0 else layer[-1]
    moved = np.abs(layer - untouched).max(axis=1) > TINY * max(float(layer.std()), 1e-12)  # (lines, h, w)
    shares = lines / side
    if end == 0:  # the first line up to which a change reaches it: what it sees begins one line before
        first = np.where(moved.any(axis=0), moved.argmax(axis=0), len(lines))
        return np.where(first < len(lines), shares[np.clip(first - 1, 0, len(lines) - 1)], 1.0)
    last = len(lines) - 1 - moved[::-1].argmax(axis=0)
    return np.where(moved.any(axis=0), shares[np.clip(last + 1, 0, len(lines) - 1)], 0.0)
