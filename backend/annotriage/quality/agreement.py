"""How far people agree who answered the same items: raw agreement and what is left of it beyond chance.

Input is a table of counts: how many people gave each label to each item. Items with one answer tell nothing and are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
RESAMPLES = 1_000
AT_ONCE = 100  # resamples in memory


@dataclass(frozen=True)
class Agreement:
    """raw: how often two people who answered the same item say the same, on average. alpha: Krippendorff's, None where all answers are
    alike, so that chance would agree as well. raw_low and so on: 95% limits, by bootstrap over items; None where they cannot be told.

    items, answers: that it rests on.
    """

    items: int
    answers: int
    raw: float
    raw_low: float | None
    raw_high: float | None
    alpha: float | None
    alpha_low: float | None
    alpha_high: float | None


def label_counts(answers: Sequence[Sequence[str]]) -> IntArray:
    """(N, K): how often each of the K labels was given to each of N items, in the order of the labels' names."""
    labels = {label: place for place, label in enumerate(sorted({label for given in answers for label in given}))}
    counts = np.zeros((len(answers), len(labels)), dtype=np.int64)
    for row, given in enumerate(answers):
        for label in given:
            counts[row, labels[label]] += 1
    return counts


def agreement(counts: IntArray, seed: int = 0, resamples: int = RESAMPLES) -> Agreement | None:
    """Agreement on items that several people answered, any number of people per item; None without any. counts: (N, K), see `label_counts`.

    alpha is 1 - observed / expected disagreement for labels without an order. Source: Krippendorff, Computing Krippendorff's
    Alpha-Reliability, 2011.
    resamples: of the bootstrap; raise it when the limits must be steady to the last digit.
    """
    counts = counts[counts.sum(axis=1) > 1]
    if not len(counts):
        return None
    rng, found = np.random.default_rng(seed), []
    n = len(counts)
    for start in range(0, resamples, AT_ONCE):
        weights = rng.multinomial(n, np.full(n, 1 / n), size=min(AT_ONCE, resamples - start)).astype(np.float64)
        found.append(_raw_and_alpha(counts, weights))
    drawn = np.concatenate(found)
    raw, alpha = _raw_and_alpha(counts, np.ones((1, n)))[0]
    limits = [_limits(drawn[:, column]) if n > 1 else (None, None) for column in (0, 1)]
    known = None if np.isnan(alpha) else float(alpha)
    return Agreement(n, int(counts.sum()), float(raw), *limits[0], known, *(limits[1] if known is not None else (None, None)))


def fleiss_kappa(counts: IntArray) -> float | None:
    """Fleiss' kappa, where each item was answered by equally many people; else, and where all answers are alike, None.

    counts: (N, K). Source: Fleiss, Measuring nominal scale agreement among many raters, Psychological Bulletin 1971.
    """
    sizes = counts.sum(axis=1)
    if not len(counts) or sizes[0] < 2 or (sizes != sizes[0]).any():
        return None
    observed = float(((counts * (counts - 1)).sum(axis=1) / (sizes * (sizes - 1))).mean())
    expected = float(np.square(counts.sum(axis=0) / counts.sum()).sum())
    return (observed - expected) / (1 - expected) if expected < 1 else None


def cohen_kappa(one: Sequence[str], other: Sequence[str]) -> float | None:
    """Cohen's kappa of two people who answered the same items, in the same order; None where both say one thing alone.

    Source: Cohen, A coefficient of agreement for nominal scales, Educational and Psychological Measurement 1960.
    """
    labels = {label: place for place, label in enumerate(sorted({*one, *other}))}
    table = np.zeros((len(labels), len(labels)))
    for first, second in zip(one, other, strict=True):
        table[labels[first], labels[second]] += 1
    if not table.sum():
        return None
    table /= table.sum()
    expected = float(table.sum(axis=1) @ table.sum(axis=0))
    return (float(np.trace(table)) - expected) / (1 - expected) if expected < 1 else None


def _raw_and_alpha(counts: IntArray, weights: FloatArray) -> FloatArray:
    """(B, 2): raw agreement and alpha, nan where undefined, with each of B rows of N weights of the items."""
    sizes = counts.sum(axis=1)
    agreeing = (counts * (counts - 1)).sum(axis=1) / (sizes - 1)  # pairs that agree, each item weighing as many as its answers
    answers, per_label = weights @ sizes, weights @ counts
    raw = weights @ (agreeing / sizes) / weights.sum(axis=1)
    observed = 1 - (weights @ agreeing) / answers
    expected = 1 - (per_label * (per_label - 1)).sum(axis=1) / (answers * (answers - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        alpha = np.where(expected > 0, 1 - observed / expected, np.nan)
    return np.stack([raw, alpha], axis=1)


def _limits(values: FloatArray) -> tuple[float | None, float | None]:
    known = values[~np.isnan(values)]
    if not len(known):
        return None, None
    low, high = np.quantile(known, (0.025, 0.975))
    return float(low), float(high)
