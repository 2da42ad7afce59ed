"""Verdicts on disk: any number of them in little memory, in a temporary file that goes with the object."""

from __future__ import annotations

import json
import os
import tempfile
import weakref
from array import array
from collections.abc import Iterator, Sequence
from typing import overload

from annotriage.engine.verdict import Verdict
from annotriage.errors import OutputError
from annotriage.states import Failure

EACH = 32  # verdicts, of which the place of the first is kept in memory


class Verdicts(Sequence[Verdict]):
    """Verdicts in the order in which they were added; read as often as wanted."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - closed with the object
        weakref.finalize(self, self._file.close)
        self._starts = array("Q")  # of every EACH-th
        self._count = 0

    def append(self, verdict: Verdict) -> None:
        """Add one."""
        start = self._file.seek(0, os.SEEK_END)
        if self._count % EACH == 0:
            self._starts.append(start)
        try:
            self._file.write(json.dumps([getattr(verdict, name) for name in Verdict.__slots__]).encode() + b"\n")
        except OSError as error:
            raise OutputError(
                f"{tempfile.gettempdir()}: verdicts could not be kept ({error.strerror}); free that disk, or set TMPDIR"
            ) from error
        self._count += 1

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> Verdict: ...
    @overload
    def __getitem__(self, place: slice) -> list[Verdict]: ...
    def __getitem__(self, place: int | slice) -> Verdict | list[Verdict]:
        if isinstance(place, slice):
            return [self[row] for row in range(*place.indices(len(self)))]
        place = range(self._count)[place]
        self._file.seek(self._starts[place // EACH])
        for _ in range(place % EACH):
            self._file.readline()
        return _read_verdict(self._file.readline())

    def __iter__(self) -> Iterator[Verdict]:
        place = 0
        while True:
            self._file.seek(place)  # two readers may take turns, block by block
            lines = self._file.readlines(1 << 20)
            place = self._file.tell()
            if not lines:
                return
            yield from map(_read_verdict, lines)


def _read_verdict(line: bytes) -> Verdict:
    identity, path, labels, *rest = json.loads(line)
    rest[-1] = rest[-1] and Failure(rest[-1])
    return Verdict(identity, path, tuple(labels), *rest)
