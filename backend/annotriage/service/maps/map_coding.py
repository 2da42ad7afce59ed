"""What is drawn of items as numbers: places within a frame, codes for what colours them, and the pieces that both make up.

Between map_making, map_placing and store.map_points, in the jobs process.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from annotriage.store.map_points import FULL, KINDS, OTHERS, Piece, axes_code, score_code

if TYPE_CHECKING:
    from annotriage.engine.reference import Reference
    from annotriage.store.maps import Drawn

Array = NDArray[Any]

MARGIN = 0.03  # of the frame, around the points


@dataclass(frozen=True)
class Frame:
    """The square, or cube, that a map fills: its lowest corner and its side, in the map's own units."""

    corner: tuple[float, ...]
    side: float

    @classmethod
    def of(cls, stored: Sequence[float]) -> Frame:
        """The one that was stored."""
        return cls(tuple(stored[:-1]), stored[-1])

    def as_list(self) -> list[float]:
        """As it is stored."""
        return [*self.corner, self.side]

    def within(self, places: Array) -> Array:
        """(N, d) places as uint16; those outside lie on the edge."""
        scaled = (places - np.array(self.corner, dtype=np.float64)) / self.side * FULL
        return np.asarray(scaled.round().clip(0, FULL), dtype=np.uint16)

    def outside(self, places: Array) -> Array:
        """The way back: (N, d) float32."""
        return np.asarray(places.astype(np.float64) / FULL * self.side + self.corner, dtype=np.float32)


class Names:
    """What codes stand for; new names get the next code."""

    def __init__(self, reference: Reference | None = None) -> None:
        self._labels: dict[str, int] = {}
        self._datasets: dict[int, int] = {}
        for name in reference.space.names if reference is not None else ():
            _code(self._labels, name)

    @classmethod
    def of(cls, names: dict[str, Any]) -> Names:
        """Those that were stored with a map."""
        read = cls()
        for name in names["class"]:
            _code(read._labels, name)
        for id in names["dataset"]:
            _code(read._datasets, id)
        return read

    def as_dict(self) -> dict[str, Any]:
        """As they are stored."""
        return {"class": list(self._labels), "dataset": list(self._datasets)}

    def label(self, name: str) -> int:
        """The code of a class, or of several at once."""
        return _code(self._labels, name) if name else 0

    def codes(self, row: Drawn) -> tuple[int, int, int, int, int]:
        """The codes of an item: route, class, dataset, outlier score, both axes."""
        dataset = 0 if row.dataset_id is None else _code(self._datasets, row.dataset_id)
        axes = axes_code(row.class_score, row.source_score)
        return KINDS.index(row.route), self.label(" + ".join(row.labels)), dataset, score_code(row.outlier_score), axes


def _code(codes: dict[Any, int], name: Any) -> int:
    if name not in codes and len(codes) < OTHERS - 1:
        codes[name] = len(codes) + 1
    return codes.get(name, OTHERS)


def points_of(rows: Sequence[Drawn], width: int = 0) -> Array:
    """The compressed points of rows: (N, n) float32."""
    if not rows:
        return np.empty((0, width), dtype=np.float32)
    return np.frombuffer(b"".join(row.compressed for row in rows), dtype=np.float16).reshape(len(rows), -1).astype(np.float32)


def places_of(piece: Piece) -> Array:
    """The places of a piece's points: (n, 2) or (n, 3) uint16."""
    return np.column_stack([np.array(axis, dtype=np.uint16) for axis in piece.places])


def frame_around(places: Array) -> Frame:
    """The square around (P, 2) places, or the cube around (P, 3) ones, with a margin."""
    low, high = places.min(axis=0).astype(np.float64), places.max(axis=0).astype(np.float64)
    side = max(float((high - low).max()) * (1 + 2 * MARGIN), 1e-6)
    return Frame(tuple(((low + high) / 2 - side / 2).tolist()), side)


def training_piece(reference: Reference, places: Array, names: Names) -> Piece:
    """The training items as a piece, by their places in the sample. places: (s, 2) or (s, 3) uint16."""
    n = len(places)
    labels = bytearray(names.label(label) for label in reference.sample.labels[:n])
    x, y, *z = (_column(axis) for axis in places.T)
    return Piece(array("I", range(n)), x, y, bytearray(n), labels, bytearray(n), bytearray(n), bytearray(n), z[0] if z else None)


def extend(piece: Piece, rows: Sequence[Drawn], places: Array, names: Names) -> None:
    """Add rows to a piece, whose ids stay in order. places: (N, 2) or (N, 3) uint16."""
    if not len(piece):
        piece.z = array("H") if places.shape[1] == 3 else None
    in_order = not len(piece) or rows[0].item_id > piece.ids[-1]
    for row, place in zip(rows, places.tolist(), strict=True):
        values = (*place, *names.codes(row))
        if in_order:
            piece.ids.append(row.item_id)
            for column, value in zip(piece.columns, values, strict=True):
                column.append(value)
        else:
            piece.put(row.item_id, values)


def _column(values: Array) -> array[int]:
    return array("H", np.ascontiguousarray(values, dtype=np.uint16).tobytes())
