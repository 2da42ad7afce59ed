"""Many small pictures in one, side by side in a row after row: a page fetches one file in the place of hundreds."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

from PIL import Image

ACROSS = 24  # tiles in a row


def sprite(pictures: Sequence[bytes | Image.Image], tile: int) -> bytes:
    """The pictures as tiles of `tile` pixels, ACROSS in a row, as a PNG, or a JPEG where that is smaller by far; black where there is none.

    pictures: encoded, or decoded; b"" leaves its tile empty.
    """
    rows = max(1, math.ceil(len(pictures) / ACROSS))
    whole = Image.new("RGB", (ACROSS * tile, rows * tile))
    for place, picture in enumerate(pictures):
        if not picture:
            continue
        image = Image.open(io.BytesIO(picture)) if isinstance(picture, bytes) else picture
        whole.paste(_square(image.convert("RGB"), tile), (place % ACROSS * tile, place // ACROSS * tile))
    return encoded(whole)


def tiles_of(whole: bytes, count: int, tile: int) -> list[Image.Image]:
    """The first tiles of what `sprite` made."""
    image = Image.open(io.BytesIO(whole)).convert("RGB")
    corners = ((place % ACROSS * tile, place // ACROSS * tile) for place in range(count))
    return [image.crop((left, top, left + tile, top + tile)) for left, top in corners]


def encoded(image: Image.Image) -> bytes:
    """PNG, which small and plain pictures need; JPEG if it takes less than half."""
    exact, close = io.BytesIO(), io.BytesIO()
    image.save(exact, "PNG", optimize=True)
    image.save(close, "JPEG", quality=88)
    return min(exact.getvalue(), close.getvalue(), key=len) if 2 * len(close.getvalue()) < len(exact.getvalue()) else exact.getvalue()


def _square(image: Image.Image, tile: int) -> Image.Image:
    """As large as fits, in the middle; tiny ones are enlarged without blurring them."""
    factor = tile / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    fitted = image.resize(size, Image.Resampling.NEAREST if factor > 1 else Image.Resampling.BOX)
    square = Image.new("RGB", (tile, tile))
    square.paste(fitted, ((tile - size[0]) // 2, (tile - size[1]) // 2))
    return square
