"""torch models: exported programs (.pt2), or a factory's module with its weights. A batch -> logits and activations.

Part of the second step of data -> model -> latent. No pickled module is ever loaded: weights are safetensors or state_dicts.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from annotriage.errors import ModelError
from annotriage.model import Array, Layer, Outputs
from annotriage.model.layers import Step, candidates, channels_last, choose
from annotriage.model.outputs import find_reading, run_in_batches
from annotriage.model.spec import ModelSpec, hash_files
from annotriage.model.torch_module import HookedModule
from annotriage.model.torch_program import Program


class Recorder(Protocol):
    """A torch model whose inner tensors can be had by name."""

    steps: tuple[Step, ...]
    output: str
    dtype: torch.dtype
    fixed_batch: int | None

    def record(self, inputs: Tensor, names: frozenset[str]) -> dict[str, Tensor]:
        """The tensors of that name on the way from these inputs to the output."""
        ...


class TorchModel:
    """A `Model` on torch. Runs one batch at a time, whichever thread asks: a module's hooks belong to all its callers."""

    def __init__(self, spec: ModelSpec, device: str = "auto", threads: int = 0) -> None:
        if threads:
            torch.set_num_threads(threads)
        self.spec = spec
        self.device = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
        self._recorder = _open(spec, self.device)
        choice = choose(self._recorder.steps, self._recorder.output, spec)
        self.layers = choice.layers
        self.fixed_batch = self._recorder.fixed_batch
        self.hash = hash_files([spec.model_path])
        self._tensors = (choice.logits, *choice.layers)
        self._lock = threading.Lock()
        last = tuple(channels_last(self._recorder.steps, name, spec.input.layout) for name in self.layers)
        dtype = np.float32 if self._recorder.dtype.is_floating_point else np.int64
        self._reading = find_reading(self._forward, dtype, self.fixed_batch, choice, last, spec)
        self.spec = self._reading.spec
        self.notes = (*_device_notes(device, self.device), *self._reading.notes)

    def run(self, batch: Array) -> Outputs:
        """Outputs for (N, ...) inputs, any N. Raises ModelError if torch refuses the batch."""
        return run_in_batches(self._forward, batch, self.fixed_batch, self._reading)

    def _forward(self, batch: Array) -> tuple[Array, Sequence[Array]]:
        if not self._recorder.dtype.is_floating_point:
            batch = np.rint(batch)
        inputs = torch.from_numpy(np.ascontiguousarray(batch)).to(self.device, self._recorder.dtype)
        try:
            with self._lock, torch.inference_mode():
                found = self._recorder.record(inputs, frozenset(self._tensors))
        except ModelError:
            raise
        except Exception as error:  # a module's forward is the user's code and may raise anything
            raise ModelError(
                f"{self.spec.model_path}: torch could not run a batch of shape {batch.shape}: {error}."
                " If memory is short, lower batch_size; else compare the input's size and layout in the spec with the model"
            ) from error
        output, *activations = (found[name].float().cpu().numpy() for name in self._tensors)
        return output, activations


def torch_layers(spec: ModelSpec) -> list[Layer]:
    """The hidden layers that can be compared: a program's nodes, or a module's modules ("name:input" is what enters one)."""
    recorder = _open(spec, "cpu")
    return candidates(recorder.steps, choose(recorder.steps, recorder.output, spec))


def _open(spec: ModelSpec, device: str) -> Recorder:
    return HookedModule(spec, device) if spec.factory else Program(spec, device)


def _device_notes(wanted: str, device: str) -> tuple[str, ...]:
    if wanted != "cuda" or device == "cuda":
        return ()
    return (
        f"setting device = cuda, but torch {torch.__version__} sees no GPU; running on the CPU."
        " Install the CUDA build of torch and the GPU's driver to use it.",
    )
