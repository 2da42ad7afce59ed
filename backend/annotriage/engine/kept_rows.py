"""Rows of numbers as they come: in memory while they are few, beyond that in a temporary file, so that any number takes little memory."""

from __future__ import annotations

import mmap
import tempfile
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.errors import OutputError

Array = NDArray[Any]

IN_MEMORY = 1 << 26  # bytes of one array, beyond which it goes to disk
GATHERED = 1_000  # rows that are picked at once from disk: the kernel maps 16 pages around each
BLOCK = 1 << 16  # rows that are worked on at once


class KeptRows:
    """Rows that are added in pieces and read as one array, (N, ...) float32, which keeps its file for as long as it is used."""

    def __init__(self) -> None:
        self._parts: list[Array] = []
        self._bytes = 0
        self._file: Any = None
        self._shape: tuple[int, ...] = ()

    def append(self, rows: Array) -> None:
        """Add some rows, (n, ...). Raises OutputError if the disk is full."""
        rows = np.ascontiguousarray(rows, dtype=np.float32)
        self._shape = rows.shape[1:]
        self._bytes += rows.nbytes
        self._parts.append(rows)
        if self._bytes > IN_MEMORY:
            try:
                if self._file is None:
                    self._file = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - closed with the object; an array read from it stays
                    weakref.finalize(self, self._file.close)
                for part in self._parts:
                    self._file.write(part.tobytes())
                self._file.flush()
            except OSError as error:
                raise OutputError(
                    f"{tempfile.gettempdir()}: activations could not be kept ({error.strerror}); free that disk, or set TMPDIR"
                ) from error
            self._parts = []

    def whole(self) -> Array:
        """All rows in their order, to be read alone. Picking rows by their numbers holds no more in memory than these."""
        if self._file is None:
            return np.concatenate(self._parts) if self._parts else np.empty((0, *self._shape), dtype=np.float32)
        row = 4 * int(np.prod(self._shape))
        return _OnDisk(self._file, np.float32, "r", shape=(self._bytes // row, *self._shape))


class _OnDisk(np.memmap[Any, Any]):
    """A memory map that gives the pages back which picking rows has touched."""

    def __getitem__(self, key: Any) -> Any:
        if not (isinstance(key, np.ndarray) and key.ndim == 1 and key.dtype.kind in "iu"):
            return super().__getitem__(key)
        found = np.empty((len(key), *self.shape[1:]), self.dtype)
        for start in range(0, len(key), GATHERED):
            found[start : start + GATHERED] = super().__getitem__(key[start : start + GATHERED])
            let_go(self)
        return found


def blocks(count: int) -> Iterator[slice]:
    """The rows of `count`, by blocks: one if they are few."""
    return (slice(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK))


def let_go(values: Array) -> None:
    """Give the memory back that reading an array on disk has taken; it may be read again."""
    mapped = getattr(values, "_mmap", None)
    if mapped is not None:
        mapped.madvise(mmap.MADV_DONTNEED)


def taken(values: Array, which: Array) -> Array:
    """Some rows by their numbers, (k, ...), kept as `values` are: on disk if they are many."""
    if not isinstance(values, _OnDisk):
        return np.asarray(values[which])
    kept = KeptRows()
    for some in blocks(len(which)):
        kept.append(values[which[some]])
    return kept.whole()
