"""Reads .onnx files: the whole model without its external weights, or the shape of its input alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx

from annotriage.errors import ModelError


def read_onnx(path: Path) -> onnx.ModelProto:
    """The model in an .onnx file, without weights that lie in files of their own. Raises ModelError if it cannot be read."""
    try:
        return onnx.load(path, load_external_data=False)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    except Exception as error:  # protobuf's DecodeError, under whichever name the installed version gives it
        raise ModelError(f"{path}: is not an ONNX model, or is cut short ({error}); export it again") from error


def input_shape(path: Path) -> list[int | None]:
    """The shape of the model's first input, batch axis first, None = free; empty if the file does not say."""
    graph = read_onnx(path).graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    return [axis_size(dimension) for dimension in inputs[0].type.tensor_type.shape.dim] if inputs else []


def axis_size(dimension: Any) -> int | None:
    """The size of an axis as the file states it; None if it is free."""
    return int(dimension.dim_value) if dimension.dim_value > 0 else None
