"""The points of a map, packed for the store and the browser alike: typed arrays, a piece of a map at a time, gzipped.

Beside store and web; the standard library only, so that the web process stays light. static/points.js reads the same layout:
the number of points n (uint32), n ids (uint32, ascending, each as the difference from the one before), then n bytes each of the low
and the high half of x and of y (uint16, over the map's frame), and of the codes of route, class, dataset, outlier score and
both axes (the last not in maps that were drawn before there were any); last, of a map in space, both halves of z. All
little-endian. Halves apart compress better.
"""

from __future__ import annotations

import gzip
import struct
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import exp

from annotriage.states import ROUTES, SPOT_CHECK

FULL = 65_535  # the far end of the frame
KINDS = ("training", *ROUTES, SPOT_CHECK)  # by code
SCORE_EDGES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
AXIS_EDGES = (0.5, 0.8, 0.95, 0.99)  # shares of held-out items that are less rare on an axis
OTHERS = 255  # the code of classes and datasets beyond the 254th
COMPRESSION = 6


@dataclass
class Piece:
    """Some points of a map, by ascending id: row ids of items or, in the first piece, places in the reference's sample.

    x, y, and z in space: 0 to FULL over the frame. route: place in KINDS. label, dataset: 0 none, else the place in the map's names plus
    one, or OTHERS. score: 0 none, else how many of SCORE_EDGES are reached plus one. axes: likewise by AXIS_EDGES, "like no class" in the
    low half of the byte, an unusual look in the high one.
    """

    ids: array[int] = field(default_factory=lambda: array("I"))
    x: array[int] = field(default_factory=lambda: array("H"))
    y: array[int] = field(default_factory=lambda: array("H"))
    route: bytearray = field(default_factory=bytearray)
    label: bytearray = field(default_factory=bytearray)
    dataset: bytearray = field(default_factory=bytearray)
    score: bytearray = field(default_factory=bytearray)
    axes: bytearray = field(default_factory=bytearray)
    z: array[int] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def places(self) -> tuple[array[int], ...]:
        """Two columns, or three in space."""
        return (self.x, self.y) if self.z is None else (self.x, self.y, self.z)

    @property
    def columns(self) -> tuple[array[int] | bytearray, ...]:
        """All but the ids, in the order of `put`."""
        return *self.places, self.route, self.label, self.dataset, self.score, self.axes

    def find(self, id: int) -> int | None:
        """Where a point is in it; None if it is not."""
        at = bisect_left(self.ids, id)
        return at if at < len(self.ids) and self.ids[at] == id else None

    def put(self, id: int, values: Sequence[int]) -> None:
        """Add a point, or change the one of that id. values: x, y (and z in space), route, label, dataset, score, axes."""
        columns = self.columns
        at = self.find(id)
        if at is None:
            at = bisect_left(self.ids, id)
            self.ids.insert(at, id)
            for column, value in zip(columns, values, strict=True):
                column.insert(at, value)
        else:
            for column, value in zip(columns, values, strict=True):
                column[at] = value

    def hide(self, id: int) -> bool:
        """Leave nothing of a point that says what the model thinks of it; whether there was anything."""
        at = self.find(id)
        hidden = (KINDS.index(SPOT_CHECK), 0, 0, 0)
        if at is None or (self.route[at], self.label[at], self.score[at], self.axes[at]) == hidden:
            return False
        self.route[at], self.label[at], self.score[at], self.axes[at] = hidden
        return True

    def drop(self, id: int) -> bool:
        """Take a point away; whether it was there."""
        at = self.find(id)
        if at is None:
            return False
        for column in (self.ids, *self.columns):
            del column[at]
        return True


def pack(piece: Piece) -> bytes:
    """The piece as it is stored and sent: gzipped."""
    n = len(piece)
    steps = array("I", [id - before for before, id in zip([0, *piece.ids[:-1]], piece.ids, strict=True)]) if n else array("I")
    halves = [_little(column)[half::2] for column in piece.places for half in (0, 1)]
    codes = [piece.route, piece.label, piece.dataset, piece.score, piece.axes]
    return gzip.compress(b"".join([struct.pack("<I", n), _little(steps), *halves[:4], *codes, *halves[4:]]), COMPRESSION, mtime=0)


def unpack(content: bytes) -> Piece:
    """The piece that was packed. Raises ValueError if it is none."""
    data = gzip.decompress(content)
    (n,) = struct.unpack_from("<I", data)
    if len(data) == 4 + 12 * n:  # drawn before there were axes
        data += bytes(n)
    in_space = n > 0 and len(data) == 4 + 15 * n
    if len(data) != 4 + 13 * n and not in_space:
        raise ValueError(f"a piece of {n} points has {4 + 13 * n} bytes, or {4 + 15 * n} in space, not {len(data)}")
    planes = [data[4 + (4 + k) * n : 4 + (5 + k) * n] for k in range(11 if in_space else 9)]
    steps = _from_little("I", data[4 : 4 + 4 * n])
    x, y, *z = (_joined(low, high) for low, high in zip(planes[:4:2] + planes[9::2], planes[1:4:2] + planes[10::2], strict=True))
    route, label, dataset, score, axes = map(bytearray, planes[4:9])
    return Piece(array("I", accumulate(steps)), x, y, route, label, dataset, score, axes, z[0] if z else None)


def _joined(low: bytes, high: bytes) -> array[int]:
    both = bytearray(2 * len(low))
    both[0::2], both[1::2] = low, high
    return _from_little("H", both)


def score_code(score: float | None) -> int:
    """The code of an outlier score."""
    return 0 if score is None else 1 + bisect_right(SCORE_EDGES, score)


def axes_code(class_score: float | None, source_score: float | None) -> int:
    """The code of both axes; a surprise of 3 is that of one held-out item in twenty."""
    codes = [
        0 if score is None else 1 + bisect_right(AXIS_EDGES, 1 - exp(-max(score, 0.0)) + 1e-9) for score in (class_score, source_score)
    ]
    return codes[0] | codes[1] << 4


def _little(column: array[int]) -> bytes:
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    return column.tobytes()


def _from_little(kind: str, data: bytes | bytearray) -> array[int]:
    column = array(kind)
    column.frombytes(bytes(data))
    if sys.byteorder == "big":
        column.byteswap()
    return column
