"""Pictures of a pass through a model, held in memory, or in a file that goes with the process where they are too many for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

from annotriage.engine.kept_rows import Spool

PICTURES = 2**28  # bytes of pictures in memory; of more all lie in a file


class Pictures(Sequence[bytes]):
    """Encoded pictures by place, in a file where they are many; each may be put anew."""

    def __init__(self, order: Sequence[int] | None = None, of: Pictures | None = None) -> None:
        """of, order: some of those of another one, by place."""
        self._spool: Spool = Spool("pictures", PICTURES) if of is None else of._spool
        self._ends: list[tuple[int, int]] = [] if of is None else [of._ends[place] for place in order or ()]

    def put(self, place: int, picture: bytes) -> None:
        """Put one at a place, which may be the next one. Raises OutputError if the disk is full."""
        where = (self._spool.append(picture), len(picture))
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
        return self._spool.read(start, size) if size else b""

    def __iter__(self) -> Iterator[bytes]:
        return (self[place] for place in range(len(self)))

    def __len__(self) -> int:
        return len(self._ends)
