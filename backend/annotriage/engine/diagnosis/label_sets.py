"""What is said of the classes of a model -> what is said of its answers: of each class, or where several may apply, of each label set."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from annotriage.engine.labels import LabelSpace

Array = NDArray[Any]


def shares_of(logits: Array, space: LabelSpace) -> Array:
    """The probability of each answer, in the order of `space.names`. logits: (m,). Of several classes each is taken for itself."""
    if not space.multiple:
        return np.asarray(softmax(logits))
    alone = expit(np.asarray(logits, dtype=np.float64))
    sets = np.prod(np.where(_members(space), alone, 1 - alone), axis=1)
    return np.append(sets, max(0.0, 1 - sets.sum()))


def evidence_of(evidence: Array, space: LabelSpace) -> Array:
    """How much speaks for each answer, in the order of `space.names`. evidence: (m,) for each class.

    For a label set speaks what does for its classes, less what does for the others; for the rest of the sets together nothing is said.
    """
    if not space.multiple:
        return evidence
    return np.append(np.where(_members(space), evidence, -evidence).sum(axis=1), 0.0)


def _members(space: LabelSpace) -> Array:
    """(sets, m) bool: which classes are in which label set."""
    found = np.zeros((len(space.sets), len(space.classes)), dtype=bool)
    for place, labels in enumerate(space.sets):
        found[place, list(labels)] = True
    return found
