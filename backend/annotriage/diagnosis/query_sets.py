"""What people ask of activations, and how true a sample's answers are: S1 top neurons, S2 means, S3 where the maximum falls.

Asked for every combination of layer, true class, and right or wrong, so that a figure stands for a whole family of queries.
Source: Mehta et al., Sampling for Deep Learning Model Diagnosis, 2020, sections III and V-A.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.diagnosis.view import UNLABELLED

Array = NDArray[Any]

TOP = 10  # neurons of S1

Combination = tuple[int, int, bool]  # layer, true class, whether the model is wrong


@dataclass(frozen=True)
class Answer:
    """What some items say of a layer's d neurons.

    highest: (d,) each neuron's largest activation; S1 ranks by it. mean: (d,). falls: (d,) share of the items whose most activated neuron
    it is. items: how many it rests on.
    """

    highest: Array
    mean: Array
    falls: Array
    items: int

    def top(self, k: int) -> Array:
        """The k most activated neurons, the most activated first; by their maximum over the items, which is our choice."""
        return np.argsort(-self.highest, kind="stable")[:k]


@dataclass(frozen=True)
class Accuracy:
    """How true a sample's answers are, on average over the combinations that occur in the full data.

    top_neurons: S1, precision, 1 is best. means: S2, cosine distance, 0 is best. distribution: S3, Jensen-Shannon distance, 0 is best.
    combinations: how many there are. missing: of how many the sample holds no item; these count 0, 1 and 1.
    """

    top_neurons: float
    means: float
    distribution: float
    combinations: int
    missing: int


def answer(activations: Array) -> Answer:
    """The answer of n items: (n, d), n at least 1."""
    falls = np.bincount(activations.argmax(axis=1), minlength=activations.shape[1])
    return Answer(activations.max(axis=0), activations.mean(axis=0, dtype=np.float64), falls / len(activations), len(activations))


def answers(layers: Sequence[Array], truth: Array, wrong: Array, rows: Array | None = None) -> dict[Combination, Answer]:
    """The answers of every combination that occurs among the rows (all, if None). layers: (N, d) each. truth, wrong: (N,)."""
    taken = np.arange(len(truth)) if rows is None else rows
    found: dict[Combination, Answer] = {}
    for kind in np.unique(truth[taken][truth[taken] != UNLABELLED]).tolist():
        for missed in (False, True):
            here = taken[(truth[taken] == kind) & (wrong[taken] == missed)]
            if len(here):
                found |= {(layer, kind, missed): answer(activations[here]) for layer, activations in enumerate(layers)}
    return found


def accuracy(full: Mapping[Combination, Answer], sample: Mapping[Combination, Answer], k: int = TOP) -> Accuracy | None:
    """Compare a sample's answers with those of the full data; None if nothing is labelled, so that there are no combinations.

    k: neurons of S1. Layers with no more neurons than k are left out of S1, which they would answer rightly whatever is sampled.
    """
    if not full:
        return None
    precisions, distances, divergences, missing = [], [], [], 0
    for combination, true in full.items():
        asked = len(true.highest) > k
        mine = sample.get(combination)
        if mine is None:
            missing += 1
            precisions += [0.0] * asked
            distances.append(1.0)
            divergences.append(1.0)
            continue
        if asked:
            precisions.append(len(np.intersect1d(true.top(k), mine.top(k))) / k)
        distances.append(cosine_distance(true.mean, mine.mean))
        divergences.append(divergence(true.falls, mine.falls))
    top = float(np.mean(precisions)) if precisions else 1.0
    return Accuracy(top, float(np.mean(distances)), float(np.mean(divergences)), len(full), missing)


def cosine_distance(one: Array, other: Array) -> float:
    """1 - cosine, 0 for parallel vectors; of two zero vectors 0, of a zero vector and another 1."""
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    if lengths == 0:
        return float(one.any() or other.any())
    return max(0.0, 1.0 - float(one @ other) / lengths)


def divergence(one: Array, other: Array) -> float:
    """The Jensen-Shannon distance of two distributions, in bits: 0 for equal ones, 1 for disjoint ones."""
    from scipy.spatial.distance import jensenshannon

    return float(np.nan_to_num(jensenshannon(one, other, base=2)))
