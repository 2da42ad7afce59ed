"""Outlier scores: how strange a point is, larger is stranger. One shape for all: fit on the training set, then `score`.

Each score sees one side of an item: the direction of its activation (L2-normalised), the raw activation, the compressed
point, or the logits. Which scores are combined, and how, is `detector.py`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve
from scipy.special import logsumexp

from annotriage.latent.clusters import Clusters, Moments
from annotriage.latent.products import SHORT, Factor
from annotriage.latent.shrinkage import shrunk_covariance

Array = NDArray[Any]
Labels = NDArray[np.intp]

SCORES = ("relative-mahalanobis", "mahalanobis", "energy", "knn", "vim", "mean-sigma")
PART = 24  # of a row that is searched for its smallest values
MOST_OPTIMISM = 20.0  # where items are fewer than dimensions, nobody knows


@dataclass(frozen=True)
class View:
    """What the scores may look at, for N items.

    directions: (N, n) L2-normalised activations on their principal components. activations: (N, n) raw ones, likewise.
    compressed: (N, k) compressed points, where plain distances are measured. logits: (N, m).
    """

    directions: Array
    activations: Array
    compressed: Array
    logits: Array

    def rows(self, which: Any) -> View:
        """The view of some of the items, by mask or index."""
        return View(self.directions[which], self.activations[which], self.compressed[which], self.logits[which])

    def __len__(self) -> int:
        return len(self.logits)


class Score(Protocol):
    """A fitted score."""

    def score(self, view: View) -> Array:
        """(N,) float64, larger is stranger."""
        ...

    def score_training(self, view: View) -> Array:
        """The same for items that the score was fitted on, without letting an item vouch for itself."""
        ...


@dataclass(frozen=True)
class Mahalanobis:
    """Squared Mahalanobis distance to the nearest center, one covariance shared by all classes, on directions.

    Source: Mahalanobis++ (arXiv 2505.18032). whitening: (n, n). centers: (m, n), whitened. counts: (m,) training items.
    optimism: how many times farther new items lie from their centers than the items that the covariance was fitted on.
    """

    whitening: Array
    centers: Array
    counts: Array
    optimism: float

    @classmethod
    def fit(cls, moments: Moments) -> Mahalanobis:
        """moments: of the training points on their directions, by class."""
        degrees = max(1, int(moments.counts.sum()) - len(moments.counts))
        values, vectors = shrunk_covariance(moments.scatter, degrees)
        whitening = np.asarray(vectors / np.sqrt(values), dtype=np.float32)
        # The shrunk eigenvalues are the variances that new items are expected to have: their mean squared distance is n.
        own = float(np.einsum("ij,ij->", whitening, moments.scatter @ whitening)) / degrees
        optimism = min(len(values) / max(own, 1e-12), MOST_OPTIMISM)
        return cls(whitening, np.asarray(moments.means @ whitening, dtype=np.float32), moments.counts, optimism)

    def nearest(self, points: Array) -> Labels:
        """The center nearest to each item: (N, n) -> (N,). It takes a small part of what the distances take."""
        if len(self.centers) == 1:
            return np.zeros(len(points), dtype=np.intp)
        towards, lengths = self._towards
        return np.asarray((towards.times(points) + lengths).argmin(axis=1))

    def offsets(self, points: Array, to: Labels) -> Array:
        """What each item differs from a center, in coordinates whose squared length is the squared distance: (N, n), (N,) -> (N, n)."""
        factor, centers = self._triangular
        found = factor.times(points)
        found -= centers if len(centers) == 1 else centers[to]
        return found

    def pulls(self, offsets: Array) -> Array:
        """Half the slopes of the squared distances along the items' values: (N, n) of `offsets` -> (N, n)."""
        return self._transposed.times(offsets)

    def squared(self, points: Array) -> tuple[Array, Labels]:
        """Squared distance to the nearest center, and which that is: (N, n) -> (N,) float64, (N,)."""
        nearest = self.nearest(points)
        return squared_lengths(self.offsets(points, nearest)), nearest

    def score(self, view: View) -> Array:
        """(N,)"""
        return self.squared(view.directions)[0]

    def score_training(self, view: View) -> Array:
        """(N,), as if each item had been left out of the fit: it matters where items are not many more than dimensions.

        Out of the covariance, which lets distances grow by `optimism`, and out of its own center, which lengthens what it
        differs from it by n / (n - 1).
        """
        own, nearest = self.squared(view.directions)
        count = np.maximum(self.counts[nearest], 2)
        return np.asarray(own * self.optimism * (count / (count - 1)) ** 2)

    @cached_property
    def _towards(self) -> tuple[Factor, Array]:
        """What (N, n) points are multiplied with, (n, m), and what is added, (m,), to tell the squared distances of an item apart."""
        exact, centers = self.whitening.astype(np.float64), self.centers.astype(np.float64)
        factor = Factor.of(np.asarray(-2 * exact @ centers.T, dtype=np.float32))
        return factor, np.asarray((centers**2).sum(axis=1), dtype=np.float32)

    @cached_property
    def _triangular(self) -> tuple[Factor, Array]:
        """Another whitening, whose upper half is 0 and need not be multiplied, and the centers in its coordinates: (n, n), (m, n)."""
        means = solve(self.whitening.T.astype(np.float64), self.centers.T.astype(np.float64)).T
        return Factor.of(self._lower.astype(np.float32), length=SHORT), np.asarray(means @ self._lower, dtype=np.float32)

    @cached_property
    def _transposed(self) -> Factor:
        return Factor.of(self._lower.T.astype(np.float32), length=SHORT)

    @cached_property
    def _lower(self) -> Array:
        exact = self.whitening.astype(np.float64)
        return np.asarray(cholesky(exact @ exact.T, lower=True))


@dataclass(frozen=True)
class RelativeMahalanobis:
    """Mahalanobis distance to the nearest center minus that to the training set as a whole, on raw activations.

    What is unusual for every class alike cancels, which sees near strangers best. Source: Ren et al., arXiv 2106.09022.
    """

    near: Mahalanobis
    background: Mahalanobis

    @classmethod
    def fit(cls, moments: Moments) -> RelativeMahalanobis:
        """moments: of the training points' raw activations, by class."""
        return cls(Mahalanobis.fit(moments), Mahalanobis.fit(moments.as_one_class()))

    def score(self, view: View) -> Array:
        """(N,); may be negative."""
        return self.near.squared(view.activations)[0] - self.background.squared(view.activations)[0]

    # What an item adds to both fits cancels in the difference; leaving it out of each would only add noise.
    score_training = score


@dataclass(frozen=True)
class Knn:
    """Mean distance to the k nearest of a bank of training points, on compressed points. bank: (b, n). Source: arXiv 2204.06507."""

    bank: Array
    neighbours: int

    @classmethod
    def fit(cls, points: Array, neighbours: int) -> Knn:
        """points: (b, n) training points to keep; neighbours: k, at most b - 1."""
        return cls(np.asarray(points, dtype=np.float32), min(neighbours, len(points) - 1))

    def score(self, view: View) -> Array:
        """(N,)"""
        return self._mean_distance(view.compressed, skip=0)

    def score_training(self, view: View) -> Array:
        """(N,), for items of the bank: the nearest neighbour, the item itself, is passed over."""
        return self._mean_distance(view.compressed, skip=1)

    def _mean_distance(self, points: Array, skip: int) -> Array:
        points = np.asarray(points, dtype=np.float32)
        # |a - b|^2 = |a|^2 + (a, 1) . (-2 b, |b|^2): one product ranks the neighbours, |a|^2 is added to the nearest alone
        lengths = np.einsum("ij,ij->i", points, points)[:, None]
        result = np.empty(len(points))
        for start in range(0, len(points), 256):
            block = slice(start, start + 256)
            ranked = self._ranking.times(np.column_stack([points[block], np.ones_like(lengths[block])]))
            nearest = _smallest(ranked, self.neighbours + skip)[:, skip:] + lengths[block]
            result[block] = np.sqrt(np.maximum(nearest, 0)).mean(axis=1)
        return result

    @cached_property
    def _ranking(self) -> Factor:
        """(n + 1, b), what points are multiplied with; made once, as it costs a third of the scoring of a small batch."""
        return Factor.of(np.column_stack([-2 * self.bank, np.einsum("ij,ij->i", self.bank, self.bank)]).T)


def squared_lengths(rows: Array) -> Array:
    """(N, n) -> (N,) float64."""
    return np.asarray(np.einsum("ij,ij->i", rows, rows), dtype=np.float64)


def _smallest(values: Array, count: int) -> Array:
    """The `count` smallest of each row, ascending: (N, b) -> (N, count).

    They lie in those `count` of any parts of a row whose own smallest values are smallest, so that only these are searched.
    """
    width = values.shape[1]
    parts = width // PART
    if parts > 2 * count:
        whole = values[:, : parts * PART].reshape(len(values), PART, parts)
        least = np.argpartition(whole.min(axis=1), count - 1, axis=1)[:, :count]
        # whole parts are named, not their single values: take_along_axis takes four times as long
        kept = whole[np.arange(len(values))[:, None], :, least].reshape(len(values), -1)
        values = np.hstack([kept, values[:, parts * PART :]])
    return np.sort(np.partition(values, count - 1, axis=1)[:, :count], axis=1)


@dataclass(frozen=True)
class MeanSigma:
    """Distance to the nearest center in that cluster's own deviations above its mean: (distance - mu) / sigma.

    The base method (US 2025/0259083): an item is an outlier beyond mu + k sigma, that is, where this score exceeds k.
    """

    clusters: Clusters

    def score(self, view: View) -> Array:
        """(N,); above k means beyond mean + k sigma."""
        nearest, distance = self.clusters.nearest(view.compressed)
        return np.asarray((distance - self.clusters.mu[nearest]) / self.clusters.sigma[nearest], dtype=np.float64)

    score_training = score


@dataclass(frozen=True)
class Energy:
    """-logsumexp of the logits; for multiple choice the sum over classes of -log(1 + exp(logit)).

    Source: Liu et al., NeurIPS 2020 (arXiv 2010.03759); multi-label: Wang et al., NeurIPS 2021 (arXiv 2109.14162).
    normalised: the outputs are log-probabilities, whose energy is constant; then -max is taken (maximum probability).
    """

    multiple: bool
    normalised: bool

    @classmethod
    def fit(cls, logits: Array, multiple: bool) -> Energy:
        """logits: (N, m)."""
        return cls(multiple, not multiple and _normalised(logits))

    def score(self, view: View) -> Array:
        """(N,)"""
        logits = np.asarray(view.logits, dtype=np.float64)
        if self.multiple:
            return -np.asarray(np.logaddexp(0.0, logits).sum(axis=1))
        largest = logits.max(axis=1)
        if self.normalised:
            return -np.asarray(largest)
        return -np.asarray(largest + np.log(np.exp(logits - largest[:, None]).sum(axis=1)))  # scipy's takes ten times as long for few items

    score_training = score


@dataclass(frozen=True)
class Vim:
    """Virtual-logit matching: length of the activation outside its principal space, scaled, minus the logits' logsumexp.

    The head's weights are recovered from activations and logits by least squares, exact where the layer feeds the last
    dense one. origin: (n,). residual: (n, r), orthonormal. Source: Wang et al., CVPR 2022 (arXiv 2203.10807).
    normalised: the outputs are log-probabilities, none above 0; then their mean is taken off, which gives logits back.
    """

    origin: Array
    residual: Array
    scale: float
    normalised: bool

    @classmethod
    def fit(cls, points: Array, logits: Array) -> Vim:
        """points: (N, n) raw activations. logits: (N, m)."""
        points = np.asarray(points, dtype=np.float64)
        normalised = _normalised(logits)
        logits = _as_logits(logits, normalised)
        width = points.shape[1]
        head, *_ = np.linalg.lstsq(np.column_stack([points, np.ones(len(points))]), logits, rcond=None)
        origin = -np.linalg.pinv(head[:-1].T) @ head[-1]
        centred = points - origin
        _, vectors = np.linalg.eigh(centred.T @ centred)
        residual = vectors[:, : max(1, width - max(1, width // 2))]
        lengths = np.linalg.norm(centred @ residual, axis=1)
        scale = float(abs(np.mean(logits.max(axis=1))) / max(lengths.mean(), 1e-12))
        return cls(origin.astype(np.float32), residual.astype(np.float32), scale, normalised)

    def score(self, view: View) -> Array:
        """(N,)"""
        lengths = np.linalg.norm(self._outside.times(view.activations - self.origin), axis=1)
        return np.asarray(self.scale * lengths - logsumexp(_as_logits(view.logits, self.normalised), axis=1))

    score_training = score

    @cached_property
    def _outside(self) -> Factor:
        return Factor.of(self.residual)


def _normalised(logits: Array) -> bool:
    """Whether (N, m) logits are log-probabilities: their logsumexp, the energy, is the same for all items."""
    return bool(np.ptp(logsumexp(logits, axis=1)) < 1e-3)


def _as_logits(logits: Array, normalised: bool) -> Array:
    exact = np.asarray(logits, dtype=np.float64)
    return exact - exact.mean(axis=1, keepdims=True) if normalised else exact
