"""Datasets from an .npz file, read row by row, so that one larger than memory can be triaged; nothing is unpickled."""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import psutil

from annotriage.data.arrays import Column, open_columns
from annotriage.data.items import Dataset
from annotriage.errors import DataError

npy: Any = np.lib.format  # numpy gives it no types

KEYS = ("x", "y", "group", "id")
BLOCK = 2**20  # bytes read at a time, at least one row
LONGEST_ROW = 2**28  # bytes of one item


def open_npz(file: Path, name: str) -> Dataset:
    """The items of an .npz file with `x` and optionally `y`, `group`, `id`, stored or compressed; see `arrays.open_columns`.

    Raises DataError if the file cannot be read, is damaged, holds Python objects, or its arrays do not fit each other.
    """
    with _archive(file) as archive:
        members = archive.namelist()
        keys = [member.removesuffix(".npy") for member in members if member.endswith(".npy")]
        for key in KEYS:
            if key in members and key not in keys:
                raise DataError(f"{file}: its member {key!r} is no array (those end in .npy); save it again with np.savez(file, x=images)")
        columns = {key: _column(file, archive, key) for key in KEYS if key in keys}
    unused = sorted(set(keys) - set(KEYS))
    if "x" not in columns:
        found = ", ".join(map(repr, keys)) or "nothing"
        raise DataError(f"{file}: holds {found} but no 'x'; save it with np.savez(file, x=images, y=labels)")
    notes = [f"{file}: arrays that are not used: {', '.join(map(repr, unused))}"] if unused else []
    return open_columns(columns, name, file.name, tuple(notes))


def _column(file: Path, archive: zipfile.ZipFile, key: str) -> Column:
    info = archive.getinfo(f"{key}.npy")
    with archive.open(info) as stream:
        shape, by_column, dtype = _header(stream)
        data_bytes = info.file_size - stream.tell()
    if dtype.hasobject:
        return Column(np.dtype(object), shape, lambda: iter(()))  # refused by the check of the columns
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != data_bytes:
        raise DataError(f"{file}: {key} is damaged (its header announces {shape} {dtype}, which is not what follows); save it again")
    row_bytes = math.prod(shape[1:]) * dtype.itemsize
    if row_bytes > LONGEST_ROW:
        raise DataError(
            f"{file}: {key} has the shape {shape}, whose every row is one item of {row_bytes / 2**20:,.0f} MB; the most that is read is"
            f" {LONGEST_ROW / 2**20:,.0f} MB. Is the first axis the items?"
        )
    return Column(dtype, shape, lambda: _rows_of_transposed(file, key) if by_column else _rows(file, key))


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(stream)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"npy format {version} is for arrays with named fields")
    try:
        shape, by_column, dtype = readers[version](stream)
    except (SyntaxError, tokenize.TokenError, TypeError, AttributeError, KeyError, OverflowError, RecursionError, MemoryError) as error:
        raise ValueError("the header of an array cannot be read") from error  # numpy reads it as Python
    return shape, by_column, dtype


def _rows(file: Path, key: str) -> Iterator[Any]:
    with _archive(file) as archive, archive.open(f"{key}.npy") as stream:
        shape, _, dtype = _header(stream)
        row_bytes = math.prod(shape[1:]) * dtype.itemsize
        rows_at_once = max(1, BLOCK // max(1, row_bytes))
        for start in range(0, shape[0], rows_at_once):
            rows = min(rows_at_once, shape[0] - start)
            block = stream.read(rows * row_bytes)
            if len(block) < rows * row_bytes:
                raise EOFError(f"{key} ends after {start} of {shape[0]} rows")
            yield from np.frombuffer(block, dtype).reshape(rows, *shape[1:])


def _rows_of_transposed(file: Path, key: str) -> Iterator[Any]:
    """The rows of an array stored column by column (a transposed one): no row lies in one piece, so it is read whole."""
    with _archive(file) as archive, archive.open(f"{key}.npy") as stream:
        size, free = archive.getinfo(f"{key}.npy").file_size, psutil.virtual_memory().available
        if size > free:
            raise DataError(
                f"{file}: {key} is stored column by column, so that it has to be read whole: {size / 2**30:,.1f} GB, and"
                f" {free / 2**30:,.1f} GB of memory are free; save it again with np.savez(file, {key}=np.ascontiguousarray({key}))"
            )
        array = npy.read_array(stream, allow_pickle=False)
    yield from array


@contextmanager
def _archive(file: Path) -> Iterator[zipfile.ZipFile]:
    """The open archive; what goes wrong while reading becomes a DataError with the fix."""
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); check the path and your right to read it") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, NotImplementedError) as error:
        raise DataError(f"{file}: not a readable .npz file ({error}); save it again with np.savez or np.savez_compressed") from error
