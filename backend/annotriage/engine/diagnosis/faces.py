"""Faces that a torch model makes itself: for each cell of an atlas an image whose activation points along the cell's mean."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from annotriage.advice.atlas_words import NEEDS_IMAGES, NEEDS_TORCH
from annotriage.engine.diagnosis.atlas import Atlas, opened_with
from annotriage.engine.reference import Reference
from annotriage.model import Model, has_gradients
from annotriage.model.spec import ModelSpec
from annotriage.progress import Advance, Progress, silent
from annotriage.settings import Settings

if TYPE_CHECKING:
    from annotriage.model.torch_inversion import Colours

Array = NDArray[Any]

AT_ONCE = 16  # images in one batch, at most
MEMORY = 2**29  # bytes that a batch may hold for its gradients: fewer images of a large network at once
LOOKED_AT = 300  # real pictures whose colours are taken


@dataclass(frozen=True)
class MadeFace:
    """An image that the model made. pixels: (H, W[, C]) uint8. cosine: of its activation with the cell's mean, both less that of all."""

    pixels: Array
    cosine: float

    def encoded(self) -> bytes:
        """As a PNG."""
        stream = io.BytesIO()
        Image.fromarray(self.pixels).save(stream, "PNG")
        return stream.getvalue()


def why_no_faces(model: Model) -> str:
    """Why a model can make none, and what there is instead; "" if it can."""
    if model.spec.input.kind != "image":
        return NEEDS_IMAGES
    return "" if has_gradients(model) else NEEDS_TORCH


def faces_of(
    model: Model, layer: str, means: Array, middle: Array, colours: Colours, begun: int = 0, advance: Advance = lambda count: None
) -> Iterator[list[MadeFace]]:
    """The faces of cells in their order, a batch at a time, as many at once as fit into the memory for it.

    layer: a name of `model.layers`. means: (c, d) of the cells. middle: (d,) mean of all items. begun: so many cells are done already.
    advance: is called after every step with how many more faces' work is done, often none; what it raises ends the work.
    Raises ModelError.
    """
    from annotriage.model.torch_inversion import STEPS, bytes_of_one, invert
    from annotriage.model.torch_model import TorchModel

    assert isinstance(model, TorchModel), "why_no_faces is asked first"
    place = model.layers.index(layer)
    at_once = min(AT_ONCE, max(1, MEMORY // bytes_of_one(model, place)))
    for start in range(begun, len(means), at_once):
        some = means[start : start + at_once]

        def stepped(step: int, count: int = len(some)) -> None:
            advance(count * step // STEPS - count * (step - 1) // STEPS)

        made = invert(model, place, some, middle, colours, start, stepped=stepped)
        pixels = made.pixels[..., 0] if made.pixels.shape[-1] == 1 else made.pixels
        yield [MadeFace(image, round(float(cosine), 3)) for image, cosine in zip(pixels, made.cosine, strict=True)]


def colours_in(pictures: Iterable[bytes], mode: str) -> Colours:
    """The colours of real pictures, encoded; those without any are left out. mode: of the model's input."""
    from annotriage.model.torch_inversion import colours_of

    channels = 3 if mode == "RGB" else 1
    decoded = (Image.open(io.BytesIO(content)).convert(mode) for content in pictures if content)
    pixels = [np.asarray(picture).reshape(-1, channels) for picture in islice(decoded, LOOKED_AT)]
    return colours_of(np.concatenate(pixels) if pixels else np.array([[0] * channels, [255] * channels]))


def make_faces(
    reference: Reference,
    found: Atlas,
    side: int,
    *,
    model: Model | ModelSpec | Path | str | None = None,
    settings: Settings | None = None,
    progress: Progress = silent,
) -> tuple[dict[str, list[MadeFace]], str]:
    """The faces of an atlas's cells, `side` along an edge, by layer; and why there are none, "" if there are.

    Takes minutes: 160 steps forth and back through the model for each 16 cells. The rest as of `annotriage.atlas`.
    """
    opened = reference.open_model(model, settings or reference.settings)
    reason = why_no_faces(opened)
    if reason:
        return {}, reason
    opened = opened_with(opened, [layer.name for layer in found.layers], settings or reference.settings)
    colours = colours_in(found.inside.pictures, opened.spec.input.mode)
    made: dict[str, list[MadeFace]] = {}
    with progress("making faces", sum(len(layer.levels[side]) for layer in found.layers)) as advance:
        for layer in found.layers:
            means = np.stack([cell.mean for cell in layer.levels[side]])
            made[layer.name] = []
            for some in faces_of(opened, layer.name, means, layer.middle, colours, advance=advance):
                made[layer.name] += some
    return made, ""
