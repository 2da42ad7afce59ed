"""An ONNX file as a graph: its steps with their shapes, its input and output, and the same graph with hidden tensors as outputs.

Reads and rewrites graphs, runs none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnx.inliner
import onnx.numpy_helper
import onnx.shape_inference
from onnx import TensorProto

from annotriage.errors import ModelError
from annotriage.model.layers import Shape, Step
from annotriage.model.onnx_file import axis_size, read_onnx
from annotriage.model.onnx_weights import subgraphs, take_weights
from annotriage.model.spec import ModelSpec
from annotriage.model.spec_keys import toml_text
from annotriage.text import name_of

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)


@dataclass(frozen=True)
class Graph:
    """An ONNX model that is read, not loaded: steps in order of execution.

    files: all that belong to it, the model first. folder: where its external weights lie, by the places that `proto` names.
    """

    proto: onnx.ModelProto
    steps: tuple[Step, ...]
    input: str
    output: str
    fixed_batch: int | None
    files: tuple[Path, ...]
    folder: Path

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
        try:
            model = onnx.inliner.inline_local_functions(model)
        except Exception as error:  # of a function that calls itself, among others; each kind has a class of its own
            raise ModelError(f"{path}: its functions cannot be put in the place of their calls ({error}); export it without") from error
    graph = model.graph
    if not all(isinstance(name, str) for name in _names(graph)):
        raise ModelError(f"{path}: some of its names are no text; it is damaged, export it again")
    weights = {tensor.name for tensor in graph.initializer} | {tensor.values.name for tensor in graph.sparse_initializer}
    output = _output(graph, spec)
    entry = _entry(graph, weights, output, spec)
    dimensions = next(value for value in graph.input if value.name == entry).type.tensor_type.shape.dim
    shape = tuple(axis_size(dimension) for dimension in dimensions)
    if shape:
        spec.check_input(shape[1:])
    files, folder = take_weights(model, path)
    return Graph(model, _steps(model, entry, spec.input.shape), entry, output, shape[0] if shape else None, files, folder)


def _names(graph: onnx.GraphProto) -> Iterator[Any]:
    """Every name in a graph and in those inside it; protobuf hands out as bytes what is not UTF-8."""
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        yield value.name
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)
        for inner in subgraphs(node):
            yield from _names(inner)


def _entry(graph: onnx.GraphProto, weights: set[str], output: str, spec: ModelSpec) -> str:
    """The one input that the output is computed from. Inputs that it does not need are taken out of the graph."""
    names = [value.name for value in graph.input if value.name not in weights]
    needed = needed_for(graph, output)
    others = [name for name in names if name not in needed]
    used = [name for name in names if name in needed]
    if names and not used:
        raise ModelError(f"{spec.path}: {spec.model_path.name}: its output {output!r} depends on none of its inputs ({', '.join(names)})")
    if spec.input.name is not None and spec.input.name not in names:
        raise ModelError(f"{spec.path}: [input] name: the model has no input {spec.input.name!r}. It has {', '.join(names) or 'none'}")
    if len(used) != 1:
        raise ModelError(
            f"{spec.path}: {spec.model_path.name} takes {len(used)} inputs ({', '.join(used) or 'none'}), and annotriage gives a model one"
            " input, the item. Export a model that takes the item alone, with the others as constants inside it"
        )
    if spec.input.name not in (None, used[0]):
        raise ModelError(f"{spec.path}: [input] name: the output does not depend on {spec.input.name!r}, but on {used[0]!r}; name that")
    kept = [value for value in graph.input if value.name not in others]
    del graph.input[:]
    graph.input.extend(kept)
    return str(used[0])


def needed_for(graph: onnx.GraphProto, output: str) -> set[str]:
    """The names of all that `output` is computed from, itself included."""
    needed = {output}
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(_read(node))
    return needed


def _read(node: onnx.NodeProto) -> list[str]:
    """The names that a node reads, those included that graphs inside it (of an If, a Loop) take from around it."""
    names = [name for name in node.input if name]
    for graph in subgraphs(node):
        made = {name for inner in graph.node for name in inner.output} | {value.name for value in graph.input}
        made |= {tensor.name for tensor in graph.initializer} | {tensor.values.name for tensor in graph.sparse_initializer}
        read = [name for inner in graph.node for name in _read(inner)] + [value.name for value in graph.output]
        names += [name for name in read if name not in made]
    return list(dict.fromkeys(names))


def _output(graph: onnx.GraphProto, spec: ModelSpec) -> str:
    """The tensor with a number per class: the one that the spec names, or the only output that can be it."""
    makers = {name: node for node in graph.node for name in node.output}
    outputs = {value.name: value for value in graph.output}
    where, name = f"{spec.path}: [model] output", spec.output
    usable = [key for key, value in outputs.items() if _is_numbers(value) or _maps(makers, key)]
    if name is None:
        candidates = usable if len(usable) == 1 else list(outputs)
        if len(candidates) != 1:
            raise ModelError(f"{where}: the model has {len(candidates)}; state which. It has {', '.join(usable or candidates) or 'none'}")
        name = candidates[0]
    elif name not in outputs and name not in makers:
        raise ModelError(f"{where}: the model has no output {name!r}. It has {', '.join(outputs) or 'none'}")
    if zipmap := _maps(makers, name):
        _check_order(zipmap, where, spec)
        return str(zipmap.input[0])
    if name in outputs and not _is_numbers(outputs[name]):
        others = [key for key in usable if key != name]
        fix = f"state the one with a number per class: {', '.join(others)}" if others else "it has no output with a number per class"
        raise ModelError(
            f"{where}: {name!r} holds labels, which say nothing of how sure the model is; {fix}. (skl2onnx gives probabilities as numbers"
            " with options={'zipmap': False})"
        )
    return name


def _is_numbers(value: onnx.ValueInfoProto) -> bool:
    """Whether an output may hold a number per class, as far as the file says: labels are texts or whole numbers."""
    kind = value.type
    return not kind.HasField("tensor_type") or kind.tensor_type.elem_type in (TensorProto.UNDEFINED, *_FLOATS, TensorProto.BFLOAT16)


def _maps(makers: Mapping[str, onnx.NodeProto], name: str) -> onnx.NodeProto | None:
    """The ZipMap that made it: probabilities as a list of dictionaries, which stand as numbers in front of it."""
    node = makers.get(name)
    return node if node is not None and node.op_type == "ZipMap" else None


def _check_order(zipmap: onnx.NodeProto, where: str, spec: ModelSpec) -> None:
    keys = [key for attribute in zipmap.attribute for key in (*attribute.strings, *attribute.ints)]
    names = [name_of(key.decode("utf-8", "replace")) if isinstance(key, bytes) else str(key) for key in keys]
    if set(names) == set(spec.classes) and names != list(spec.classes):
        raise ModelError(f"{where}: the model's classes are in another order; set classes = {toml_text(names)}")


def _steps(model: onnx.ModelProto, entry: str, item_shape: tuple[int, ...]) -> tuple[Step, ...]:
    shapes = _shapes(model, entry, item_shape)
    constant = {tensor.name for tensor in model.graph.initializer} | {tensor.values.name for tensor in model.graph.sparse_initializer}
    steps = []
    places = _small_integers(model)
    for node in model.graph.node:
        given = _read(node)
        inputs = tuple(name for name in given if name not in constant)
        if not inputs and not node.op_type.startswith("Random"):
            constant.update(node.output)
            continue
        weights = len(inputs) < len(given)
        token = _token(node, places, shapes)
        steps += [Step(name, node.op_type, inputs, weights, shapes.get(name), token=token) for name in node.output if name]
    return tuple(steps)


def _token(node: onnx.NodeProto, places: Mapping[str, list[int]], shapes: Mapping[str, Shape]) -> int | None:
    """Which token a step takes of (N, T, C) tokens, by Gather, or by Slice before a Squeeze; None of any other step."""
    source = shapes.get(node.input[0]) if node.input else None
    if source is None or len(source) != 3:
        return None
    if node.op_type == "Gather" and len(node.input) == 2:
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
        place = places.get(node.input[1])
        return place[0] if axis in (1, -2) and place is not None and len(place) == 1 else None
    if node.op_type == "Slice" and len(node.input) >= 4:
        starts, ends, axes = (places.get(name) for name in node.input[1:4])
        if axes in ([1], [-2]) and starts is not None and ends is not None and len(starts) == 1 and ends == [starts[0] + 1]:
            return starts[0]
    return None


def _small_integers(model: onnx.ModelProto) -> dict[str, list[int]]:
    """The whole numbers among the weights and constants, as the places that tokens are taken from."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            tensors.update((node.output[0], attribute.t) for attribute in node.attribute if attribute.name == "value")
    return {
        name: [int(place) for place in onnx.numpy_helper.to_array(tensor).reshape(-1)]
        for name, tensor in tensors.items()
        if tensor.data_type in (TensorProto.INT64, TensorProto.INT32) and _length(tensor) == 1 and not tensor.external_data
    }


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


def _length(tensor: Any) -> int:
    length = 1
    for size in tensor.dims:
        length *= size
    return length
