"""What a model put out -> `Outputs`: activations pooled to vectors, probabilities turned back into logits, batches cut to size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.errors import ModelError
from annotriage.model.layers import Choice, token_of
from annotriage.model.spec import ModelSpec
from annotriage.model.types import Array, Outputs, Whole

Floats = NDArray[np.float32]
Forward = Callable[[Array], tuple[Array, Sequence[Array]]]  # a batch -> what the model puts out, its hidden layers


@dataclass(frozen=True)
class Reading:
    """How raw outputs are read; found once, when the model is loaded, so that every batch is read alike.

    spec: the model's, with activation and choice found out. fixed_batch: how many items it takes at a time, None = any. tokens: of each
    layer which token it is, None of whole ones. notes: what was found and may need to be put right.
    """

    spec: ModelSpec
    channels_last: tuple[bool, ...]
    fixed_batch: int | None = None
    tokens: tuple[int | None, ...] = ()
    notes: tuple[str, ...] = ()


def pool(activation: Array, moments: int, channels_last: bool = False) -> Floats:
    """The activation of a layer as one vector per item: each channel's mean over all places, or its mean and deviation.

    activation: (N, d) stays as it is; (N, C, ...) or, with channels last, (N, ..., C) becomes (N, C), with 2 moments (N, 2C).
    """
    count = len(activation)
    if activation.ndim < 3:
        return np.ascontiguousarray(activation.reshape(count, -1), dtype=np.float32)
    places, channel = (1, 2) if channels_last else (2, 1)
    flat = activation.reshape((count, -1, activation.shape[-1]) if channels_last else (count, activation.shape[1], -1))
    width, size = flat.shape[channel], flat.shape[places]
    if moments == 1:
        return np.ascontiguousarray(flat.mean(axis=places, dtype=np.float32))
    pooled = np.empty((count, 2 * width), dtype=np.float32)
    weights = np.full(size, 1 / size, dtype=np.float32)
    centred = np.empty(flat.shape[1:], dtype=np.float32)
    for row, item in zip(pooled, flat, strict=True):  # item by item: the centred copy stays in the processor's cache
        values = np.asarray(item, dtype=np.float32)
        row[:width] = weights @ values if channels_last else values @ weights
        np.subtract(values, np.expand_dims(row[:width], places - 1), out=centred)
        squares = np.einsum("sc,sc->c", centred, centred) if channels_last else np.vecdot(centred, centred)
        row[width:] = np.sqrt(squares / size)
    return pooled


def only_token(activation: Any, token: int | None) -> Any:
    """One token of (N, T, C) tokens, as numpy's or torch's array; what is no such map, or asked for as a whole, stays as it is."""
    return activation if token is None or activation.ndim != 3 else activation[:, token]


def moments(place: int) -> int:
    """How many moments of the layer at this place of `Model.layers` are compared: the deciding one's mean, a further one's both."""
    return 1 if place == 0 else 2


def find_reading(
    forward: Forward, dtype: Any, fixed_batch: int | None, chosen: Choice, channels_last: tuple[bool, ...], spec: ModelSpec
) -> Reading:
    """Try the model on a few random inputs: the output must fit the classes, every layer must have one row per item.

    Where the spec leaves it open, a softmax or sigmoid inside the model, or else the values, say how to read the output. A model whose
    batch axis is free in name alone is run item by item. One output for two classes is read as the second's.
    Raises ModelError naming both numbers or the layer, or saying what has to be stated.
    """
    notes: tuple[str, ...] = ()
    try:
        values = _probed(forward, dtype, fixed_batch, chosen, spec)
    except ModelError:
        if fixed_batch is not None:
            raise
        try:
            values, fixed_batch = _probed(forward, dtype, 1, chosen, spec), 1
        except ModelError:
            fixed_batch = None
        if fixed_batch is None:
            raise
        notes = (
            f"{spec.model_path.name} says that its batch axis is free, but takes one item at a time, so it is run item by item."
            " An export with a dynamic batch axis is faster.",
        )
    if is_one_for_two(values, spec):
        applied, choice = _activation_of_one(chosen.closing, spec), "single"
        notes += (f"{spec.model_path.name} has one output for two classes: it is read as that of {spec.classes[1]!r}, the second.",)
    else:
        applied, choice = _activation_of(values, chosen.closing, spec)
        notes += _notes(choice, spec)
    tokens = tuple(token_of(name) for name in chosen.layers)
    return Reading(replace(spec, activation=applied, choice=choice), channels_last, fixed_batch, tokens, notes)


def _probed(forward: Forward, dtype: Any, fixed_batch: int | None, chosen: Choice, spec: ModelSpec) -> Array:
    """What the model puts out for the probes, (n, m)."""
    where = f"{spec.path}: {spec.model_path.name}"
    size = fixed_batch or PROBES
    found = []
    for start in range(0, PROBES, size):
        probe = probe_batch(spec.input.shape, start + size, dtype)[start:]
        output, activations = forward(probe)
        values: Array = np.asarray(output, dtype=np.float64).reshape(len(output), -1) if np.ndim(output) else np.empty((0, 0))
        if len(values) != len(probe):
            raise ModelError(f"{where}: {len(probe)} inputs give an output of shape {np.shape(output)}; its first axis must be the batch")
        spec.check_outputs(values.shape[1])
        for name, activation in zip(chosen.layers, activations, strict=True):
            if activation.ndim < 2 or len(activation) != len(probe):
                raise ModelError(
                    f"{where}: layer {name!r} has the shape {activation.shape} for {len(probe)} inputs; its first axis must be the batch."
                    f" `annotriage layers --model {spec.path}` lists others"
                )
            token = token_of(name)
            if token is not None and (activation.ndim != 3 or not -activation.shape[1] <= token < activation.shape[1]):
                raise ModelError(
                    f"{where}: layer {name!r} has the shape {activation.shape} for {len(probe)} inputs, so it has no token {token};"
                    f" `annotriage layers --model {spec.path}` lists others"
                )
        found.append(values)
    return np.concatenate(found)


def is_one_for_two(values: Array, spec: ModelSpec) -> bool:
    """Whether the model says with one number, (N, 1), which of two classes an item is."""
    return values.shape[1] == 1 and len(spec.classes) == 2


def _activation_of_one(closing: str, spec: ModelSpec) -> str:
    """How the one number is read: "none", a probability, or "softmax" over it and 0, which is the sigmoid of a logit."""
    where = f"{spec.path}: [model]"
    if spec.choice == "multiple":
        raise ModelError(f'{where} choice: {spec.model_path.name} has one output for two classes, so choice = "multiple" needs another one')
    if closing == "softmax":
        raise ModelError(f"{where} output: a softmax over one output is always 1; export the model with a sigmoid, or with two outputs")
    if closing == "sigmoid" or spec.activation in ("sigmoid", "softmax"):
        return "softmax"
    if spec.activation == "none":
        return "none"
    raise ModelError(
        f"{where} activation: must be stated, for {spec.model_path.name} has one output for two classes and no sigmoid is seen in it:"
        f' "none" if it is the probability of {spec.classes[1]!r}, "sigmoid" if it is a logit. Or export the model with two outputs'
    )


def _activation_of(values: Array, closing: str, spec: ModelSpec) -> tuple[str, str]:
    """The activation still to be applied to what is read, and the choice; `values`, (n, m), are what the model put out."""
    name = spec.model_path.name
    if closing == "softmax" and (spec.choice == "multiple" or spec.activation == "sigmoid"):
        key = "choice" if spec.choice == "multiple" else "activation"
        raise ModelError(
            f"{spec.path}: [model] {key}: {name} ends in a softmax, which leaves one class per item, but the spec says several;"
            " remove it, or export the model with a sigmoid in its place"
        )
    values = values[np.isfinite(values).all(axis=1)]
    in_range = bool(len(values)) and bool(np.all((values >= -1e-6) & (values <= 1 + 1e-6)))
    one_in_all = bool(np.all(np.abs(values.sum(axis=1) - 1) < 1e-2))
    activation = spec.activation
    if closing:
        activation = closing if activation in ("auto", "none") else activation
    elif activation == "auto" and in_range:
        if not one_in_all and spec.choice != "multiple":
            raise ModelError(
                f"{spec.path}: [model] activation: must be stated, for all outputs of {name} lie between 0 and 1 and do not add up to 1:"
                ' activation = "none" if they are probabilities, with choice = "multiple" if several classes may apply to one item, else'
                ' choice = "single"; "softmax" or "sigmoid" if they are logits'
            )
        activation = "none"
    elif activation == "auto":
        activation = "sigmoid" if spec.choice == "multiple" else "softmax"
    if spec.choice != "auto":
        return activation, spec.choice
    several = activation == "sigmoid" or (activation == "none" and not one_in_all)
    return activation, "multiple" if several else "single"


def _notes(choice: str, spec: ModelSpec) -> tuple[str, ...]:
    if choice == "single" or spec.choice == "multiple" or spec.activation == "sigmoid":
        return ()
    what = "gives probabilities that do not add up to 1" if spec.activation == "none" else "ends in a sigmoid"
    return (
        f'{spec.model_path.name} {what}, so several classes may apply to one item. If only one does, set choice = "single" under [model].',
    )


def run_in_batches(forward: Forward, batch: Array, fixed_batch: int | None, reading: Reading) -> Outputs:
    """Outputs for a batch of any size: where the model takes one size only, the batch is split and its end padded."""

    def pooled(index: int, activation: Array) -> Floats:
        return pool(activation, moments(index), reading.channels_last[index])

    logits, *layers = _in_batches(forward, batch, fixed_batch, reading, pooled)
    return Outputs(logits, tuple(layers))


def whole_in_batches(forward: Forward, batch: Array, fixed_batch: int | None, reading: Reading) -> Whole:
    """As `run_in_batches`, without pooling."""

    def channels_first(index: int, activation: Array) -> Floats:
        moved = np.moveaxis(activation, -1, 1) if activation.ndim > 2 and reading.channels_last[index] else activation
        return np.ascontiguousarray(moved, dtype=np.float32)

    logits, *layers = _in_batches(forward, batch, fixed_batch, reading, channels_first)
    return Whole(logits, tuple(layers))


def refused_batch(spec: ModelSpec, runtime: str, batch: Array, error: Exception) -> ModelError:
    """What to say of a batch that the runtime could not run."""
    smaller = f"If memory is short, set batch_size to less than {len(batch)}; else compare" if len(batch) > 1 else "Compare"
    return ModelError(
        f"{spec.model_path}: {runtime} could not run a batch of shape {batch.shape}: {error}."
        f" {smaller} the input's size and layout in the spec with the model"
    )


def _in_batches(
    forward: Forward, batch: Array, fixed_batch: int | None, reading: Reading, read: Callable[[int, Array], Floats]
) -> list[Floats]:
    """The logits, then what `read` makes of each layer, by its place."""
    size = fixed_batch or max(len(batch), 1)
    parts: list[tuple[Floats, ...]] = []
    for start in range(0, max(len(batch), 1), size):
        part = batch[start : start + size]
        kept = len(part)
        if kept < size:
            part = np.concatenate([part, np.zeros((size - kept, *batch.shape[1:]), batch.dtype)])
        output, activations = forward(part)
        layers = [
            read(index, only_token(activation, token))
            for index, (activation, token) in enumerate(zip(activations, reading.tokens, strict=True))
        ]
        parts.append(tuple(values[:kept] for values in (as_logits(output, reading.spec), *layers)))
    return [np.concatenate(same) if len(parts) > 1 else same[0] for same in zip(*parts, strict=True)]


def as_logits(output: Array, spec: ModelSpec) -> Floats:
    """(N, m) logits of what the model put out; of probabilities their logarithms (single choice) or log-odds (multiple)."""
    values: Array = output.reshape(len(output), -1)
    if is_one_for_two(values, spec):
        values = np.hstack([1 - values if spec.activation == "none" else np.zeros_like(values), values])
    if spec.activation != "none":
        return np.asarray(values, dtype=np.float32)
    exact = values.astype(np.float64)
    if spec.choice == "single":
        logits = np.log(np.clip(exact, _TINY, 1.0))
    else:
        inside = np.clip(exact, _TINY, 1 - _EPSILON)
        logits = np.log(inside) - np.log1p(-inside)
    return logits.astype(np.float32)


def probe_batch(shape: tuple[int, ...], count: int, dtype: Any) -> Array:
    """A few random inputs, the same every time, to see how the model answers; some are large, so that its logits are."""
    rng = np.random.default_rng(0)
    if np.issubdtype(dtype, np.floating):
        sizes = 2.0 ** (np.arange(count) % PROBES)
        return (rng.standard_normal((count, *shape)) * sizes.reshape(-1, *[1] * len(shape))).astype(dtype)
    return rng.integers(0, 2, (count, *shape)).astype(dtype)


PROBES = 4  # at least; a model of fixed batch size gets whole batches
_TINY = float(np.finfo(np.float32).tiny)
_EPSILON = float(np.finfo(np.float32).epsneg)
