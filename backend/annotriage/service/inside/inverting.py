"""Faces of the atlas that the model itself made: images that mean to a layer what a cell does; a batch at a time, and kept as they come.

Who stops in the middle loses nothing: the next job goes on with the cells that are missing.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from annotriage.errors import DataError, StateError
from annotriage.progress import Progress, silent
from annotriage.report.sprite import sprite, tiles_of
from annotriage.service.inside.atlas_laying import kept_layer
from annotriage.service.operations.log import log
from annotriage.service.operations.process import Process
from annotriage.states import InsightKind
from annotriage.store.insights import Insight, change_insight, insight_of, keep_insight, piece_of
from annotriage.store.jobs import Cancelled, Job
from annotriage.store.projects import Project

if TYPE_CHECKING:
    from annotriage.engine.reference import Reference

AT_ONCE = 16  # images in one batch
LARGEST = 96  # pixels of a face, at most
LOOKED_AT = 300  # training pictures whose colours are taken
SIDES = (6, 12)  # cells along an edge that faces are made for
NEEDS_TORCH = (
    "images are made along gradients, which only torch models give here; of this one, run by onnxruntime, the atlas shows the real"
    " picture nearest to each cell's mean. Connect the project with the torch model (a .pt2 or a factory) to have them made"
)


def make_faces(process: Process, project: Project, job: Job, progress: Progress = silent) -> str:
    """Make the faces of one layer's cells: a sentence on it. job: its payload names layer (its place in the atlas) and side.

    Raises StateError without an atlas of the reference in use or without gradients, DataError if the model takes no images; Cancelled if
    the atlas was drawn anew meanwhile.
    """
    reference = process.reference(project.reference_id)
    with process.store.reading() as connection:
        atlas = insight_of(connection, project.id, InsightKind.ATLAS)
    if atlas is None or atlas.version != reference.version:
        raise StateError(f"project {project.external_id}: faces are made for the cells of an atlas; draw the atlas of this model first")
    place, side = int(job.payload.get("layer", 0)), int(job.payload.get("side", SIDES[0]))
    if not 0 <= place < len(atlas.facts["layers"]) or side not in SIDES:
        raise DataError(f"the atlas has no layer {place} with {side} cells along an edge")
    model = _torch_model(process, reference)
    layer = kept_layer(process, project, atlas, place)
    means, total = layer.means[side], len(layer.means[side])
    tile = min(LARGEST, max(model.spec.input.size))
    name = f"{place}-{side}"
    cosines, tiles = _begun(process, project, atlas, name)

    from annotriage.model.torch_inversion import colours_of, invert

    colours = colours_of(_pixels(reference, model.spec.input.mode))
    with progress(f"making faces in {layer.name}", total) as advance:
        advance(len(tiles))
        for start in range(len(tiles), total, AT_ONCE):
            made = invert(model, model.layers.index(layer.name), means[start : start + AT_ONCE], layer.middle, colours, start)
            tiles += [Image.fromarray(pixels.squeeze()) for pixels in made.pixels]
            cosines += [round(float(cosine), 3) for cosine in made.cosine]
            facts = {"name": layer.name, "done": len(tiles), "total": total, "tile": tile, "cosine": cosines}
            _keep(process, project, atlas, name, facts, sprite(tiles, tile))
            advance(len(made.pixels))
    log("faces made", project=project.external_id, layer=layer.name, cells=total, cosine=float(np.median(cosines)))
    return f"{total:,} faces are made in {layer.name}; half of them point {np.median(cosines):.2f} or more along their cell."


def _torch_model(process: Process, reference: Reference) -> Any:
    """The model, if it gives gradients. Raises StateError, DataError."""
    model = reference.open_model(None, process.run_settings(reference))
    if not hasattr(model, "traced"):
        raise StateError(NEEDS_TORCH)
    if model.spec.input.kind != "image":
        raise DataError("the model takes rows of numbers; only of a model that looks at images can images be made")
    return model


def _begun(process: Process, project: Project, atlas: Insight, name: str) -> tuple[list[float], list[Image.Image]]:
    """What was made before of these cells, if it was not finished: cosines and images."""
    with process.store.reading() as connection:
        former = insight_of(connection, project.id, InsightKind.FACES)
        made = {} if former is None or former.facts["atlas"] != atlas.id else former.facts["made"].get(name, {})
        if former is None or not made or made["done"] >= made["total"]:
            return [], []
        whole = piece_of(connection, project, former.id, f"made-{name}")
    return list(made["cosine"]), tiles_of(whole, made["done"], made["tile"])


def _keep(process: Process, project: Project, atlas: Insight, name: str, facts: dict[str, Any], made: bytes) -> None:
    """Keep what was made so far. Raises Cancelled if the cells are those of an atlas that is gone."""
    with process.store.writing() as connection:
        present = insight_of(connection, project.id, InsightKind.ATLAS)
        if present is None or present.id != atlas.id:
            raise Cancelled
        former, piece = insight_of(connection, project.id, InsightKind.FACES), {f"made-{name}": made}
        if former is not None and former.facts["atlas"] == atlas.id:
            others = dict(former.facts["made"])
            change_insight(connection, former.id, {"atlas": atlas.id, "made": others | {name: facts}}, piece)
        else:
            keep_insight(connection, project.id, InsightKind.FACES, atlas.version, {"atlas": atlas.id, "made": {name: facts}}, piece)


def _pixels(reference: Reference, mode: str) -> Any:
    """Pixels of real pictures, (n, C) from 0 to 255."""
    sample = reference.sample
    places = np.random.default_rng(0).permutation(len(sample.ids))[:LOOKED_AT].tolist()
    pictures = [Image.open(io.BytesIO(content)).convert(mode) for content in map(sample.thumbnail, places) if content]
    channels = 3 if mode == "RGB" else 1
    return np.concatenate([np.asarray(picture).reshape(-1, channels) for picture in pictures]) if pictures else np.full((2, channels), 128)
