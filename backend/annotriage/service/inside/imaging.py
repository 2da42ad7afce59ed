"""One image of a project, place by place, and with a patch of another pasted on it.

Answered items alone: of others no class may be told.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from annotriage.data import Media
from annotriage.engine.diagnosis.image_grid import TOP, ImageGrid, Patch, look_at_image
from annotriage.errors import MediaUnavailable, StateError
from annotriage.progress import Progress, silent
from annotriage.report.output import json_text
from annotriage.service.inside.atlas_laying import kept_layer
from annotriage.service.inside.keeping import keeping
from annotriage.service.judging.media import MediaReader
from annotriage.service.operations.log import log
from annotriage.service.operations.process import Process
from annotriage.states import InsightKind
from annotriage.store.insights import answered_of, insight_of, keep_insight, name_of
from annotriage.store.jobs import Job
from annotriage.store.projects import Project

SIDE = 12  # cells along an edge of the atlas in which the nearest one is looked for


def look_at_item(process: Process, project: Project, job: Job, progress: Progress = silent) -> str:
    """Look at an item, and keep what is seen: a sentence on it.

    job: its payload names item_id and, for pasting, patch: item_id, box, at. Raises StateError unless people have answered the items,
    MediaUnavailable if a picture cannot be had now, and what `look_at_image` raises.
    """
    asked: Mapping[str, Any] = job.payload
    patch: Mapping[str, Any] | None = asked.get("patch")
    ids = [int(asked["item_id"]), *([] if patch is None else [int(patch["item_id"])])]
    with progress("fetching pictures", None):
        media = _media(process, project, ids)
    reference = process.reference(project.reference_id)
    piece = None if patch is None else Patch(media[ids[1]], tuple(patch["box"]), tuple(patch["at"]))
    with progress("looking at the image", None):
        settings = process.run_settings(reference)
        found = look_at_image(reference, media[ids[0]], str(asked.get("layer") or ""), patch=piece, settings=settings)
    facts = json.loads(json_text({**_plain(process, project, found), "item_id": ids[0], "patch": patch}))
    pictures = {"image": found.picture} | ({} if found.pasted is None else {"pasted": found.pasted.picture})
    with keeping(process, job) as connection:
        keep_insight(connection, project.id, InsightKind.IMAGE, reference.version, facts, pictures)
    log("image looked at", project=project.external_id, item=ids[0], layer=found.layer)
    return "The image is looked at."


def _media(process: Process, project: Project, ids: list[int]) -> dict[int, Media]:
    """The pictures of answered items, fetched now."""
    with process.store.reading() as connection:
        answered = answered_of(connection, project.id, ids)
    if set(answered) != set(ids):
        raise StateError(f"project {project.external_id}: only items that people have answered can be looked at: what the model says of"
                         " others is hidden, so that nobody's answer leans on it")  # fmt: skip
    reader = MediaReader(process.settings, process.server)
    found: dict[int, Media] = {}
    try:
        for row, item in reader.read(process.tool_project(project), list(answered.values())):
            if isinstance(item, MediaUnavailable):
                raise item
            if item.media is None:
                raise StateError(f"task {name_of(row)}: {item.problem.text if item.problem else 'its picture cannot be read'}")
            found[row.id] = item.media
    finally:
        reader.close()
    return found


def _plain(process: Process, project: Project, found: ImageGrid) -> dict[str, Any]:
    top = np.argsort(-found.evidence, axis=0, kind="stable")[:TOP]
    rows, columns = found.evidence.shape[1:]
    cells = _cells(process, project, found)
    places = []
    for row in range(rows):
        for column in range(columns):
            says = [[int(kind), round(float(found.evidence[kind, row, column]), 4)] for kind in top[:, row, column]]
            cell = None if cells is None else cells[row * columns + column]
            places.append({"top": says, "box": found.boxes[row, column].round(4), "cell": cell})
    after = None if found.pasted is None else found.pasted.shares
    return {
        "classes": list(found.classes),
        "shares": found.shares,
        "layer": found.layer,
        "how": found.how,
        "rows": rows,
        "columns": columns,
        "places": places,
        "after": after,
        "notes": list(found.notes),
    }


def _cells(process: Process, project: Project, found: ImageGrid) -> list[dict[str, Any]] | None:
    """Of each place the cell of the atlas whose direction it shares most; None without an atlas of this layer."""
    reference = process.reference(project.reference_id)
    with process.store.reading() as connection:
        atlas = insight_of(connection, project.id, InsightKind.ATLAS)
    names = [] if atlas is None or atlas.version != reference.version else [layer["name"] for layer in atlas.facts["layers"]]
    if atlas is None or found.layer not in names:
        return None
    layer = kept_layer(process, project, atlas, names.index(found.layer))
    best, cosine = found.nearest(layer.means[SIDE], layer.middle)
    cells = next(level["cells"] for level in layer.data["levels"] if level["side"] == SIDE)
    nearest = []
    for number, value in zip(best.tolist(), cosine.tolist(), strict=True):
        at = {"x": cells[number]["x"], "y": cells[number]["y"]}
        nearest.append({"number": number, "layer": names.index(found.layer), "cosine": round(value, 3), **at})
    return nearest
