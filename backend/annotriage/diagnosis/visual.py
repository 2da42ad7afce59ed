"""Visualisation-aware sampling: the sample whose scatter plot looks like that of all items."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.diagnosis.view import Chosen, View, Why, chosen
from annotriage.latent.compression import fit_compression

Array = NDArray[Any]

PASSES = 3  # over all items; most of what changes at all changes in the first
GRAIN = 100  # how many of the kernel's widths the picture is across


def visual(view: View, size: int, rng: np.random.Generator) -> Chosen:
    """The interchange algorithm on the latent's first two principal components.

    Every item is tried in turn: it enters the sample if that lowers the sum of exp(-distance^2 / 2 width^2) over all pairs of the
    sample, and the item that lies closest to the others leaves. Time grows with items times sample size.
    Source: Park et al., Visualization-Aware Sampling for Very Large Databases, ICDE 2016; the width is theirs, a hundredth of the
    picture's diagonal. The plane of principal components is our choice: they sample what is plotted, and latents have many axes.
    """
    points = view.latent if len(view) < 3 else fit_compression(view.latent, "pca", 2, int(rng.integers(2**31)))[1]
    points = np.asarray(points, dtype=np.float64)
    diagonal = float(np.linalg.norm(np.ptp(points, axis=0)))
    scale = -0.5 * (GRAIN / diagonal) ** 2 if diagonal else 0.0
    order = rng.permutation(len(points))
    sample, places = order[:size].copy(), points[order[:size]].copy()
    crowding = np.array([_kernel(place, places, scale).sum() for place in places]) - 1
    outside = order[size:]
    for _ in range(PASSES):
        left = []
        for row in outside:
            near = _kernel(points[row], places, scale)
            fullest = int(np.argmax(crowding + near))
            own = float(near.sum())
            if crowding[fullest] + near[fullest] <= own:
                left.append(row)
                continue
            left.append(sample[fullest])
            crowding += near - _kernel(places[fullest], places, scale)
            crowding[fullest] = own - near[fullest]
            sample[fullest], places[fullest] = row, points[row]
        if np.array_equal(left, outside):
            break
        outside = np.array(left)
    return chosen(sample, np.zeros(len(sample), dtype=np.intp), np.full(len(sample), Why.SPREAD))


def _kernel(place: Array, places: Array, scale: float) -> Array:
    apart = places - place
    return np.asarray(np.exp(scale * np.einsum("ij,ij->i", apart, apart)))
