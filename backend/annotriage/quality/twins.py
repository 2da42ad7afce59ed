"""Twins: for each point the nearest other one, exactly, in blocks that fit the cache; how near is near is calibrated on copies."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Labels = NDArray[np.intp]

ROWS, COLUMNS = 1_024, 8_192  # of a block
AMONG = 2 * COLUMNS  # points of which copies are made for the product, at a time
COPIES_WITHIN = 0.99  # share of light copies that lie within the threshold
USUAL_PART = 0.5  # of the median distance to the nearest other item, beyond which nothing is a twin, whatever the copies say
NONE = -1


def nearest_earlier(points: Array) -> tuple[Labels, Array]:
    """For each of N points the nearest one that stands before it: indices (N,), NONE for the first, and distances (N,), then inf.

    Of several alike, all but the first have an earlier twin, so that leaving out what has one leaves one of each.
    """
    return _nearest(points, points, earlier=True)


def nearest_among(points: Array, others: Array) -> tuple[Labels, Array]:
    """For each of (N, n) points the nearest of (M, n) others, of any kind of number: indices and distances, (N,) each.

    The others are looked at some at a time, so that few points among very many take little memory.
    """
    index, distance = np.full(len(points), NONE, dtype=np.intp), np.full(len(points), np.inf)
    for start in range(0, len(others), AMONG):
        found, apart = _nearest(points, others[start : start + AMONG], earlier=False)
        nearer = apart < distance
        index[nearer], distance[nearer] = start + found[nearer], apart[nearer]
    return index, distance


def near_threshold(copies: Array, usual: Array) -> float:
    """The distance within which two items are near twins.

    copies: (c,) distances of lightly changed copies to what they were made of. usual: (N,) distances of items to the nearest
    other one, most of which are no twins; () where there are none.
    """
    within = float(np.quantile(copies, COPIES_WITHIN))
    known = usual[np.isfinite(usual)]
    return min(within, USUAL_PART * float(np.median(known))) if len(known) else within


def _nearest(points: Array, others: Array, *, earlier: bool) -> tuple[Labels, Array]:
    # |a - b|^2 = |a|^2 + (a, 1) . (-2 b, |b|^2): one product ranks the others. Centred, so that small differences survive float32.
    center = others.mean(axis=0, dtype=np.float64) if len(others) else 0.0
    left = (points - center).astype(np.float32)
    right = left if earlier else (others - center).astype(np.float32)
    left = np.column_stack([left, np.ones(len(left), dtype=np.float32)])
    right = np.column_stack([-2 * right, np.einsum("ij,ij->i", right, right)]).T.copy()
    index = np.full(len(points), NONE, dtype=np.intp)
    for start in range(0, len(points), ROWS):
        rows = slice(start, min(start + ROWS, len(points)))
        index[rows] = _best(left[rows], right, start if earlier else None)
    distance = np.full(len(points), np.inf)
    found = np.flatnonzero(index != NONE)
    for start in range(0, len(found), ROWS):
        some = found[start : start + ROWS]
        distance[some] = np.linalg.norm(points[some].astype(np.float64) - others[index[some]], axis=1)
    return index, distance


def _best(rows: Array, right: Array, start: int | None) -> Labels:
    """The best column of each row; start: the place of the first row among the columns, of which each row may take those before itself."""
    end = right.shape[1] if start is None else start + len(rows)
    best, value = np.full(len(rows), NONE, dtype=np.intp), np.full(len(rows), np.inf, dtype=np.float32)
    places = np.arange(len(rows))
    for first in range(0, end, COLUMNS):
        ranked = rows @ right[:, first : min(first + COLUMNS, end)]
        if start is not None and first + ranked.shape[1] > start:
            ranked[first + np.arange(ranked.shape[1]) >= start + places[:, None]] = np.inf
        column = ranked.argmin(axis=1)
        lowest = ranked[places, column]
        better = lowest < value
        best[better], value[better] = first + column[better], lowest[better]
    return best
