"""Held-out items ranked by sureness, and the test that walks down the ranking: the inner part of `gate`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from annotriage.guarantee import bounded
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
TESTED = 0.5  # of each stretch of places at which the same number of errors may pass: where it makes most automatic, on other curves too
CALM, CALM_PRICED = 4, 8  # how many times below the limit the first items are expected to stay; few dear errors are what decides costs


@dataclass(frozen=True)
class Ranking:
    """Items that could become automatic, the surest first; among equally sure ones the smaller `miss` first.

    sureness, wrong, miss: (n,) in this order. errors: (n,) wrong ones among the first 1, 2, ... ends: the places where
    groups of equal sureness end: only there can a threshold lie. losses: (n,) what each label costs, as a share of the most that one can;
    None where all errors cost the same. dearest: that most, in the limit's unit; 1 without costs.
    """

    sureness: FloatArray
    wrong: BoolArray
    miss: FloatArray
    errors: IntArray
    ends: IntArray
    losses: FloatArray | None = None
    dearest: float = 1.0

    @classmethod
    def of(
        cls, sureness: FloatArray, wrong: BoolArray, miss: FloatArray, cost: FloatArray | None = None, dearest: float | None = None
    ) -> Ranking:
        """The ranking of items in any order. dearest: None where all errors cost the same; then `cost` is not looked at."""
        order = np.lexsort((miss, -sureness))
        ranked = sureness[order]
        ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], [True] * min(1, ranked.size)))
        losses = None if dearest is None or cost is None else cost[order] / dearest
        return cls(ranked, wrong[order], miss[order], np.cumsum(wrong[order]), ends, losses, dearest or 1.0)

    @property
    def n(self) -> int:
        """How many items are ranked."""
        return int(self.sureness.size)

    def tau(self, max_error: float, confidence: float, stricter: float | None = None) -> float:
        """The sureness down to which the limit is shown; inf if it is not shown anywhere.

        stricter: the least that it may be. The places that passed are shown together, so that the last one above it may be taken.
        """
        sizes = self.sizes(max_error, confidence, self.n)
        start = first_test(np.arange(1, self.n + 1), np.cumsum(self.miss), self.miss, sizes, self.calm(max_error))
        tested = self.ends[self.ends + 1 >= start] if start else self.ends[:0]
        if self.losses is None:
            tested = tested[is_tested(tested + 1, sizes)]
        failed = ~self._shown(max_error, confidence)[tested]
        passed = tested[: int(np.argmax(failed)) if failed.any() else len(tested)]
        kept = passed if stricter is None else passed[self.sureness[passed] >= stricter]
        if not kept.size:
            return math.inf
        if stricter is not None and kept.size < passed.size and self.sureness[kept[-1] + 1] < stricter:
            return stricter  # no held-out item lies between
        return float(self.sureness[kept[-1]])

    def sizes(self, max_error: float, confidence: float, largest: int) -> IntArray:
        """At how many items the first test may be held, ascending: where one more of the dearest errors may pass."""
        if self.losses is None:
            return _passing_sizes(max_error, confidence, largest)
        return _priced_sizes(min(max_error / self.dearest, 0.5), confidence, largest)

    def calm(self, max_error: float) -> float:
        """What the items of the first test may be expected to cost, or how often to be wrong."""
        return max_error / (CALM if self.losses is None else CALM_PRICED)

    def least(self, max_error: float, confidence: float) -> int:
        """How many items without an error show the limit."""
        return least_items(max_error, None if self.losses is None else self.dearest, confidence)

    def upper_limits(self, places: IntArray, confidence: float) -> FloatArray:
        """The upper limit of what the labels down to each place cost on average: with costs alone. (p,) -> (p,)."""
        losses = np.empty(0) if self.losses is None else self.losses
        values, which = np.unique(losses, return_inverse=True)
        seen = [np.bincount(which[: place + 1], minlength=values.size) for place in places]  # at once it would be n x V
        counts = np.array(seen, dtype=np.float64).reshape(len(places), values.size)
        return self.dearest * bounded.upper_mean(values, counts, confidence)

    def _shown(self, max_error: float, confidence: float) -> BoolArray:
        """Whether the first 1, 2, ... items show the limit: (n,)."""
        if self.losses is None:
            sizes = _passing_sizes(max_error, confidence, self.n)
            return np.asarray(self.errors <= np.searchsorted(sizes, np.arange(1, self.n + 1), side="right") - 1)
        return bounded.shown_by_first(self.losses, min(max_error / self.dearest, 0.5), confidence)


@lru_cache(maxsize=256)
def _passing_sizes(max_error: float, confidence: float, largest: int) -> IntArray:
    return passing_sizes(max_error, confidence, largest)


@lru_cache(maxsize=256)
def _priced_sizes(limit: float, confidence: float, largest: int) -> IntArray:
    return bounded.passing_sizes(limit, confidence, largest)


def least_items(max_error: float, dearest: float | None, confidence: float) -> int:
    """How many items without an error show the limit. dearest: the most that an error costs; None where all cost the same."""
    if dearest is None:
        return first_size(max_error, confidence)
    return bounded.first_size(min(max_error / dearest, 0.5), confidence)


def first_test(counts: IntArray, misses: FloatArray, miss: FloatArray, sizes: IntArray, calm: float) -> int:
    """How many of the surest items the first test takes; 0 if there are too few for any. Looks at no label.

    The largest of `sizes` that takes no more than 0.4 of the items and whose items the model itself expects to be wrong
    with `calm` at most on average; else the smallest. Starting at the smallest always, one confident error ends most walks.

    counts, misses: (n,) cumulative number and cumulative `miss` down the ranking (a place may stand for several equal items).
    """
    total = int(counts[-1]) if counts.size else 0
    if not sizes.size or sizes[0] > total:
        return 0
    candidates = sizes[sizes <= 0.4 * total]
    places = np.searchsorted(counts, candidates)
    expected = misses[places] - (counts[places] - candidates) * miss[places]
    fit = candidates[expected <= calm * candidates]
    return int(fit[-1]) if fit.size else int(sizes[0])


def is_tested(counts: IntArray, sizes: IntArray) -> BoolArray:
    """At which numbers of items the walk tests, as far as it goes by how many errors may pass. Looks at no label.

    Between two of `sizes` the same number of errors may pass, so that shortly before the next one an error ends a walk that would have
    gone on a few items later. So only the first part of such a stretch is tested (where no place lies in it, the next one), and the last
    stretch, after which nothing comes, as a whole. With 1,000 held-out items, 2% and a model like that of
    `tests/benchmarks/guarantees.py`, 79% of what is possible becomes automatic instead of 77% (exact); on unlike curves of errors likewise.

    counts: (n,) ascending. sizes: ascending, as `binomial.passing_sizes` gives them, up to the number of all items. Returns (n,).
    """
    stretch = np.searchsorted(sizes, counts, side="right") - 1
    inner = (stretch >= 0) & (stretch < sizes.size - 1)
    low, high = sizes[stretch[inner]], sizes[stretch[inner] + 1]
    tested = stretch >= 0
    tested[inner] = counts[inner] - low <= TESTED * (high - low)
    tested[1:] |= (stretch[1:] != stretch[:-1]) & (stretch[1:] >= 0)
    tested[:1] |= stretch[:1] >= 0
    return np.asarray(tested)


def labels_needed(ranking: Ranking, labelled: int, max_error: float, confidence: float, rng: np.random.Generator) -> int | None:
    """Labelled items it takes until the limit can probably be shown; None if no number of them would help.

    The smallest size at which the test passes in 80% of 200 bootstrap resamples of what is labelled (found to within 5%).
    With fewer than 50 labelled items, or where a few unlucky errors make all resamples fail, 2.5 n_0 / expected coverage.

    labelled: all labelled items, those included that are not in the ranking.
    """
    alone = ranking.least(max_error, confidence)
    least = max(alone, labelled + 1)
    guess = max(math.ceil(2.5 * alone / EXPECTED_COVERAGE), 2 * labelled)
    if labelled < FEWEST_RESAMPLED or not ranking.n:
        return guess
    if _hopeless(ranking, max_error):
        return None
    fails, passes = least - 1, least
    kept = np.sort(rng.choice(ranking.n, min(ranking.n, RESAMPLED_ITEMS), replace=False))
    cost = None if ranking.losses is None else ranking.dearest * ranking.losses[kept]
    dearest = None if cost is None else ranking.dearest
    thinned = Ranking.of(ranking.sureness[kept], ranking.wrong[kept], ranking.miss[kept], cost, dearest)
    share = ranking.n / labelled
    seed = int(rng.integers(2**32))
    while not _passes(thinned, share, passes, max_error, confidence, seed):
        fails, passes = passes, 2 * passes
        if passes > MOST_LABELS:
            return guess
    while passes - fails > max(1, 0.05 * passes):
        middle = (fails + passes) // 2
        if _passes(thinned, share, middle, max_error, confidence, seed):
            passes = middle
        else:
            fails = middle
    return passes


def _passes(ranking: Ranking, share: float, size: int, max_error: float, confidence: float, seed: int) -> bool:
    """Whether the first test passes in 80% of resamples of `size` labelled items, a `share` of which can be ranked."""
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(rng.binomial(size, share, RESAMPLES), np.full(ranking.n, 1 / ranking.n))
    totals = np.cumsum(counts, axis=1)
    misses = np.cumsum(counts * ranking.miss, axis=1)
    sizes = ranking.sizes(max_error, confidence, size)
    factors = None if ranking.losses is None else bounded.log_factors(ranking.losses, min(max_error / ranking.dearest, 0.5))
    passed = 0
    for count, total, missed in zip(counts, totals, misses, strict=True):
        start = first_test(total, missed, ranking.miss, sizes[sizes <= total[-1]], ranking.calm(max_error))
        if start:
            end = ranking.ends[np.searchsorted(ranking.ends, np.searchsorted(total, start))] + 1
            if factors is None:
                passed += bool(count[:end] @ ranking.wrong[:end] <= np.searchsorted(sizes, total[end - 1], side="right") - 1)
            else:
                passed += bool(bounded.is_shown(count[:end] @ factors[:end], confidence))
    return passed >= WANTED_PASSES * RESAMPLES


def _hopeless(ranking: Ranking, max_error: float) -> bool:
    """Whether the error, or its cost, is surely above the limit however few of the surest items are taken (20 or more)."""
    n = np.arange(min(20, ranking.n), ranking.n + 1)
    if ranking.losses is not None:
        limit = min(max_error / ranking.dearest, 0.5)
        return bool(np.all(bounded.shown_by_first(1 - ranking.losses, 1 - limit, 0.95)[n - 1]))
    errors = ranking.errors[n - 1]
    return bool(np.all(np.where(errors > 0, betaincinv(np.maximum(errors, 1), n - errors + 1, 0.05), 0.0) > max_error))
