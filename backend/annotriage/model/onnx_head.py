"""A new head for an ONNX model: everything behind a hidden layer is cut off, and a dense layer with logits takes its place.

How a model learns without its framework: the head is trained on the layer's activations, the rest stays as it was.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from annotriage.errors import ModelError
from annotriage.model.layers import channels_last
from annotriage.model.onnx_graph import Graph, needed_for, read_graph
from annotriage.model.onnx_model import run_once
from annotriage.model.outputs import pool
from annotriage.model.spec import ModelSpec
from annotriage.model.spec_keys import AUTO
from annotriage.model.types import Array

LOGITS = "annotriage.logits"
SPEC_FILE, MODEL_FILE = "model.toml", "model.onnx"
_LARGEST_FILE = 1_900_000_000  # bytes; protobuf ends at 2 GB, beyond it the weights go into a file of their own


def write_onnx_head(
    spec: ModelSpec, layers: tuple[str, ...], classes: tuple[str, ...], weight: Array, bias: Array, folder: Path
) -> ModelSpec:
    """Write the model with a new head as model.onnx and model.toml into `folder`: the new spec.

    spec: of a loaded .onnx model (`Model.spec`). layers: its `Model.layers`; the first is what the head reads, pooled as everywhere.
    weight: (d, m), bias: (m,) of the new head, in the activation's own units; m is 1 class each of `classes`.
    Raises ModelError if what was made is not a valid ONNX model, naming what the checker found.
    """
    graph = read_graph(spec)
    model = _behind(graph, layers, channels_last(graph.steps, layers[0], spec.input.layout), weight, bias)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / MODEL_FILE
    try:
        onnx.load_external_data_for_model(model, str(graph.folder))
        large = model.ByteSize() > _LARGEST_FILE
        onnx.save(model, file, save_as_external_data=large, location=f"{MODEL_FILE}.data" if large else None)
        onnx.checker.check_model(str(file))
    except (onnx.checker.ValidationError, ValueError) as error:
        raise ModelError(f"{spec.model_path}: with a new head it is no valid ONNX model: {error}. Export it again, then retrain") from error
    made = replace(
        spec,
        file=MODEL_FILE,
        factory=None,
        weights=None,
        classes=classes,
        head=None,
        output=LOGITS,
        activation="sigmoid" if spec.choice == "multiple" else "softmax",
        choice="multiple" if spec.choice == "multiple" else "single",
        layer=spec.layer if spec.layer == AUTO else layers,
        path=folder / SPEC_FILE,
    )
    made.write(made.path)
    return made


def onnx_encoder_with_head(spec: ModelSpec, classes: tuple[str, ...], folder: Path) -> ModelSpec:
    """An encoder (head = "none" in its spec) as an ordinary model, with a head that says nothing yet: all logits 0."""
    graph = read_graph(spec)
    features = pool(run_once(graph, spec, (graph.output,)), 1, channels_last(graph.steps, graph.output, spec.input.layout))
    if features.shape[1] < 2:
        raise ModelError(f"{spec.path}: the encoder gives {features.shape[1]} number per item; name its features as [model] output")
    width = features.shape[1]
    nothing = np.zeros((width, len(classes)), np.float32)
    return write_onnx_head(replace(spec, layer=AUTO), (graph.output,), classes, nothing, np.zeros(len(classes), np.float32), folder)


def _behind(graph: Graph, layers: tuple[str, ...], last: bool, weight: Array, bias: Array) -> onnx.ModelProto:
    """The graph up to the layers, with the head behind the first of them."""
    model = onnx.ModelProto()
    model.CopyFrom(graph.proto)
    body = model.graph
    kept = set().union(*(needed_for(graph.proto.graph, name) for name in layers))
    nodes = [node for node in body.node if kept.intersection(node.output)]
    rank = next((len(step.shape) for step in graph.steps if step.output == layers[0] and step.shape), 2)
    head = _head_nodes(layers[0], rank, last, next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")))
    weights = [tensor for tensor in body.initializer if tensor.name in kept]
    sparse = [tensor for tensor in body.sparse_initializer if tensor.values.name in kept]
    entry = next(value for value in body.input if value.name == graph.input)
    batch = entry.type.tensor_type.shape.dim[0] if entry.type.tensor_type.shape.dim else None
    first = "N" if batch is None else (batch.dim_value or batch.dim_param or "N")
    for field in ("node", "initializer", "sparse_initializer", "output", "value_info"):
        del getattr(body, field)[:]
    body.node.extend([*nodes, *head])
    body.initializer.extend(weights)
    body.initializer.append(numpy_helper.from_array(np.ascontiguousarray(weight, np.float32), _WEIGHT))
    body.initializer.append(numpy_helper.from_array(np.ascontiguousarray(bias, np.float32), _BIAS))
    body.sparse_initializer.extend(sparse)
    body.output.append(helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, [first, weight.shape[1]]))
    return model


def _head_nodes(layer: str, rank: int, last: bool, opset: int) -> list[onnx.NodeProto]:
    source, nodes = layer, []
    if layer not in (_FEATURES, _POOLED):  # of a model that was given a head before, the features have their names
        source, nodes = _FEATURES, [helper.make_node("Cast", [layer], [_FEATURES], to=TensorProto.FLOAT)]
    if rank > 2:
        axes = list(range(1, rank - 1)) if last else list(range(2, rank))
        if opset >= 18:
            nodes.append(helper.make_node("Constant", [], [_AXES], value_ints=axes))
            nodes.append(helper.make_node("ReduceMean", [source, _AXES], [_POOLED], keepdims=0))
        else:
            nodes.append(helper.make_node("ReduceMean", [source], [_POOLED], axes=axes, keepdims=0))
        source = _POOLED
    return [*nodes, helper.make_node("Gemm", [source, _WEIGHT, _BIAS], [LOGITS])]


_FEATURES, _POOLED, _AXES = "annotriage.features", "annotriage.pooled", "annotriage.places"
_WEIGHT, _BIAS = "annotriage.head.weight", "annotriage.head.bias"
