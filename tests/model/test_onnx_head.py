"""A new head on an ONNX model: pooled as everywhere, checked, and saying what it should."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from annotriage.model import load_model
from annotriage.model.onnx_head import write_onnx_head
from annotriage.model.spec import ModelSpec


def convolutional(folder, opset, batch, layer):
    """A network whose deciding layer is a map."""
    rng = np.random.default_rng(0)
    weights = {"k": rng.normal(size=(5, 1, 3, 3)), "w": rng.normal(size=(5, 3)), "b": np.zeros(3)}
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], kernel_shape=[3, 3]),
        helper.make_node("Relu", ["c"], ["map"]),
        helper.make_node("GlobalAveragePool", ["map"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "n",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 3])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9), folder / "m.onnx")
    text = f'[model]\nfile = "m.onnx"\nclasses = ["a", "b", "c"]\nlayer = {layer}\n[input]\nsize = [8, 8]\nmode = "L"\n'
    (folder / "m.toml").write_text(text, "utf-8")
    return ModelSpec.load(folder / "m.toml")


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("batch", ["N", 2])
@pytest.mark.parametrize("layer", ['"auto"', '["map"]'])
def test_the_head_reads_the_deciding_layer_as_it_is_compared(tmp_path, opset, batch, layer):
    model = load_model(convolutional(tmp_path, opset, batch, layer))
    rng = np.random.default_rng(1)
    inputs, weight, bias = rng.normal(size=(5, 1, 8, 8)).astype(np.float32), rng.normal(size=(5, 4)), rng.normal(size=4)
    before = model.run(inputs)
    made = write_onnx_head(model.spec, model.layers, ("a", "b", "c", "d"), weight, bias, tmp_path / "new")
    new = load_model(ModelSpec.load(tmp_path / "new" / "model.toml"))
    after = new.run(inputs)
    assert made.classes == ("a", "b", "c", "d")
    assert after.logits == pytest.approx(before.activations[0] @ weight + bias, abs=1e-4)
    assert after.activations[0] == pytest.approx(before.activations[0], abs=1e-5)
    assert new.fixed_batch == model.fixed_batch
    assert "w" not in {tensor.name for tensor in onnx.load(tmp_path / "new" / "model.onnx").graph.initializer}
