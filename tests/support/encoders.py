"""Models without a head, as people have them: what the last dense layer is fed is the output."""

from __future__ import annotations

from pathlib import Path

import onnx

from annotriage.model.spec import ModelSpec


def encoder_of(spec: ModelSpec, folder: Path, width: int = 32) -> Path:
    """The spec of the encoder of a model of digits, in a folder. width: of its features."""
    graph = onnx.load(spec.model_path)
    features = graph.graph.node[-1].input[0]
    del graph.graph.output[:]
    graph.graph.output.append(onnx.helper.make_tensor_value_info(features, onnx.TensorProto.FLOAT, ["N", width]))
    del graph.graph.node[-1]
    onnx.save(graph, folder / "encoder.onnx")
    path = folder / "encoder.toml"
    path.write_text('[model]\nfile = "encoder.onnx"\nhead = "none"\n[input]\nsize = [8, 8]\nmode = "L"\n', "utf-8")
    return path
