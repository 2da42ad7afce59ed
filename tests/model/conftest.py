"""Small trained-looking models: ONNX graphs put together node by node, and the specs beside them."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from annotriage.model.spec import ModelSpec


class Net:
    """An ONNX graph in the making; every method returns the name of the tensor that it adds."""

    def __init__(self, *shape, batch="N", dtype=TensorProto.FLOAT):
        self.rng = np.random.default_rng(1)
        self.dtype = dtype
        self.nodes, self.weights = [], {}
        self.input = helper.make_tensor_value_info("input", dtype, [batch, *shape])

    def weight(self, *shape, values=None):
        name = f"w{len(self.weights)}"
        values = self.rng.standard_normal(shape) if values is None else np.asarray(values)
        kind = values.dtype if values.dtype == np.int64 else helper.tensor_dtype_to_np_dtype(self.dtype)
        self.weights[name] = values.astype(kind)
        return name

    def add(self, operation, *inputs, name=None, domain="", **attributes):
        name = name or f"{operation.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, inputs, [name], domain=domain, **attributes))
        return name

    def conv(self, source, inside, outside, kernel=3, **attributes):
        return self.add("Conv", source, self.weight(outside, inside, kernel, kernel), pads=[kernel // 2] * 4, **attributes)

    def gemm(self, source, inside, outside, name=None):
        return self.add("Gemm", source, self.weight(inside, outside), self.weight(outside), name=name)

    def matmul(self, source, inside, outside, name=None):
        return self.add("Add", self.add("MatMul", source, self.weight(inside, outside)), self.weight(outside), name=name)

    def model(self, *outputs):
        kind = TensorProto.FLOAT if self.dtype == TensorProto.UINT8 else self.dtype
        graph = helper.make_graph(
            self.nodes,
            "net",
            [self.input],
            [helper.make_tensor_value_info(name, kind, None) for name in outputs],
            [numpy_helper.from_array(values, name) for name, values in self.weights.items()],
        )
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)


@pytest.fixture
def net():
    return Net


@pytest.fixture
def write_spec(tmp_path):
    """Write a spec for a model file (or source keys) into `tmp_path` and load it: model and input hold TOML keys."""

    def write(model, input, classes=3):
        model = {"classes": [f"class {index}" for index in range(classes)], **model}
        lines = []
        for name, table in (("model", model), ("input", input)):
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
        path = tmp_path / "model.toml"
        path.write_text("\n".join(lines), "utf-8")
        return ModelSpec.load(path)

    return write


@pytest.fixture
def onnx_spec(tmp_path, write_spec):
    """Write a `Net` and its spec: the input's kind follows from its shape."""

    def write(net, *outputs, classes=3, external=False, input=None, **model):
        options = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0} if external else {}
        onnx.save(net.model(*outputs), tmp_path / "model.onnx", **options)
        size = [dimension.dim_value for dimension in net.input.type.tensor_type.shape.dim][1:]
        image = {"size": size[1:], "mode": "RGB" if size[0] == 3 else "L"}
        described = image if len(size) == 3 else {"kind": "array", "size": size}
        return write_spec({"file": "model.onnx", **model}, {**described, **(input or {})}, classes)

    return write


@pytest.fixture
def names_in():
    """The names of the files in a folder, to see that nothing was written there."""

    def names(folder: Path):
        return sorted(path.name for path in folder.iterdir())

    return names
