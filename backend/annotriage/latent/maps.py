"""The map: a picture of training and incoming points together, made for eyes; nothing is decided on it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.latent.clusters import squared_distances
from annotriage.latent.compression import tsne_embedding, umap_embedding

Array = NDArray[Any]

FEWEST = 10  # UMAP's spectral start needs more points than this; fewer are drawn by principal components


def fit_map(points: Array, method: str, seed: int) -> Array:
    """Lay out (P, n) compressed points of both sets in the plane: (P, 2) float32, repeatable for a seed.

    method: "umap", "tsne" or "pca". Fitting both sets together lets a foreign source form an island of its own.
    """
    points = np.asarray(points, dtype=np.float32)
    if method == "pca" or len(points) <= FEWEST or points.shape[1] < 3:
        flat = points - points.mean(axis=0)
        _, _, axes = np.linalg.svd(flat, full_matrices=False)
        plane = flat @ axes[:2].T
        return np.asarray(np.pad(plane, ((0, 0), (0, 2 - plane.shape[1]))), dtype=np.float32)
    return umap_embedding(points, seed) if method == "umap" else tsne_embedding(points, seed)


def nearest_training(points: Array, training: Array, count: int) -> Array:
    """Indices (N, count) of the training points nearest to each of (N, n) points, the nearest first."""
    count = min(count, len(training))
    nearest = np.empty((len(points), count), dtype=np.int32)
    for start in range(0, len(points), 1024):
        squared = squared_distances(np.asarray(points[start : start + 1024], dtype=np.float32), training)
        some = np.argpartition(squared, count - 1, axis=1)[:, :count]
        order = np.take_along_axis(squared, some, axis=1).argsort(axis=1)
        nearest[start : start + 1024] = np.take_along_axis(some, order, axis=1)
    return nearest
