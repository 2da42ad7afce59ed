"""Samples from both ends of each cluster in latent space: doubtful items, which lie where classes meet, and typical ones.

Source: Mehta et al., Sampling for Deep Learning Model Diagnosis, 2020, section IV-B and algorithm 1.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from annotriage.diagnosis.quotas import proportional
from annotriage.diagnosis.view import Chosen, View, Why, chosen
from annotriage.errors import FitError

Array = NDArray[Any]

LARGEST_RATIO = 1e3  # beyond it a ratio says nothing more, and its reciprocal no longer draws anything
FOLDS = 5  # of the calibration; fewer where a class has fewer items


@dataclass(frozen=True)
class Clusters:
    """cluster: (N,) number of each item's cluster. ratio: (N,) P(A|x) / P(not A|x) of its own cluster A, up to infinity."""

    cluster: Array
    ratio: Array


def mixture_clusters(view: View, covariance: Literal["spherical", "full"], rng: np.random.Generator) -> Clusters:
    """Clusters of a variational Gaussian mixture with as many components as the model has classes; labels are not looked at.

    covariance: "full" fits clusters of any shape and takes longer; "spherical" does where classes are round and well apart.
    Raises FitError with fewer than two items.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import BayesianGaussianMixture

    if len(view) < 2:
        raise FitError("a mixture needs at least two items; give more data, or take method uniform")
    latent = _standardised(view.latent)
    components = min(max(view.classes, 2), len(view))
    mixture = BayesianGaussianMixture(
        n_components=components, covariance_type=covariance, max_iter=200, reg_covar=1e-4, random_state=int(rng.integers(2**31))
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a sample needs the order within clusters, not the last digit
        mixture.fit(latent)
    return _clusters(mixture.predict_proba(latent))


def margin_clusters(view: View, rng: np.random.Generator) -> Clusters:
    """Clusters of a linear max-margin classifier of the latent, its answers made probabilities by Platt's sigmoid.

    It learns the true labels of the labelled items, what the model says where nobody labelled anything.
    Raises FitError if those are of one class alone, or if no second class has two items.
    """
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.model_selection import StratifiedKFold
    from sklearn.svm import LinearSVC

    truth = view.truth if view.labelled.any() else view.predicted
    names, sizes = np.unique(truth[truth >= 0], return_counts=True)
    known = np.isin(truth, names[sizes >= 2])
    if (sizes >= 2).sum() < 2:
        raise FitError(
            "max-margin tells classes apart, and fewer than two classes have two items here; give items of several classes, or take"
            " method uniform or latent-grid"
        )
    latent, seed = _standardised(view.latent), int(rng.integers(2**31))
    folds = StratifiedKFold(int(min(FOLDS, sizes[sizes >= 2].min())), shuffle=True, random_state=seed)
    machine = CalibratedClassifierCV(LinearSVC(dual=False), method="sigmoid", cv=folds)
    machine.fit(latent[known], truth[known])
    found = _clusters(machine.predict_proba(latent))
    return Clusters(machine.classes_[found.cluster], found.ratio)


def both_ends(clusters: Clusters, size: int, outlier_share: float) -> Chosen:
    """From each cluster in proportion to it: `outlier_share` of its quota from the low end of the ratios, the rest from the high end."""
    rows, why = [], []
    for members, quota in _with_quotas(clusters, size):
        ordered = members[np.argsort(clusters.ratio[members], kind="stable")]
        doubtful = round(quota * outlier_share)
        rows.append(np.concatenate([ordered[:doubtful], ordered[len(ordered) - (quota - doubtful) :]]))
        why += [Why.DOUBTFUL] * doubtful + [Why.TYPICAL] * (quota - doubtful)
    return _chosen(clusters, rows, why)


def weighted_draw(clusters: Clusters, size: int, rng: np.random.Generator) -> Chosen:
    """From each cluster in proportion to it, at random, each item with a chance that grows with 1 / ratio."""
    rows, why = [], []
    for members, quota in _with_quotas(clusters, size):
        weights = weights_of(clusters.ratio[members])
        rows.append(rng.choice(members, quota, replace=False, p=weights / weights.sum()))
        why += [Why.WEIGHTED] * quota
    return _chosen(clusters, rows, why)


def weights_of(ratio: Array) -> Array:
    """1 / ratio, the ratio clipped to 0.001 .. 1,000, so that no item draws all or nothing."""
    return np.asarray(1 / np.clip(ratio, 1 / LARGEST_RATIO, LARGEST_RATIO))


def told(ratio: float) -> float | None:
    """A ratio as people and files are given it: at most `LARGEST_RATIO`, also where it is infinite; None where the method knows none."""
    return None if math.isnan(ratio) else min(ratio, LARGEST_RATIO)


def _with_quotas(clusters: Clusters, size: int) -> list[tuple[Array, int]]:
    numbers, sizes = np.unique(clusters.cluster, return_counts=True)
    quotas = proportional(sizes, size)
    return [(np.flatnonzero(clusters.cluster == number), int(quota)) for number, quota in zip(numbers, quotas, strict=True)]


def _chosen(clusters: Clusters, rows: list[Array], why: list[Why]) -> Chosen:
    together = np.concatenate(rows)
    ratio = clusters.ratio[together]
    return chosen(together, clusters.cluster[together], np.array(why), ratio, weights_of(ratio))


def _clusters(probabilities: Array) -> Clusters:
    """Of (N, k) probabilities. The others' are added up: 1 - P would round all sure items to one ratio."""
    cluster = probabilities.argmax(axis=1)
    own = probabilities[np.arange(len(cluster)), cluster]
    others = np.where(np.arange(probabilities.shape[1]) == cluster[:, None], 0.0, probabilities).sum(axis=1)
    with np.errstate(divide="ignore", over="ignore"):
        return Clusters(cluster, own / others)


def _standardised(latent: Array) -> Array:
    spread = latent.std(axis=0)
    return np.asarray((latent - latent.mean(axis=0)) / np.where(spread > 0, spread, 1.0), dtype=np.float64)
