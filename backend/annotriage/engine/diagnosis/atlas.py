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
from annotriage.engine.diagnosis.inside import LOGITS, NO_CLASS, Inside, look_through
from annotriage.engine.reference import Reference, confidence_logits
from annotriage.errors import DataError
from annotriage.guarantee.gate import miss_probability
from annotriage.latent.compression import fit_compression
from annotriage.latent.maps import fit_map, place
from annotriage.model import Model, Outputs, load_model
from annotriage.model.spec import ModelSpec
from annotriage.progress import Progress, silent
from annotriage.settings import ServiceSettings, Settings

Array = NDArray[Any]

FEWEST = 10  # usual items from which an atlas can be drawn
COMPRESSED = 50  # principal components that the layout starts from


@dataclass(frozen=True)
class LayerAtlas:
    """One layer's plane. places: (N, 2) of all items in the unit square, from the upper left; strange ones among their nearest usual ones.

    levels: the cells for each number of cells along an edge. similarity: (m, m) of classes. class_places: (m, 2), NaN of a class without
    items. explained: share of the model's answers that is linear in this layer.
    """

    name: str
    places: Array
    levels: dict[int, list[Cell]]
    similarity: Array
    class_places: Array
    explained: float


@dataclass(frozen=True)
class Atlas:
    """The atlas of a dataset. inside: its items. sure: (N,) probability of the model's answer. seconds: reading and running, laying out,
    and the rest.
    """

    inside: Inside = field(repr=False)
    sure: Array = field(repr=False)
    reference: str
    model: str
    multiple: bool
    layers: tuple[LayerAtlas, ...]
    seconds: dict[str, float]

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
        }


def atlas(
    reference: Reference,
    data: Source,
    layers: Sequence[str] = (),
    *,
    model: ModelSpec | Path | str | None = None,
    settings: Settings | None = None,
    labeling_config: Path | None = None,
    server: ServiceSettings | None = None,
    progress: Progress = silent,
) -> Atlas:
    """Lay a dataset out as a layer of the model sees it.

    layers: names, as `annotriage layers` lists them; by default the reference's deciding one. Feature maps are pooled to the mean of each
    channel. The plane is made of the usual items alone (by the setting map: UMAP by default), and outliers are drawn in where their
    nearest usual items lie. More items than the setting map_sample are sampled. The rest as of `annotriage.triage`.
    Source: Carter et al., Activation Atlases, 2019; the classes' sidebar: Hohman et al., Summit, 2019.
    Raises DataError with fewer than ten usual items, ModelError for a layer that is none, MismatchError.
    """
    settings = settings or reference.settings
    started = time.perf_counter()
    dataset = open_dataset(data, labeling_config=labeling_config, classes=reference.space.classes, server=server)
    opened = reference.open_model(model, settings)
    wanted = list(dict.fromkeys(layers)) or [opened.layers[0]]
    opened = _with_layers(opened, wanted, settings)
    known = len(reference.model.layers)

    def strange(outputs: Outputs) -> Array:
        return reference.judge(Outputs(outputs.logits, outputs.activations[:known])).outlier

    inside = look_through(
        opened, reference.space, dataset, settings, pictures=True, strange=strange, most=settings.map_sample, progress=progress
    )
    usual = np.flatnonzero(~inside.strange)
    if len(usual) < FEWEST:
        few = f"{len(usual)} of its {len(inside.ids):,} items are usual"
        raise DataError(f"{inside.dataset}: {few}, too few to draw an atlas from; give at least {FEWEST}")
    seconds = {"reading and running": time.perf_counter() - started, "laying out": 0.0, "the rest": 0.0}
    found = []
    with progress("drawing the atlas", len(wanted)) as advance:
        for name in wanted:
            found.append(_layer(inside, name, usual, settings, seconds))
            advance(1)
    sure = 1 - miss_probability(confidence_logits(inside.layers[-1], reference.space))
    return Atlas(inside, sure, reference.name, reference.model.name, reference.space.multiple, tuple(found), seconds)


@dataclass(frozen=True)
class Fallen:
    """An outlier to be drawn into the atlas of a reference, without what the model takes it for. point: (n,) compressed."""

    id: str
    point: Array
    picture: bytes


def training_atlas(reference: Reference, dataset: str, fallen: Sequence[Fallen], settings: Settings) -> Atlas:
    """The atlas of the training items that a reference keeps (at most 4,000), in its deciding layer, with outliers drawn in.

    Needs no model: for those who have a reference and verdicts alone, as the service has. dataset: what to call the outliers' source.
    Raises DataError if the reference keeps fewer than ten items.
    """
    started = time.perf_counter()
    sample, space = reference.sample, reference.space
    count = len(sample.logits)
    if count < FEWEST:
        raise DataError(f"reference {reference.name!r} keeps {count} training items, too few to draw an atlas from; fit it again")
    latent = sample.full_activations()[0]
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
    seconds = {"reading and running": 0.0, "laying out": 0.0, "the rest": time.perf_counter() - started}
    started = time.perf_counter()
    points = sample.compressed[:count].astype(np.float32)
    laid = _laid(points, settings)
    places = np.empty((0, 2)) if not fallen else place(np.stack([item.point for item in fallen]), points, laid)
    seconds["laying out"] = time.perf_counter() - started
    drawn = _drawn(inside, reference.model.layers[0], np.arange(count), laid, places)
    sure = np.append(1 - miss_probability(confidence_logits(sample.logits, space)), [np.nan for _ in fallen])
    return Atlas(inside, sure, reference.name, reference.model.name, space.multiple, (drawn,), seconds)


def _with_layers(model: Model, wanted: Sequence[str], settings: Settings) -> Model:
    """The model with the further layers that are asked for, after those that the reference compares."""
    missing = tuple(name for name in wanted if name not in model.layers)
    return load_model(replace(model.spec, layer=(*model.layers, *missing)), settings.device) if missing else model


def _layer(inside: Inside, name: str, usual: Array, settings: Settings, seconds: dict[str, float]) -> LayerAtlas:
    started = time.perf_counter()
    activations = inside.layers[inside.layer_names.index(name)]
    compression, points = fit_compression(activations[usual], "pca", COMPRESSED, settings.seed)
    seconds["the rest"] += time.perf_counter() - started
    started = time.perf_counter()
    laid = _laid(points, settings)
    seconds["laying out"] += time.perf_counter() - started
    started = time.perf_counter()
    drawn = _drawn(inside, name, usual, laid, place(compression.transform(activations[inside.strange]), points, laid))
    seconds["the rest"] += time.perf_counter() - started
    return drawn


def _laid(points: Array, settings: Settings) -> Array:
    return unit_square(fit_map(points, "pca" if settings.map == "none" else settings.map.removesuffix("-3d"), settings.seed))


def _drawn(inside: Inside, name: str, usual: Array, laid: Array, fallen: Array) -> LayerAtlas:
    """usual: rows. laid: their places. fallen: the places of the strange ones."""
    places = np.empty((len(inside.ids), 2))
    places[usual], places[inside.strange] = laid, fallen
    activations, logits = inside.layers[inside.layer_names.index(name)][usual], inside.layers[-1][usual]
    head = fit_head(activations, logits)
    predicted, classes = inside.view.predicted[usual], inside.view.classes
    return LayerAtlas(
        name,
        places,
        {side: [replace(cell, items=usual[cell.items]) for cell in cells_of(laid, activations, head, side)] for side in SIDES},
        class_similarity(activations, predicted, classes),
        class_places(laid, predicted, classes),
        head.explained,
    )
