"""Samples drawn at random: from all items, from each cell of the confusion matrix, from each cell of a grid in latent space."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.diagnosis.quotas import equal, proportional
from annotriage.diagnosis.view import Chosen, View, Why, chosen
from annotriage.errors import DataError
from annotriage.latent.compression import fit_compression

Array = NDArray[Any]

AXES = 5  # principal components of the grid, each cut in two: 32 cells


def uniform(view: View, size: int, rng: np.random.Generator) -> Chosen:
    """`size` items at random; the baseline, and the only sample whose plain averages are unbiased."""
    return _draw(np.zeros(len(view), dtype=np.intp), size, proportional, rng)


def confusion_matrix(view: View, size: int, rng: np.random.Generator) -> Chosen:
    """At random from each cell (truth, answer) of the confusion matrix, in proportion to the cell.

    Raises DataError if an item is unlabelled: it belongs to no cell.
    """
    require_labels(view, "confusion-matrix")
    return _draw(confusion_cells(view), size, proportional, rng)


def confusion_cells(view: View) -> Array:
    """(N,) number of each item's cell: its truth times one more than the number of classes, plus the model's answer."""
    return np.asarray(view.truth * (view.classes + 1) + view.predicted)


def latent_grid(view: View, size: int, rng: np.random.Generator) -> Chosen:
    """Equally many from each cell of a grid: the first five principal components of the latent, each cut in the middle of its range.

    Cells with fewer items give all they have, so that the sample may be smaller than `size`.
    """
    points = view.latent
    if len(view) >= 3:
        points = fit_compression(view.latent, "pca", AXES, int(rng.integers(2**31)))[1]
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    cells = (points[:, :AXES] > middle[:AXES]) @ (1 << np.arange(min(AXES, points.shape[1])))
    return _draw(cells, size, equal, rng)


def require_labels(view: View, method: str) -> None:
    """Raise DataError naming the method unless every item is labelled."""
    missing = int((~view.labelled).sum())
    if missing:
        raise DataError(
            f"method {method} needs a label for every item, and {missing:,} of {len(view):,} have none;"
            " leave those out, or take max-margin, gmm-full or latent-grid"
        )


def _draw(cells: Array, size: int, quota: Callable[[Array, int], Array], rng: np.random.Generator) -> Chosen:
    numbers, place, sizes = np.unique(cells, return_inverse=True, return_counts=True)
    quotas = quota(sizes, size)
    picked = [rng.choice(np.flatnonzero(place == cell), int(quotas[cell]), replace=False) for cell in range(len(numbers))]
    rows = np.concatenate(picked)
    return chosen(rows, cells[rows], np.full(len(rows), Why.RANDOM))
