"""The part of an image that excites a place of a layer, as a picture."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from annotriage.model import Model
from annotriage.model.inputs import TINY
from annotriage.model.receptive import seen_boxes

Array = NDArray[Any]

SMALLEST = 24  # pixels of a patch's picture; smaller ones are enlarged by a whole factor
LARGEST = 96


def boxes_of(model: Model, place: int) -> Array:
    """What each place of a map of an image sees, (places, 4) of top, left, bottom, right in shares of it. place: in `model.layers`."""
    return seen_boxes(model, place).reshape(-1, 4)


def patch(content: Array, boxes: Array | None, place: int) -> bytes:
    """The part of an image that a place sees, encoded; the whole image without boxes. content: (H, W, C) uint8, b"" of anything else."""
    if content.dtype != np.uint8 or content.ndim != 3:
        return b""
    height, width = content.shape[:2]
    top, left, bottom, right = (0.0, 0.0, 1.0, 1.0) if boxes is None else boxes[place].tolist()
    cut = content[round(top * height) : max(round(bottom * height), 1), round(left * width) : max(round(right * width), 1)]
    cut = cut if cut.size else content
    image = Image.fromarray(cut[:, :, 0] if cut.shape[2] == 1 else cut)
    factor = -(-SMALLEST // max(image.size))
    if factor > 1:
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    image.thumbnail((LARGEST, LARGEST))
    stream = io.BytesIO()
    if max(image.size) > 2 * TINY:
        image.save(stream, "JPEG", quality=80)
    else:
        image.save(stream, "PNG")
    return stream.getvalue()
