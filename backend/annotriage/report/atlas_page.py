"""The folder that `annotriage atlas` writes: atlas.html, one file that people walk through offline, and its figures as atlas.json."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from annotriage.advice.atlas_words import evidence_sentence, explained_sentence, places_sentence, strange_sentence
from annotriage.data import Source
from annotriage.diagnosis.view import UNLABELLED
from annotriage.engine.diagnosis.atlas import Atlas, LayerAtlas, atlas
from annotriage.engine.diagnosis.attribution import attribution_graph
from annotriage.engine.diagnosis.faces import MadeFace, make_faces
from annotriage.engine.folders import refuse_existing, whole_folder
from annotriage.engine.reference import Reference
from annotriage.errors import SettingError
from annotriage.report.atlas_data import atlas_data, drawn_in, shown_rows
from annotriage.report.graph_page import PAGE as GRAPH
from annotriage.report.graph_page import write_graph
from annotriage.report.html import bundle, frame, template, write_page
from annotriage.report.output import json_text

Array = NDArray[Any]

PAGE, FIGURES = "atlas.html", "atlas.json"


def atlas_to_folder(
    reference: Reference,
    data: Source,
    out: Path | str,
    layers: Sequence[str] = (),
    *,
    faces: int = 0,
    graph: str | None = None,
    against: str | None = None,
    replace_existing: bool = False,
    **options: Any,
) -> Atlas:
    """As `annotriage.atlas`, which takes the same options, with atlas.html and atlas.json in the folder `out`.

    faces: cells along an edge (6, 12 or 24) for which a torch model makes images of its own, 0 = none; of other models a note says why not.
    graph: a class whose attribution graph is drawn, too, as graph.html; against: another class beside it.

    Raises OutputError if the folder exists already (unless it holds an atlas that may be replaced) or cannot be written.
    """
    refuse_existing(Path(out), what="results", mark=FIGURES, replaceable=replace_existing)
    if against is not None and graph is None:
        raise SettingError(f"against: there is no graph to set {against!r} against; name its class with --graph")
    how = {key: value for key, value in options.items() if key not in ("places", "bank")}
    drawn = None if graph is None else attribution_graph(reference, data, graph, against, layers, **how)
    found = replace(atlas(reference, data, layers, **options), graph=drawn)
    made: dict[str, list[MadeFace]] = {}
    if faces:
        how = {key: options[key] for key in ("model", "settings", "progress") if key in options}
        made, reason = make_faces(reference, found, faces, **how)
        found = replace(found, inside=found.inside.noted(reason)) if reason else found
    with whole_folder(Path(out), what="results", mark=FIGURES, replaceable=replace_existing) as folder:
        write_atlas(found, folder / PAGE, made, faces)
        if found.graph is not None:
            write_graph(found.graph, folder / GRAPH)
        (folder / FIGURES).write_text(json_text(found.summary() | {"sentences": sentences(found)}), "utf-8", "backslashreplace")
    return found


def sentences(found: Atlas) -> list[str]:
    """What there is to say about an atlas."""
    inside = found.inside
    taken = Counter(inside.names[kind] for kind in inside.view.predicted[inside.strange].tolist() if kind != UNLABELLED)
    strange = strange_sentence(int(inside.strange.sum()), len(inside.ids), taken.most_common(), len(drawn_in(inside)))
    said = [explained_sentence(layer.name, layer.explained) for layer in found.layers]
    said += [places_sentence(layer.name) for layer in found.layers if layer.patches]
    for gradients in (False, True):
        alike = [layer.name for layer in found.layers if layer.gradients == gradients]
        said += [evidence_sentence(alike, gradients)] if alike else []
    return [strange, *said]


def write_atlas(found: Atlas, path: Path, made: Mapping[str, Sequence[MadeFace]] | None = None, side: int = 0) -> None:
    """Write the page, whole or not at all. made: images for the cells of each layer, `side` along an edge. Raises OutputError if it cannot
    be written."""
    program = bundle("elements.js", "theme_button.js", "atlas_walk.js", "atlas.js")
    rows = shown_rows(found)
    whole = atlas_data(found, rows)
    shown = _lookable(found, whole, rows)
    for drawn, layer in zip(whole["layers"], found.layers, strict=True):
        drawn["patches"] = _patches(layer, shown, rows)
        for level in drawn["levels"]:
            if level["side"] == side:
                some = (made or {}).get(layer.name, ())
                level["made"] = [{"picture": len(shown) + at, "cosine": face.cosine} for at, face in enumerate(some)] or None
                shown += [face.encoded() for face in some]
    pictures = [base64.b64encode(picture).decode() for picture in shown]
    data = json.loads(json_text(whole | {"ends": np.cumsum([len(picture) for picture in pictures]).tolist()}))
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    pieces = template("atlas.html").generate(
        found=found,
        inside=found.inside,
        sentences=sentences(found),
        layer_names=[layer.name for layer in found.layers],
        chosen_layer=0,
        class_count=len(whole["classes"]),
        made=bool(made),
        data=Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")),
        pictures=Markup("".join(pictures)),
        **frame(program, "atlas.css"),
    )
    write_page(pieces, path)


def _lookable(found: Atlas, whole: Mapping[str, Any], rows: Array) -> list[bytes]:
    """The pictures of the items that a click shows: strange ones and those that cells list; of the others nothing. rows: of the items."""
    cells = (cell for layer in whole["layers"] for level in layer["levels"] for cell in level["cells"])
    wanted = set(whole["items"]["strange"]).union(*(cell["items"] for cell in cells))
    pictures = found.inside.pictures
    return [pictures[row] if pictures and item in wanted else b"" for item, row in enumerate(rows.tolist())] if pictures else []


def _patches(layer: LayerAtlas, shown: list[bytes], rows: Array) -> dict[int, int]:
    """The patches of a layer's medoids, put behind the pictures: their places there, by item. rows: of the items."""
    if not layer.patches:
        return {}
    medoids = sorted({int(cell.items[0]) for cells in layer.levels.values() for cell in cells})
    start = len(shown)
    shown += [layer.patches[row] for row in medoids]
    return {int(np.searchsorted(rows, row)): start + place for place, row in enumerate(medoids)}
