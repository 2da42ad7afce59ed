"""Datasets from arrays: `x` (N, H, W[, C]) uint8 images or (N, ...) numbers, and optionally `y`, `group`, `id`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from annotriage.data.items import Dataset, Item
from annotriage.data.unique_ids import mark_repeats, repeated_ids
from annotriage.errors import DataError


@dataclass(frozen=True)
class Column:
    """One array of a dataset, wherever it lies: its type, its shape, and a way to start reading its rows."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    rows: Callable[[], Iterator[Any]]


def open_arrays(x: NDArray[Any], y: ArrayLike | None, name: str) -> Dataset:
    """A dataset of arrays in memory; see `open_columns`."""
    arrays = {"x": np.asarray(x)} if y is None else {"x": np.asarray(x), "y": np.asarray(y)}
    return open_columns({key: Column(array.dtype, array.shape, array.__iter__) for key, array in arrays.items()}, name, name)


def open_columns(columns: Mapping[str, Column], name: str, place: str, notes: tuple[str, ...] = ()) -> Dataset:
    """A dataset of columns that are read side by side; item i has the id "i" (or that in `id`) and the path "place[i]".

    x: (N, ...) numbers. y: (N,) class names or indices, "" or -1 for unlabelled; or (N, m) of 0 and 1, one column per class, for
    several classes at once: a row of zeros means none of them. group, id: (N,) text or whole numbers.
    Raises DataError naming the column whose type, shape or length does not fit.
    """
    if "x" not in columns:
        raise DataError(f"{place}: holds {', '.join(map(repr, columns)) or 'nothing'} but no 'x'; save the images or rows of numbers as x")
    for key, column in columns.items():
        _check(key, column, columns["x"], place)
    if "y" in columns and len(columns["y"].shape) == 2:
        _check_flags(columns["y"], place)

    repeats = repeated_ids(enumerate(map(_text, columns["id"].rows())))[1] if "id" in columns else {}

    count = columns["x"].shape[0]

    def part(start: int, stop: int) -> Iterator[Item]:
        return mark_repeats(enumerate(_items(columns, place, start, stop), start), repeats, f"{place}: row")

    return Dataset(name, count, lambda: part(0, count), notes, part)


def _check(key: str, column: Column, x: Column, place: str) -> None:
    kind, shape = column.dtype.kind, column.shape
    if kind == "O":
        raise DataError(
            f"{place}: {key} holds Python objects (dtype=object), which would have to be unpickled, and annotriage never does that;"
            f" save it as numbers or text, e.g. np.asarray(list({key}), dtype={'np.uint8' if key == 'x' else 'str'})"
        )
    if key == "x":
        if kind not in "biuf" or len(shape) < 2:
            raise DataError(
                f"{place}: x has shape {shape} and type {column.dtype}; it must be (N, H, W[, C]) uint8 images, or N rows of numbers"
            )
        if 0 in shape:
            raise DataError(f"{place}: x has shape {shape}, which holds nothing; save at least one item")
        return
    flags = key == "y" and kind in "biuf" and len(shape) == 2 and shape[1] > 1
    if not flags and (kind not in "USiu" or len(shape) != 1):
        wanted = "class names or class indices, or (N, m) of 0 and 1, a column per class" if key == "y" else "text or whole numbers"
        raise DataError(f"{place}: {key} has shape {shape} and type {column.dtype}; it must be (N,) of {wanted}")
    if shape[0] != x.shape[0]:
        raise DataError(f"{place}: x has {x.shape[0]} items and {key} has {shape[0]}; they must be equally many")


def _check_flags(y: Column, place: str) -> None:
    for i, row in enumerate(y.rows()):
        if not ((row == 0) | (row == 1)).all():
            raise DataError(f"{place}: y has shape {y.shape}, so it must hold 0 and 1, a column per class; row {i} is {row}")


def _items(columns: Mapping[str, Column], place: str, start: int, stop: int) -> Iterator[Item]:
    names = [key for key in ("x", "y", "group", "id") if key in columns]
    rows = islice(zip(*(columns[key].rows() for key in names), strict=True), start, stop)
    for i, values in enumerate(rows, start):
        row = dict(zip(names, values, strict=True))
        media = np.array(row["x"])  # a copy: a view would keep its whole block alive
        labels = _labels(row["y"]) if "y" in row else None
        group = _text(row["group"]) or None if "group" in row else None
        yield Item(_text(row["id"]) if "id" in row else str(i), media, labels, group, f"{place}[{i}]")


def _labels(value: Any) -> tuple[str | int, ...] | None:
    if isinstance(value, np.ndarray):
        return tuple(np.flatnonzero(value).tolist())
    if isinstance(value, str | bytes):
        text = _text(value)
        return (text,) if text else None
    return (int(value),) if value >= 0 else None


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
