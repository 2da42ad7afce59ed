"""Products of items' values with a fixed matrix, each item's rounded alike however many there are at once, where that can be had.

A last digit may decide about a rank, and so about a route. Libraries choose another order of adding up for few rows, for long sums and
for the last few columns, so that an item alone gets other digits than among many. Cut into pieces that are neither long nor ragged, the
order is the same on most processors, at no price. On some it depends on an item's place: `rounds_alike` says which this one is of.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Piece = tuple[int, int, Array]  # first row, first column, and what stands there

LENGTH = 256  # values that are added up in one go: libraries do as many at once, whatever the number of rows
SHORT = 128  # of a triangular matrix: shorter pieces leave out more of what is 0, and each costs a call
COLUMNS = 16  # the least that columns are a multiple of: as many as a processor multiplies at once
FEW, SOME = 2, 32  # a single row is multiplied by another routine
MIDDLING = range(8, 128)  # rows for which libraries first copy the matrix, at a price like that of the product, unless both are small:
AREA, AT_ONCE = 2**15, 30  # values of a piece and rows that are not worth copying: less than 100^3 steps together
_TRIED = ((LENGTH, 256), (48, 48), (64, 3_008), (LENGTH, 16))  # lengths and columns, as large as those in use
_ROWS = (3, 4, 5, 8, 13, 31, 32, 67, 256)


@dataclass(frozen=True)
class Factor:
    """A matrix (n, k) that items' values are multiplied with.

    pieces: the widest first; all else is 0. columns: k.
    """

    pieces: tuple[Piece, ...]
    columns: int

    @classmethod
    def of(cls, matrix: Array, *, length: int = LENGTH) -> Factor:
        """matrix: (n, k). length: rows of a piece; SHORT where the matrix is triangular, whose half of zeros is left out."""
        found = []
        for start in range(0, len(matrix), length):
            rows = matrix[start : start + length]
            used = np.flatnonzero(rows.any(axis=0))
            first, last = (used[0] // COLUMNS * COLUMNS, used[-1] + 1) if len(used) else (0, 0)
            piece = rows[:, first:last]
            ragged = -piece.shape[1] % COLUMNS
            piece = np.ascontiguousarray(np.pad(piece, ((0, 0), (0, ragged))) if ragged else piece)
            found.append((start, int(first), piece))
        found.sort(key=lambda piece: -piece[2].shape[1])
        return cls(tuple(found), matrix.shape[1])

    def times(self, points: Array) -> Array:
        """points @ matrix, (N, n) -> (N, k)."""
        return self._times(points, alike=rounds_alike())

    def _times(self, points: Array, *, alike: bool) -> Array:
        """alike: as `rounds_alike` says, or is to find out: some rows are then multiplied a few at a time."""
        count = len(points)
        if count == 1:
            return self._times(np.repeat(points, FEW, axis=0), alike=alike)[:1]
        width = -(-self.columns // COLUMNS) * COLUMNS
        found = np.empty((count, width), dtype=np.result_type(points, *(piece for _, _, piece in self.pieces[:1])))
        few = alike and count in MIDDLING
        blocks = -(-count // AT_ONCE) if few else 1
        for block in range(blocks):
            rows = slice(count * block // blocks, count * (block + 1) // blocks)
            self._multiply(points[rows], self._small if few else self.pieces, found[rows])
        return found[:, : self.columns]

    def _multiply(self, points: Array, pieces: Sequence[Piece], found: Array) -> None:
        """Write the product into `found`, (N, k) or up to COLUMNS - 1 wider. pieces: all, whole or cut."""
        if not self._covers:
            found.fill(0)
        for start, first, piece in pieces:
            own, into = points[:, start : start + len(piece)], found[:, first : first + piece.shape[1]]
            if self._covers and start == self.pieces[0][0]:
                np.matmul(own, piece, out=into)
            else:
                into += own @ piece

    @cached_property
    def _covers(self) -> bool:
        """Whether the widest piece has all columns, so that it need not be added to anything."""
        return bool(self.pieces) and self.pieces[0][2].shape[1] >= self.columns

    @cached_property
    def _small(self) -> tuple[Piece, ...]:
        """The pieces, cut by columns into such as are no larger than AREA."""
        return tuple(part for piece in self.pieces for part in _cut(*piece))


def _cut(start: int, first: int, piece: Array) -> Iterator[Piece]:
    step = max(1, AREA // max(1, len(piece)) // COLUMNS) * COLUMNS
    for column in range(0, piece.shape[1], step):
        yield start, first + column, np.ascontiguousarray(piece[:, column : column + step])


@cache
def rounds_alike() -> bool:
    """Whether a row is rounded alike here whatever its place and however many rows there are: tried once, in some milliseconds."""
    rng = np.random.default_rng(0)
    for length, columns in _TRIED:
        factor = Factor.of(rng.standard_normal((length, columns)).astype(np.float32))
        row = rng.standard_normal((1, length)).astype(np.float32)
        alone = factor._times(row, alike=True)
        if not all((factor._times(np.repeat(row, count, axis=0), alike=True) == alone).all() for count in _ROWS):
            return False
    return True


def least_rows() -> int:
    """How many rows it takes at least for a row to be rounded as among more; where that depends on its place, as among so many."""
    return FEW if rounds_alike() else SOME
