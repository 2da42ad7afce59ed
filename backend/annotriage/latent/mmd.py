"""Maximum mean discrepancy: whether a batch's points lie elsewhere than held-out ones, cluster by cluster, without any threshold.

A companion of `diversity`: it also sees changes that make no outliers. Significance is no size; it is printed beside the excess.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
SingleArray = NDArray[np.float32]
IntArray = NDArray[np.int64]

PERMUTATIONS = 499
SAMPLE = 2_000
TIE = 1e-7


@dataclass(frozen=True)
class Mmd:
    """distance: square root of the discrepancy beyond what permutations show (0: none). p_value: of the permutation test."""

    distance: float
    p_value: float


def mmd_test(
    points: FloatArray,
    held_out_points: FloatArray,
    strata: IntArray,
    held_out_strata: IntArray,
    rng: np.random.Generator,
    *,
    permutations: int = PERMUTATIONS,
    sample: int = SAMPLE,
) -> Mmd | None:
    """Permutation test that batch and held-out points are alike within every nearest cluster; None if none can be compared.

    Gaussian kernel, bandwidth^2 = median squared held-out distance / 2. Labels are permuted within a cluster, and a cluster
    has the same weight on both sides, n_b n_h / (n_b + n_h): a change of class mix alone does not count, and clusters that one
    side lacks are left out. Source: Gretton et al., A Kernel Two-Sample Test, JMLR 2012.

    points: (N, d), held_out_points: (n, d), whitened by the caller. strata, held_out_strata: (N,), (n,) nearest clusters.
    At most `sample` of each are used, drawn by `rng`. 499 permutations of 2,000 + 2,000 points take about a second.
    """
    batch, held_out = (rng.permutation(len(side))[:sample] for side in (points, held_out_points))
    cluster = np.concatenate([strata[batch], held_out_strata[held_out]])
    incoming = np.arange(cluster.size) < batch.size
    shared = np.isin(cluster, np.intersect1d(cluster[incoming], cluster[~incoming]))
    both = np.concatenate([points[batch], held_out_points[held_out]]).astype(np.float32)[shared]
    cluster, incoming = cluster[shared], incoming[shared]
    if len(both) < 3:
        return None
    weights = _permuted_weights(cluster, incoming, permutations, rng)
    kernel = _kernel(both, incoming)
    statistics = np.einsum("ij,ij->j", weights, kernel @ weights, dtype=np.float64)
    beyond = statistics[0] - statistics[1:].mean()
    p_value = (1 + np.sum(statistics[1:] >= statistics[0] - TIE)) / (permutations + 1)
    return Mmd(math.sqrt(max(0.0, float(beyond))), float(p_value))


def _kernel(both: SingleArray, incoming: NDArray[np.bool_]) -> SingleArray:
    squares = np.einsum("ij,ij->i", both, both)
    kernel: SingleArray = both @ both.T
    kernel *= -2
    kernel += squares
    kernel += squares[:, None]
    np.maximum(kernel, 0, out=kernel)
    held_out = kernel[np.ix_(~incoming, ~incoming)][:: max(1, int(np.sum(~incoming)) // 500)]
    typical = float(np.median(held_out[held_out > 0])) if np.any(held_out > 0) else 1.0
    kernel *= -1 / typical
    np.exp(kernel, out=kernel)
    return kernel


def _permuted_weights(cluster: IntArray, incoming: NDArray[np.bool_], permutations: int, rng: np.random.Generator) -> SingleArray:
    """Weights u with which MMD^2 = u'Ku: (points, 1 + permutations), the true ones first; each cluster's sum to zero."""
    weights = np.empty((cluster.size, 1 + permutations), dtype=np.float32)
    names = np.unique(cluster)
    n_batch = np.array([np.sum(incoming[cluster == name]) for name in names], dtype=np.float64)
    n_held_out = np.array([np.sum(~incoming[cluster == name]) for name in names], dtype=np.float64)
    importance = n_batch * n_held_out / (n_batch + n_held_out)
    importance /= importance.sum()
    for name, share, n_b, n_h in zip(names, importance, n_batch, n_held_out, strict=True):
        members = np.flatnonzero(cluster == name)
        own = np.where(incoming[members], share / n_b, -share / n_h).astype(np.float32)
        weights[members, 0] = own
        weights[members, 1:] = rng.permuted(np.broadcast_to(own, (permutations, own.size)), axis=1).T
    return weights
