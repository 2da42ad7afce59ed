"""A grid over the plane of activations, as an activation atlas has it: per cell its items, their medoid, and what their mean means.

Source: Carter et al., Exploring Neural Networks with Activation Atlases, Distill, 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.diagnosis.atlas.head import Head
from annotriage.diagnosis.atlas.pieces import mean_of, pieces

Array = NDArray[Any]

SIDES = (6, 12, 24)  # cells along an edge, coarse to fine


@dataclass(frozen=True)
class Cell:
    """One cell that holds items.

    column, row: from the upper left. items: (n,) rows, the one nearest to the cell's mean activation, its medoid, first. logits: (m,) of
    the mean activation through the head. evidence: (m,) how much the mean activation speaks for each class, beyond the mean of all items:
    activation times gradient, of the model or of a linear head. mean: (d,) activation of its items.
    """

    column: int
    row: int
    items: Array
    logits: Array
    evidence: Array
    mean: Array


def unit_square(places: Array) -> Array:
    """Places (N, 2) stretched to fill the square from 0 to 1; a direction without any extent lies in its middle."""
    low, extent = places.min(axis=0), np.ptp(places, axis=0)
    return np.asarray(np.where(extent > 0, (places - low) / np.where(extent > 0, extent, 1), 0.5))


def cells_of(places: Array, activations: Array, head: Head, side: int, evidence: Array | None = None) -> list[Cell]:
    """The cells of a grid with `side` cells along each edge, from the upper left, empty ones left out.

    places: (N, 2) in the unit square. activations: (N, d). evidence: (N, m) how much each item speaks for each class; by default that of
    the head.
    """
    at = np.minimum((places * side).astype(np.intp), side - 1)
    numbers = at[:, 1] * side + at[:, 0]
    overall = activations.mean(axis=0, dtype=np.float64)
    usually = None if evidence is None else evidence.mean(axis=0)
    found = []
    order = np.argsort(numbers, kind="stable")
    for items in np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1):
        number = int(numbers[items[0]])
        mean = mean_of(activations, items)
        said = (mean - overall) @ head.weights if evidence is None else evidence[items].mean(axis=0) - usually
        away = np.concatenate([np.square(activations[items[some]] - mean).sum(axis=1) for some in pieces(len(items))])
        found.append(
            Cell(
                number % side,
                number // side,
                items[np.argsort(away, kind="stable")],
                head.logits(mean[None])[0],
                said,
                mean,
            )
        )
    return found


def nearest_cells(vectors: Array, means: Array, middle: Array) -> tuple[Array, Array]:
    """The cell in whose direction each of N activations points most, and the cosine: (N,) index, (N,).

    vectors: (N, d). means: (c, d) of the cells. middle: (d,) mean of all items, from which directions are taken.
    """
    away, towards = vectors - middle, means - middle
    lengths = np.outer(np.linalg.norm(away, axis=1), np.linalg.norm(towards, axis=1))
    cosine = away @ towards.T / np.maximum(lengths, 1e-12)
    best = cosine.argmax(axis=1)
    return best, cosine[np.arange(len(vectors)), best]
