"""A reference of digits 0 to 7, and reviewed 8s and 9s for it to learn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from annotriage.engine.reference import Reference


@dataclass(frozen=True)
class Retraining:
    """What a retraining begins with. reviewed, fresh: (x, y) pairs, y as class names; fresh items were drawn at random."""

    reference: Reference
    train: tuple[np.ndarray, np.ndarray]
    reviewed: tuple[np.ndarray, np.ndarray]
    fresh: tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="session")
def retraining(digits_reference, digits):
    images, labels = digits.strangers
    order = np.random.default_rng(0).permutation(len(images))
    learned, judged = order[:120], order[120:240]
    fresh = tuple(np.concatenate([known, new[judged]]) for known, new in zip(digits.incoming, digits.strangers, strict=True))
    return Retraining(digits_reference, digits.train, (images[learned], labels[learned]), fresh)
