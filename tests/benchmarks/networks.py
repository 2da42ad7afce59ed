"""The models and data that the benchmarks run on: real digits through a trained network, and a network of ResNet-18's cost."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from annotriage import ModelSpec, Reference, Settings, fit, load_model
from annotriage.demo.digits import Digits, load_digits, train_model
from annotriage.model import Model
from annotriage.model.spec import InputSpec


@dataclass(frozen=True)
class DigitsWorld:
    """A network trained on one split of scikit-learn's digits, the data, and a reference fitted without held-out items."""

    digits: Digits
    model: Model
    reference: Reference


@cache
def digits_world(seed: int = 0) -> DigitsWorld:
    """The demo's data and network on the split that `seed` draws; digits 8 and 9 never reach the network."""
    digits = load_digits(seed)
    with TemporaryDirectory() as folder:
        train_model(Path(folder) / "digits.onnx", *digits.train, seed)
        spec = ModelSpec(
            tuple("01234567"), InputSpec((8, 8), mode="L", scale=1 / 255), file="digits.onnx", path=Path(folder) / "model.toml"
        )
        model = load_model(spec)
    return DigitsWorld(digits, model, fit(model, digits.train, settings=Settings(map="none")))


def write_resnet18(file: Path, classes: int = 8) -> None:
    """A network of ResNet-18's layers with random weights, batch normalisation folded into the convolutions."""
    rng = np.random.default_rng(0)
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []

    def add(operation: str, *inputs: str, **attributes: object) -> str:
        name = f"{operation.lower()}{len(nodes)}"
        nodes.append(helper.make_node(operation, inputs, [name], **attributes))
        return name

    def weight(*shape: int, scale: float) -> str:
        weights.append(numpy_helper.from_array((rng.normal(size=shape) * scale).astype(np.float32), f"weight{len(weights)}"))
        return weights[-1].name

    def conv(x: str, width: int, to: int, side: int, stride: int) -> str:
        kernel = weight(to, width, side, side, scale=np.sqrt(2 / (width * side * side)))
        return add("Conv", x, kernel, weight(to, scale=0.1), kernel_shape=[side, side], strides=[stride] * 2, pads=[side // 2] * 4)

    x = add("Relu", conv("image", 3, 64, 7, 2))
    x = add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    width = 64
    for to in (64, 128, 256, 512):
        for stride in (1 if to == 64 else 2, 1):
            straight = x if stride == 1 else conv(x, width, to, 1, stride)
            x = conv(add("Relu", conv(x, width, to, 3, stride)), to, to, 3, 1)
            x = add("Relu", add("Add", x, straight))
            width = to
    x = add("Flatten", add("GlobalAveragePool", x))
    nodes.append(helper.make_node("Gemm", [x, weight(512, classes, scale=0.02), weight(classes, scale=0.1)], ["logits"]))
    graph = helper.make_graph(
        nodes,
        "resnet18",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 224, 224])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), file)
