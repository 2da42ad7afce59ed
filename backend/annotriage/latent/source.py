"""The axis of an unusual look: whether the model's feature maps look as they do on training items, whatever the class.

Scanner, light, noise and sharpness show in the maps of early and middle layers long before they reach the last one. So does
a shape that the training items do not have, which the axis cannot tell from another source. All maps are
put side by side, each with the same weight, and one Gaussian without classes says how far an item is from the usual.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.latent.clusters import Moments
from annotriage.latent.compression import Compression, Uncompressed, fit_compression, l2_normalise
from annotriage.latent.products import Factor
from annotriage.latent.scores import Mahalanobis, squared_lengths

Array = NDArray[Any]

WIDEST = 256  # values kept of one map
IN_ALL = 1_536  # values kept of all maps, so that their covariance stays small
FOLDS = 5
PER_VALUE = 5  # with fewer training items for each value the Gaussian fits them closer than new ones
LEAST_SPREAD = 1e-4  # of directions, whose length is 1: a map that never changes has nothing to say


@dataclass(frozen=True)
class Source:
    """Fitted by `fit_source`.

    layers: which of the model's layers are read. reductions: what makes each of them narrow enough. widths: values left of each, d in
    all. origin, scale: (d,) mean of the maps side by side and what they are divided by. gaussian: their distribution, without classes.
    axes: (d, k) their widest directions.
    """

    layers: tuple[int, ...]
    reductions: tuple[Compression, ...]
    widths: tuple[int, ...]
    origin: Array
    scale: Array
    gaussian: Mahalanobis
    axes: Array

    def vectors(self, activations: Sequence[Array]) -> Array:
        """The maps of N items side by side: all of the model's layers, (N, w) each -> (N, d)."""
        vectors = _side_by_side(activations, self.layers, self.reductions)
        vectors -= self.origin
        vectors /= self.scale
        return vectors

    def score(self, vectors: Array) -> Array:
        """(N, d) -> (N,) float64, squared distance from the usual; larger is stranger."""
        return squared_lengths(self.offsets(vectors))

    def offsets(self, vectors: Array) -> Array:
        """What N items differ from the usual, (N, d) -> (N, d): their squared length is the score."""
        return self.gaussian.offsets(vectors, np.zeros(len(vectors), dtype=np.intp))

    def along(self, vectors: Array) -> Array:
        """Where N items lie along the widest directions, (N, d) -> (N, k)."""
        return self._along.times(vectors)

    def excess(self, vectors: Array, offsets: Array) -> Array:
        """What each map adds to the score beyond what it usually adds, (N, d) twice -> (N, maps): more is less usual."""
        added = vectors * self.gaussian.pulls(offsets)
        ends = np.cumsum(self.widths)
        return np.column_stack([added[:, end - width : end].sum(axis=1) - width for end, width in zip(ends, self.widths, strict=True)])

    @cached_property
    def _along(self) -> Factor:
        return Factor.of(self.axes)


def fit_source(activations: Sequence[Array], dimensions: int, scored: int, seed: int) -> tuple[Source, Array] | None:
    """The axis, and what it says of the first `scored` training items, (scored,), as if each had been left out of the fit.

    activations: all of the model's layers, (N, w) each, the deciding one first; it is not read. dimensions: k, at most d.
    None where no further layer says anything: there is none, or none ever changes.
    """
    layers, reductions, widths, origins, scales = [], [], [], [], []
    most = min(WIDEST, max(2, IN_ALL // max(1, len(activations) - 1)))
    for layer in range(1, len(activations)):
        directions = l2_normalise(activations[layer])
        reduction: Compression = Uncompressed()
        if directions.shape[1] > most:
            reduction, directions = fit_compression(directions, "pca", most, seed)
        origin = directions.mean(axis=0, dtype=np.float64)
        spread = float(np.sqrt(directions.var(axis=0, dtype=np.float64).sum()))
        if spread < LEAST_SPREAD:
            continue
        layers.append(layer)
        reductions.append(reduction)
        widths.append(len(origin))
        origins.append(origin.astype(np.float32))
        scales.append(np.full(len(origin), spread, dtype=np.float32))
    if not layers:
        return None
    origin, scale = np.concatenate(origins), np.concatenate(scales)
    vectors = (_side_by_side(activations, layers, reductions) - origin) / scale
    gaussian = Mahalanobis.fit(_moments(vectors))
    widest = gaussian.whitening[:, ::-1][:, :dimensions]
    axes = np.asarray(widest / np.linalg.norm(widest, axis=0), dtype=np.float32)
    source = Source(tuple(layers), tuple(reductions), tuple(widths), origin, scale, gaussian, axes)
    if len(vectors) < PER_VALUE * len(origin):
        return source, _left_out(vectors, scored)
    return source, source.score(vectors[:scored]) * gaussian.optimism


def _left_out(vectors: Array, scored: int) -> Array:
    """The score of the first `scored` items, each by a Gaussian that was fitted on the other four fifths of all: (scored,)."""
    folds = np.arange(len(vectors)) % FOLDS
    parts = [_moments(vectors[folds == fold]) for fold in range(min(FOLDS, len(vectors)))]
    scores = np.empty(scored)
    for fold in range(len(parts)):
        others = [part for place, part in enumerate(parts) if place != fold]
        rows = np.flatnonzero(folds[:scored] == fold)
        scores[rows] = Mahalanobis.fit(_together(others)).squared(vectors[rows])[0]
    return scores


def _moments(vectors: Array) -> Moments:
    return Moments.of(vectors, np.zeros(len(vectors), dtype=np.intp))


def _together(parts: Sequence[Moments]) -> Moments:
    """The moments of all parts' items as one class."""
    means = np.concatenate([part.means for part in parts])
    counts = np.concatenate([part.counts for part in parts])
    return Moments(counts, means, np.asarray(sum(part.scatter for part in parts))).as_one_class()


def _side_by_side(activations: Sequence[Array], layers: Sequence[int], reductions: Sequence[Compression]) -> Array:
    return np.hstack([reduction.transform_directions(activations[layer]) for layer, reduction in zip(layers, reductions, strict=True)])
