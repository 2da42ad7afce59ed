"""One image as a layer of the model sees it: what each place speaks for; and what a patch, put on it, does to the answer.

Sources: Carter et al., Exploring Neural Networks with Activation Atlases, Distill, 2019 (the activation grid of one image, and the test of
an atlas by pasting a patch).
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.special import expit, softmax

from annotriage.data import Media
from annotriage.diagnosis.atlas.cells import nearest_cells
from annotriage.diagnosis.atlas.head import fit_head
from annotriage.engine.reference import Reference
from annotriage.errors import DataError, OutputError, SettingError
from annotriage.model import Model, has_gradients
from annotriage.model.inputs import load
from annotriage.model.places import as_map
from annotriage.model.receptive import boxes_of
from annotriage.model.spec import ModelSpec
from annotriage.settings import Settings

Array = NDArray[Any]

SHOWN = 320  # pixels, about, at which a small image is shown
MOST = 20  # places along an edge that are told apart
TOP = 3  # classes named at a place
NO_PLACES = "none of the layers that the reference compares has places, so there is only the answer to the whole image"
BY_GRADIENT, BY_HEAD = "activation times gradient", "the linear map from the layer to the answers, fitted on training items"


@dataclass(frozen=True)
class Patch:
    """A piece of another image that is pasted. media: that image. box: left, top, width, height of the piece; at: left, top of where it
    goes. All in shares of the image, from 0 to 1."""

    media: Media | str
    box: tuple[float, float, float, float]
    at: tuple[float, float]


@dataclass(frozen=True)
class Pasted:
    """What a patch did. shares: (m,) probability of each class afterwards. picture: encoded."""

    shares: Array
    picture: bytes = field(repr=False)


@dataclass(frozen=True)
class ImageGrid:
    """One image, place by place.

    classes: names, (m,). shares: (m,) probability of each. layer: the one looked at; "" if none has places. how: what the evidence is.
    evidence: (m, h, w) how much each place speaks for each class. boxes: (h, w, 4) what each place sees: top, left, bottom, right, in
    shares of the image. vectors: (h, w, d) activations. picture: as the model sees it, encoded. notes: what there is instead of what was
    asked for.
    """

    classes: tuple[str, ...]
    shares: Array
    layer: str
    how: str
    evidence: Array
    boxes: Array
    vectors: Array = field(repr=False)
    picture: bytes = field(repr=False)
    pasted: Pasted | None
    notes: tuple[str, ...]

    def nearest(self, means: Array, middle: Array) -> tuple[Array, Array]:
        """The cell of an atlas in whose direction each place's activation points most, and the cosine: (h * w,) each, row by row.

        means: (c, d) of the cells. middle: (d,) mean of all items.
        """
        return nearest_cells(self.vectors.reshape(-1, self.vectors.shape[-1]), means, middle)

    def write_picture(self, path: Path) -> None:
        """Write what the model saw last, with the piece if there is one, as a PNG. Raises OutputError."""
        try:
            path.write_bytes(self.picture if self.pasted is None else self.pasted.picture)
        except OSError as error:
            raise OutputError(f"{path}: the picture cannot be written ({error.strerror}); name a file in a folder that is there") from error

    def summary(self) -> dict[str, Any]:
        """The figures as plain values: the answer, what each place speaks for most, and the answer after pasting."""
        top = np.argsort(-self.evidence, axis=0, kind="stable")[:TOP]
        places = [
            [[{"class": self.classes[kind], "evidence": float(self.evidence[kind, row, column])} for kind in top[:, row, column]]
             for column in range(self.evidence.shape[2])]
            for row in range(self.evidence.shape[1])
        ]  # fmt: skip
        named = dict(zip(self.classes, self.shares.tolist(), strict=True))
        after = None if self.pasted is None else dict(zip(self.classes, self.pasted.shares.tolist(), strict=True))
        return {"answer": named, "layer": self.layer, "how": self.how, "places": places, "pasted": after, "notes": list(self.notes)}


def look_at_image(
    reference: Reference,
    image: Media | str,
    layer: str = "",
    *,
    patch: Patch | None = None,
    model: Model | ModelSpec | Path | str | None = None,
    settings: Settings | None = None,
) -> ImageGrid:
    """What each place of an image does, in a layer that the reference compares; and what a patch on it changes.

    image: a file, its bytes, or an array (H, W[, C]) uint8. layer: by default the last that has places. The evidence of a torch model is
    activation times gradient; of an ONNX one, which gives no gradients, the layer's linear map to the answers.
    Raises SettingError for a layer that the reference does not compare or a box outside of the image, DataError if the model takes no
    images, MediaError, ModelError, MismatchError.
    """
    settings = settings or reference.settings
    opened = reference.open_model(model, settings)
    taken, space = opened.spec.input, reference.space
    if taken.kind != "image":
        raise DataError(f"{opened.spec.path}: takes rows of numbers, which have no places; look at an image model")
    loaded = load(_media(image), taken, settings.max_pixels, _named(image, "the image"))
    whole = opened.run_whole(loaded.tensor[None])
    place, notes = _place(opened, whole.layers, layer)
    shares = _shares(whole.logits[0], space.multiple)
    pasted = None
    if patch is not None:
        pixels = _pasted(
            loaded.content, load(_media(patch.media), taken, settings.max_pixels, _named(patch.media, "the patch's image")).content, patch
        )
        tensor = load(pixels.squeeze(), taken, settings.max_pixels, "the pasted image").tensor
        pasted = Pasted(_shares(opened.run(tensor[None]).logits[0], space.multiple), _encoded(pixels))
    nothing = np.zeros((len(shares), 0, 0))
    found = ImageGrid(
        space.classes, shares, "", "", nothing, np.zeros((0, 0, 4)), np.zeros((0, 0, 0)), _encoded(loaded.content), pasted, notes
    )
    if place is None:
        return found
    vectors = as_map(whole.layers[place])
    assert vectors is not None
    evidence, how = _evidence(reference, opened, loaded.tensor[None], place, vectors)
    boxes = boxes_of(opened, place)
    evidence, boxes, vectors = _coarser(evidence, boxes, vectors[0])
    return ImageGrid(
        space.classes,
        shares,
        opened.layers[place],
        how,
        evidence,
        boxes,
        np.moveaxis(vectors, 0, -1),
        found.picture,
        pasted,
        (*notes, *(["This model gives no gradients, so the evidence is that of " + BY_HEAD + "."] if how == BY_HEAD else [])),
    )


def _media(given: Media | str) -> Media:
    return Path(given) if isinstance(given, str) else given


def _named(given: Media | str, otherwise: str) -> str:
    """What to call an image in errors."""
    return str(given) if isinstance(given, Path | str) else otherwise


def _place(model: Model, layers: Sequence[Array], wanted: str) -> tuple[int | None, tuple[str, ...]]:
    """The layer to look at, by its place in the model's list; None with the reason if none has places."""
    placed = [place for place, layer in enumerate(layers) if as_map(layer) is not None]
    if wanted:
        if wanted not in model.layers:
            raise SettingError(f"layer: {wanted!r} is none that the reference compares: {', '.join(model.layers)}")
        if model.layers.index(wanted) not in placed:
            return None, (f"{wanted} has no places: it sees the whole image.",)
        return model.layers.index(wanted), ()
    if not placed:
        return None, (f"{model.spec.path.name}: {NO_PLACES}.",)
    return placed[-1], ()  # the deciding layer stands first, then the others in the order in which they are computed


def _evidence(reference: Reference, model: Model, batch: Array, place: int, vectors: Array) -> tuple[Array, str]:
    """(m, h, w), and how it was found. vectors: (1, d, h, w)."""
    if has_gradients(model):
        from annotriage.model.torch_evidence import evidence

        found = as_map(evidence(model, batch, place))
        if found is not None:
            return _both_of_two(found[0], len(reference.space.classes)), BY_GRADIENT
    kept = reference.sample.full_activations()[place]
    means = kept[:, : vectors.shape[1]]  # of a further layer the deviations follow
    head = fit_head(means, reference.sample.logits)
    away = vectors[0] - means.mean(axis=0)[:, None, None]
    return np.einsum("dm,dhw->mhw", head.weights, away) / (vectors.shape[2] * vectors.shape[3]), BY_HEAD


def _both_of_two(evidence: Array, classes: int) -> Array:
    """Of a model with one output for two classes, what speaks for the second speaks against the first."""
    return np.concatenate([-evidence, evidence]) if len(evidence) == 1 and classes == 2 else evidence


def _coarser(evidence: Array, boxes: Array, vectors: Array) -> tuple[Array, Array, Array]:
    """Of a map with more than MOST places along an edge blocks of them: their evidence added up, what they see together, their mean."""
    step = math.ceil(max(vectors.shape[1:]) / MOST)
    if step == 1:
        return evidence, boxes, vectors
    starts = [np.arange(0, size, step) for size in vectors.shape[1:]]

    def blocks(values: Array, reduce: np.ufunc, rows: int, columns: int) -> Array:
        return np.asarray(reduce.reduceat(reduce.reduceat(values, starts[0], axis=rows), starts[1], axis=columns))

    together = [blocks(boxes[..., edge], np.minimum if edge < 2 else np.maximum, 0, 1) for edge in range(4)]
    counts = blocks(np.ones(vectors.shape[1:]), np.add, 0, 1)
    return blocks(evidence, np.add, 1, 2), np.stack(together, axis=-1), blocks(vectors, np.add, 1, 2) / counts


def _pasted(onto: Array, source: Array, patch: Patch) -> Array:
    """(H, W, C) uint8 with the piece in it. Raises SettingError if nothing of it lies in the image."""
    height, width = onto.shape[:2]
    left, top, wide, high = patch.box
    if not (0 <= left < 1 and 0 <= top < 1 and wide > 0 and high > 0 and left + wide <= 1 + 1e-9 and top + high <= 1 + 1e-9):
        raise SettingError(f"box: {patch.box} does not lie in the image; give left, top, width and height as shares from 0 to 1")
    if not all(0 <= share < 1 for share in patch.at):
        raise SettingError(f"at: {patch.at} does not lie in the image; give left and top as shares from 0 to 1")
    size = max(1, round(high * height)), max(1, round(wide * width))
    start = min(round(top * height), height - 1), min(round(left * width), width - 1)
    piece = source[start[0] : start[0] + size[0], start[1] : start[1] + size[1]]
    down, across = min(round(patch.at[1] * height), height - 1), min(round(patch.at[0] * width), width - 1)
    made = onto.copy()
    room = made[down : down + piece.shape[0], across : across + piece.shape[1]]
    room[...] = piece[: room.shape[0], : room.shape[1]]
    return made


def _shares(logits: Array, multiple: bool) -> Array:
    return np.asarray(expit(logits) if multiple else softmax(logits), dtype=np.float64)


def _encoded(pixels: Array) -> bytes:
    """A PNG; a small image is enlarged by a whole factor, so that its pixels can be seen."""
    factor = max(1, SHOWN // max(pixels.shape[:2]))
    image = Image.fromarray(np.repeat(np.repeat(pixels, factor, axis=0), factor, axis=1).squeeze())
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()
