"""A small convolutional ONNX model on digits: fixed filters, and a head that is really trained; its first channel is plain brightness."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.linear_model import LogisticRegression

from annotriage.model import load_model
from annotriage.model.spec import ModelSpec

CLASSES = [str(digit) for digit in range(8)]


def write_convolutional_digits(folder: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    """Train the head on (N, 8, 8) uint8 images: the path of the spec. Layers: edges (8, 8, 8), parts (12, 4, 4), logits."""
    rng = np.random.default_rng(0)
    first = rng.normal(size=(8, 1, 3, 3))
    first -= first.mean(axis=(2, 3), keepdims=True)
    first[0] = 0
    first[0, 0, 1, 1] = 1
    second = rng.normal(size=(12, 8, 3, 3)) / 6
    spec = _write(folder, first, second, np.zeros((192, 8)), np.zeros(8))
    features = load_model(spec, "cpu").run(images[:, None].astype(np.float32) / 255).activations[0]
    head = LogisticRegression(max_iter=500).fit(features, labels)
    return _write(folder, first, second, head.coef_.T, head.intercept_).path


def _write(folder: Path, first: np.ndarray, second: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> ModelSpec:
    nodes = [
        helper.make_node("Conv", ["input", "k0"], ["conv0"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv0"], ["edges"]),
        helper.make_node("MaxPool", ["edges"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["pooled", "k1"], ["conv1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv1"], ["parts"]),
        helper.make_node("Flatten", ["parts"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w", "b"], ["logits"]),
    ]
    values = {"k0": first, "k1": second, "w": weight, "b": bias}
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items()]
    shapes = (("input", ["N", 1, 8, 8]), ("logits", ["N", 8]))
    given, made = ([helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)] for name, shape in shapes)
    graph = helper.make_graph(nodes, "digits", given, made, tensors)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "model.onnx")
    text = f'[model]\nfile = "model.onnx"\nclasses = {json.dumps(CLASSES)}\nactivation = "softmax"\n[input]\nsize = [8, 8]\nmode = "L"\n'
    (folder / "model.toml").write_text(text, "utf-8")
    return ModelSpec.load(folder / "model.toml")
