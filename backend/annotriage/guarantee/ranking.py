"""Held-out items ranked by sureness, and the test that walks down the ranking: the inner part of `gate`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from annotriage.guarantee.binomial import first_size, passing_sizes

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

RESAMPLES = 200
WANTED_PASSES = 0.8
RESAMPLED_ITEMS = 2_000
FEWEST_RESAMPLED = 50
EXPECTED_COVERAGE = 0.5
MOST_LABELS = 100_000


@dataclass(frozen=True)
class Ranking:
    """Items that could become automatic, the surest first; among equally sure ones the smaller `miss` first.

    sureness, wrong, miss: (n,) in this order. errors: (n,) wrong ones among the first 1, 2, ... ends: the places where
    groups of equal sureness end: only there can a threshold lie.
    """

    sureness: FloatArray
    wrong: BoolArray
    miss: FloatArray
    errors: IntArray
    ends: IntArray

    @classmethod
    def of(cls, sureness: FloatArray, wrong: BoolArray, miss: FloatArray) -> Ranking:
        """The ranking of items in any order."""
        order = np.lexsort((miss, -sureness))
        ranked = sureness[order]
        ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], [True] * min(1, ranked.size)))
        return cls(ranked, wrong[order], miss[order], np.cumsum(wrong[order]), ends)

    @property
    def n(self) -> int:
        """How many items are ranked."""
        return int(self.sureness.size)

    def tau(self, sizes: IntArray, max_error: float) -> float:
        """The sureness down to which the error limit is shown; inf if it is not shown anywhere.

        sizes: `passing_sizes`: c errors pass at sizes[c] items or more.
        """
        start = first_test(np.arange(1, self.n + 1), np.cumsum(self.miss), self.miss, sizes, max_error)
        tested = self.ends[self.ends + 1 >= start] if start else self.ends[:0]
        failed = self.errors[tested] > np.searchsorted(sizes, tested + 1, side="right") - 1
        passed = int(np.argmax(failed)) if failed.any() else len(tested)
        return float(self.sureness[tested[passed - 1]]) if passed else math.inf


def first_test(counts: IntArray, misses: FloatArray, miss: FloatArray, sizes: IntArray, max_error: float) -> int:
    """How many of the surest items the first test takes; 0 if there are too few for any. Looks at no label.

    The largest of `sizes` that takes no more than 0.4 of the items and whose items the model itself expects to be wrong
    with max_error / 4 at most; else the smallest. Starting at the smallest always, one confident error ends most walks.

    counts, misses: (n,) cumulative number and cumulative `miss` down the ranking (a place may stand for several equal items).
    """
    total = int(counts[-1]) if counts.size else 0
    if not sizes.size or sizes[0] > total:
        return 0
    candidates = sizes[sizes <= 0.4 * total]
    places = np.searchsorted(counts, candidates)
    expected = misses[places] - (counts[places] - candidates) * miss[places]
    calm = candidates[expected <= max_error / 4 * candidates]
    return int(calm[-1]) if calm.size else int(sizes[0])


def labels_needed(ranking: Ranking, labelled: int, max_error: float, confidence: float, rng: np.random.Generator) -> int | None:
    """Labelled items it takes until the limit can probably be shown; None if no number of them would help.

    The smallest size at which the test passes in 80% of 200 bootstrap resamples of what is labelled (found to within 5%).
    With fewer than 50 labelled items, or where a few unlucky errors make all resamples fail, 2.5 n_0 / expected coverage.

    labelled: all labelled items, those included that are not in the ranking.
    """
    least = max(first_size(max_error, confidence), labelled + 1)
    guess = max(math.ceil(2.5 * first_size(max_error, confidence) / EXPECTED_COVERAGE), 2 * labelled)
    if labelled < FEWEST_RESAMPLED or not ranking.n:
        return guess
    if _hopeless(ranking, max_error):
        return None
    sizes = passing_sizes(max_error, confidence, MOST_LABELS)
    fails, passes = least - 1, least
    kept = np.sort(rng.choice(ranking.n, min(ranking.n, RESAMPLED_ITEMS), replace=False))
    thinned = Ranking.of(ranking.sureness[kept], ranking.wrong[kept], ranking.miss[kept])
    share = ranking.n / labelled
    seed = int(rng.integers(2**32))
    while not _passes(thinned, share, passes, sizes, max_error, seed):
        fails, passes = passes, 2 * passes
        if passes > MOST_LABELS:
            return guess
    while passes - fails > max(1, 0.05 * passes):
        middle = (fails + passes) // 2
        if _passes(thinned, share, middle, sizes, max_error, seed):
            passes = middle
        else:
            fails = middle
    return passes


def _passes(ranking: Ranking, share: float, size: int, sizes: IntArray, max_error: float, seed: int) -> bool:
    """Whether the first test passes in 80% of resamples of `size` labelled items, a `share` of which can be ranked."""
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(rng.binomial(size, share, RESAMPLES), np.full(ranking.n, 1 / ranking.n))
    totals = np.cumsum(counts, axis=1)
    errors = np.cumsum(counts * ranking.wrong, axis=1)
    misses = np.cumsum(counts * ranking.miss, axis=1)
    passed = 0
    for total, error, missed in zip(totals, errors, misses, strict=True):
        start = first_test(total, missed, ranking.miss, sizes[sizes <= total[-1]], max_error)
        if start:
            end = ranking.ends[np.searchsorted(ranking.ends, np.searchsorted(total, start))]
            passed += bool(error[end] <= np.searchsorted(sizes, total[end], side="right") - 1)
    return passed >= WANTED_PASSES * RESAMPLES


def _hopeless(ranking: Ranking, max_error: float) -> bool:
    """Whether the error is surely above the limit however few of the surest items are taken (20 or more)."""
    n = np.arange(min(20, ranking.n), ranking.n + 1)
    errors = ranking.errors[n - 1]
    return bool(np.all(np.where(errors > 0, betaincinv(np.maximum(errors, 1), n - errors + 1, 0.05), 0.0) > max_error))
