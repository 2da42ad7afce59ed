"""The seven kinds of questions that people ask of a model's activations, each as numbers.

Source: Mehta et al., Sampling for Deep Learning Model Diagnosis, 2020, table II. Which layer a question looks at is the caller's choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.diagnosis.query_sets import TOP, answer, cosine_distance, divergence
from annotriage.diagnosis.similarity import linear_cka
from annotriage.diagnosis.view import View

Array = NDArray[Any]


class Query(StrEnum):
    """The questions by name, Q1 to Q7 of the paper in order."""

    LAYER_MEANS = "layer-means"
    TOP_NEURONS_OF_ERRORS = "top-neurons-of-errors"
    ERRORS_AGAINST_CORRECT = "errors-against-correct"
    LOGITS_AND_LAYERS = "logits-and-layers"
    TAKEN_FOR = "taken-for"
    LEARNED_FIRST = "learned-first"
    MODEL_SIMILARITY = "model-similarity"

    @property
    def families(self) -> tuple[str, ...]:
        """The query sets whose accuracy is this question's."""
        if self is Query.TOP_NEURONS_OF_ERRORS:
            return ("S1",)
        return ("S2",) if self in (Query.LAYER_MEANS, Query.ERRORS_AGAINST_CORRECT) else ("S2", "S3")


@dataclass(frozen=True)
class ClassMeans:
    """Mean activation of each class. classes: (c,) those that occur. means: (c, d).

    telling: (d,) neurons by how far the means lie apart beside the spread within classes, the furthest first.
    """

    classes: Array
    means: Array
    telling: Array


def class_means(layer: Array, classes: Array) -> ClassMeans:
    """Q1: the mean of every neuron for every class. layer: (n, d). classes: (n,) class of each item."""
    present = np.unique(classes)
    means, spreads = (np.stack([getattr(layer[classes == kind], figure)(axis=0) for kind in present]) for figure in ("mean", "var"))
    apart = means.var(axis=0) / (spreads.mean(axis=0) + 1e-3 * layer.var() + 1e-12)  # a neuron that hardly fires tells nothing
    return ClassMeans(present, means, np.argsort(-apart, kind="stable"))


@dataclass(frozen=True)
class TopNeurons:
    """neurons: (k,) the most activated where the model is wrong, first first. wrong, right: (k,) their maxima over wrong and right items.

    shared: how many of them are among the k most activated of the right items, too.
    """

    neurons: Array
    wrong: Array
    right: Array
    shared: int


def top_neurons_of_errors(layer: Array, view: View, k: int = TOP) -> TopNeurons:
    """Q2: the most activated neurons of the items that the model has wrong (at least one). layer: (n, d)."""
    wrong, right = answer(layer[view.wrong]), layer[view.labelled & ~view.wrong]
    top = wrong.top(k)
    if not len(right):
        return TopNeurons(top, wrong.highest[top], np.full(len(top), np.nan), 0)
    usual = answer(right)
    return TopNeurons(top, wrong.highest[top], usual.highest[top], len(np.intersect1d(top, usual.top(k))))


@dataclass(frozen=True)
class Contrast:
    """One class, wrong against right. distance: cosine distance of the two means. neurons: those that differ most, first first.

    wrong, right: (d,) the means. items: how many are wrong.
    """

    kind: int
    distance: float
    neurons: Array
    wrong: Array
    right: Array
    items: int


def errors_against_correct(layer: Array, view: View) -> list[Contrast]:
    """Q3: for every class with wrong and right items, how the wrong ones look inside; the most unlike class first. layer: (n, d)."""
    found = []
    for kind in np.unique(view.truth[view.wrong]).tolist():
        wrong, right = (layer[(view.truth == kind) & (view.wrong == missed)] for missed in (True, False))
        if len(right):
            means = wrong.mean(axis=0), right.mean(axis=0)
            order = np.argsort(-np.abs(means[0] - means[1]), kind="stable")
            found.append(Contrast(kind, cosine_distance(*means), order, *means, len(wrong)))
    return sorted(found, key=lambda contrast: -contrast.distance)


def logits_and_layers(layers: Sequence[Array], logits: Array) -> Array:
    """Q4: how far each layer already says what each class's logit says: (m, L) linear CKA. layers: (n, d) each. logits: (n, m)."""
    return np.array([[linear_cka(layer, logits[:, [kind]]) for layer in layers] for kind in range(logits.shape[1])])


@dataclass(frozen=True)
class Confusion:
    """Items of class `kind` taken as `other`. rows: (r,) of them. neurons: those on which the maximum of any such item falls, most first.

    taken, kind_right, other_right: (d,) share of the items whose maximum falls on each neuron: of these, of right ones of `kind`, of right
    ones of `other`; NaN without any. nearer: whether they look more like `other` than like their own; None where it is not clear.
    """

    kind: int
    other: int
    rows: Array
    neurons: Array
    taken: Array
    kind_right: Array
    other_right: Array
    nearer: bool | None


def confusions(view: View) -> list[tuple[int, int]]:
    """(truth, answer) of all confusions, the most frequent first."""
    pairs, counts = np.unique(np.stack([view.truth, view.predicted], axis=1)[view.wrong], axis=0, return_counts=True)
    return [(int(pairs[place, 0]), int(pairs[place, 1])) for place in np.argsort(-counts, kind="stable")]


def taken_for(layer: Array, view: View, kind: int, other: int) -> Confusion:
    """Q5: where the maximum falls for items of one class taken as another (at least one). layer: (n, d), the last map."""
    rows = np.flatnonzero((view.truth == kind) & (view.predicted == other))
    groups = [layer[rows], *(layer[(view.truth == name) & (view.predicted == name)] for name in (kind, other))]
    taken, mine, its = (answer(group).falls if len(group) else np.full(layer.shape[1], np.nan) for group in groups)
    nearer = None
    if not (np.isnan(mine).any() or np.isnan(its).any()):
        to_mine, to_its = divergence(taken, mine), divergence(taken, its)
        nearer = None if np.isclose(to_mine, to_its, atol=0.02) else to_its < to_mine
    neurons = np.argsort(-taken, kind="stable")
    return Confusion(kind, other, rows, neurons[taken[neurons] > 0], taken, mine, its, nearer)


@dataclass(frozen=True)
class Learning:
    """How classes are learned over p checkpoints. classes: (c,). right: (c, p) share of each class that is right.

    like_final: (c, p) linear CKA of its items' last hidden layer with the final model's. order: places in `classes`, learned first first.
    """

    classes: Array
    right: Array
    like_final: Array
    order: Array


def learned_first(checkpoints: Sequence[tuple[Array, Array]], final: Array, truth: Array) -> Learning:
    """Q6: which class is learned faster. checkpoints: of each, oldest first, last hidden layer (n, d) and answers (n,). final: (n, d)."""
    classes = np.unique(truth[truth >= 0])
    right = np.array([[(answers[truth == kind] == kind).mean() for _, answers in checkpoints] for kind in classes])
    alike = np.array([[linear_cka(hidden[truth == kind], final[truth == kind]) for hidden, _ in checkpoints] for kind in classes])
    return Learning(classes, right, alike, np.argsort(-right.mean(axis=1), kind="stable"))


def model_similarity(mine: Sequence[Array], its: Sequence[Array]) -> Array:
    """Q7: how alike the layers of two models are, (L, M) linear CKA. mine, its: (n, d) each, of the same items in the same order."""
    return np.array([[linear_cka(layer, other) for other in its] for layer in mine])
