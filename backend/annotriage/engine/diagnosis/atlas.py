"""The atlas of a dataset: what a layer makes of its items, laid out in the plane, cell by cell, with the strange ones drawn in."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.data import Source, open_dataset
from annotriage.diagnosis.atlas.cells import SIDES, Cell, cells_of, unit_square
from annotriage.diagnosis.atlas.classes import class_places, class_similarity
from annotriage.diagnosis.atlas.head import fit_head
from annotriage.diagnosis.view import UNLABELLED, View
from annotriage.engine.diagnosis.attribution import AttributionGraph
from annotriage.engine.diagnosis.banks import bank_or_note
from annotriage.engine.diagnosis.inside import LOGITS, NO_CLASS, Cut, Inside, look_through
from annotriage.engine.diagnosis.sample import method_named
from annotriage.engine.diagnosis.widened import AT_PLACE, EVIDENCE, Widened, gives_gradients, map_shapes
from annotriage.engine.kept_rows import blocks, taken
from annotriage.engine.labels import LabelSpace
from annotriage.engine.reference import Reference, confidence_logits
from annotriage.errors import DataError, SettingError
from annotriage.guarantee.gate import miss_probability
from annotriage.latent.compression import Compression, fit_compression
from annotriage.latent.maps import fit_map, place
from annotriage.model import Model, Outputs, candidate_layers, load_model
from annotriage.model.inputs import Loaded, thumbnail
from annotriage.model.receptive import boxes_of
from annotriage.model.spec import ModelSpec
from annotriage.progress import Progress, silent
from annotriage.settings import ServiceSettings, Settings

Array = NDArray[Any]

POOLED, RANDOM = "pooled", "random"  # what of a feature map stands for an item
FEWEST = 10  # usual items from which an atlas can be drawn
LAID = 100_000  # points of which a layout is made; of more the others are put among them
COMPRESSED = 50  # principal components that the layout starts from


@dataclass(frozen=True)
class LayerAtlas:
    """One layer's plane. places: (N, 2) of all items in the unit square, from the upper left; strange ones among their nearest usual ones.

    levels: the cells for each number of cells along an edge. similarity: (m, m) of classes. class_places: (m, 2), NaN of a class without
    items. explained: share of the model's answers that is linear in this layer. middle: (d,) mean
    activation of the usual items. patches: (N,) what each item's place sees of its picture,
    where one place stands for each item. gradients: whether the evidence of cells is that of the model's gradients.
    """

    name: str
    places: Array
    levels: dict[int, list[Cell]]
    similarity: Array
    class_places: Array
    explained: float
    middle: Array
    patches: Sequence[bytes] = ()
    gradients: bool = False


@dataclass(frozen=True)
class Atlas:
    """The atlas of a dataset. inside: its items. sure: (N,) probability of the model's answer. seconds: reading and running, laying out,
    and the rest. graph: the attribution graph of a class, where one was asked for. bank: the sampler whose choice cells list first, None
    where they list what is nearest to their mean.
    """

    inside: Inside = field(repr=False)
    sure: Array = field(repr=False)
    reference: str
    model: str
    space: LabelSpace = field(repr=False)
    layers: tuple[LayerAtlas, ...]
    seconds: dict[str, float]
    graph: AttributionGraph | None = None
    bank: str | None = None

    def summary(self) -> dict[str, Any]:
        """The figures as plain values."""
        inside = self.inside
        return {
            "dataset": inside.dataset,
            "reference": self.reference,
            "model": self.model,
            "items": len(inside.ids),
            "strange": int(inside.strange.sum()),
            "layers": [
                {
                    "name": layer.name,
                    "explained": layer.explained,
                    "cells": {str(side): len(cells) for side, cells in layer.levels.items()},
                }
                for layer in self.layers
            ],
            "seconds": self.seconds,
            "notes": list(inside.notes),
            **({} if self.graph is None else {"graph": self.graph.summary()}),
        }


def atlas(
    reference: Reference,
    data: Source,
    layers: Sequence[str] = (),
    *,
    places: str = POOLED,
    bank: str | None = None,
    model: ModelSpec | Path | str | None = None,
    settings: Settings | None = None,
    labeling_config: Path | None = None,
    server: ServiceSettings | None = None,
    progress: Progress = silent,
) -> Atlas:
    """Lay a dataset out as a layer of the model sees it.

    layers: names, as `annotriage layers` lists them; by default the reference's deciding one. places: of a feature map, "pooled" takes
    the mean of each channel, so that whole images lie together; "random" takes one place of each image, so that patches do. The plane is
    made of the usual items alone (by the setting map: UMAP by default), and outliers are drawn in where their nearest usual items lie.
    bank: a sampler, such as "max-margin"; the items of a cell that it chose are listed first, those nearest to a boundary between classes
    at the top, by default, and where the data do not allow the sampler, those nearest to the cell's mean. More items than the setting
    map_sample are sampled. The rest as of
    `annotriage.triage`.
    Source: Carter et al., Activation Atlases, 2019; the classes' sidebar: Hohman et al., Summit, 2019.
    What a cell speaks for is activation times gradient of a torch model; of an ONNX one, which gives no gradients, that of the layer's
    linear map to the answers.
    Raises DataError with fewer than ten usual items, SettingError, ModelError for a layer that is none, MismatchError.
    """
    if places not in (POOLED, RANDOM):
        raise SettingError(f"places: {places!r} is none of {POOLED}, {RANDOM}")
    if bank is not None:
        method_named(bank)  # before hours of reading
    settings = settings or reference.settings
    started = time.perf_counter()
    dataset = open_dataset(data, labeling_config=labeling_config, classes=reference.space.classes, server=server)
    opened = reference.open_model(model, settings)
    wanted = list(dict.fromkeys(layers)) or [opened.layers[0]]
    opened = opened_with(opened, wanted, settings)
    known = len(reference.model.layers)

    def strange(outputs: Outputs) -> Array:
        return reference.judge(Outputs(outputs.logits, outputs.activations[:known])).outlier

    shapes = map_shapes(opened) if places == RANDOM else {}
    placed = [name for name in wanted if name in shapes]
    earlier = [name for name in wanted if name != opened.layers[0]] if gives_gradients(opened) else []  # the last is linear anyway
    inside = look_through(
        Widened(opened, placed, settings.seed, evidence=earlier) if placed or earlier else opened,
        reference.space,
        dataset,
        settings,
        pictures=True,
        strange=strange,
        cut=_cut(opened, placed, settings.thumbnail) if placed and opened.spec.input.kind == "image" else None,
        most=settings.map_sample,
        progress=progress,
    )
    if places == RANDOM and len(placed) < len(wanted):
        others = ", ".join(name for name in wanted if name not in placed)
        inside = inside.noted(f"{others} has no places, so the whole item is drawn.")
    usual = np.flatnonzero(~inside.strange)
    if len(usual) < FEWEST:
        few = f"{len(usual)} of its {len(inside.ids):,} items are usual"
        raise DataError(f"{inside.dataset}: {few}, too few to draw an atlas from; give at least {FEWEST}")
    seconds = {"reading and running": time.perf_counter() - started, "laying out": 0.0, "the rest": 0.0}
    banked, note = (None, "") if bank is None else bank_or_note(_for_bank(inside.view, usual, settings.seed), bank, settings.seed)
    inside = inside.noted(note) if note else inside
    found = []
    with progress("drawing the atlas", len(wanted)) as advance:
        for name in wanted:
            found.append(_layer(inside, name, usual, settings, seconds, placed=placed, banked=banked))
            advance(1)
    if len(usual) > LAID and _method(settings) != "pca":
        inside = inside.noted(f"{LAID:,} items, drawn at random, were laid out; the others were put where their nearest ones of these lie.")
    sure = 1 - miss_probability(confidence_logits(inside.layers[-1], reference.space))
    drawn_by = None if banked is None else bank
    return Atlas(inside, sure, reference.name, reference.model.name, reference.space, tuple(found), seconds, bank=drawn_by)


@dataclass(frozen=True)
class Fallen:
    """An outlier to be drawn into the atlas of a reference, without what the model takes it for. point: (n,) compressed."""

    id: str
    point: Array
    picture: bytes


def training_atlas(
    reference: Reference,
    dataset: str,
    fallen: Sequence[Fallen],
    settings: Settings,
    *,
    further: bool = False,
    bank: str | None = None,
    progress: Progress = silent,
) -> Atlas:
    """The atlas of the training items that a reference keeps (at most 4,000), in its deciding layer, with outliers drawn in.

    Runs no model: for those who have a reference and verdicts alone, as the service has. dataset: what to call the outliers' source.
    further: lay out the other layers that the reference compares, too, in the order in which the model computes them; of outliers only
    the deciding layer is known, so they have no place (NaN) in the others. bank: as of `atlas`. Raises DataError if the reference keeps
    fewer than ten items.
    """
    started = time.perf_counter()
    sample, space = reference.sample, reference.space
    count = len(sample.logits)
    if count < FEWEST:
        raise DataError(f"reference {reference.name!r} keeps {count} training items, too few to draw an atlas from; fit it again")
    latent, *others = sample.full_activations()
    predicted = [space.index(answer) for answer in space.predicted(sample.logits)]
    unknown = np.full((len(fallen), latent.shape[1]), np.nan)
    view = View(
        np.concatenate([latent, unknown]),
        np.array([*predicted, *(UNLABELLED for _ in fallen)], dtype=np.intp),
        np.concatenate([sample.label_index, np.full(len(fallen), UNLABELLED)]).astype(np.intp),
        len(space.names),
    )
    inside = Inside(
        dataset,
        (*space.names, NO_CLASS),
        (*sample.ids[:count], *(item.id for item in fallen)),
        (*sample.ids[:count], *(item.id for item in fallen)),
        view,
        (view.latent, np.concatenate([sample.logits, np.full((len(fallen), sample.logits.shape[1]), np.nan)])),
        (reference.model.layers[0], LOGITS),
        (False, False),
        (*(sample.thumbnail(place) for place in range(count)), *(item.picture for item in fallen)),
        np.arange(count + len(fallen)) >= count,
        count + len(fallen),
        (),
        (f"Cells are made of {count:,} training items; the strange ones are those of {dataset} that wait for a person.",),
    )
    if further:
        inside = _with_further(inside, reference, others, len(fallen))
    seconds = {"reading and running": 0.0, "laying out": 0.0, "the rest": time.perf_counter() - started}
    usual, layers = np.arange(count), []
    banked, note = bank_or_note(view.rows(usual), bank, settings.seed)
    inside = inside.noted(note) if note else inside
    with progress("drawing the atlas", len(inside.layer_names) - 1) as advance:
        for name in inside.layer_names[:-2]:
            layers.append(_layer(inside, name, usual, settings, seconds, drawn_in=False, banked=banked))
            advance(1)
        started = time.perf_counter()
        points = sample.compressed[:count].astype(np.float32)
        laid = _laid(points, settings)
        places = np.empty((0, 2)) if not fallen else place(np.stack([item.point for item in fallen]), points, laid)
        seconds["laying out"] += time.perf_counter() - started
        layers.append(_drawn(inside, reference.model.layers[0], usual, view.latent[:count], laid, places, banked=banked))
    sure = np.append(1 - miss_probability(confidence_logits(sample.logits, space)), [np.nan for _ in fallen])
    drawn_by = None if banked is None else bank
    return Atlas(inside, sure, reference.name, reference.model.name, space, tuple(layers), seconds, bank=drawn_by)


def _with_further(inside: Inside, reference: Reference, layers: Sequence[Array], fallen: int) -> Inside:
    """With the other layers that a reference compares before its deciding one; of a feature map the mean of each channel."""
    ranks = {layer.name: len(layer.shape) for layer in candidate_layers(ModelSpec.load(reference.spec_path or ""))}
    names = reference.model.layers[1:]
    maps = tuple(ranks.get(name, 1) > 1 for name in names)
    means = [layer[:, : layer.shape[1] // 2] if is_map else layer for layer, is_map in zip(layers, maps, strict=True)]
    padded = (np.concatenate([mean, np.full((fallen, mean.shape[1]), np.nan, mean.dtype)]) for mean in means)
    return replace(inside, layers=(*padded, *inside.layers), layer_names=(*names, *inside.layer_names), maps=(*maps, *inside.maps))


def opened_with(model: Model, wanted: Sequence[str], settings: Settings) -> Model:
    """The model with the further layers that are asked for, after those that the reference compares."""
    missing = tuple(name for name in wanted if name not in model.layers)
    return load_model(replace(model.spec, layer=(*model.layers, *missing)), settings.device) if missing else model


def _layer(
    inside: Inside,
    name: str,
    usual: Array,
    settings: Settings,
    seconds: dict[str, float],
    *,
    drawn_in: bool = True,
    placed: Sequence[str] = (),
    banked: Array | None = None,
) -> LayerAtlas:
    """drawn_in: whether it is known what the layer makes of strange items. placed: layers of which one place stands for each item.
    banked: the places of the usual items in a bank."""
    started = time.perf_counter()
    activations = _activations(inside, name, placed)
    of_usual = taken(activations, usual)
    compression, points = _compressed(of_usual, settings.seed)
    seconds["the rest"] += time.perf_counter() - started
    started = time.perf_counter()
    laid = _laid(points, settings)
    seconds["laying out"] += time.perf_counter() - started
    started = time.perf_counter()
    unknown = np.full((int(inside.strange.sum()), 2), np.nan)
    if drawn_in:
        some = _some(len(points), settings.seed)
        fallen = place(_through(compression, activations, np.flatnonzero(inside.strange)), points[some], laid[some])
    else:
        fallen = unknown
    drawn = _drawn(inside, name, usual, of_usual, laid, fallen, placed, banked)
    seconds["the rest"] += time.perf_counter() - started
    return drawn


def _compressed(activations: Array, seed: int) -> tuple[Compression, Array]:
    """Principal components, of a random part where there are many, and in them all, (N, 50)."""
    count = len(activations)
    compression, points = fit_compression(taken(activations, _some(count, seed)), "pca", COMPRESSED, seed)
    return compression, points if len(points) == count else _through(compression, activations, np.arange(count))


def _through(compression: Compression, activations: Array, rows: Array) -> Array:
    """Some rows compressed, by number, without all of them in memory."""
    parts = (compression.transform(activations[rows[some]]) for some in blocks(len(rows)))
    return np.concatenate([compression.transform(activations[:0]), *parts])


def _for_bank(view: View, usual: Array, seed: int) -> View:
    """The usual items as a sampler sees them; of more than `LAID` the principal components alone, which memory holds."""
    if len(usual) <= LAID:
        return view.rows(usual)
    return View(_compressed(taken(view.latent, usual), seed)[1], view.predicted[usual], view.truth[usual], view.classes)


def _laid(points: Array, settings: Settings) -> Array:
    """Places in the unit square, (N, 2). Of more than `LAID` points a random part is laid out, and the others are put among it."""
    method = _method(settings)
    if len(points) <= LAID or method == "pca":
        return unit_square(fit_map(points, method, settings.seed))
    first = _some(len(points), settings.seed)
    others = np.setdiff1d(np.arange(len(points)), first)
    places = np.empty((len(points), 2), dtype=np.float32)
    places[first] = fit_map(points[first], method, settings.seed)
    places[others] = place(points[others], points[first], places[first])
    return unit_square(places)


def _method(settings: Settings) -> str:
    """How a plane is laid out."""
    return "pca" if settings.map == "none" else settings.map.removesuffix("-3d")


def _some(count: int, seed: int) -> Array:
    """`LAID` of so many rows at random, ascending; all of fewer."""
    return np.arange(count) if count <= LAID else np.sort(np.random.default_rng(seed).permutation(count)[:LAID])


def _activations(inside: Inside, name: str, placed: Sequence[str]) -> Array:
    """(N, d) of a layer: of one place of each item, or of the whole."""
    if name in placed:
        return inside.layers[inside.layer_names.index(name + AT_PLACE)][:, :-1]
    return inside.layers[inside.layer_names.index(name)]


def _drawn(
    inside: Inside,
    name: str,
    usual: Array,
    activations: Array,
    laid: Array,
    fallen: Array,
    placed: Sequence[str] = (),
    banked: Array | None = None,
) -> LayerAtlas:
    """usual: rows. activations, laid: theirs, and their places. fallen: the places of the strange ones. banked: as of `_layer`."""
    at = np.empty((len(inside.ids), 2))
    at[usual], at[inside.strange] = laid, fallen
    means = taken(inside.layers[inside.layer_names.index(name)], usual) if name in placed else activations
    head = fit_head(means, taken(inside.layers[-1], usual))  # of a map's means: one place alone says little
    del means
    said = inside.layers[inside.layer_names.index(name + EVIDENCE)][usual] if name + EVIDENCE in inside.layer_names else None
    if said is not None and said.shape[1] == 1:  # one output for two classes
        said = np.concatenate([-said, said], axis=1)
    found = {side: cells_of(laid, activations, head, side, said) for side in SIDES}
    levels = {side: [replace(cell, items=usual[_listed(cell.items, banked)]) for cell in cells] for side, cells in found.items()}
    predicted, classes = inside.view.predicted[usual], inside.view.classes
    return LayerAtlas(
        name,
        at,
        levels,
        class_similarity(activations, predicted, classes),
        class_places(laid, predicted, classes),
        head.explained,
        activations.mean(axis=0),
        inside.cuts[placed.index(name)] if name in placed and inside.cuts else (),
        said is not None,
    )


def _listed(items: Array, banked: Array | None) -> Array:
    """The items of a cell in the order in which they are looked at: its medoid, which is its face, those of a bank, the others."""
    if banked is None:
        return items
    return np.concatenate([items[:1], items[1:][np.argsort(banked[items[1:]], kind="stable")]])


def _cut(model: Model, placed: Sequence[str], side: int) -> Cut:
    """What cuts out of an item's picture the part that its place in each of these layers sees. side: pixels of what is kept, at most."""
    boxes = [boxes_of(model, model.layers.index(name)).reshape(-1, 4) for name in placed]

    def cut(loaded: Loaded, outputs: Outputs, row: int) -> tuple[bytes, ...]:
        height, width, channels = loaded.content.shape
        found = []
        for number, box in enumerate(boxes):
            place = int(outputs.activations[len(model.layers) + number][row, -1])
            top, left, bottom, right = (box[place] * (height, width, height, width)).round().astype(int).tolist()
            piece = loaded.content[top : max(bottom, top + 1), left : max(right, left + 1)]
            found.append(thumbnail(np.ascontiguousarray(piece[:, :, 0] if channels == 1 else piece), side))
        return tuple(found)

    return cut
