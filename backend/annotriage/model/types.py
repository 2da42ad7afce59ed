"""What every runtime makes of a model: the protocol `Model`, its `Outputs` for a batch, and the `Layer`s that it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from annotriage.model.spec import ModelSpec

Array = NDArray[Any]


@dataclass(frozen=True)
class Outputs:
    """What the model makes of a batch of N inputs.

    logits: (N, m) float32; of a model that ends in probabilities, their logarithms (single choice) or log-odds (multiple).
    activations: one (N, d) float32 array per layer of `Model.layers`; maps are pooled to their channels' mean
    (the first, deciding layer) or mean and standard deviation (further layers).
    """

    logits: NDArray[np.float32]
    activations: tuple[NDArray[np.float32], ...]

    def rows(self, which: slice) -> Outputs:
        """Those of some of the inputs."""
        return Outputs(self.logits[which], tuple(layer[which] for layer in self.activations))


@dataclass(frozen=True)
class Whole:
    """What the model makes of a batch of N inputs, place by place.

    logits: (N, m) float32, as in `Outputs`. layers: one float32 array per layer of `Model.layers`: (N, d), or a map with its channels
    first, (N, C, ...).
    """

    logits: NDArray[np.float32]
    layers: tuple[NDArray[np.float32], ...]


class Model(Protocol):
    """A model that is loaded and ready; made by `annotriage.model.load_model`."""

    spec: ModelSpec  # with activation and choice as they were found, where the file says "auto"
    layers: tuple[str, ...]
    hash: str  # sha256 over the model's files; the spec is compared by itself
    fixed_batch: int | None  # the only batch size the model takes; None if any
    device: str  # "cpu" or "cuda", as it really runs
    notes: tuple[str, ...]  # sentences for the user: what was asked for and could not be had
    lanes: int  # runs that are best side by side, each on a core of its own; 1 if one run is to have the machine, or the GPU, to itself

    def run(self, batch: Array, beside: bool = False) -> Outputs:
        """Outputs for (N, ...) inputs, any N: shorter batches are padded where the model's batch size is fixed.

        beside: others of `lanes` run meanwhile, so that it takes one core; else all that the model may use.
        """
        ...

    def run_whole(self, batch: Array) -> Whole:
        """As `run`, with maps as they are, not pooled."""
        ...


@dataclass(frozen=True)
class Layer:
    """A hidden layer that can be compared: name, shape without the batch axis (None = free), and its place in the model."""

    name: str
    shape: tuple[int | None, ...]
    operation: str  # the node or module that makes it: Relu, Gemm, GlobalAveragePool ...
    chosen: str  # "deciding", "further" or ""
