"""An ONNX file as a graph: its steps with their shapes, its input and output, and the same graph with hidden tensors as outputs.

Reads and rewrites graphs, runs none. External weights stay in their files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnx.inliner
import onnx.shape_inference
from onnx import TensorProto

from annotriage.errors import ModelError
from annotriage.model.layers import Shape, Step
from annotriage.model.onnx_file import axis_size, read_onnx
from annotriage.model.spec import ModelSpec

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)


@dataclass(frozen=True)
class Graph:
    """An ONNX model that is read, not loaded: steps in order of execution; files: all that belong to it, the model first."""

    proto: onnx.ModelProto
    steps: tuple[Step, ...]
    input: str
    output: str
    fixed_batch: int | None
    files: tuple[Path, ...]

    def with_outputs(self, names: tuple[str, ...]) -> bytes:
        """The serialised model with these tensors as its outputs, and nothing that they do not need."""
        model = onnx.ModelProto()
        model.CopyFrom(self.proto)
        del model.graph.output[:]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names))
        return bytes(model.SerializeToString())


def read_graph(spec: ModelSpec) -> Graph:
    """The graph of the spec's .onnx file. Raises ModelError if it cannot be read or its input or output is not clear."""
    path = spec.model_path
    model = read_onnx(path)
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer} | {tensor.values.name for tensor in graph.sparse_initializer}
    entry = _pick(
        "input name", spec.input.name, [value.name for value in graph.input if value.name not in weights], f"{spec.path}: [input] name"
    )
    output = spec.output
    if output is None or not any(output in node.output for node in graph.node):
        output = _pick("output", output, [value.name for value in graph.output], f"{spec.path}: [model] output")
    dimensions = next(value for value in graph.input if value.name == entry).type.tensor_type.shape.dim
    shape = tuple(axis_size(dimension) for dimension in dimensions)
    if shape:
        spec.check_input(shape[1:])
    return Graph(model, _steps(model, entry, spec.input.shape), entry, output, shape[0] if shape else None, _files(model, path))


def _pick(what: str, wanted: str | None, names: list[str], where: str) -> str:
    if wanted is None and len(names) == 1:
        return names[0]
    if wanted in names and wanted is not None:
        return wanted
    problem = f"the model has no {what} {wanted!r}" if wanted else f"the model has {len(names)}; state which"
    raise ModelError(f"{where}: {problem}. It has {', '.join(names) or 'none'}")


def _steps(model: onnx.ModelProto, entry: str, item_shape: tuple[int, ...]) -> tuple[Step, ...]:
    shapes = _shapes(model, entry, item_shape)
    constant = {tensor.name for tensor in model.graph.initializer} | {tensor.values.name for tensor in model.graph.sparse_initializer}
    steps = []
    for node in model.graph.node:
        given = [name for name in node.input if name]
        inputs = tuple(name for name in given if name not in constant)
        if not inputs and not node.op_type.startswith("Random"):
            constant.update(node.output)
            continue
        weights = len(inputs) < len(given)
        steps += [Step(name, node.op_type, inputs, weights, shapes.get(name)) for name in node.output if name]
    return tuple(steps)


def _shapes(model: onnx.ModelProto, entry: str, item_shape: tuple[int, ...]) -> dict[str, Shape]:
    """Shapes of the float tensors, inferred on a copy without the weights, with the input as large as the spec makes it."""
    light = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    light.graph.node.extend(model.graph.node)
    light.graph.input.extend(model.graph.input)
    light.graph.output.extend(onnx.ValueInfoProto(name=value.name) for value in model.graph.output)
    known = {value.name for value in model.graph.input}
    for tensor in model.graph.initializer:
        if _length(tensor) <= 1024 and not tensor.external_data:
            light.graph.initializer.append(tensor)
        elif tensor.name not in known:
            light.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    for value in light.graph.input:
        if value.name == entry:
            for dimension, size in zip(list(value.type.tensor_type.shape.dim)[1:], item_shape, strict=False):
                dimension.dim_value = size
    try:
        inferred = onnx.shape_inference.infer_shapes(light, data_prop=True).graph
    except onnx.shape_inference.InferenceError:
        inferred = model.graph  # a custom operation: what the file itself states has to do
    shapes: dict[str, Shape] = {}
    for value in (*inferred.value_info, *inferred.output):
        tensor = value.type.tensor_type
        if tensor.elem_type in _FLOATS and tensor.HasField("shape") and tensor.shape.dim:
            shapes[value.name] = tuple(axis_size(dimension) for dimension in tensor.shape.dim)
    return shapes


def _files(model: onnx.ModelProto, path: Path) -> tuple[Path, ...]:
    places = {entry.value for tensor in model.graph.initializer for entry in tensor.external_data if entry.key == "location"}
    files = [path.parent / place for place in sorted(places)]
    for file in files:
        if not file.is_file():
            raise ModelError(f"{path}: its weights are in {file.name}, which is not beside it; copy that file to {file.parent}")
    return (path, *files)


def _length(tensor: Any) -> int:
    length = 1
    for size in tensor.dims:
        length *= size
    return length
