"""The folder that `annotriage atlas` writes: atlas.html, one file that people walk through offline, and its figures as atlas.json."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from annotriage.advice.atlas_words import explained_sentence, strange_sentence
from annotriage.data import Source
from annotriage.diagnosis.view import UNLABELLED
from annotriage.engine.diagnosis.atlas import Atlas, atlas
from annotriage.engine.diagnosis.attribution import attribution_graph
from annotriage.engine.folders import refuse_existing, whole_folder
from annotriage.engine.reference import Reference
from annotriage.errors import SettingError
from annotriage.report.atlas_data import atlas_data
from annotriage.report.graph_page import PAGE as GRAPH
from annotriage.report.graph_page import write_graph
from annotriage.report.html import bundle, frame, template, write_page
from annotriage.report.output import json_text

PAGE, FIGURES = "atlas.html", "atlas.json"


def atlas_to_folder(
    reference: Reference,
    data: Source,
    out: Path | str,
    layers: Sequence[str] = (),
    *,
    graph: str | None = None,
    against: str | None = None,
    replace_existing: bool = False,
    **options: Any,
) -> Atlas:
    """As `annotriage.atlas`, which takes the same options, with atlas.html and atlas.json in the folder `out`.

    graph: a class whose attribution graph is drawn, too, as graph.html; against: another class beside it.
    Raises OutputError if the folder exists already (unless it holds an atlas that may be replaced) or cannot be written.
    """
    refuse_existing(Path(out), what="results", mark=FIGURES, replaceable=replace_existing)
    if against is not None and graph is None:
        raise SettingError(f"against: there is no graph to set {against!r} against; name its class with --graph")
    drawn = None if graph is None else attribution_graph(reference, data, graph, against, layers, **options)
    found = replace(atlas(reference, data, layers, **options), graph=drawn)
    with whole_folder(Path(out), what="results", mark=FIGURES, replaceable=replace_existing) as folder:
        write_atlas(found, folder / PAGE)
        if found.graph is not None:
            write_graph(found.graph, folder / GRAPH)
        (folder / FIGURES).write_text(json_text(found.summary() | {"sentences": sentences(found)}), "utf-8", "backslashreplace")
    return found


def sentences(found: Atlas) -> list[str]:
    """What there is to say about an atlas."""
    inside = found.inside
    taken = Counter(inside.names[kind] for kind in inside.view.predicted[inside.strange].tolist() if kind != UNLABELLED)
    strange = strange_sentence(int(inside.strange.sum()), len(inside.ids), taken.most_common())
    return [strange, *(explained_sentence(layer.name, layer.explained) for layer in found.layers)]


def write_atlas(found: Atlas, path: Path) -> None:
    """Write the page, whole or not at all. Raises OutputError if it cannot be written."""
    program = bundle("elements.js", "theme_button.js", "atlas_walk.js", "atlas.js")
    pictures = [base64.b64encode(picture).decode() for picture in found.inside.pictures]
    data = json.loads(json_text(atlas_data(found) | {"ends": np.cumsum([len(picture) for picture in pictures]).tolist()}))
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    pieces = template("atlas.html").generate(
        found=found,
        inside=found.inside,
        sentences=sentences(found),
        layer_names=[layer.name for layer in found.layers],
        chosen_layer=0,
        made=False,
        data=Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")),
        pictures=Markup("".join(pictures)),
        **frame(program, "atlas.css"),
    )
    write_page(pieces, path)
