"""The atlas of a project's model: its training items as each layer sees them, the project's outliers drawn in, kept for its page.

Of outliers the ids and places alone are kept: what may be said of them is looked up when somebody looks.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.engine.diagnosis.atlas import Atlas, Fallen, LayerAtlas, training_atlas
from annotriage.progress import Progress, silent
from annotriage.report.atlas_data import classes_data, layer_data
from annotriage.report.atlas_page import sentences
from annotriage.report.output import json_text
from annotriage.report.sprite import sprite
from annotriage.service.inside.keeping import keeping
from annotriage.service.maps.training_items import keep_training
from annotriage.service.operations.log import log
from annotriage.service.operations.process import Process
from annotriage.states import InsightKind, Route
from annotriage.store import reports
from annotriage.store.datasets import id_of_all
from annotriage.store.insights import Insight, keep_insight, piece_of
from annotriage.store.jobs import Job
from annotriage.store.projects import Project

Array = NDArray[Any]

DRAWN = 1_000  # outliers at most, the strangest first
LISTED = 24  # items of a cell that can be looked at
TILE = 48  # pixels of a face


def lay_out(process: Process, project: Project, job: Job, progress: Progress = silent) -> str:
    """Lay out all layers that the reference compares, and keep them: a sentence on it. job: its payload may name a bank.

    Raises DataError, FitError, MismatchError.
    """
    reference = process.reference(project.reference_id)
    with process.store.reading() as connection:
        waiting = reports.waiting_in(connection, project, id_of_all(project.id), DRAWN)
        rows = reports.items_in_full(connection, project.reference_id, waiting)
    strange = [rows[id] for id in waiting if id in rows and rows[id].route == Route.OUTLIER and rows[id].compressed is not None]
    fallen = [Fallen(str(row.item_id), np.frombuffer(row.compressed or b"", np.float16).astype(np.float32), b"") for row in strange]
    settings = process.run_settings(reference)
    found = training_atlas(reference, project.title, fallen, settings, further=True, bank=job.payload.get("bank"), progress=progress)
    with progress("keeping the atlas", None):
        keep_training(process.store, project.reference_id, reference)
        facts, pieces = _plain(found, project.reference_id, [row.item_id for row in strange])
        with keeping(process, job) as connection:
            keep_insight(connection, project.id, InsightKind.ATLAS, reference.version, facts, pieces)
    log("atlas laid out", project=project.external_id, layers=len(found.layers), bytes=sum(map(len, pieces.values())))
    return f"The atlas is drawn: {facts['items']:,} training items in {len(found.layers)} layers."


@dataclass(frozen=True)
class KeptLayer:
    """A layer of a kept atlas. data: as its page draws it. means: (c, d) of the cells of each size, in their order. middle: (d,)."""

    name: str
    data: dict[str, Any]
    means: dict[int, Array]
    middle: Array


def kept_layer(process: Process, project: Project, atlas: Insight, place: int) -> KeptLayer:
    """A layer of an atlas as it was kept. Raises UnknownError if it is gone."""
    with process.store.reading() as connection:
        data = json.loads(piece_of(connection, project, atlas.id, f"layer-{place}"))
        packed = piece_of(connection, project, atlas.id, f"means-{place}")
    with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
        means = {int(name): arrays[name].astype(np.float32) for name in arrays.files if name != "middle"}
        return KeptLayer(str(data["name"]), data, means, arrays["middle"].astype(np.float32))


def _plain(found: Atlas, reference_id: int, item_ids: list[int]) -> tuple[dict[str, Any], dict[str, bytes]]:
    inside, view = found.inside, found.inside.view
    usual = np.flatnonzero(~inside.strange)
    items = {
        "predicted": view.predicted[usual],
        "label": np.where(view.labelled[usual], view.truth[usual], -1),
        "sure": found.sure[usual].round(3),
        "wrong": view.wrong[usual].astype(int),
    }
    facts = {
        "reference_id": reference_id,
        "items": len(usual),
        "strange": len(item_ids),
        "names": list(inside.names),
        "classes": classes_data(inside),
        "layers": [_about(layer) for layer in found.layers],
        "sentences": sentences(found)[1:],
        "notes": list(inside.notes),
        "bank": found.bank,
        "pictured": any(inside.pictures),
        "tile": TILE,
        "seconds": found.seconds,
    }
    pieces = {"items": json_text(items).encode(), "strange": json.dumps(item_ids).encode()}
    for place, layer in enumerate(found.layers):
        data = layer_data(inside, layer, found.space, LISTED)
        pieces[f"layer-{place}"] = json.dumps(json.loads(json_text(data)), separators=(",", ":")).encode()
        pieces[f"means-{place}"] = _means(layer)
        if facts["pictured"]:
            for side, cells in layer.levels.items():
                pieces[f"faces-{place}-{side}"] = sprite([inside.pictures[cell.items[0]] for cell in cells], TILE)
    return json.loads(json_text(facts)), {name: _compact(name, content) for name, content in pieces.items()}


def _compact(name: str, content: bytes) -> bytes:
    return json.dumps(json.loads(content), separators=(",", ":")).encode() if name == "items" else content


def _about(layer: LayerAtlas) -> dict[str, Any]:
    cells = {str(side): len(found) for side, found in layer.levels.items()}
    return {"name": layer.name, "explained": layer.explained, "cells": cells}


def _means(layer: LayerAtlas) -> bytes:
    stream = io.BytesIO()
    means = {str(side): np.stack([cell.mean for cell in cells]).astype(np.float16) for side, cells in layer.levels.items()}
    np.savez(stream, middle=layer.middle, **means)  # type: ignore[arg-type]
    return stream.getvalue()
