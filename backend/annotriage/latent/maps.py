"""The map: a picture of training and incoming points together, in the plane or in space, made for eyes; nothing is decided on it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from annotriage.latent.clusters import squared_distances
from annotriage.latent.compression import tsne_embedding, umap_embedding

Array = NDArray[Any]

FEWEST = 10  # UMAP's spectral start needs more points than this; fewer are drawn by principal components
NEIGHBOURS = 5  # among which a further point is placed
AT_ONCE = 2**24  # distances in memory
BUNDLE = 32  # columns whose minimum is looked at first
SHARPNESS = 4  # how much more the nearest of them count: a point belongs to an island, not between two


def fit_map(points: Array, method: str, seed: int, former: Array | None = None, dimensions: int = 2) -> Array:
    """Lay out (P, n) compressed points of both sets in the plane or in space: (P, 2) or (P, 3) float32, repeatable for a seed.

    method: "umap", "tsne" or "pca". Fitting both sets together lets a foreign source form an island of its own.
    former: the places on an earlier map, NaN of points that were not on it: the new map starts from there and is laid over
    it, so that what people know stays where it is. dimensions: 2 or 3, how many values each place has.
    """
    points = np.asarray(points, dtype=np.float32)
    known = None if former is None else np.isfinite(former).all(axis=1)
    if former is None or known is None or known.sum() < FEWEST:
        return _fit(points, method, seed, None, dimensions)
    start = np.array(former, dtype=np.float32)
    start[~known] = place(points[~known], points[known], start[known])
    return laid_over(_fit(points, method, seed, start, dimensions), former)


def lay_out(points: Array, method: str, seed: int, former: Array | None, dimensions: int) -> Array:
    """`fit_map` on one thread, for a process of its own: what it loads and compiles takes several hundred MB."""
    with threadpool_limits(1):
        return fit_map(points, method, seed, former, dimensions)


def place(points: Array, anchors: Array, places: Array) -> Array:
    """Places for N further points, each among the anchors that are nearest to it: (N, n), (A, n), (A, d) -> (N, d) float32."""
    placed = np.empty((len(points), places.shape[1]), dtype=np.float32)
    if not len(points):
        return placed
    nearest = nearest_training(points, anchors, NEIGHBOURS)
    away = np.linalg.norm(anchors[nearest] - np.asarray(points, dtype=np.float32)[:, None], axis=2)
    weights = ((away[:, :1] + 1e-6) / (away + 1e-6)) ** SHARPNESS
    return np.asarray((places[nearest] * (weights / weights.sum(axis=1, keepdims=True))[:, :, None]).sum(axis=1), dtype=np.float32)


def laid_over(places: Array, former: Array) -> Array:
    """The (P, d) places turned, mirrored, shifted and scaled onto former ones (P, d), NaN where there was none (Procrustes)."""
    known = np.isfinite(former).all(axis=1)
    if known.sum() <= places.shape[1]:
        return places
    middle, target = places[known].mean(axis=0), former[known].mean(axis=0)
    own, other = (places[known] - middle).astype(np.float64), (former[known] - target).astype(np.float64)
    left, sizes, right = np.linalg.svd(own.T @ other)
    spread = np.square(own).sum()
    if spread == 0 or sizes.sum() == 0:
        return places
    return np.asarray((places - middle) @ (left @ right) * (sizes.sum() / spread) + target, dtype=np.float32)


def nearest_training(points: Array, training: Array, count: int) -> Array:
    """Indices (N, count) of the training points nearest to each of (N, n) points, the nearest first."""
    count = min(count, len(training))
    nearest = np.empty((len(points), count), dtype=np.int32)
    rows = max(1, min(1024, AT_ONCE // max(len(training), 1)))
    for start in range(0, len(points), rows):
        squared = squared_distances(np.asarray(points[start : start + rows], dtype=np.float32), training)
        nearest[start : start + rows] = _smallest(squared, count)
    return nearest


def _smallest(values: Array, count: int) -> Array:
    """The columns of the `count` smallest values of each row, the smallest first: (r, T) -> (r, count).

    Of a wide row they lie in the `count` bundles of columns with the smallest minima, so that minima are sorted in the place of values.
    """
    bundles = values.shape[1] // BUNDLE
    if bundles <= BUNDLE * count:
        return _sorted_columns(values, count)
    # A bundle is every so many columns, not neighbours: minima of those are found fastest.
    bundled = values[:, : bundles * BUNDLE].reshape(len(values), BUNDLE, bundles)
    best = np.argpartition(bundled.min(axis=1), count - 1, axis=1)[:, :count]
    columns = (best[:, None, :] + bundles * np.arange(BUNDLE)[None, :, None]).reshape(len(values), -1)
    over = np.broadcast_to(np.arange(bundles * BUNDLE, values.shape[1]), (len(values), values.shape[1] - bundles * BUNDLE))
    columns = np.concatenate([columns, over], axis=1)
    return np.take_along_axis(columns, _sorted_columns(np.take_along_axis(values, columns, axis=1), count), axis=1)


def _sorted_columns(values: Array, count: int) -> Array:
    some = np.argpartition(values, count - 1, axis=1)[:, :count]
    return np.take_along_axis(some, np.take_along_axis(values, some, axis=1).argsort(axis=1), axis=1)


def _fit(points: Array, method: str, seed: int, start: Array | None, dimensions: int) -> Array:
    if method == "pca" or len(points) <= FEWEST or points.shape[1] <= dimensions:
        flat = points - points.mean(axis=0)
        _, _, axes = np.linalg.svd(flat, full_matrices=False)
        along = flat @ axes[:dimensions].T
        return np.asarray(np.pad(along, ((0, 0), (0, dimensions - along.shape[1]))), dtype=np.float32)
    embed = umap_embedding if method == "umap" else tsne_embedding
    return embed(points, seed, start, dimensions)
