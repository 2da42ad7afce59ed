"""The weights of an ONNX model that lie in files of their own, wherever in the model they stand: found, checked, and made loadable.

A guarantee holds for the weights that it was made with, so every file counts for the model's hash.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import onnx

from annotriage.data.local_paths import has_file
from annotriage.errors import ModelError


def take_weights(model: onnx.ModelProto, path: Path) -> tuple[tuple[Path, ...], Path]:
    """The files of the model at `path`, itself first, and the folder from which the runtime finds its external weights.

    Files may be links, as in the cache of huggingface_hub: the runtime takes none that leads out of the model's folder, so the places in
    `model` are changed to those of the files themselves. Weights that no runtime looks for in a file (in constants, inner graphs and
    sparse tensors) are read into the model. Raises ModelError naming a file that is missing, too short or out of the model's folder.
    """
    main = [tensor for tensor in model.graph.initializer if tensor.external_data]
    others = [tensor for tensor in _others(model.graph) if tensor.external_data]
    places = {place: _file(place, path) for place in sorted({_place(tensor) for tensor in (*main, *others)})}
    real = {place: file.resolve() for place, file in places.items()}
    folder = Path(os.path.commonpath([path.resolve().parent, *(file.parent for file in real.values())]))
    for tensor in main:
        location = next(entry for entry in tensor.external_data if entry.key == "location")
        location.value = real[location.value].relative_to(folder).as_posix()
    for tensor in others:
        _read(tensor, real[_place(tensor)], path)
    return (path, *places.values()), folder


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs directly inside a node."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _others(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """All tensors that are written in a graph besides its initializers, those in inner graphs included."""
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for sparse in (*([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else ()), *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
        for inner in subgraphs(node):
            yield from inner.initializer
            yield from _others(inner)


def _entries(tensor: onnx.TensorProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


def _place(tensor: onnx.TensorProto) -> str:
    return _entries(tensor).get("location", "")


def _file(place: str, path: Path) -> Path:
    windows = PureWindowsPath(place)
    if not place or windows.anchor or PurePosixPath(place).is_absolute() or ".." in windows.parts:
        raise ModelError(f"{path}: its weights are said to be in {place!r}, out of its own folder; export it again, into one folder")
    file = path.parent / place
    if not has_file(file):
        raise ModelError(f"{path}: its weights are in {file.name[:200]}, which is not beside it; copy that file to {file.parent}")
    return file


def _read(tensor: Any, file: Path, path: Path) -> None:
    """Put the content of the file's part into the tensor."""
    entries = _entries(tensor)
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", -1))
        with file.open("rb") as stream:
            stream.seek(offset)
            content = stream.read(length)
    except (OSError, ValueError, OverflowError) as error:
        raise ModelError(f"{path}: the weights of {tensor.name!r} in {file.name} cannot be read ({error}); export it again") from error
    if len(content) < length:
        raise ModelError(f"{path}: {file.name} ends before the weights of {tensor.name!r} do; it was cut off, copy it again")
    tensor.raw_data = content
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]
