"""What can be trained: the protocol that the loop runs, and the linear head on frozen activations, which needs no framework."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Batch:
    """Samples of one step. rows: (n,) places. targets: (n, m) what is to be learned, soft where labels are smoothed or mixed.

    partners: (n,) places that each is mixed with, and share: (n,) how much of itself is kept; both None without mixup.
    """

    rows: Array
    targets: Array
    partners: Array | None = None
    share: Array | None = None


@dataclass(frozen=True)
class Seen:
    """A forward pass: logits (n, m) and activations (n, d) of the last hidden layer."""

    logits: Array
    activations: Array


class Learner(Protocol):
    """A model in training. All its state is arrays by name, so that it can be put down and taken up without pickle."""

    def step(self, batch: Batch, rate: float) -> Seen:
        """One forward pass, as returned, and one step of training."""
        ...

    def look(self, rows: Array) -> Seen:
        """A forward pass of samples as they are, without training."""
        ...

    def state(self) -> dict[str, Array]:
        """All that `restore` needs."""
        ...

    def restore(self, state: Mapping[str, Array]) -> None:
        """Become what `state` was taken of."""
        ...


def is_right(logits: Array, targets: Array, multiple: bool) -> Array:
    """Whether the largest logit is the label's, or, where several classes may apply, all of them are right: (N, m) each -> (N,) bool."""
    if multiple:
        return np.asarray(((logits > 0) == (targets > 0)).all(axis=1))
    return np.asarray(logits.argmax(axis=1) == targets.argmax(axis=1))


def probabilities(logits: Array, multiple: bool) -> Array:
    """Softmax of the logits, or a sigmoid of each where several classes may apply: (N, m)."""
    from scipy.special import expit, softmax

    return np.asarray(expit(logits) if multiple else softmax(logits, axis=1))


class Head:
    """A dense layer on frozen activations (N, d), trained by Adam; softmax, or sigmoids where several classes may apply.

    Adam: Kingma and Ba, arXiv 1412.6980; weight decay apart from the gradient (arXiv 1711.05101).
    """

    def __init__(self, activations: Array, classes: int, *, multiple: bool, weight_decay: float, seed: int) -> None:
        self._mean = activations.mean(axis=0, dtype=np.float64).astype(np.float32)
        deviation = activations.std(axis=0, dtype=np.float64).astype(np.float32)
        self._scale = np.where(deviation > 1e-6 * max(float(deviation.max(initial=0.0)), 1e-12), deviation, np.float32(np.inf))
        self._points = self._standardised(activations)
        self._multiple = multiple
        self._decay = weight_decay
        width = activations.shape[1]
        rng = np.random.default_rng(seed)
        self._weights: Array = (rng.standard_normal((width + 1, classes)) * 0.1 / np.sqrt(width + 1)).astype(np.float32)
        self._first: Array = np.zeros_like(self._weights)
        self._second: Array = np.zeros_like(self._weights)
        self._steps = 0

    def step(self, batch: Batch, rate: float) -> Seen:
        """As `Learner.step`."""
        points: Array = self._points[batch.rows]
        if batch.partners is not None and batch.share is not None:
            points = batch.share[:, None] * points + (1 - batch.share[:, None]) * self._points[batch.partners]
        logits = self._answer(points)
        wrong = (probabilities(logits, self._multiple) - batch.targets).astype(np.float32) / np.float32(len(points))
        gradient = np.vstack([points.T @ wrong, wrong.sum(axis=0)])
        self._steps += 1
        self._first = 0.9 * self._first + 0.1 * gradient
        self._second = 0.999 * self._second + 0.001 * np.square(gradient)
        mean = self._first / (1 - 0.9**self._steps)
        square = self._second / (1 - 0.999**self._steps)
        kept = np.ones((len(self._weights), 1), dtype=np.float32)
        kept[:-1] -= np.float32(rate * self._decay)
        self._weights = np.asarray(self._weights * kept - rate * mean / (np.sqrt(square) + 1e-8), dtype=np.float32)
        return Seen(logits, points)

    def look(self, rows: Array) -> Seen:
        """As `Learner.look`."""
        points = self._points[rows]
        return Seen(self._answer(points), points)

    def logits(self, activations: Array) -> Array:
        """What the head says of other items: (N, d) activations -> (N, m)."""
        return self._answer(self._standardised(activations))

    def layer(self) -> tuple[Floats, Floats]:
        """The head as a dense layer on the activations in their own units: weight (d, m), bias (m,)."""
        weight = self._weights[:-1] / self._scale[:, None]
        return np.asarray(weight, np.float32), np.asarray(self._weights[-1] - self._mean @ weight, np.float32)

    def state(self) -> dict[str, Array]:
        """As `Learner.state`."""
        return {"weights": self._weights, "first": self._first, "second": self._second, "steps": np.array(self._steps)}

    def restore(self, state: Mapping[str, Array]) -> None:
        """As `Learner.restore`."""
        self._weights, self._first, self._second = (np.array(state[key], np.float32) for key in ("weights", "first", "second"))
        self._steps = int(state["steps"])

    def _standardised(self, activations: Array) -> Floats:
        return np.asarray((activations - self._mean) / self._scale, dtype=np.float32)

    def _answer(self, points: Array) -> Floats:
        return np.asarray(points @ self._weights[:-1] + self._weights[-1], dtype=np.float32)
