"""An atlas as the scripts that draw it take it: plain values of its classes, items, layers and cells."""

from __future__ import annotations

from typing import Any

import numpy as np

from annotriage.diagnosis.atlas.cells import Cell
from annotriage.diagnosis.view import UNLABELLED
from annotriage.engine.diagnosis.atlas import Atlas, LayerAtlas
from annotriage.engine.diagnosis.inside import Inside
from annotriage.engine.diagnosis.label_sets import evidence_of, shares_of
from annotriage.engine.labels import LabelSpace

LISTED = 60  # items of a cell that can be looked at
SPEAKS = 12  # classes of a cell whose evidence is kept
TOP = 3  # classes named in a cell


def atlas_data(found: Atlas) -> dict[str, Any]:
    """All that atlas.html draws but its pictures."""
    inside, view = found.inside, found.inside.view
    return {
        "classes": classes_data(inside),
        "items": {
            "id": list(inside.ids),
            "label": ["" if truth == UNLABELLED else inside.names[truth] for truth in view.truth.tolist()],
            "predicted": view.predicted.tolist(),
            "sure": found.sure.round(3).tolist(),
            "wrong": view.wrong.astype(int).tolist(),
            "strange": np.flatnonzero(inside.strange).tolist(),
        },
        "layers": [layer_data(inside, layer, found.space) for layer in found.layers],
    }


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


def layer_data(inside: Inside, layer: LayerAtlas, space: LabelSpace, listed: int = LISTED) -> dict[str, Any]:
    """A layer: its cells in each size, where its classes lie, and which are alike. listed: items of a cell that can be looked at."""
    return {
        "name": layer.name,
        "strange": layer.places[inside.strange].round(4).tolist(),
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
