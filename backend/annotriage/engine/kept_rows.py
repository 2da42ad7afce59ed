"""Rows of numbers as they come: in memory while they are few, beyond that in a temporary file, so that any number takes little memory."""

from __future__ import annotations

import io
import mmap
import os
import shutil
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile, gettempdir
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from annotriage.errors import OutputError

Array = NDArray[Any]

IN_MEMORY = 1 << 26  # bytes of one array, beyond which it goes to disk
GATHERED = 1_000  # rows that are picked at once from disk: the kernel maps 16 pages around each
BLOCK = 1 << 16  # rows that are worked on at once


class Spool:
    """Bytes that are added one after the other: in memory while they are few, beyond that in a file that nobody else can open."""

    def __init__(self, what: str, in_memory: int) -> None:
        """what: it holds, for the error. in_memory: bytes up to which it has no file."""
        self._what, self._in_memory = what, in_memory
        self._file: Any = io.BytesIO()
        self.size = 0

    @property
    def on_disk(self) -> bool:
        """Whether there are too many for memory."""
        return not isinstance(self._file, io.BytesIO)

    def append(self, content: bytes) -> int:
        """Add some and say where they begin. Raises OutputError if the disk is full."""
        start = self.size
        with _trouble_named(self._what):
            if start + len(content) > self._in_memory and not self.on_disk:
                former = self._file.getvalue()
                self._file = TemporaryFile("w+b", buffering=0)  # noqa: SIM115 - closed with the object; unbuffered, closing cannot fail
                weakref.finalize(self, self._file.close)
                self._write(former)
            self._write(content)
        self.size += len(content)
        return start

    def read(self, start: int, size: int) -> bytes:
        """So many from there."""
        self._file.seek(start)
        return bytes(self._file.read(size))

    def array(self, shape: tuple[int, ...]) -> Array:
        """All of them as float32; on disk to be read alone, from a file that stays for as long as the array is used."""
        if self.on_disk:
            return _OnDisk(self._file, np.float32, "r", shape=shape)
        return np.frombuffer(self._file.getvalue(), np.float32).reshape(shape).copy()

    def _write(self, content: bytes) -> None:
        self._file.seek(0, os.SEEK_END)
        left = memoryview(content)
        while left:  # a file without a buffer may take a part
            left = left[self._file.write(left) :]


class KeptRows:
    """Rows that are added in pieces and read as one array, (N, ...) float32."""

    def __init__(self) -> None:
        self._spool = Spool("activations", IN_MEMORY)
        self._count = 0
        self._shape: tuple[int, ...] = ()

    def append(self, rows: Array) -> None:
        """Add some rows, (n, ...). Raises OutputError if the disk is full."""
        rows = np.asarray(rows, dtype=np.float32)
        self._shape = rows.shape[1:]
        self._count += len(rows)
        self._spool.append(rows.tobytes())

    def whole(self) -> Array:
        """All rows in their order, to be read alone. Picking rows by their numbers holds no more in memory than these."""
        return self._spool.array((self._count, *self._shape))


class _OnDisk(np.memmap[Any, Any]):
    """A memory map that gives the pages back which picking rows has touched. What is computed from it is a plain array."""

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, np.ndarray) and key.ndim == 1 and key.dtype == bool and len(key) == len(self):
            key = np.flatnonzero(key)
        if not (isinstance(key, np.ndarray) and key.ndim == 1 and key.dtype.kind in "iu"):
            return _plain(super().__getitem__(key))
        found = np.empty((len(key), *self.shape[1:]), self.dtype)
        for start in range(0, len(key), GATHERED):
            found[start : start + GATHERED] = super().__getitem__(key[start : start + GATHERED])
            let_go(self)
        return found

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        plain = np.asarray(array)
        return plain[()] if return_scalar else plain

    def argmax(self, *args: Any, **options: Any) -> Any:
        """As of any array: numpy asks nobody of what class its answer shall be."""
        return np.asarray(self).argmax(*args, **options)


def room_for(rows: int, width: int, kind: DTypeLike) -> Array:
    """An array of (rows, width) in a file, to be written to. Raises OutputError if the disk has no room for it."""
    size = max(1, rows * width * np.dtype(kind).itemsize)
    check_room(size)
    with _trouble_named("activations"), TemporaryFile(prefix="annotriage-") as file:  # the array keeps what is in it
        if hasattr(os, "posix_fallocate"):  # else a disk that fills up meanwhile would kill the process
            os.posix_fallocate(file.fileno(), 0, size)
        return _OnDisk(file, kind, "w+", shape=(rows, width))


def check_room(size: int) -> None:
    """Raises OutputError if so many bytes of activations have no room on the disk."""
    folder = gettempdir()
    free = shutil.disk_usage(folder).free
    if free < size:
        raise OutputError(
            f"{folder}: the activations take {size / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free; lower the setting map_sample, free that"
            " disk, or set TMPDIR"
        )


def blocks(count: int) -> Iterator[slice]:
    """The rows of `count`, by blocks: one if they are few."""
    return (slice(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK))


def let_go(values: Array) -> None:
    """Give the memory back that reading an array on disk has taken; it may be read again."""
    mapped = getattr(values, "_mmap", None)
    if mapped is not None:
        mapped.madvise(mmap.MADV_DONTNEED)


def taken(values: Array, which: Array) -> Array:
    """Some rows by their numbers, (k, ...), kept as `values` are: on disk if they are many. `values` themselves if these are all, in order.

    Raises OutputError if the disk is full.
    """
    if len(which) == len(values) and (which == np.arange(len(values))).all():
        return values
    if not isinstance(values, _OnDisk):
        return np.asarray(values[which])
    kept = KeptRows()
    kept.append(values[:0])
    for some in blocks(len(which)):
        kept.append(values[which[some]])
    return kept.whole()


def put_in_order(values: Array, order: Array) -> None:
    """Make `values` what `values[order]` is, in their own place, with room for one row more. order: (N,) each row's number once."""
    moved = np.zeros(len(order), dtype=bool)
    for first in np.flatnonzero(order != np.arange(len(order))).tolist():
        if moved[first]:
            continue
        row, at = np.array(values[first]), first
        while (source := int(order[at])) != first:
            values[at] = values[source]
            moved[at] = True
            at = source
        values[at] = row
        moved[at] = True


def _plain(values: Any) -> Any:
    """What was read from an array on disk; no such array itself unless it shares its memory."""
    return values.view(np.ndarray) if isinstance(values, _OnDisk) and getattr(values, "_mmap", None) is None else values


@contextmanager
def _trouble_named(what: str) -> Iterator[None]:
    """Say what could not be kept where the disk is full, or a limit forbids more."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{gettempdir()}: {what} could not be kept ({error.strerror}); free that disk, or set TMPDIR") from error
