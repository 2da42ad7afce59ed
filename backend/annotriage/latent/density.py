"""How dense the training items lie where an item lies: minus the logarithm of a density fitted to activations.

Large = a region that hardly any training item covers.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.latent.compression import Pca, fit_pca

Array = NDArray[Any]

DIMENSIONS = 16  # kept of the activations: a full density of more needs more items than most projects have
LARGEST_FIT = 20_000  # items that a mixture is fitted to
SMALLEST_SHARE = 1e-3  # of the largest variance, added to each: a layer that some class never uses has none


@dataclass(frozen=True)
class Density:
    """A Gaussian, or a mixture of k, over compressed activations.

    weights: (k,). means: (k, n). factors: (k, n, n), Cholesky factors of the precisions.
    """

    pca: Pca
    weights: Array
    means: Array
    factors: Array

    def surprise(self, activations: Array) -> Array:
        """-ln density of each item, in nats: (N, d) -> (N,) float64."""
        points = self.pca.transform(activations).astype(np.float64)
        parts = np.empty((len(points), len(self.weights)))
        for place, (weight, mean, factor) in enumerate(zip(self.weights, self.means, self.factors, strict=True)):
            spread = np.square((points - mean) @ factor).sum(axis=1)
            parts[:, place] = np.log(weight) + np.log(np.diagonal(factor)).sum() - 0.5 * (spread + points.shape[1] * np.log(2 * np.pi))
        top = parts.max(axis=1, keepdims=True)
        return np.asarray(-(top[:, 0] + np.log(np.exp(parts - top).sum(axis=1))))


def fit_density(activations: Array, kind: str, parts: int, seed: int) -> Density:
    """Fit a density to (N, d) activations. kind: "gaussian", or "gmm", a mixture of `parts` Gaussians with full covariances.

    Source: US 2020/0302273, paragraphs 51 to 55; the compression to 16 principal components is ours.
    """
    from sklearn.mixture import GaussianMixture

    dimensions = max(1, min(DIMENSIONS, activations.shape[1], len(activations) // 4))
    pca, _ = fit_pca(activations, np.zeros(len(activations), dtype=np.intp), dimensions, seed)
    points = pca.transform(activations).astype(np.float64)
    if len(points) > LARGEST_FIT:
        points = points[np.random.default_rng(seed).choice(len(points), LARGEST_FIT, replace=False)]
    count = 1 if kind == "gaussian" else max(1, min(parts, len(points) // (4 * dimensions)))
    floor = max(float(points.var(axis=0).max(initial=0.0)) * SMALLEST_SHARE, 1e-9)
    mixture = GaussianMixture(count, reg_covar=floor, random_state=seed, max_iter=50)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a mixture that has not settled after 50 rounds is a density all the same
        mixture.fit(points)
    return Density(pca, mixture.weights_, mixture.means_, mixture.precisions_cholesky_)
