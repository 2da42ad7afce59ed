"""Confident learning: which given labels look wrong, how many, and for what they were probably mistaken.

cleanlab is the engine (Northcutt, Jiang and Chuang, Confident Learning, JAIR 2021): class thresholds, confident joint, pruning, ranks. It
assumes that a label's error depends on its true class alone, that fewer than half of each class's labels are wrong, and
that the probabilities come from a model that did not see the labels.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.guarantee.binomial import clopper_pearson
from annotriage.states import IssueKind

Array = NDArray[Any]
Labels = NDArray[np.intp]

RESAMPLES = 500  # of the bootstrap
NEAR = 1 / 3  # of the likely class's probability, above which the given one is as good
FALSE_STRANGERS = 0.1
LATEST, FEW_DECIDED = 50, 30  # decided findings that tell of the next ones
LEAST_REAL = 0.1
RANKS = {  # our names for cleanlab's label quality scores, each in [0, 1], small where the label is doubtful
    "self-confidence": "self_confidence",
    "margin": "normalized_margin",
    "entropy": "confidence_weighted_entropy",
}


@dataclass(frozen=True)
class NoiseRate:
    """The estimated share of wrong labels, with its 95% limits."""

    share: float
    low: float
    high: float


@dataclass(frozen=True)
class LabelIssues:
    """What confident learning says of N labels, one per item.

    flagged: (N,) bool. likely: (N,) most probable class. quality: (N,) for each of `RANKS`. agree: (N,) bool, flagged and also among
    the as many lowest by self-confidence and by entropy. joint: (K, K) estimated share of items of each (given, likely) pair, which
    sums to 1. noise: its part off the diagonal.
    """

    flagged: NDArray[np.bool_]
    likely: Labels
    quality: dict[str, Array]
    agree: NDArray[np.bool_]
    joint: Array
    noise: NoiseRate


@dataclass(frozen=True)
class AnswerIssues:
    """What confident learning says of N sets of labels, each of K classes by itself.

    flagged: (N, K) bool. quality: (N,) of the whole set, for each of `RANKS`. agree: (N,) as in `LabelIssues`.
    A share of flagged items is no noise rate: each class adds false positives of its own.
    """

    flagged: NDArray[np.bool_]
    quality: dict[str, Array]
    agree: NDArray[np.bool_]


def label_issues(labels: Labels, probabilities: Array, units: Labels, rng: np.random.Generator) -> LabelIssues:
    """Check N labels, one per item, of which at least two classes occur.

    labels: (N,) in 0 to K - 1. probabilities: (N, K), of a model that did not see these labels. units: (N,) number of the group of
    each item, by which the bootstrap draws.
    """
    from cleanlab.count import compute_confident_joint, estimate_joint
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    confident = compute_confident_joint(labels, probabilities)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes with few items, which the audit counts itself
        flagged = np.asarray(find_label_issues(labels, probabilities, confident_joint=confident, n_jobs=1), dtype=bool)
    quality = {name: get_label_quality_scores(labels, probabilities, method=theirs) for name, theirs in RANKS.items()}
    joint = np.asarray(estimate_joint(labels, probabilities, confident_joint=confident))
    return LabelIssues(
        flagged,
        probabilities.argmax(axis=1),
        quality,
        _agree(flagged, quality),
        joint,
        noise_rate(labels, probabilities, units, rng, share=float(1 - joint.trace())),
    )


def answer_issues(given: Array, probabilities: Array) -> AnswerIssues:
    """Check N sets of labels, (N, K) bool, against the probabilities of each class, (N, K)."""
    from cleanlab.multilabel_classification.filter import find_multilabel_issues_per_class
    from cleanlab.multilabel_classification.rank import get_label_quality_scores

    told = np.flatnonzero(given.any(axis=0) & ~given.all(axis=0))  # the others are not told apart by anybody
    flagged = np.zeros(given.shape, dtype=bool)
    if len(told):
        some = [np.flatnonzero(row).tolist() for row in given[:, told]]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            flagged[:, told] = find_multilabel_issues_per_class(some, probabilities[:, told], n_jobs=1)
    sets = [np.flatnonzero(row).tolist() for row in given]
    quality = {name: np.asarray(get_label_quality_scores(sets, probabilities, method=theirs)) for name, theirs in RANKS.items()}
    return AnswerIssues(flagged, quality, _agree(np.asarray(flagged.any(axis=1)), quality))


def kinds(issues: LabelIssues, labels: Labels, probabilities: Array, outlier: NDArray[np.bool_]) -> list[IssueKind]:
    """Which of three each flagged item is, in the order of the items: an outlier is a stranger; where the given class is nearly as
    probable as the likely one, the item is ambiguous; the rest are wrong labels.

    labels: (N,). probabilities: (N, K). outlier: (N,).
    """
    found = []
    for row in np.flatnonzero(issues.flagged):
        mine, theirs = probabilities[row, labels[row]], probabilities[row, issues.likely[row]]
        found.append(IssueKind.STRANGER if outlier[row] else IssueKind.AMBIGUOUS if mine >= NEAR * theirs else IssueKind.WRONG)
    return found


def strangers(p_values: Array) -> NDArray[np.bool_]:
    """Items that are none of the classes whatever their labels say, of which one in ten is expected to be a usual one: (N,) bool.

    Benjamini and Hochberg's rule on conformal p-values (Bates et al., Testing for outliers with conformal p-values, 2023). Where
    strangers are no more than chance gives, none is named. p_values: (N,), NaN where nothing was calibrated.
    """
    from scipy.stats import false_discovery_control

    if not len(p_values) or np.isnan(p_values).any():
        return np.zeros(len(p_values), dtype=bool)
    return np.asarray(false_discovery_control(p_values, method="bh") <= FALSE_STRANGERS)


def worth_offering(real: Sequence[bool]) -> bool:
    """Whether the next hundred findings are expected to hold at least one in ten real ones.

    real: of the findings that people decided, in the order in which to look. The latest of them tell what the next ones are like; before
    there are some thirty, findings are offered.
    """
    latest = real[-LATEST:]
    return len(latest) < FEW_DECIDED or (sum(latest) + 0.5) / (len(latest) + 1) >= LEAST_REAL


def noise_rate(labels: Labels, probabilities: Array, units: Labels, rng: np.random.Generator, share: float) -> NoiseRate:
    """The limits of an estimated noise rate, by a bootstrap over units: what of it is chance, not whether the model is right.

    share: the estimate. Which class each item confidently belongs to is settled once, on all items; the counts are drawn anew. With
    nothing flagged the upper limit is that of no error seen.
    """
    likely = _confident_class(labels, probabilities)
    sure = likely >= 0
    classes = probabilities.shape[1]
    cells, cell = np.unique(labels * (classes + 1) + np.where(sure, likely, classes), return_inverse=True)
    given, called = cells // (classes + 1), cells % (classes + 1)
    _, unit, sizes = np.unique(units, return_inverse=True, return_counts=True)
    if sizes.max() == 1:
        drawn = rng.multinomial(len(labels), np.bincount(cell) / len(labels), size=RESAMPLES)
    else:
        weights = rng.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), size=RESAMPLES)
        drawn = np.stack([np.bincount(cell, weights[row][unit], len(cells)) for row in range(RESAMPLES)])
    rows = np.zeros((len(cells), classes))
    rows[np.arange(len(cells)), given] = 1
    of_class = drawn @ rows
    sure_of_class = (drawn * (called < classes)) @ rows
    right = (drawn * (called == given)) @ rows
    wrong = np.where(sure_of_class > 0, 1 - right / np.maximum(sure_of_class, 1), 0.0)
    rates = (of_class * wrong).sum(axis=1) / of_class.sum(axis=1)
    low, high = np.quantile(rates, [0.025, 0.975])
    return NoiseRate(share, min(float(low), share), max(float(high), share, clopper_pearson(0, len(sizes))[1]))


def _confident_class(labels: Labels, probabilities: Array) -> Labels:
    """The class of which each item's probability reaches that class's usual one, the larger where several do; -1 if none: (N,)."""
    from cleanlab.count import get_confident_thresholds

    reached = probabilities >= get_confident_thresholds(labels, probabilities) - 1e-6
    best = np.where(reached, probabilities, -1.0).argmax(axis=1)
    return np.where(reached.any(axis=1), best, -1)


def _agree(flagged: NDArray[np.bool_], quality: dict[str, Array]) -> NDArray[np.bool_]:
    """Flagged items that are also among the as many lowest by self-confidence and by entropy."""
    number = int(flagged.sum())
    agree = flagged.copy()
    for name in ("self-confidence", "entropy"):
        lowest = np.zeros(len(flagged), dtype=bool)
        lowest[np.argsort(quality[name], kind="stable")[:number]] = True
        agree &= lowest
    return agree
