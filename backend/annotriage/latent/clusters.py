"""Clusters: one per class of the training set, each with its center and how far its points usually lie from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.latent.products import Factor

Array = NDArray[Any]
Labels = NDArray[np.intp]


@dataclass(frozen=True)
class Clusters:
    """The training set's clusters in the compressed space.

    names, counts: (m,) class and training items. centers: (m, n). mu, sigma: (m,) mean and standard deviation of the
    Euclidean distances of a cluster's points to its center. thresholds: (m,) their 1 - alpha quantile.
    """

    names: tuple[str, ...]
    counts: Array
    centers: Array
    mu: Array
    sigma: Array
    thresholds: Array

    def nearest(self, points: Array) -> tuple[Labels, Array]:
        """Index of the nearest center and the distance to it, for (N, n) compressed points: two arrays (N,)."""
        squared = _squared_distances(points, self.centers, self._towards.times(points))
        nearest = squared.argmin(axis=1)
        return nearest, np.sqrt(squared[np.arange(len(points)), nearest])

    @cached_property
    def _towards(self) -> Factor:
        return Factor.of(self.centers.T)


def fit_clusters(points: Array, labels: Labels, names: tuple[str, ...], alpha: float) -> Clusters:
    """Describe the clusters of (N, n) compressed training points.

    labels: (N,) index into names; every name must occur. alpha: the share that the quantile threshold leaves outside.
    """
    centers = class_means(points, labels)
    residuals = points - centers[labels]
    distances = np.sqrt(np.einsum("ij,ij->i", residuals, residuals, dtype=np.float64))
    mu = class_means(distances[:, None], labels)[:, 0]
    sigma = np.sqrt(class_means((distances - mu[labels])[:, None] ** 2, labels)[:, 0])
    # A cluster of one item, or of identical ones, has no spread of its own: it borrows the others'.
    spread = sigma > 1e-9 * max(float(distances.max()), 1e-30)
    pooled = float(np.sqrt(np.mean(sigma[spread] ** 2))) if spread.any() else 1.0
    thresholds = np.array([np.quantile(distances[labels == index], 1 - alpha) for index in range(len(names))])
    return Clusters(names, np.bincount(labels), centers, mu, np.where(spread, sigma, pooled), thresholds)


@dataclass(frozen=True)
class Moments:
    """What centers and covariances are made of, for labelled points: far smaller than the points, and carried along by a linear map.

    counts, means: (m,), (m, n) of each class. scatter: (n, n), the sum over all items of r r^T, r being what an item differs
    from its class's mean.
    """

    counts: Array
    means: Array
    scatter: Array

    @classmethod
    def of(cls, points: Array, labels: Labels) -> Moments:
        """points: (N, n). labels: (N,) cluster index, every cluster occurring."""
        means = class_means(points, labels)
        residuals = points - means[labels]
        return cls(np.bincount(labels), means, residuals.T @ residuals)

    def as_one_class(self) -> Moments:
        """The same items without their labels: the scatter between the classes joins that within them."""
        mean = self.counts @ self.means / self.counts.sum()
        between = (self.means - mean) * np.sqrt(self.counts)[:, None]
        return Moments(self.counts.sum(keepdims=True), mean[None], self.scatter + between.T @ between)

    def along(self, origin: Array, axes: Array) -> Moments:
        """The moments of (points - origin) @ axes.T. origin: (n,). axes: (k, n)."""
        return Moments(self.counts, (self.means - origin) @ axes.T, axes @ self.scatter @ axes.T)


def class_means(points: Array, labels: Labels) -> Array:
    """Mean of each class's rows: (N, n), (N,) -> (m, n); m = largest label + 1."""
    counts = np.bincount(labels)
    indicator = np.zeros((len(counts), len(points)), dtype=points.dtype)
    indicator[labels, np.arange(len(points))] = 1
    return np.asarray((indicator @ points) / np.maximum(counts, 1).astype(points.dtype)[:, None])


def squared_distances(points: Array, centers: Array) -> Array:
    """(N, n), (m, n) -> (N, m) squared Euclidean distances, never negative."""
    return _squared_distances(points, centers, points @ centers.T)


def _squared_distances(points: Array, centers: Array, products: Array) -> Array:
    """products: (N, m) of both, which are overwritten."""
    lengths = np.einsum("ij,ij->i", points, points)[:, None] + np.einsum("ij,ij->i", centers, centers)
    squared = products
    squared *= -2
    squared += lengths
    return np.asarray(np.maximum(squared, 0, out=squared))
