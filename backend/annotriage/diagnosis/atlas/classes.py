"""The classes as the model's layer has them: where they lie, and which of them are alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.diagnosis.atlas.pieces import mean_of

Array = NDArray[Any]


def class_places(places: Array, predicted: Array, classes: int) -> Array:
    """A point per class: the median place of the items that the model calls so, (classes, 2), NaN of a class without any."""
    found = np.full((classes, 2), np.nan)
    for kind in np.unique(predicted).tolist():
        found[kind] = np.median(places[predicted == kind], axis=0)
    return found


def class_similarity(activations: Array, predicted: Array, classes: int) -> Array:
    """How alike classes are to the model: cosine of their mean activations, each less the mean of all.

    activations: (N, d). Returns (classes, classes), NaN for a class without items.
    """
    overall = activations.mean(axis=0, dtype=np.float64)
    means = np.full((classes, activations.shape[1]), np.nan)
    for kind in np.unique(predicted).tolist():
        means[kind] = mean_of(activations, np.flatnonzero(predicted == kind)) - overall
    lengths = np.linalg.norm(means, axis=1)
    return np.asarray(means @ means.T / np.maximum(np.outer(lengths, lengths), 1e-12))
