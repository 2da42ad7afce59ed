"""How a layer is computed from the one before it: by one convolution or dense layer with its weights, or in a way that has none to show.

Knows no runtime: `onnx_connections` and `torch_connections` bring the weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from annotriage.model.layers import Step, tensor_of, token_of
from annotriage.model.types import Array


@dataclass(frozen=True)
class Kernel:
    """The weights of a convolution or dense layer.

    weight: (D, C per group, *k) of a convolution; (D, F) of a dense layer. strides, dilations: one per axis of places; pads: of each axis
    before and behind. Of a dense layer these are empty.
    """

    weight: Array
    strides: tuple[int, ...] = ()
    pads: tuple[tuple[int, int], ...] = ()
    dilations: tuple[int, ...] = ()
    groups: int = 1


@dataclass(frozen=True)
class Connection:
    """One layer of weights between two layers, with nothing around it but steps that keep channels apart.

    entering: the tensor that it reads, as a layer's name: (N, C, places...), the channels those of the earlier layer, or (N, C * places)
    where it is laid flat. kernel: (D, C, *k), those of groups filled up with zeros, a normalisation behind it worked in; of a dense layer
    k is all places.
    """

    entering: str
    kernel: Array
    strides: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    dilations: tuple[int, ...]


@dataclass(frozen=True)
class Weights:
    """Where a runtime's weights are: of the steps by the names of their outputs.

    kernel: of a convolution or dense layer, None of what is none. scale: (D,) by which a normalisation multiplies channels.
    """

    kernel: Callable[[str], Kernel | None]
    scale: Callable[[str], Array | None]


def between(steps: Sequence[Step], earlier: str, later: str, weights: Weights) -> Connection | None:
    """How `later` comes of `earlier`, layers' names; None where it is not by one layer of weights alone."""
    if token_of(earlier) is not None or token_of(later) is not None:
        return None
    made_by = {step.output: step for step in steps}
    name, scale, entering = tensor_of(later), None, None
    kernel: Kernel | None = None
    while name != tensor_of(earlier):
        step = made_by.get(name)
        if step is None or len(step.inputs) != 1:
            return None
        found = weights.kernel(name)
        if found is not None:
            if kernel is not None:
                return None
            kernel, entering = found, step.inputs[0]
        elif "norm" in step.word:
            factor = weights.scale(name) if step.word in _NORMALISING else None
            if factor is None:
                return None
            if kernel is None:
                scale = factor if scale is None else scale * factor
        elif not _keeps_channels_apart(step, made_by, behind=kernel is None):
            return None
        name = step.inputs[0]
    if kernel is None or entering is None:
        return None
    source = made_by.get(tensor_of(earlier))
    return connection(kernel, entering, _map_shape(entering, made_by, tensor_of(earlier)), scale) if source is not None else None


def connection(kernel: Kernel, entering: str, shape: tuple[int, ...] | None, scale: Array | None) -> Connection | None:
    """The connection by a kernel. shape: (C, places...) of what enters it, before it is laid flat; None if unknown."""
    weight = np.asarray(kernel.weight, dtype=np.float32)
    if shape is None:
        return None
    if not kernel.strides:
        if weight.ndim != 2 or weight.shape[1] != math.prod(shape):
            return None
        weight = weight.reshape(len(weight), *shape)
        places = weight.ndim - 2
        strides, pads, dilations = (1,) * places, ((0, 0),) * places, (1,) * places
    else:
        if weight.ndim - 2 != len(kernel.strides) or weight.shape[1] * kernel.groups != shape[0]:
            return None
        weight = _whole(weight, kernel.groups)
        strides, pads, dilations = kernel.strides, kernel.pads, kernel.dilations
    if scale is not None:
        weight = weight * np.asarray(scale, np.float32).reshape(-1, *[1] * (weight.ndim - 1))
    return Connection(entering, weight, strides, pads, dilations)


def _whole(weight: Array, groups: int) -> Array:
    """The kernel of a convolution in groups as one over all channels."""
    if groups == 1:
        return weight
    count, inside = weight.shape[:2]
    whole = np.zeros((count, inside * groups, *weight.shape[2:]), weight.dtype)
    for group in range(groups):
        outputs = slice(group * count // groups, (group + 1) * count // groups)
        whole[outputs, group * inside : (group + 1) * inside] = weight[outputs]
    return whole


def _keeps_channels_apart(step: Step, made_by: Mapping[str, Step], behind: bool) -> bool:
    """Whether a step works on each channel by itself. behind: it comes after the weights, where a map is laid flat no more."""
    if step.word in _LAYING_FLAT:
        return not behind and _is_laid_flat(step, made_by)
    if step.word == "add":
        return step.weights and behind  # a bias
    return step.word in _ALONE or (step.word in _MEANS and _is_map_to_vector(step, made_by))


def _shape(name: str, made_by: Mapping[str, Step]) -> tuple[int, ...] | None:
    """The shape of one item, where all of it is known."""
    step = made_by.get(name)
    sizes = step.shape[1:] if step is not None and step.shape is not None else None
    return None if sizes is None or None in sizes else tuple(size for size in sizes if size is not None)


def _is_laid_flat(step: Step, made_by: Mapping[str, Step]) -> bool:
    """Whether a reshape makes one row of all numbers of an item, in their order, or changes nothing."""
    before, after = _shape(step.inputs[0], made_by), _shape(step.output, made_by)
    return before is not None and after is not None and (before == after or after == (math.prod(before),))


def _is_map_to_vector(step: Step, made_by: Mapping[str, Step]) -> bool:
    before, after = _shape(step.inputs[0], made_by), _shape(step.output, made_by)
    return before is not None and after is not None and len(before) > 1 and after[0] == before[0] and math.prod(after) == before[0]


def _map_shape(entering: str, made_by: Mapping[str, Step], earlier: str) -> tuple[int, ...] | None:
    """(C, places...) of what enters the weights, as it was before it was laid flat, if it was on the way from the earlier layer."""
    name = entering
    while name != earlier and made_by[name].word in _LAYING_FLAT:
        name = made_by[name].inputs[0]
    return _shape(name, made_by)


_NORMALISING = frozenset({"batchnormalization", "batchnorm", "nativebatchnormlegitnotraining"})
_LAYING_FLAT = frozenset({"flatten", "reshape", "view", "squeeze"})
_MEANS = frozenset({"reducemean", "mean"})
_ALONE = frozenset(
    (
        *("relu", "leakyrelu", "elu", "selu", "celu", "gelu", "hardswish", "hardtanh", "hardsigmoid", "mish", "silu", "swish", "softplus"),
        *("thresholdedrelu", "clip", "clamp", "relu6", "tanh", "sigmoid", "identity", "cast", "tocopy", "clone", "alias", "contiguous"),
        *("dropout", "maxpool", "maxpool1d", "maxpool2d", "maxpool3d", "averagepool", "avgpool1d", "avgpool2d", "avgpool3d"),
        *("globalaveragepool", "globalmaxpool", "adaptiveavgpool1d", "adaptiveavgpool2d", "adaptivemaxpool2d"),
    )
)
