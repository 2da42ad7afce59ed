"""Duplicates: items that are in a dataset twice, or in two that must not share any.

Exact ones show the model the same content. Near ones lie, in the space of the map, within the distance of lightly changed copies, which are
made of items of the data itself: brighter or darker by 5%, with noise of 2%, recompressed, and large pictures shrunk by a tenth. Pictures
are near, too, whose fingerprints differ by no more bits than those of such copies do, unless the model sees them as far apart as
different items usually are.
"""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from threadpoolctl import threadpool_limits

from annotriage.advice import twin_words
from annotriage.data import Item, Source, open_dataset
from annotriage.engine.collecting import CONTENTS, Collected
from annotriage.engine.kept_rows import blocks, let_go
from annotriage.engine.reference import Reference
from annotriage.engine.sampling import SeededSample
from annotriage.errors import DataError
from annotriage.latent.detector import Detector
from annotriage.model import Model, Outputs
from annotriage.model.inputs import content_hash
from annotriage.model.spec import ModelSpec
from annotriage.model.stream import stream
from annotriage.progress import Progress, silent
from annotriage.quality.fingerprints import difference_hash
from annotriage.quality.twins import COPIES_WITHIN, NONE, USUAL_PART, near_threshold, nearest_among, nearest_earlier
from annotriage.settings import ServiceSettings, Settings

Array = NDArray[Any]
Nearest = tuple[Array, Array]  # indices and distances, as of quality.twins

BRIGHTNESS, NOISE, QUALITY, SHRUNK = 0.05, 0.02, 90, 0.9
LARGE = 64  # pixels of the shorter side, from which a picture is also shrunk
USUAL_OF = 2_000  # items, at most, that tell how far apart items usually are
DATA, AGAINST = "data", "against"


@dataclass(frozen=True)
class Twin:
    """An item and its nearest twin. set: "data", where the twin stands before it, or "against". kind: "exact" | "near"."""

    id: str
    twin: str
    set: str
    distance: float
    kind: str


@dataclass(frozen=True)
class Duplicates:
    """What appears twice.

    threshold: the distance within which items are near twins; usual: the median distance of an item to the nearest other one.
    twins: in the order of the data; one of each set at most for an item. bits: of 64, by which the fingerprints of near pictures may
    differ, None without pictures.
    """

    dataset: str
    against: str | None
    reference: str
    version: str
    items: int
    against_items: int
    failed: int
    threshold: float
    usual: float
    bits: int | None
    twins: tuple[Twin, ...]
    notes: tuple[str, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found, and how it was told, in sentences."""
        within, between = (Counter(twin.kind for twin in self.twins if twin.set == which) for which in (DATA, AGAINST))
        told = [twin_words.within_sentence(self.items, within["exact"], within["near"])]
        if self.against is not None:
            told.append(twin_words.between_sentence(self.items, between["exact"], between["near"], self.against))
        return (*told, twin_words.threshold_sentence(self.threshold, self.usual, self.threshold >= USUAL_PART * self.usual))

    def summary(self) -> dict[str, Any]:
        """The figures as plain values."""
        return {name: value for name, value in asdict(self).items() if name != "twins"} | {
            "counts": {which: dict(Counter(twin.kind for twin in self.twins if twin.set == which)) for which in (DATA, AGAINST)},
            "sentences": list(self.sentences),
        }


@dataclass(frozen=True)
class _Points:
    """A dataset as points: ids, content hashes, (N, n) compressed points, the contents of a seeded sample by row, and fingerprints
    (N, 64), None where not all are pictures."""

    name: str
    ids: list[str]
    hashes: list[str]
    points: Array
    contents: dict[int, Array]
    failures: list[str]
    prints: Array | None


@dataclass(frozen=True)
class Nearness:
    """What makes two items near twins. distance: of their points. bits: by which their fingerprints may differ, None without pictures;
    far: the distance of points beyond which they are no twins, whatever the pictures say."""

    distance: float
    bits: int | None
    far: float


def duplicates(
    reference: Reference,
    data: Source,
    against: Source | None = None,
    *,
    model: Model | ModelSpec | Path | str | None = None,
    settings: Settings | None = None,
    labeling_config: Path | None = None,
    server: ServiceSettings | None = None,
    progress: Progress = silent,
) -> Duplicates:
    """Find items that are in a dataset twice, exactly or nearly, and items that another dataset has, too.

    against: what data should share nothing with, as the training set with held-out items. model, labeling_config, server: as of
    `triage`. Takes the time of one exact pass over all pairs. Raises DataError if no item can be read; a broken item is counted and
    left out.
    """
    settings = settings or reference.settings
    model = reference.open_model(model, settings)

    def pointed(source: Source) -> _Points:
        dataset = open_dataset(source, labeling_config=labeling_config, classes=reference.space.classes, server=server)
        return _pointed(reference, model, dataset, settings, progress)

    mine = pointed(data)
    others = None if against is None else pointed(against)
    with progress("comparing items", None):
        earlier, distance = nearest_earlier(mine.points)
        between = None if others is None else nearest_among(mine.points, others.points)
        threshold = twin_threshold(partial(compressed, reference.detector), model, mine.contents, distance, settings)
        usual = distance[np.isfinite(distance)]
        by_print = None if mine.prints is None else nearest_earlier(mine.prints)
        bits = None if by_print is None else print_threshold(mine.contents, by_print[1], settings)
        near = Nearness(threshold, bits, float(np.median(usual)) if len(usual) else 0.0)
        within = near_rows(mine.points, mine.points, (earlier, distance), by_print, near)
        if others is not None and between is not None:
            across = None if mine.prints is None or others.prints is None else nearest_among(mine.prints, others.prints)
            beyond = near_rows(mine.points, others.points, between, across, near)
    known: dict[str, int] = {}
    theirs = {} if others is None else {content: row for row, content in reversed(list(enumerate(others.hashes)))}
    found: list[Twin] = []
    for row, content in enumerate(mine.hashes):
        found += _twin(mine, row, mine, known.setdefault(content, row), within, DATA)
        if others is not None:
            found += _twin(mine, row, others, theirs.get(content, NONE), beyond, AGAINST)
    failures = [*mine.failures, *([] if others is None else others.failures)]
    return Duplicates(
        dataset=mine.name,
        against=None if others is None else others.name,
        reference=reference.name,
        version=reference.version,
        items=len(mine.ids),
        against_items=0 if others is None else len(others.ids),
        failed=len(failures),
        threshold=threshold,
        usual=float(np.median(usual)) if len(usual) else float("nan"),
        bits=bits,
        twins=tuple(found),
        notes=(twin_words.failed_sentence(failures),) if failures else (),
    )


def near_twins(detector: Detector, model: Model, trained: Collected, held_out: Collected, settings: Settings) -> list[tuple[str, str]]:
    """Held-out items that are near twins of training items: (held-out id, training id), the nearest first."""
    points = np.concatenate([part for _, part in _placed(detector, held_out)])
    index, distance = np.full(len(points), NONE, dtype=np.intp), np.full(len(points), np.inf)
    for some, others in _placed(detector, trained):
        among, apart = nearest_among(points, others)
        nearer = apart < distance
        index[nearer], distance[nearer] = some.start + among[nearer], apart[nearer]
    threshold = twin_threshold(partial(compressed, detector), model, held_out.contents, distance, settings)
    close = np.flatnonzero(distance <= threshold)
    return [(held_out.ids[row], trained.ids[index[row]]) for row in close[np.argsort(distance[close], kind="stable")]]


def _placed(detector: Detector, collected: Collected) -> Iterator[tuple[slice, Array]]:
    """The points of items in the space of the map, block by block: which rows, and (n, d)."""
    for some in blocks(len(collected.ids)):
        yield some, detector.placed([layer[some] for layer in collected.activations])
        for layer in collected.activations:
            let_go(layer)


def have_near_twins(
    points: Array,
    others: Array,
    apart: Array,
    contents: Mapping[int, Array],
    place: Callable[[Outputs], Array],
    model: Model,
    settings: Settings,
) -> Array:
    """Which of (N, d) points have a near twin among (M, d) others: (N,) bool.

    apart: (k, d) points that the others should share nothing with: how far they lie from each other is usual. contents, place: of the
    others, as of `twin_threshold`.
    """
    usual = nearest_among(others[:: math.ceil(len(others) / USUAL_OF)], apart)[1]
    return np.asarray(nearest_among(points, others)[1] <= twin_threshold(place, model, contents, usual, settings))


def _twin(mine: _Points, row: int, others: _Points, same: int, near: tuple[Array, Array, Array], which: str) -> Iterator[Twin]:
    """The twin of an item in one set, if it has one. same: row of the same content; near: as `near_rows` gives it."""
    index, distance, close = (part[row] for part in near)
    if same != NONE and not (which == DATA and same == row):
        yield Twin(mine.ids[row], others.ids[same], which, 0.0, "exact")
    elif index != NONE and close:
        yield Twin(mine.ids[row], others.ids[index], which, float(distance), "near")


def _pointed(reference: Reference, model: Model, dataset: Any, settings: Settings, progress: Progress) -> _Points:
    ids: list[str] = []
    hashes: list[str] = []
    points: list[Array] = []
    failures: list[str] = []
    prints: list[Array] = []
    contents: SeededSample[tuple[int, Array]] = SeededSample(CONTENTS, settings.seed, "contents")
    with progress(f"items of {dataset.name}", dataset.count) as advance, threadpool_limits(1, user_api="blas"):
        for batch in stream(model, dataset, settings):
            failures += batch.failures
            for row, loaded in zip(batch.rows, batch.loaded, strict=True):
                contents.offer(batch.items[row].id, partial(_numbered, len(ids), loaded.content))
                ids.append(batch.items[row].id)
                hashes.append(content_hash(loaded))
                if is_picture(loaded.content):
                    prints.append(difference_hash(loaded.content))
            if batch.outputs is not None:
                points.append(compressed(reference.detector, batch.outputs).astype(np.float32))
            advance(len(batch.items))
    if not points:
        why = f": {failures[0]}" if failures else ""
        raise DataError(f"{dataset.name}: no item could be read, so there is nothing to compare{why}")
    pictured = np.stack(prints) if len(prints) == len(ids) else None
    return _Points(dataset.name, ids, hashes, np.concatenate(points), dict(contents.values()), failures, pictured)


def near_rows(points: Array, others: Array, nearest: Nearest, by_print: Nearest | None, near: Nearness) -> tuple[Array, Array, Array]:
    """For each of (N, n) points its nearest among others, its distance, and whether that makes it a near twin: (N,) each.

    nearest: by points; by_print: by fingerprints, None without pictures: whoever has no near twin by the first may have one by these.
    """
    index, distance = (part.copy() for part in nearest)
    close = distance <= near.distance
    if by_print is not None and near.bits is not None:
        for row in np.flatnonzero(~close & (np.square(by_print[1]) <= near.bits + 0.5)):
            apart = float(np.linalg.norm(points[row] - others[by_print[0][row]]))
            if apart <= near.far:
                index[row], distance[row], close[row] = by_print[0][row], apart, True
    return index, distance, close


def nearness_of(reference: Reference, model: Model, settings: Settings) -> Nearness:
    """What makes items near twins by what a reference keeps of its training items, whose small pictures are copied.

    Without pictures only what the model cannot tell apart is a twin.
    """
    sample, size = reference.sample, min(CONTENTS, len(reference.sample.ids))
    pictures = {row: content for row in range(size) if (content := _kept_picture(sample.thumbnail(row), model.spec.input.mode)) is not None}
    points = sample.compressed.astype(np.float32)
    apart = nearest_earlier(points[:USUAL_OF])[1]
    usual = apart[np.isfinite(apart)]
    threshold = twin_threshold(partial(compressed, reference.detector), model, pictures, usual, settings)
    prints = np.stack([difference_hash(content) for content in pictures.values()]) if pictures else None
    bits = None if prints is None else print_threshold(pictures, nearest_earlier(prints)[1], settings)
    return Nearness(threshold, bits, float(np.median(usual)) if len(usual) else 0.0)


def _kept_picture(encoded: bytes, mode: str) -> Array | None:
    """A small picture as the model's kind of input, (H, W, C) uint8; None if there is none."""
    if not encoded:
        return None
    pixels = np.asarray(Image.open(io.BytesIO(encoded)).convert(mode))
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _numbered(row: int, content: Array) -> tuple[int, Array]:
    return row, content


def compressed(detector: Detector, outputs: Outputs) -> Array:
    """What the model makes of n items, in the space of the map: (n, d)."""
    return detector.placed(outputs.activations)


def twin_threshold(
    place: Callable[[Outputs], Array], model: Model, contents: Mapping[int, Array], usual: Array, settings: Settings
) -> float:
    """The distance within which two items are near twins: that of lightly changed copies, at most half of the usual one.

    place: what the model makes of n items -> their points, (n, d), in the space of the distances. contents: of the items to copy, as of
    `Collected`; without any the distance is 0. usual: (N,) distances of items to the nearest other one, most of which are no twins.
    """
    originals = list(contents.values())
    if not originals:  # of some of the items the sample may hold none
        return 0.0
    copies = [copy for content in originals for copy in light_copies(content, np.random.default_rng(settings.seed))]
    each = len(copies) // len(originals)
    items = [Item(str(place), content) for place, content in enumerate([*originals, *copies])]
    points = []
    for batch in stream(model, items, settings):
        if batch.outputs is None or len(batch.rows) < len(batch.items):
            return 0.0  # a model that cannot take its own inputs back tells nothing of copies
        points.append(place(batch.outputs))
    placed = np.concatenate(points)
    before, after = placed[: len(originals)], placed[len(originals) :]
    return near_threshold(np.linalg.norm(after - np.repeat(before, each, axis=0), axis=1), usual)


def print_threshold(contents: Mapping[int, Array], usual: Array, settings: Settings) -> int | None:
    """By how many bits the fingerprints of near twins may differ: as those of lightly changed copies do.

    None where that tells nothing: copies differ by more than half of what is usual, as of pictures of a few pixels, or of which all look
    alike; there are none, or one is no picture. contents: of the items to copy. usual: (N,) distances of fingerprints to the nearest.
    """
    originals = list(contents.values())
    if not originals or not all(map(is_picture, originals)):
        return None
    changed = [
        float(np.abs(difference_hash(copy) - difference_hash(content)).sum())
        for content in originals
        for copy in light_copies(content, np.random.default_rng(settings.seed))
    ]
    within, known = float(np.quantile(changed, COPIES_WITHIN)), usual[np.isfinite(usual)]
    return int(within) if len(known) and within <= USUAL_PART * float(np.median(np.square(known))) else None


def is_picture(content: Array) -> bool:
    """Whether what the model sees of an item is a picture: (H, W, C) uint8."""
    return content.dtype == np.uint8 and content.ndim == 3


def light_copies(content: Array, rng: np.random.Generator) -> Sequence[Array]:
    """An item as it might come back from another export: (H, W, C) uint8 pixels, or a row of numbers, which gets noise alone."""
    if not is_picture(content):
        spread = NOISE * max(float(np.std(content)), 1e-12)
        return [(content + rng.normal(0, spread, content.shape)).astype(content.dtype)]
    pixels = content.astype(np.float32)
    copies = [
        _pixels(pixels * (1 + BRIGHTNESS)),
        _pixels(pixels * (1 - BRIGHTNESS)),
        _pixels(pixels + rng.normal(0, NOISE * 255, pixels.shape)),
        _recompressed(content),
    ]
    return [*copies, _shrunk(content)] if min(content.shape[:2]) >= LARGE else copies


def _pixels(values: Array) -> Array:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _picture(content: Array) -> Image.Image:
    return Image.fromarray(content[:, :, 0] if content.shape[2] == 1 else content)


def _recompressed(content: Array) -> Array:
    stream = io.BytesIO()
    _picture(content).save(stream, "JPEG", quality=QUALITY)
    return np.asarray(Image.open(stream)).reshape(content.shape)


def _shrunk(content: Array) -> Array:
    picture = _picture(content)
    small = picture.resize((round(SHRUNK * picture.width), round(SHRUNK * picture.height)), Image.Resampling.BILINEAR)
    return np.asarray(small.resize(picture.size, Image.Resampling.BILINEAR)).reshape(content.shape)
