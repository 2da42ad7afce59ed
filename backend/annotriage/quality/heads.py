"""Linear heads on frozen points: class probabilities for each item by a head that never saw its label.

For items that the model itself was trained on. Heads are linear discriminants (one covariance for all classes, shrunk by Ledoit and
Wolf's rule): in closed form, and too stiff to learn single wrong labels by heart, as a head of logistic regression does.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Labels = NDArray[np.intp]

FOLDS = 5  # more folds take longer and change little
RESOLUTION = 1e-9  # of the widest spread; what varies less is rounding, as of units that never fire
LEAST = 1e-6  # probability of a class that a head has never seen, or that it excludes


def fold_of(labels: Labels, units: Labels, folds: int, rng: np.random.Generator) -> Labels:
    """The fold of each item, 0 to folds - 1: (N,). Units stay whole, and each label is spread evenly over the folds.

    labels: (N,). units: (N,) number of the group, or of the content, that an item shares with others: what resembles each other
    must not vouch for each other.
    """
    _, first, unit = np.unique(units, return_index=True, return_inverse=True)
    order = rng.permutation(len(first))
    order = order[np.argsort(labels[first][order], kind="stable")]
    fold = np.empty(len(first), dtype=np.intp)
    fold[order] = np.arange(len(first)) % folds
    return np.asarray(fold[unit])


def checkable(labels: Labels, units: Labels, folds: int) -> NDArray[np.bool_]:
    """Items of classes that can be checked in so many folds: (N,) bool.

    They have as many items, and these of two units at least: what is all of one unit is in one fold, so that the head which is asked about
    it never saw the class, and every label of it would look wrong. labels, units: (N,), as of `fold_of`.
    """
    classes, place, items = np.unique(labels, return_inverse=True, return_counts=True)
    held = np.unique(np.stack([place, units]), axis=1)[0]
    return np.asarray(((items >= folds) & (np.bincount(held, minlength=len(classes)) >= 2))[place])


def class_probabilities(points: Array, labels: Labels, classes: int, fold: Labels) -> Array:
    """P(class | point) by the head of the other folds: (N, classes) float64, rows sum to 1.

    points: (N, n), on one scale. labels: (N,) in 0 to classes - 1; a class that is missing in a fold's training items gets
    (almost) no probability there. fold: (N,), see `fold_of`.
    """
    found = np.full((len(points), classes), LEAST)
    for number in np.unique(fold):
        own, others = fold == number, fold != number
        if not others.any():
            continue
        present = np.unique(labels[others])
        found[np.ix_(own, present)] = _head(points[others], labels[others], points[own])
    found = np.maximum(found, LEAST)
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def answer_probabilities(points: Array, given: Array, fold: Labels) -> Array:
    """P(class applies | point) for each class by itself, where several may apply: (N, classes) float64.

    given: (N, classes) bool. A class that all or none of the other folds' items have is given the share that has it.
    """
    found = np.empty(given.shape, dtype=np.float64)
    for number in np.unique(fold):
        own, others = fold == number, fold != number
        if not others.any():
            others = own
        for place in range(given.shape[1]):
            answers = given[others, place]
            if answers.all() or not answers.any():
                found[own, place] = answers.mean()
            else:
                found[own, place] = _head(points[others], answers.astype(np.intp), points[own])[:, 1]
    return np.clip(found, LEAST, 1 - LEAST)


def _head(points: Array, labels: Labels, asked: Array) -> Array:
    """Probabilities of the labels that occur, in ascending order, for the points asked."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    found, counts = np.unique(labels, return_counts=True)
    if len(found) == 1:
        return np.ones((len(asked), 1))
    spread = np.ptp(points, axis=0)
    varies = spread > RESOLUTION * spread.max()
    if not varies.any():
        return np.tile(counts / counts.sum(), (len(asked), 1))
    points, asked = points[:, varies], asked[:, varies]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # points that vary in fewer directions than they have coordinates are nothing to warn of
        head = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(points, labels)
        return np.asarray(head.predict_proba(asked), dtype=np.float64)
