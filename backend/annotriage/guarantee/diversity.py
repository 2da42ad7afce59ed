"""How foreign a set of items is: the share of outliers with its interval, its excess over what is usual, and tests."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv
from scipy.stats import betabinom, hypergeom, norm

from annotriage.guarantee.binomial import clopper_pearson
from annotriage.latent.mmd import Mmd

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

TINY = 1e-10  # a probability below which 1 - P is too coarse
BLOCK = 1 << 16  # scores that are compared with held-out ones at a time


@dataclass(frozen=True)
class ClusterDiversity:
    """One cluster's share of outliers: `outliers` of `n` incoming items, against `held_out_outliers` of `held_out`.

    p_value: one-sided Fisher, Holm-adjusted over clusters. mix_change: incoming share of the cluster minus its held-out share, nan
    without incoming or without held-out items (of any cluster). share is nan where n = 0, and the limits are 0 and 1.
    """

    name: str
    n: int
    outliers: int
    share: float
    low: float
    high: float
    held_out: int
    held_out_outliers: int
    p_value: float
    mix_change: float


@dataclass(frozen=True)
class Diversity:
    """How foreign a dataset is. Shares lie in [0, 1]; `low`, `high` are 95% limits.

    n: scored items; outliers: those flagged; failed: items that could not be scored (not in n).
    share = outliers / n, the diversity score; expected: the share expected of normal data, j / (held_out + 1);
    excess = share - expected. p_value: exact, that normal data gives so many outliers; never 0, at least the smallest number there is.
    effective_n: n, or less when items come in groups. rank_sum_p, mmd_p: tests without a threshold (None: not computed).
    calibrated: False when no held-out items exist, or so few that none could be an outlier; then expected, excess and p-values are nan.
    Without items share, excess and p-value are nan, and the limits of the share are 0 and 1: nothing was seen.
    """

    n: int
    outliers: int
    failed: int
    share: float
    low: float
    high: float
    expected: float
    expected_low: float
    expected_high: float
    excess: float
    excess_low: float
    excess_high: float
    p_value: float
    effective_n: int
    grouped: bool
    held_out: int
    rank_sum_p: float | None
    mmd: float | None
    mmd_p: float | None
    clusters: tuple[ClusterDiversity, ...]
    calibrated: bool


def diversity(
    outliers: BoolArray,
    clusters: IntArray,
    held_out_outliers: BoolArray,
    held_out_clusters: IntArray,
    cluster_names: Sequence[str],
    *,
    rank: int,
    groups: Sequence[str] | IntArray | None = None,
    failed: int = 0,
    scores: FloatArray | None = None,
    held_out_scores: FloatArray | None = None,
    mmd: Mmd | None = None,
) -> Diversity:
    """The diversity score of N scored items against n held-out ones, which were never used for training.

    Flags beyond the j-th largest of n held-out scores have a share of Beta(j, n + 1 - j) in normal data, so a batch of N has a
    beta-binomial number of them: the p-value is exact. The excess combines both uncertainties (Zou and Donner's MOVER,
    Statistics in Medicine 2008). Grouped items count as fewer (Korn and Graubard, Survey Methodology 1998).

    outliers, clusters: (N,) flags and nearest cluster. held_out_outliers, held_out_clusters: (n,), with the held-out item that is
    the threshold counted as flagged (score >= threshold). rank: j, `flagged_rank(n, alpha)` for the conformal threshold; for a
    threshold that looked at no held-out item (mean-sigma) one more than the held-out items beyond it.
    groups: (N,) names or numbers of what belongs together; held-out items must be one per group. scores, held_out_scores: (N,), (n,)
    for the rank-sum test, which takes the first item of each group.
    """
    n, k, held_out = len(outliers), int(np.sum(outliers)), len(held_out_outliers)
    share = k / n if n else math.nan
    _, first, of_group = (None, None, None) if groups is None else np.unique(np.asarray(groups), return_index=True, return_inverse=True)
    effective = _effective_size(outliers, of_group)
    low, high = clopper_pearson(share * effective, effective) if n else (0.0, 1.0)
    calibrated = 0 < rank <= held_out
    expected, expected_low, expected_high = expected_share(rank, held_out) if calibrated else (math.nan,) * 3
    excess = share - expected
    size = round(effective)
    ranks = None
    if calibrated and n and scores is not None and held_out_scores is not None:
        ranks = rank_sum(scores if first is None else scores[first], held_out_scores)
    return Diversity(
        n=n,
        outliers=k,
        failed=failed,
        share=share,
        low=low,
        high=high,
        expected=expected,
        expected_low=expected_low,
        expected_high=expected_high,
        excess=excess,
        excess_low=excess - math.hypot(share - low, expected_high - expected),
        excess_high=excess + math.hypot(high - share, expected - expected_low),
        p_value=_at_least(round(share * size), size, rank, held_out) if calibrated and n else math.nan,
        effective_n=size,
        grouped=groups is not None,
        held_out=held_out,
        rank_sum_p=ranks,
        mmd=mmd.distance if mmd else None,
        mmd_p=mmd.p_value if mmd else None,
        clusters=_per_cluster(outliers, clusters, held_out_outliers, held_out_clusters, cluster_names, of_group),
        calibrated=calibrated,
    )


def expected_share(rank: int, held_out: int) -> tuple[float, float, float]:
    """The share of outliers in normal data beyond the j-th largest of n held-out scores, j/(n + 1), and its 95% limits."""
    low, high = betaincinv(rank, held_out + 1 - rank, [0.025, 0.975])
    return rank / (held_out + 1), float(low), float(high)


def _at_least(k: int, size: int, rank: int, held_out: int) -> float:
    """The probability that normal data gives k outliers or more of `size`.

    Where it is tiny, 1 - P(fewer) is nothing but rounding: it is summed term by term then, which soon adds nothing more.
    """
    null = betabinom(size, rank, held_out + 1 - rank)
    found = float(null.sf(k - 1))
    if found > TINY:
        return found
    total, start = 0.0, k
    while start <= size:
        part = float(np.sum(null.pmf(np.arange(start, min(start + BLOCK, size + 1)))))
        total, start = total + part, start + BLOCK
        if part <= total * sys.float_info.epsilon:
            break
    return max(total, sys.float_info.min)


def rank_sum(scores: FloatArray, held_out_scores: FloatArray) -> float:
    """One-sided p-value that incoming outlier scores are larger than held-out ones (Wilcoxon, corrected for ties)."""
    if min(np.min(scores), np.min(held_out_scores)) == max(np.max(scores), np.max(held_out_scores)):
        return 1.0
    ordered, below = np.sort(held_out_scores), 0.0  # pairs in which the held-out item is less strange; equal ones count half
    for start in range(0, len(scores), BLOCK):
        some = scores[start : start + BLOCK]
        below += float(np.sum(np.searchsorted(ordered, some, "left") + np.searchsorted(ordered, some, "right"), dtype=np.float64) / 2)
    pairs, count = float(len(scores)) * len(ordered), float(len(scores) + len(ordered))
    variance = pairs / 12 * (count + 1 - _ties(scores, held_out_scores) / (count * (count - 1)))
    return float(norm.sf((below - pairs / 2 - 0.5) / math.sqrt(variance)))


def _ties(scores: FloatArray, held_out_scores: FloatArray) -> float:
    """The sum of t^3 - t over the groups of t equal values in both together."""
    every = np.concatenate([scores, held_out_scores])
    every.sort()
    starts = np.flatnonzero(np.concatenate([[True], every[1:] != every[:-1], [True]]))
    if len(starts) == len(every) + 1:
        return 0.0
    sizes = np.diff(starts).astype(np.float64)
    return float(np.sum(sizes**3 - sizes))


def holm(p_values: ArrayLike) -> FloatArray:
    """p-values adjusted so that all of those shown together raise a false alarm at the stated rate (Holm, 1979).

    p_values: (m,); NaN stays NaN and does not count. Returns (m,), each at least as large as before.
    """
    raw = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(raw)[: int(np.sum(~np.isnan(raw)))]
    adjusted = np.full(raw.shape, np.nan)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(raw[order] * np.arange(len(order), 0, -1)))
    return adjusted


def _effective_size(outliers: BoolArray, of_group: IntArray | None) -> float:
    """N, or for grouped items min(N, s(1 - s)/v), v the variance of the share s over groups; m groups where that says nothing."""
    n = len(outliers)
    if of_group is None or n == 0:
        return float(n)
    group = np.unique(of_group, return_inverse=True)[1]
    sizes, k = np.bincount(group), np.bincount(group, weights=outliers)
    m, share = len(sizes), float(np.mean(outliers))
    if m == 1 or share in (0.0, 1.0):
        return float(m)
    variance = m / (m - 1) * float(np.sum((k - share * sizes) ** 2)) / n**2
    return min(float(n), max(1.0, share * (1 - share) / variance)) if variance > 0 else float(n)


def _per_cluster(
    outliers: BoolArray,
    clusters: IntArray,
    held_out_outliers: BoolArray,
    held_out_clusters: IntArray,
    names: Sequence[str],
    of_group: IntArray | None,
) -> tuple[ClusterDiversity, ...]:
    """Each cluster against its own held-out items. Grouped items enter with their effective number."""
    m = len(names)
    n, k, held_out, j = (
        np.bincount(values, minlength=m)
        for values in (clusters, clusters[outliers], held_out_clusters, held_out_clusters[held_out_outliers])
    )
    shares = np.where(n > 0, k / np.maximum(1, n), np.nan)
    effective = n.astype(np.float64)
    if of_group is not None:
        effective = np.array([_effective_size(outliers[clusters == c], of_group[clusters == c]) for c in range(m)])
    size = np.round(effective).astype(int)
    flagged = np.round(np.nan_to_num(shares) * size).astype(int)
    p_values = hypergeom.sf(flagged - 1, size + held_out, flagged + j, size)
    adjusted = holm(np.where((n > 0) & (held_out > 0), p_values, np.nan))
    mix = n / n.sum() - held_out / held_out.sum() if n.any() and held_out.any() else np.full(m, np.nan)
    rows = []
    for c, name in enumerate(names):
        low, high = clopper_pearson(float(shares[c] * effective[c]), float(effective[c])) if n[c] else (0.0, 1.0)
        facts = int(n[c]), int(k[c]), float(shares[c]), low, high, int(held_out[c]), int(j[c])
        rows.append(ClusterDiversity(name, *facts, float(adjusted[c]), float(mix[c])))
    return tuple(rows)
