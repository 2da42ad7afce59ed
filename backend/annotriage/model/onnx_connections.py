"""The weights between the layers of an ONNX model, read from its file."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from annotriage.model.connecting_weights import Connection, Kernel, Weights, between
from annotriage.model.onnx_graph import read_graph
from annotriage.model.spec import ModelSpec
from annotriage.model.types import Array


def onnx_connections(spec: ModelSpec, layers: Sequence[str]) -> list[Connection | None]:
    """How each of the layers comes of the one before it in the list: one fewer than there are layers."""
    graph = read_graph(spec)
    nodes = {name: node for node in graph.proto.graph.node for name in node.output}
    tensors = {tensor.name: tensor for tensor in graph.proto.graph.initializer}
    for node in graph.proto.graph.node:
        if node.op_type == "Constant":
            tensors.update((node.output[0], attribute.t) for attribute in node.attribute if attribute.name == "value")

    def array(name: str) -> Array | None:
        tensor = tensors.get(name)
        return None if tensor is None else np.asarray(numpy_helper.to_array(tensor, str(graph.folder)))

    def kernel(name: str) -> Kernel | None:
        node = nodes[name]
        if node.op_type not in ("Conv", "Gemm", "MatMul"):
            return None
        weight = array(node.input[1])
        if weight is None or not np.issubdtype(weight.dtype, np.floating):
            return None
        if node.op_type == "Conv":
            return _convolution(node, weight)
        said = {attribute.name: attribute for attribute in node.attribute}
        if weight.ndim != 2 or ("transA" in said and said["transA"].i):
            return None
        return Kernel(weight if "transB" in said and said["transB"].i else weight.T)

    def scale(name: str) -> Array | None:
        node = nodes[name]
        if node.op_type != "BatchNormalization":
            return None
        factor, variance = array(node.input[1]), array(node.input[4])
        epsilon = next((attribute.f for attribute in node.attribute if attribute.name == "epsilon"), 1e-5)
        return None if factor is None or variance is None else np.asarray(factor / np.sqrt(variance + epsilon))

    weights = Weights(kernel, scale)
    return [between(graph.steps, earlier, later, weights) for earlier, later in pairwise(layers)]


def _convolution(node: onnx.NodeProto, weight: Array) -> Kernel | None:
    said: dict[str, Any] = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    axes = weight.ndim - 2
    strides, dilations = (tuple(said.get(name, [1] * axes)) for name in ("strides", "dilations"))
    kind = said.get("auto_pad", b"NOTSET")
    if kind in (b"NOTSET", b"VALID"):
        pads = [0] * 2 * axes if kind == b"VALID" else list(said.get("pads", [0] * 2 * axes))
        around = tuple((pads[axis], pads[axis + axes]) for axis in range(axes))
    else:  # of "same" the padding depends on the input where there are strides; half the kernel is it without
        reach = [(size - 1) * dilation for size, dilation in zip(weight.shape[2:], dilations, strict=True)]
        first = [total // 2 if kind == b"SAME_UPPER" else total - total // 2 for total in reach]
        around = tuple((before, total - before) for before, total in zip(first, reach, strict=True))
    return Kernel(weight, strides, around, dilations, int(said.get("group", 1)))
