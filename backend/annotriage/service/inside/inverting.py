"""Faces of the atlas that the model itself made: images that mean to a layer what a cell does; a batch at a time, and kept as they come.

Who stops in the middle loses no more than the batch: the next job goes on with the cells that are missing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from annotriage.engine.diagnosis.faces import colours_in, faces_of, why_no_faces
from annotriage.errors import DataError, StateError
from annotriage.progress import Progress, silent
from annotriage.report.sprite import sprite, tiles_of
from annotriage.service.inside.atlas_laying import kept_layer
from annotriage.service.inside.keeping import keeping
from annotriage.service.judging.kept_model import load_kept_model
from annotriage.service.operations.log import log
from annotriage.service.operations.process import Process
from annotriage.states import InsightKind
from annotriage.store.insights import Insight, change_insight, insight_of, keep_insight, piece_of
from annotriage.store.jobs import Cancelled, Job
from annotriage.store.projects import Project

LARGEST = 96  # pixels of a face, at most
SIDES = (6, 12)  # cells along an edge that faces are made for


def make_faces(process: Process, project: Project, job: Job, progress: Progress = silent) -> str:
    """Make the faces of one layer's cells: a sentence on it. job: its payload names layer (its place in the atlas) and side.

    Raises StateError without an atlas of the reference in use, or if its model can make none; DataError for a layer that is none; Cancelled
    if the atlas was drawn anew meanwhile.
    """
    reference = process.reference(project.reference_id)
    with process.store.reading() as connection:
        atlas = insight_of(connection, project.id, InsightKind.ATLAS)
    if atlas is None or atlas.version != reference.version:
        raise StateError(f"project {project.external_id}: faces are made for the cells of an atlas; draw the atlas of this model first")
    place, side = int(job.payload.get("layer", 0)), int(job.payload.get("side", SIDES[0]))
    if not 0 <= place < len(atlas.facts["layers"]) or side not in SIDES:
        raise DataError(f"the atlas has no layer {place} with {side} cells along an edge")
    model = load_kept_model(reference, process.run_settings(reference))
    if reason := why_no_faces(model):
        raise StateError(reason)
    layer = kept_layer(process, project, atlas, place)
    means, total = layer.means[side], len(layer.means[side])
    tile = min(LARGEST, max(model.spec.input.size))
    name = f"{place}-{side}"
    cosines, tiles = _begun(process, project, atlas, name)

    sample = reference.sample
    places = np.random.default_rng(0).permutation(len(sample.ids)).tolist()
    colours = colours_in(map(sample.thumbnail, places), model.spec.input.mode)
    with progress(f"making faces in {layer.name}", total) as advance:
        advance(len(tiles))
        for made in faces_of(model, layer.name, means, layer.middle, colours, len(tiles), advance):
            tiles += [Image.fromarray(face.pixels) for face in made]
            cosines += [face.cosine for face in made]
            facts = {"name": layer.name, "done": len(tiles), "total": total, "tile": tile, "cosine": cosines}
            _keep(process, project, atlas, name, facts, sprite(tiles, tile), job)
    log("faces made", project=project.external_id, layer=layer.name, cells=total, cosine=float(np.median(cosines)))
    return f"{total:,} faces are made in {layer.name}; half of them point {np.median(cosines):.2f} or more along their cell."


def _begun(process: Process, project: Project, atlas: Insight, name: str) -> tuple[list[float], list[Image.Image]]:
    """What was made before of these cells, if it was not finished: cosines and images."""
    with process.store.reading() as connection:
        former = insight_of(connection, project.id, InsightKind.FACES)
        made = {} if former is None or former.facts["atlas"] != atlas.id else former.facts["made"].get(name, {})
        if former is None or not made or made["done"] >= made["total"]:
            return [], []
        whole = piece_of(connection, project, former.id, f"made-{name}")
    return list(made["cosine"]), tiles_of(whole, made["done"], made["tile"])


def _keep(process: Process, project: Project, atlas: Insight, name: str, facts: dict[str, Any], made: bytes, job: Job) -> None:
    """Keep what was made so far. Raises Cancelled as `keeping`, and if the cells are those of an atlas that is gone."""
    with keeping(process, job) as connection:
        present = insight_of(connection, project.id, InsightKind.ATLAS)
        if present is None or present.id != atlas.id:
            raise Cancelled
        former, piece = insight_of(connection, project.id, InsightKind.FACES), {f"made-{name}": made}
        if former is not None and former.facts["atlas"] == atlas.id:
            others = dict(former.facts["made"])
            change_insight(connection, former.id, {"atlas": atlas.id, "made": others | {name: facts}}, piece)
        else:
            keep_insight(connection, project.id, InsightKind.FACES, atlas.version, {"atlas": atlas.id, "made": {name: facts}}, piece)
