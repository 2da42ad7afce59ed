"""The weights between the layers of a torch model: from the graph of an exported program, or from the modules between two layers.

A module's own code may do anything between its modules. A connection of a factory's module therefore counts only where running the
modules in between, on a few random inputs, gives the later layer from the earlier one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise, product
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from annotriage.model.connecting_weights import Connection, Kernel, Weights, between, connection
from annotriage.model.layers import tensor_of, token_of
from annotriage.model.outputs import probe_batch
from annotriage.model.spec import ModelSpec
from annotriage.model.torch_module import HookedModule
from annotriage.model.torch_program import Program
from annotriage.model.types import Array

CPU = torch.device("cpu")


def torch_connections(spec: ModelSpec, layers: Sequence[str]) -> list[Connection | None]:
    """How each of the layers comes of the one before it in the list: one fewer than there are layers."""
    return _of_module(HookedModule(spec, CPU), spec, layers) if spec.factory else _of_program(Program(spec, CPU), layers)


def _of_program(program: Program, layers: Sequence[str]) -> list[Connection | None]:
    nodes = {node.name: node for node in program.module.graph.nodes}

    def value(node: Any) -> Array | None:
        if not isinstance(node, fx.Node) or node.op != "get_attr":
            return None
        found: Any = program.module
        for part in str(node.target).split("."):
            found = getattr(found, part)
        return _array(found)

    def kernel(name: str) -> Kernel | None:
        node = nodes[name]
        operation = getattr(node.target, "__name__", "").split(".")[0]
        weight = value(node.args[1]) if len(node.args) > 1 else None
        if weight is None:
            return None
        if operation == "linear":
            return Kernel(weight)
        if operation in ("conv1d", "conv2d", "conv3d"):
            axes = weight.ndim - 2
            strides, pads, dilations, groups = (
                node.args[place] if len(node.args) > place else default for place, default in ((3, 1), (4, 0), (5, 1), (6, 1))
            )
            if isinstance(pads, str):
                return None
            before = _each(pads, axes)
            return Kernel(weight, _each(strides, axes), tuple(zip(before, before, strict=True)), _each(dilations, axes), groups)
        return None

    def scale(name: str) -> Array | None:
        node = nodes[name]
        factor, variance = (value(node.args[place]) if len(node.args) > place else None for place in (1, 4))
        epsilon = next((given for given in node.args[5:] if isinstance(given, float) and given < 1e-2), 1e-5)
        return None if factor is None or variance is None else np.asarray(factor / np.sqrt(variance + epsilon))

    weights = Weights(kernel, scale)
    return [between(program.steps, earlier, later, weights) for earlier, later in pairwise(layers)]


def _of_module(hooked: HookedModule, spec: ModelSpec, layers: Sequence[str]) -> list[Connection | None]:
    """Of modules whose order of running is known, and nothing else."""
    order = [step.output for step in hooked.steps if step.output in hooked.modules and not step.block]
    probe = torch.from_numpy(probe_batch(spec.input.shape, 2, np.float32)).to(hooked.dtype)
    names = {*order, *(f"{name}:input" for name in order), *map(tensor_of, layers)}
    with torch.inference_mode():
        seen = hooked.record(probe, frozenset(names))
    return [_between_modules(hooked, order, seen, earlier, later) for earlier, later in pairwise(layers)]


def _between_modules(hooked: HookedModule, order: list[str], seen: dict[str, Tensor], earlier: str, later: str) -> Connection | None:
    if token_of(earlier) is not None or token_of(later) is not None or later not in seen or earlier not in seen:
        return None
    first, last = (_place(order, name) for name in (earlier, later))
    if first is None or last is None:
        return None
    between_them = order[first + 1 : last + 1]
    weighted = [name for name in between_them if isinstance(hooked.modules[name], nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)]
    if len(weighted) != 1:
        return None
    (name,) = weighted
    now, scale, shape = seen[earlier], None, None
    for part in between_them:
        module, entering = hooked.modules[part], seen.get(f"{part}:input")
        if entering is None or not _alone_between(now, entering):
            return None
        if part == name:
            shape = tuple(now.shape[1:]) if isinstance(module, nn.Linear) and now.ndim > 2 else tuple(entering.shape[1:])
            if isinstance(module, nn.Linear) and entering.ndim == 2 and now.ndim > 2 and int(np.prod(shape)) != entering.shape[1]:
                shape = _pooled_shape(now, entering)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            if shape is not None:
                factor = _normalising(module)
                scale = factor if scale is None else scale * factor
        elif isinstance(module, nn.Flatten) and entering.ndim > 2:
            continue  # what it lays flat is what the weights see as a map
        elif not isinstance(module, _ALONE):
            return None
        now = seen[part]
    if not _alone_between(now, seen[later]):
        return None
    return connection(_kernel(hooked.modules[name]), f"{name}:input", shape, scale)


def _place(order: list[str], layer: str) -> int | None:
    """Up to which module a layer is computed: what enters one stands behind the one before it."""
    name = layer.removesuffix(":input")
    return None if name not in order else order.index(name) - layer.endswith(":input")


def _alone_between(before: Tensor, after: Tensor) -> bool:
    """Whether code between two modules did nothing, or what works on each channel by itself and is common there."""
    for act, pool, flat in product(_ACTS, _POOLS, (False, True)):
        try:
            made = pool(act(before))
        except (RuntimeError, ValueError, IndexError):
            continue  # no map to pool
        made = made.flatten(1) if flat else made
        if made.shape == after.shape and torch.allclose(made, after, rtol=1e-4, atol=1e-5):
            return True
    return False


def _pooled_shape(before: Tensor, entering: Tensor) -> tuple[int, ...] | None:
    """(C, places...) of a map that code pools and lays flat before a dense layer."""
    for pool in _POOLS:
        try:
            made = pool(before)
        except (RuntimeError, ValueError, IndexError):
            continue
        if made.ndim > 2 and made[0].numel() == entering.shape[1]:
            return tuple(made.shape[1:])
    return None


def _kernel(module: nn.Module) -> Kernel:
    weight = _array(module.weight)
    if isinstance(module, nn.Linear):
        return Kernel(weight)
    assert isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d)
    axes = weight.ndim - 2
    reach = [(size - 1) * dilation for size, dilation in zip(weight.shape[2:], module.dilation, strict=True)]
    if module.padding == "same":
        pads = tuple((total // 2, total - total // 2) for total in reach)
    else:
        pads = tuple((before, before) for before in (_each(module.padding, axes) if not isinstance(module.padding, str) else (0,) * axes))
    return Kernel(weight, tuple(module.stride), pads, tuple(module.dilation), module.groups)


def _normalising(module: Any) -> Array:
    variance = _array(module.running_var) if module.running_var is not None else np.ones(module.num_features)
    factor = _array(module.weight) if module.weight is not None else np.ones(module.num_features)
    return np.asarray(factor / np.sqrt(variance + module.eps))


def _array(tensor: Any) -> Array:
    return np.asarray(tensor.detach().float().cpu().numpy())


def _each(value: Any, axes: int) -> tuple[int, ...]:
    sizes = (value,) if isinstance(value, int) else tuple(value)
    return tuple(int(size) for size in (sizes * axes if len(sizes) == 1 else sizes))


_ALONE = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Tanh, nn.Sigmoid, nn.Dropout, nn.Dropout2d),
    *(nn.Identity, nn.Flatten, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.PReLU),
)
_ACTS: tuple[Callable[[Tensor], Tensor], ...] = (lambda values: values, functional.relu, torch.tanh, functional.gelu, functional.silu)
_POOLS: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda values: values,
    lambda values: functional.max_pool2d(values, 2),
    lambda values: functional.avg_pool2d(values, 2),
    lambda values: values.flatten(2).mean(2) if values.ndim > 2 else values,
    lambda values: functional.adaptive_avg_pool2d(values, 1),
)
