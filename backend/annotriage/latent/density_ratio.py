"""The density ratio: what comes in now, against what the held-out items are like, by a linear rule that looks at no label.

Strangers that resemble a known class are hard to tell one by one. Together they are not: where incoming items lie and held-out ones do
not, something new comes in. A logistic regression between the two, on compressed points, estimates log(density incoming / density
held-out) up to a constant; strangers get high values. Sources: SCOD with such a ratio from unlabelled data, arXiv 2403.16916; usual items
against an unlabelled mixture, AdaDetect, arXiv 2208.06685.
The items that it is fitted on calibrate nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.errors import FitError

Array = NDArray[Any]

FOLDS = 5
C = 0.001  # inverse strength of the ridge: strong, as the rule must say little where both sets are alike. Chosen on photos of clothing
WEIGHT, MOST = 0.05, 0.2  # of the rarity in sureness: where both sets are alike, and where they differ. Chosen on photos of clothing
# WEIGHT stays as it is: references from before there were two weights hold none, and count with it.
SLOPE = 1.0  # of the weight, in how well both sets are told apart: 2 AUROC - 1, of items that the rule had not seen
LEAST = 50  # items of either set, below which a rule is noise


@dataclass(frozen=True)
class DensityRatio:
    """log(density of incoming items / density of held-out ones) = weights . point + bias, and what is usual.

    weights: (n,), for compressed points. usual: ascending values of the held-out items that it was fitted on, each by a rule that had not
    seen it. held_out, incoming: how many items it was fitted on. weight: how much of `rarity` counts, WEIGHT where nothing tells both sets
    apart (more would cost automatic labels where no stranger comes in), and more the better they are told apart.
    """

    weights: Array
    bias: float
    usual: Array
    held_out: int
    incoming: int
    weight: float = field(default=WEIGHT, metadata={"later": True})

    def values(self, points: Array) -> Array:
        """How much more often such items come in now than among the held-out ones, as a logarithm: (N,). points: (N, n)."""
        return np.asarray(np.einsum("ij,j->i", points.astype(np.float64), self.weights) + self.bias)

    def rarity(self, points: Array) -> Array:
        """-ln of the share of held-out items that look as new: (N,), 0 to ln(held_out + 1), on average 1 for items like those."""
        at_least = self.usual.size - np.searchsorted(self.usual, self.values(points), side="left")
        return np.asarray(-np.log((1 + at_least) / (self.usual.size + 1)))

    @property
    def most_penalty(self) -> float:
        """The most that `penalty` can be."""
        return float(self.weight * np.log(self.usual.size + 1))

    def penalty(self, points: Array) -> Array:
        """What is taken off the sureness of such items: (N,)."""
        return self.weight * self.rarity(points)


def fit_density_ratio(held_out: Array, incoming: Array, seed: int) -> DensityRatio:
    """Learn to tell incoming items from held-out ones. held_out: (h, n) compressed points, incoming: (N, n).

    The rule is the mean of five, each fitted without a fifth of the items. Raises FitError if either set has fewer than 50 items.
    """
    from sklearn.linear_model import LogisticRegression  # heavy, with pandas behind it: loaded where a rule is fitted
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold

    if min(len(held_out), len(incoming)) < LEAST:
        raise FitError(f"{len(held_out):,} held-out and {len(incoming):,} incoming items are too few to compare: it takes {LEAST} of each")
    points = np.vstack([held_out, incoming]).astype(np.float64)
    center, spread = points[: len(held_out)].mean(0), points[: len(held_out)].std(0)
    spread = np.where(spread > 1e-9 * max(float(spread.max()), 1e-30), spread, np.inf)
    points = (points - center) / spread
    coming = np.repeat([False, True], [len(held_out), len(incoming)])
    weights, bias, own = np.zeros(points.shape[1]), 0.0, np.empty(len(points))
    for learn, rest in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(points, coming):
        rule = LogisticRegression(C=C, class_weight="balanced", max_iter=1000).fit(points[learn], coming[learn])
        own[rest] = rule.decision_function(points[rest])
        weights += rule.coef_[0] / FOLDS
        bias += float(rule.intercept_[0]) / FOLDS
    weights /= spread
    weight = float(np.clip(WEIGHT + SLOPE * (2 * roc_auc_score(coming, own) - 1), WEIGHT, MOST))
    return DensityRatio(weights, bias - float(center @ weights), np.sort(own[: len(held_out)]), len(held_out), len(incoming), weight)
