"""What a layer's activations mean to the model: the linear map from them to its logits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.diagnosis.atlas.pieces import pieces

Array = NDArray[Any]

RIDGE = 1e-6  # of the mean variance of the layer's neurons
TINY = 1e-9


@dataclass(frozen=True)
class Head:
    """weights: (d, m). bias: (m,). explained: share of the logits' variance that it gives on items it was not fitted to, at least 0; 1 for
    the layer before the last dense one.
    """

    weights: Array
    bias: Array
    explained: float

    def logits(self, activations: Array) -> Array:
        """(N, d) -> (N, m)."""
        return np.asarray(activations @ self.weights + self.bias)


def fit_head(activations: Array, logits: Array) -> Head:
    """The least-squares map from a layer, (N, d), to the logits, (N, m).

    Of the layer that feeds a dense last one this is that layer itself, found without opening the model; of an earlier layer it is a
    linear probe, whose `explained` says how much of the answers is linear there.
    """
    middle, target = activations.mean(axis=0, dtype=np.float64), logits.mean(axis=0, dtype=np.float64)
    gram, along = np.zeros((len(middle), len(middle))), np.zeros((len(middle), logits.shape[1]))
    for centred, wanted in _deviations(activations, middle, logits, target):
        gram += centred.T @ centred
        along += centred.T @ wanted
    gram[np.diag_indices_from(gram)] += RIDGE * max(float(np.trace(gram)) / len(gram), 1e-12)
    weights = np.linalg.solve(gram, along)
    lower = np.linalg.cholesky(gram)
    left = total = 0.0
    for centred, wanted in _deviations(activations, middle, logits, target):
        leverage = _leverage(centred, lower, len(activations))
        left += float(np.square((wanted - centred @ weights) / np.maximum(1 - leverage, TINY)[:, None]).sum())
        total += float(np.square(wanted).sum())
    return Head(weights, target - middle @ weights, max(0.0, 1 - left / total) if total > 0 else 1.0)


def _leverage(centred: Array, lower: Array, count: int) -> Array:
    """How far each item draws the fit to itself, (n,): with its residual over 1 - this, it counts as if it had been left out.

    Without it a layer with more neurons than there are items would explain everything. count: of all items.
    """
    from scipy.linalg import solve_triangular

    return np.asarray(1 / count + np.square(solve_triangular(lower, centred.T, lower=True)).sum(axis=0))


def _deviations(activations: Array, middle: Array, logits: Array, target: Array) -> Iterator[tuple[Array, Array]]:
    """Some items at a time, as deviations from the means: never all of them in double precision."""
    for some in pieces(len(activations)):
        yield np.asarray(activations[some], dtype=np.float64) - middle, np.asarray(logits[some], dtype=np.float64) - target
