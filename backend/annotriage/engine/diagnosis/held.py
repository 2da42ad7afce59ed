"""Rows of a pass through a model, held in memory, or in a file that goes with the process where they are too many for it."""

from __future__ import annotations

import os
import shutil
import weakref
from collections.abc import Iterator, Sequence
from tempfile import SpooledTemporaryFile, TemporaryFile, gettempdir
from typing import Any, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from annotriage.errors import DataError

Array = NDArray[Any]

PIECE = 65_536  # rows copied at a time
PICTURES = 2**28  # bytes of pictures in memory; of more all lie in a file


def room_for(rows: int, width: int, kind: DTypeLike, *, on_disk: bool) -> Array:
    """An array of (rows, width). Raises DataError if the disk has no room for it."""
    if not on_disk:
        return np.empty((rows, width), dtype=kind)
    size, folder = max(1, rows * width * np.dtype(kind).itemsize), gettempdir()
    free = shutil.disk_usage(folder).free
    if free < size:
        raise DataError(
            f"{rows:,} activations take {size / 1e9:.1f} GB, and {folder} has {free / 1e9:.1f} GB left; lower the setting map_sample, or"
            " let TMPDIR name a folder with more room"
        )
    with TemporaryFile(prefix="annotriage-") as file:  # the array keeps what is in it, and nobody else can open it
        if hasattr(os, "posix_fallocate"):  # else a disk that fills up meanwhile would kill the process
            os.posix_fallocate(file.fileno(), 0, size)
        return np.memmap(file, dtype=kind, mode="w+", shape=(rows, width))


def rows_of(array: Array, which: Array) -> Array:
    """Some rows, by index: in memory if the array is, else in a file as well. The array itself if these are all of it, in order."""
    if len(which) == len(array) and (which == np.arange(len(array))).all():
        return array
    if not isinstance(array, np.memmap):
        return np.asarray(array[which])
    taken = room_for(len(which), array.shape[1], array.dtype, on_disk=True)
    for start in range(0, len(which), PIECE):
        taken[start : start + PIECE] = array[which[start : start + PIECE]]
    return taken


class Pictures(Sequence[bytes]):
    """Encoded pictures by place, in a file where they are many; each may be put anew."""

    def __init__(self, order: Sequence[int] | None = None, of: Pictures | None = None) -> None:
        """of, order: some of those of another one, by place."""
        self._of = of  # whose file it is, open as long as that is
        if of is None:
            self._file: Any = SpooledTemporaryFile(max_size=PICTURES)  # noqa: SIM115 - closed with the object
            weakref.finalize(self, self._file.close)
        else:
            self._file = of._file
        self._ends: list[tuple[int, int]] = [] if of is None else [of._ends[place] for place in order or ()]

    def put(self, place: int, picture: bytes) -> None:
        """Put one at a place, which may be the next one."""
        start = self._file.seek(0, os.SEEK_END)
        self._file.write(picture)
        where = (start, len(picture))
        if place == len(self._ends):
            self._ends.append(where)
        else:
            self._ends[place] = where

    @overload
    def __getitem__(self, place: int) -> bytes: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[bytes]: ...
    def __getitem__(self, place: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(place, slice):
            return [self[number] for number in range(len(self))[place]]
        start, size = self._ends[place]
        if not size:
            return b""
        self._file.seek(start)
        return bytes(self._file.read(size))

    def __iter__(self) -> Iterator[bytes]:
        return (self[place] for place in range(len(self)))

    def __len__(self) -> int:
        return len(self._ends)
