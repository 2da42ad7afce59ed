"""Every sampler by name: a view of N items and a share -> the items to look at."""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from annotriage.diagnosis.boundary_tree import boundary_tree
from annotriage.diagnosis.cells import confusion_matrix, latent_grid, uniform
from annotriage.diagnosis.errors_first import errors_first
from annotriage.diagnosis.ratios import Clusters, both_ends, margin_clusters, mixture_clusters, weighted_draw
from annotriage.diagnosis.view import UNLABELLED, Array, Chosen, View
from annotriage.diagnosis.visual import visual
from annotriage.errors import DataError, SettingError

SHARE = 0.05
OUTLIER_SHARE = 0.7  # where S1 stops rising (Mehta et al., figure 6)


class Method(StrEnum):
    """The samplers."""

    UNIFORM = "uniform"
    CONFUSION_MATRIX = "confusion-matrix"
    LATENT_GRID = "latent-grid"
    GMM_SPHERICAL = "gmm-spherical"
    GMM_FULL = "gmm-full"
    MAX_MARGIN = "max-margin"
    VISUAL = "visual"
    BOUNDARY_TREE = "boundary-tree"
    ERRORS_FIRST = "errors-first"

    @property
    def by_ratio(self) -> bool:
        """Whether it takes the two ends of clusters: only then have outlier share and weights a meaning."""
        return self in (Method.GMM_SPHERICAL, Method.GMM_FULL, Method.MAX_MARGIN)


# What takes neither labels nor the model's answers of the items that it chooses from.
FOR_UNLABELLED = (Method.MAX_MARGIN, Method.GMM_FULL, Method.GMM_SPHERICAL, Method.LATENT_GRID, Method.VISUAL, Method.UNIFORM)


def choose(
    view: View,
    method: Method,
    share: float | None = None,
    *,
    outlier_share: float | None = None,
    weighted: bool = False,
    rng: np.random.Generator,
) -> Chosen:
    """Choose the items to look at.

    share: of the N items, 0.05 if None; the boundary tree has a size of its own. outlier_share: of each cluster's sample, from its
    low-ratio end, 0.7 if None; raise it to see more errors, lower it to 0.5 for truer distributions. weighted: draw at random by 1 / ratio
    instead, another sample with each `rng`.
    Raises SettingError for a setting that the method does not know, DataError or FitError where the data do not allow it.
    """
    check(method, share, outlier_share, weighted)
    if not len(view):
        raise DataError("there are no items to choose from")
    size = min(len(view), max(1, round((SHARE if share is None else share) * len(view))))
    if method.by_ratio:
        clusters = _clusters(view, method, rng)
        return weighted_draw(clusters, size, rng) if weighted else both_ends(clusters, size, _or(outlier_share, OUTLIER_SHARE))
    if method is Method.BOUNDARY_TREE:
        return boundary_tree(view, rng)
    drawn = {
        Method.UNIFORM: uniform,
        Method.CONFUSION_MATRIX: confusion_matrix,
        Method.LATENT_GRID: latent_grid,
        Method.VISUAL: visual,
        Method.ERRORS_FIRST: errors_first,
    }
    return drawn[method](view, size, rng)


def choose_further(known: View, points: Array, method: Method, size: int, rng: np.random.Generator) -> Chosen:
    """Choose among items that nobody has labelled, by what labelled ones teach: which of them to label next.

    known: the labelled items. points: (N, d) of the others in the same space; rows of what is chosen are theirs. method: one of
    `FOR_UNLABELLED`. size: how many. Raises SettingError for another method, DataError without points, FitError as `choose`.
    """
    if method not in FOR_UNLABELLED:
        raise SettingError(f"method: {method} needs the labels of what it chooses from; take one of {', '.join(FOR_UNLABELLED)}")
    if not len(points):
        raise DataError("there are no items to choose from")
    size = min(size, len(points))
    if method.by_ratio:
        found = further_clusters(known, points, method, rng)
        return both_ends(found, size, OUTLIER_SHARE)
    unknown = np.full(len(points), UNLABELLED)
    return choose(View(points, unknown, unknown, known.classes), method, size / len(points), rng=rng)


def further_clusters(known: View, points: Array, method: Method, rng: np.random.Generator) -> Clusters:
    """The cluster of each of N further points, (N, d), and how surely it belongs there; clusters are made of all items together.

    method: one that goes by ratios. Raises FitError as `choose`.
    """
    unknown = np.full(len(points), UNLABELLED)
    joined = View(
        np.concatenate([known.latent, points]),
        np.concatenate([known.predicted, unknown]),
        np.concatenate([known.truth, unknown]),
        known.classes,
    )
    found = _clusters(joined, method, rng)
    return Clusters(found.cluster[len(known) :], found.ratio[len(known) :])


def _clusters(view: View, method: Method, rng: np.random.Generator) -> Clusters:
    if method is Method.MAX_MARGIN:
        return margin_clusters(view, rng)
    return mixture_clusters(view, "full" if method is Method.GMM_FULL else "spherical", rng)


def check(method: Method, share: float | None, outlier_share: float | None, weighted: bool) -> None:
    """Raise SettingError unless the settings are such as the method takes; also before hours of reading."""
    if share is not None and method is Method.BOUNDARY_TREE:
        raise SettingError("share: a boundary tree has one size, which comes out of the data; leave --share out")
    if share is not None and not 0 < share <= 1:
        raise SettingError(f"share: {share:g} is no share above 0 and at most 1")
    if outlier_share is not None and not 0 <= outlier_share <= 1:
        raise SettingError(f"outlier_share: {outlier_share:g} is no share from 0 to 1")
    ends = ", ".join(method for method in Method if method.by_ratio)
    if outlier_share is not None and not method.by_ratio:
        raise SettingError(f"outlier_share: method {method} takes no ends of clusters; leave it out, or take one of {ends}")
    if weighted and not method.by_ratio:
        raise SettingError(f"weighted: method {method} has no ratios; leave it out, or take one of {ends}")
    if weighted and outlier_share is not None:
        raise SettingError("outlier_share: a weighted sample is drawn at random, not from the ends; give one of the two")


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
