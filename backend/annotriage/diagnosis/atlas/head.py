"""What a layer's activations mean to the model: the linear map from them to its logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

RIDGE = 1e-6  # of the mean variance of the layer's neurons


@dataclass(frozen=True)
class Head:
    """weights: (d, m). bias: (m,). explained: share of the logits' variance that it gives, 1 for the layer before the last dense one."""

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
    left, total = float(((wanted - centred @ weights) ** 2).sum()), float((wanted**2).sum())
    return Head(weights, target - middle @ weights, 1 - left / total if total > 0 else 1.0)
