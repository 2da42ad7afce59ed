"""What a model put out -> `Outputs`: activations pooled to vectors, probabilities turned back into logits, batches cut to size.

Part of the second step of data -> model -> latent; shared by every runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.errors import ModelError
from annotriage.model import Array, Outputs
from annotriage.model.spec import ModelSpec

Floats = NDArray[np.float32]
Forward = Callable[[Array], tuple[Array, Sequence[Array]]]  # a batch -> what the model puts out, its hidden layers


@dataclass(frozen=True)
class Reading:
    """How raw outputs are read; found once, when the model is loaded, so that every batch is read alike."""

    probabilities: bool
    channels_last: tuple[bool, ...]


def pool(activation: Array, moments: int, channels_last: bool = False) -> Floats:
    """The activation of a layer as one vector per item: each channel's mean over all places, or its mean and deviation.

    activation: (N, d) stays as it is; (N, C, ...) or, with channels last, (N, ..., C) becomes (N, C), with 2 moments (N, 2C).
    """
    count = len(activation)
    if activation.ndim < 3:
        return np.ascontiguousarray(activation.reshape(count, -1), dtype=np.float32)
    places, channel = (1, 2) if channels_last else (2, 1)
    flat = activation.reshape((count, -1, activation.shape[-1]) if channels_last else (count, activation.shape[1], -1))
    pooled = np.empty((count, moments * flat.shape[channel]), dtype=np.float32)
    width = flat.shape[channel]
    pooled[:, :width] = flat.mean(axis=places, dtype=np.float32)
    if moments == 2:
        subscripts = "sc,sc->c" if channels_last else "cs,cs->c"
        for row, item in zip(pooled, flat, strict=True):  # item by item: the centred copy stays in the processor's cache
            centred = item - np.expand_dims(row[:width], places - 1)
            if centred.dtype != np.float32:
                centred = centred.astype(np.float32)
            row[width:] = np.sqrt(np.einsum(subscripts, centred, centred) / flat.shape[places])
    return pooled


def find_reading(forward: Forward, probe: Array, channels_last: tuple[bool, ...], layers: Sequence[str], spec: ModelSpec) -> Reading:
    """Try the model on a probe batch: the output must fit the classes, every layer must have one row per item.

    Says how to read the output where the spec leaves it open: values that sum to 1 (single choice) or all lie in [0, 1]
    (multiple) on random inputs are probabilities. Raises ModelError naming both numbers, or the layer.
    """
    where = f"{spec.path}: {spec.model_path.name}"
    output, activations = forward(probe)
    values: Array = np.asarray(output, dtype=np.float64).reshape(len(output), -1) if np.ndim(output) else np.empty((0, 0))
    if len(values) != len(probe):
        raise ModelError(f"{where}: {len(probe)} inputs give an output of shape {np.shape(output)}; its first axis must be the batch")
    if values.shape[1] != len(spec.classes):
        raise ModelError(
            f"{where}: the model has {values.shape[1]} outputs per item, but [model] classes names {len(spec.classes)};"
            " name every class, in the order of the outputs, or state the right tensor as [model] output"
        )
    for name, activation in zip(layers, activations, strict=True):
        if activation.ndim < 2 or len(activation) != len(probe):
            raise ModelError(
                f"{where}: layer {name!r} has the shape {activation.shape} for {len(probe)} inputs; its first axis must be the batch."
                f" `annotriage layers --model {spec.path}` lists others"
            )
    if spec.activation != "auto":
        return Reading(spec.activation == "none", channels_last)
    bounded = bool(np.all((values >= -1e-6) & (values <= 1 + 1e-6)))
    sums_to_one = bool(np.all(np.abs(values.sum(axis=1) - 1) < 1e-2))
    return Reading(bounded and (sums_to_one or spec.choice == "multiple"), channels_last)


def run_in_batches(forward: Forward, batch: Array, fixed_batch: int | None, reading: Reading, spec: ModelSpec) -> Outputs:
    """Outputs for a batch of any size: where the model takes one size only, the batch is split and its end padded."""
    size = fixed_batch or max(len(batch), 1)
    parts: list[tuple[Floats, ...]] = []
    for start in range(0, max(len(batch), 1), size):
        part = batch[start : start + size]
        kept = len(part)
        if kept < size:
            part = np.concatenate([part, np.zeros((size - kept, *batch.shape[1:]), batch.dtype)])
        output, activations = forward(part)
        vectors = [
            pool(activation, 1 if index == 0 else 2, last)
            for index, (activation, last) in enumerate(zip(activations, reading.channels_last, strict=True))
        ]
        parts.append(tuple(values[:kept] for values in (as_logits(output, reading.probabilities, spec.choice), *vectors)))
    logits, *pooled = (np.concatenate(same) if len(parts) > 1 else same[0] for same in zip(*parts, strict=True))
    return Outputs(logits, tuple(pooled))


def as_logits(output: Array, probabilities: bool, choice: str) -> Floats:
    """(N, m) logits of what the model put out; of probabilities their logarithms (single choice) or log-odds (multiple)."""
    values = output.reshape(len(output), -1)
    if not probabilities:
        return np.asarray(values, dtype=np.float32)
    exact = values.astype(np.float64)
    if choice == "single":
        logits = np.log(np.clip(exact, _TINY, 1.0))
    else:
        inside = np.clip(exact, _TINY, 1 - _EPSILON)
        logits = np.log(inside) - np.log1p(-inside)
    return logits.astype(np.float32)


def probe_batch(shape: tuple[int, ...], count: int, dtype: Any) -> Array:
    """A few random inputs, the same every time, to see how the model answers."""
    rng = np.random.default_rng(0)
    if np.issubdtype(dtype, np.floating):
        return rng.standard_normal((count, *shape)).astype(dtype)
    return rng.integers(0, 2, (count, *shape)).astype(dtype)


_TINY = float(np.finfo(np.float32).tiny)
_EPSILON = float(np.finfo(np.float32).epsneg)
