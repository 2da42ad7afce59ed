"""An atlas as the scripts that draw it take it: plain values of its classes, items, layers and cells."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.diagnosis.atlas.cells import Cell
from annotriage.diagnosis.view import UNLABELLED
from annotriage.engine.diagnosis.atlas import Atlas, LayerAtlas
from annotriage.engine.diagnosis.inside import Inside
from annotriage.engine.diagnosis.label_sets import evidence_of, shares_of
from annotriage.engine.labels import LabelSpace

Array = NDArray[Any]

ALL_SHOWN = 20_000  # items; of more the page tells of some one by one
STRANGE = 2_000  # strange ones that are drawn in of so many
BOXES = 400  # of each class, as atlas_walk.js draws them
LISTED = 60  # items of a cell that can be looked at
SPEAKS = 12  # classes of a cell whose evidence is kept
TOP = 3  # classes named in a cell


def atlas_data(found: Atlas, shown: Array) -> dict[str, Any]:
    """All that atlas.html draws but its pictures. shown: rows of the items that it tells of one by one, as `shown_rows` finds them."""
    inside, view = found.inside, found.inside.view
    usual = ~inside.strange
    classes = classes_data(inside)
    for kind, about in enumerate(classes):
        called = usual & (view.predicted == kind)
        about |= {"usual": int(called.sum()), "usual_wrong": int(view.wrong[called].sum())}
    layers = [layer_data(inside, layer, found.space, LISTED, shown[inside.strange[shown]]) for layer in found.layers]
    for layer in layers:
        for level in layer["levels"]:
            for cell in level["cells"]:
                cell["items"] = np.searchsorted(shown, cell["items"]).tolist()
    return {
        "classes": classes,
        "items": {
            "id": [inside.ids[row] for row in shown.tolist()],
            "label": ["" if truth == UNLABELLED else inside.names[truth] for truth in view.truth[shown].tolist()],
            "predicted": view.predicted[shown].tolist(),
            "sure": found.sure[shown].round(3).tolist(),
            "wrong": view.wrong[shown].astype(int).tolist(),
            "strange": np.flatnonzero(inside.strange[shown]).tolist(),
        },
        "layers": layers,
        "bank": found.bank,
    }


def drawn_in(inside: Inside) -> Array:
    """Rows of the strange items that the page draws: all where it tells of all items, else `STRANGE` of them at random."""
    strange = np.flatnonzero(inside.strange)
    return strange if len(inside.ids) <= ALL_SHOWN else np.random.default_rng(0).permutation(strange)[:STRANGE]


def shown_rows(found: Atlas) -> Array:
    """Rows of the items that the page tells of one by one, ascending: all of few; else those that cells list, some strange ones at random,
    and the surest of each class."""
    inside, view = found.inside, found.inside.view
    count = len(inside.ids)
    if count <= ALL_SHOWN:
        return np.arange(count)
    cells = (cell for layer in found.layers for level in layer.levels.values() for cell in level)
    parts = [cell.items[:LISTED] for cell in cells]
    parts.append(drawn_in(inside))
    surest = np.argsort(-found.sure, kind="stable")
    surest = surest[~inside.strange[surest]]
    parts += [surest[view.predicted[surest] == kind][:BOXES] for kind in range(view.classes)]
    return np.asarray(np.unique(np.concatenate(parts)))


def classes_data(inside: Inside) -> list[dict[str, Any]]:
    """The classes: how many items are called so, and how many of those that are, are right."""
    return [_class(inside, kind) for kind in range(inside.view.classes)]


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


def layer_data(inside: Inside, layer: LayerAtlas, space: LabelSpace, listed: int, strange: Array | None = None) -> dict[str, Any]:
    """A layer: its cells in each size, where its classes lie, and which are alike. listed: items of a cell that can be looked at. strange:
    rows of the strange items that are drawn in, by default all."""
    return {
        "name": layer.name,
        "strange": layer.places[inside.strange if strange is None else strange].round(4).tolist(),
        "places": layer.class_places.round(4),
        "similarity": layer.similarity.round(3),
        "levels": [{"side": side, "cells": [_cell(inside, cell, space, listed) for cell in cells]} for side, cells in layer.levels.items()],
    }


def _cell(inside: Inside, cell: Cell, space: LabelSpace, listed: int) -> dict[str, Any]:
    shares, evidence = shares_of(cell.logits, space), evidence_of(cell.evidence, space)
    top = np.argsort(-shares, kind="stable")[:TOP]
    speaks = np.argsort(-np.abs(evidence), kind="stable")[:SPEAKS]
    return {
        "x": cell.column,
        "y": cell.row,
        "n": len(cell.items),
        "wrong": int(inside.view.wrong[cell.items].sum()),
        "items": cell.items[:listed].tolist(),
        "top": [[int(kind), round(float(shares[kind]), 3)] for kind in top],
        "speaks": [[int(kind), round(float(evidence[kind]), 3)] for kind in speaks],
    }
