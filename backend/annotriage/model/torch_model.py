"""torch models: exported programs (.pt2), or a factory's module with its weights. A batch -> logits and activations.

No pickled module is ever loaded: weights are safetensors or state_dicts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from annotriage.errors import ModelError
from annotriage.model.layers import Step, channels_last, choose, listed, tensor_of, token_of
from annotriage.model.outputs import find_reading, moments, only_token, refused_batch, run_in_batches, whole_in_batches
from annotriage.model.spec import ModelSpec, hash_files
from annotriage.model.torch_module import HookedModule
from annotriage.model.torch_program import Program
from annotriage.model.types import Array, Layer, Outputs, Whole

Change = Callable[[str, Tensor], Tensor]


class Recorder(Protocol):
    """A torch model whose inner tensors can be had by name."""

    steps: tuple[Step, ...]
    output: str
    dtype: torch.dtype
    fixed_batch: int | None

    def record(self, inputs: Tensor, names: frozenset[str], change: Change | None = None) -> dict[str, Tensor]:
        """The tensors of that name on the way from these inputs to the output; with `change`, which gets name and tensor, as it made
        them, and so what follows."""
        ...


class TorchModel:
    """A `Model` on torch. Runs one batch at a time, whichever thread asks: a module's hooks belong to all its callers."""

    lanes = 1

    def __init__(self, spec: ModelSpec, device: str, threads: int = 0) -> None:
        if threads:
            torch.set_num_threads(threads)
        self.spec = spec
        self.notes: tuple[str, ...] = ()
        self.device = device
        self._place = torch.device("cuda", torch.cuda.current_device()) if device == "cuda" else torch.device("cpu")
        self._lock = _ON_GPU if device == "cuda" else threading.Lock()
        self._recorder = _open(spec, self._place)
        choice = choose(self._recorder.steps, self._recorder.output, spec)
        self.layers = choice.layers
        self.fixed_batch = self._recorder.fixed_batch
        self.hash = hash_files([spec.model_path])
        self._logits = choice.logits
        self.channels_last = tuple(channels_last(self._recorder.steps, tensor_of(name), spec.input.layout) for name in self.layers)
        dtype = np.float32 if self._recorder.dtype.is_floating_point else np.int64
        self._reading = find_reading(self._forward, dtype, self.fixed_batch, choice, self.channels_last, spec)
        self.spec, self.fixed_batch = self._reading.spec, self._reading.fixed_batch
        self.notes = (*self.notes, *self._reading.notes)

    @staticmethod
    def gpu_missing() -> str:
        """Why no model can run on a GPU, and what to do; "" if torch sees one."""
        if torch.cuda.is_available():
            return ""
        return f"torch {torch.__version__} sees no GPU; running on the CPU. Install the CUDA build of torch and the GPU's driver to use it."

    def run(self, batch: Array, beside: bool = False) -> Outputs:
        """Outputs for (N, ...) inputs, any N. Raises ModelError if torch refuses the batch."""
        return run_in_batches(self._forward, batch, self.fixed_batch, self._reading)

    def run_whole(self, batch: Array) -> Whole:
        """As `run`, with maps as they are, channels first."""
        return whole_in_batches(partial(self._forward, whole=True), batch, self.fixed_batch, self._reading)

    def alone(self) -> Callable[[Array], object]:
        """The same module, of which the logits alone are brought back."""
        return lambda batch: self._forward(batch, layers=())

    def traced(self, inputs: Tensor, place: int, change: Callable[[Tensor], Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Logits (N, m) and one layer for inputs as the model takes them, with what gradients need; the layer has its channels first.

        place: of the layer in `layers`. change: makes of the layer's whole tensor what goes on in its place. Raises ModelError.
        """
        name = tensor_of(self.layers[place])
        changed = None if change is None else (lambda found, tensor: change(tensor) if found == name else tensor)
        try:
            with self._lock, torch.enable_grad(), _full_precision(self._place):
                recorded = self._recorder.record(inputs.to(self._place, self._recorder.dtype), frozenset((self._logits, name)), changed)
        except Exception as error:  # as in _forward
            raise ModelError(f"{self.spec.model_path}: torch could not trace a batch of shape {tuple(inputs.shape)}: {error}") from error
        layer = only_token(recorded[name], token_of(self.layers[place]))
        layer = layer.movedim(-1, 1) if layer.ndim > 2 and self.channels_last[place] else layer
        return recorded[self._logits].flatten(1).float(), layer.float()

    def _forward(self, batch: Array, whole: bool = False, layers: Sequence[str] | None = None) -> tuple[Array, Sequence[Array]]:
        """The output and these hidden layers, all that are compared if None; whole: not pooled."""
        try:
            return self._computed(batch, whole, self.layers if layers is None else layers)
        except ModelError:
            raise
        except Exception as error:  # a module's forward is the user's code and may raise anything
            if self.device == "cpu" or _gpu_answers():
                raise refused_batch(self.spec, "torch", batch, error) from error
            self._leave_gpu(str(error).partition("\n")[0])
        return self._forward(batch, whole, layers)

    def _computed(self, batch: Array, whole: bool, layers: Sequence[str]) -> tuple[Array, Sequence[Array]]:
        if not self._recorder.dtype.is_floating_point:
            batch = np.rint(batch)
        with self._lock, torch.inference_mode(), _full_precision(self._place), self._rounding():
            inputs = torch.from_numpy(np.ascontiguousarray(batch)).to(self._place, self._recorder.dtype)
            recorded = self._recorder.record(inputs, frozenset((self._logits, *map(tensor_of, layers))))
            activations = [recorded[tensor_of(name)] for name in layers]
            if self.device == "cuda" and not whole and layers:
                places = enumerate(zip(layers, activations, self.channels_last, strict=True))
                activations = [
                    pooled(only_token(activation, token_of(name)), moments(place), last) for place, (name, activation, last) in places
                ]
            output, *hidden = (tensor.float().cpu().numpy() for tensor in (recorded[self._logits], *activations))
        return output, hidden

    def _rounding(self) -> torch.autocast:
        """What may be computed in fewer bits is, where the spec says so; sums and the like stay exact, as torch sees fit."""
        precision = self.spec.precision
        return torch.autocast(self._place.type, getattr(torch, precision or "bfloat16"), enabled=precision is not None)

    def _leave_gpu(self, error: str) -> None:
        """Go on, on the CPU: one item that trips an assertion in a kernel must not fail all that come after it."""
        self._place, self.device, self._lock = torch.device("cpu"), "cpu", threading.Lock()
        self._recorder = _open(self.spec, self._place)
        self.notes = (*self.notes, f"the GPU refused all further work after this, so the model ran on the CPU from there on: {error}")


def torch_layers(spec: ModelSpec) -> list[Layer]:
    """The hidden layers that can be compared: a program's nodes, or a module's modules ("name:input" is what enters one)."""
    recorder = _open(spec, torch.device("cpu"))
    return listed(recorder.steps, recorder.output, spec)


def torch_steps(spec: ModelSpec) -> tuple[tuple[Step, ...], str]:
    """The steps of the model and the name of its output."""
    recorder = _open(spec, torch.device("cpu"))
    return recorder.steps, recorder.output


def pooled(activation: Tensor, count: int, channels_last: bool) -> Tensor:
    """What `outputs.pool` makes of the activation with so many moments, for a GPU: copying a map from it takes longer than the model."""
    if activation.ndim < 3:
        return activation
    flat = activation.float().flatten(1, -2) if channels_last else activation.float().flatten(2)
    places = 1 if channels_last else 2
    if count == 1:
        return flat.mean(places)
    deviation, mean = torch.std_mean(flat, places, correction=0)
    return torch.cat([mean, deviation], 1)


def _open(spec: ModelSpec, place: torch.device) -> Recorder:
    return HookedModule(spec, place) if spec.factory else Program(spec, place)


@contextmanager
def _full_precision(place: torch.device) -> Iterator[None]:
    """Convolutions in float32 on a GPU as on a CPU: by default cuDNN rounds to TF32, and a reference must hold on either."""
    if place.type == "cpu":
        yield
        return
    with torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, deterministic=True, allow_tf32=False):
        yield


def _gpu_answers() -> bool:
    """Whether the GPU still works for this process: after a failed assertion or a wrong address in a kernel it never does again."""
    try:
        torch.cuda.synchronize()
    except Exception:  # torch has had several classes for it
        return False
    return True


_ON_GPU = threading.Lock()  # for all models there: the flags of `_full_precision` belong to the whole process
