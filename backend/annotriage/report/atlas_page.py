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
from scipy.special import expit, softmax

from annotriage.advice.atlas_words import explained_sentence, strange_sentence
from annotriage.data import Source
from annotriage.diagnosis.atlas.cells import Cell
from annotriage.diagnosis.view import UNLABELLED
from annotriage.engine.diagnosis.atlas import Atlas, LayerAtlas, atlas
from annotriage.engine.diagnosis.attribution import attribution_graph
from annotriage.engine.diagnosis.inside import Inside
from annotriage.engine.folders import refuse_existing, whole_folder
from annotriage.engine.reference import Reference
from annotriage.errors import SettingError
from annotriage.report.graph_page import PAGE as GRAPH
from annotriage.report.graph_page import write_graph
from annotriage.report.html import bundle, frame, template, write_page
from annotriage.report.output import json_text

PAGE, FIGURES = "atlas.html", "atlas.json"
LISTED = 60  # items of a cell that can be looked at
SPEAKS = 12  # classes of a cell whose evidence is kept
TOP = 3  # classes named in a cell


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
    program = bundle("elements.js", "theme_button.js", "atlas.js")
    pictures = [base64.b64encode(picture).decode() for picture in found.inside.pictures]
    data = json.loads(json_text(_data(found) | {"ends": np.cumsum([len(picture) for picture in pictures]).tolist()}))
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    pieces = template("atlas.html").generate(
        found=found,
        inside=found.inside,
        sentences=sentences(found),
        data=Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")),
        pictures=Markup("".join(pictures)),
        **frame(program, "atlas.css"),
    )
    write_page(pieces, path)


def _data(found: Atlas) -> dict[str, Any]:
    inside, view = found.inside, found.inside.view
    return {
        "classes": [_class(inside, kind) for kind in range(view.classes)],
        "items": {
            "id": list(inside.ids),
            "label": ["" if truth == UNLABELLED else inside.names[truth] for truth in view.truth.tolist()],
            "predicted": view.predicted.tolist(),
            "sure": found.sure.round(3).tolist(),
            "wrong": view.wrong.astype(int).tolist(),
            "strange": np.flatnonzero(inside.strange).tolist(),
        },
        "layers": [_layer(inside, layer, found.multiple) for layer in found.layers],
    }


def _class(inside: Inside, kind: int) -> dict[str, Any]:
    view = inside.view
    labelled = view.truth == kind
    says = view.predicted == kind
    return {
        "name": inside.names[kind],
        "items": int(says.sum()),
        "right": float(1 - view.wrong[labelled].mean()) if labelled.any() else None,
        "labelled": int(labelled.sum()),
    }


def _layer(inside: Inside, layer: LayerAtlas, multiple: bool) -> dict[str, Any]:
    return {
        "name": layer.name,
        "strange": layer.places[inside.strange].round(4).tolist(),
        "places": layer.class_places.round(4),
        "similarity": layer.similarity.round(3),
        "levels": [{"side": side, "cells": [_cell(inside, cell, multiple) for cell in cells]} for side, cells in layer.levels.items()],
    }


def _cell(inside: Inside, cell: Cell, multiple: bool) -> dict[str, Any]:
    shares = expit(cell.logits) if multiple else softmax(cell.logits)
    top = np.argsort(-shares, kind="stable")[:TOP]
    speaks = np.argsort(-np.abs(cell.evidence), kind="stable")[:SPEAKS]
    return {
        "x": cell.column,
        "y": cell.row,
        "n": len(cell.items),
        "wrong": int(inside.view.wrong[cell.items].sum()),
        "items": cell.items[:LISTED].tolist(),
        "top": [[int(kind), round(float(shares[kind]), 3)] for kind in top],
        "speaks": [[int(kind), round(float(cell.evidence[kind]), 3)] for kind in speaks],
    }
