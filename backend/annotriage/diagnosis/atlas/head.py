"""What a layer's activations mean to the model: the linear map from them to its logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

RIDGE = 1e-6  # of the mean variance of the layer's neurons
TINY = 1e-9
PIECE = 4_096  # items at a time


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
    layer, answers = np.asarray(activations, dtype=np.float64), np.asarray(logits, dtype=np.float64)
    middle, target = layer.mean(axis=0), answers.mean(axis=0)
    centred, wanted = layer - middle, answers - target
    gram = centred.T @ centred
    gram[np.diag_indices_from(gram)] += RIDGE * max(float(np.trace(gram)) / len(gram), 1e-12)
    weights = np.linalg.solve(gram, centred.T @ wanted)
    left = (wanted - centred @ weights) / np.maximum(1 - _leverage(centred, gram), TINY)[:, None]
    total = float((wanted**2).sum())
    return Head(weights, target - middle @ weights, max(0.0, 1 - float((left**2).sum()) / total) if total > 0 else 1.0)


def _leverage(centred: Array, gram: Array) -> Array:
    """How far each item draws the fit to itself, (N,): with its residual over 1 - this, it counts as if it had been left out.

    Without it a layer with more neurons than there are items would explain everything.
    """
    from scipy.linalg import cho_factor, solve_triangular

    lower = cho_factor(gram, lower=True)[0]
    pieces = [np.square(solve_triangular(lower, part.T, lower=True)).sum(axis=0) for part in _pieces(centred)]
    return np.asarray(1 / len(centred) + np.concatenate(pieces))


def _pieces(rows: Array) -> list[Array]:
    return [rows[start : start + PIECE] for start in range(0, len(rows), PIECE)]
