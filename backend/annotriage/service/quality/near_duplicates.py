"""Near duplicates in a project: each new item is compared with those before it, in the jobs process, after it was judged.

What repeats an earlier item counts once in the diversity score's evidence, together with that, and may inherit its answer.
"""

from __future__ import annotations

import io
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from annotriage.engine.duplicates import Nearness, near_rows, nearness_of
from annotriage.quality.fingerprints import difference_hash
from annotriage.quality.twins import NONE, nearest_among, nearest_earlier
from annotriage.service.judging.kept_model import load_kept_model
from annotriage.service.operations.log import log
from annotriage.service.operations.process import Process
from annotriage.states import TwinKind
from annotriage.store import twins
from annotriage.store.projects import Project
from annotriage.store.twins import Placed

Array = NDArray[Any]

AT_ONCE = 2_000  # items
BITS = 64


@dataclass(frozen=True)
class _Placed:
    """Items as they are compared, in the order in which they came, some 100 to 200 bytes each.

    ids (N,); points (N, n) float16, as they are stored; prints (N, 8) uint8, packed, and pictured (N,): which of them are there.
    """

    ids: Array
    points: Array
    prints: Array
    pictured: Array

    @classmethod
    def of(cls, ids: Array | Sequence[int], points: bytes, prints: Sequence[bytes]) -> _Placed:
        """points: of all items, one after the other. prints: packed, empty without a picture."""
        rows = np.frombuffer(points, np.float16).reshape(len(ids), -1) if len(ids) else np.empty((0, 0), np.float16)
        packed = np.frombuffer(b"".join(one or bytes(BITS // 8) for one in prints), np.uint8).reshape(len(ids), BITS // 8)
        return cls(np.array(ids, dtype=np.int64), rows, packed, np.array([bool(one) for one in prints], dtype=bool))

    def __len__(self) -> int:
        return len(self.ids)

    def part(self, rows: Array | slice) -> _Placed:
        """Some of them."""
        return _Placed(*(column[rows] for column in self._columns))

    def with_more(self, more: _Placed) -> _Placed:
        """These, and more after them."""
        if not len(self):
            return more
        return _Placed(*(np.concatenate(both) for both in zip(self._columns, more._columns, strict=True)))

    @property
    def _columns(self) -> tuple[Array, ...]:
        return self.ids, self.points, self.prints, self.pictured


@dataclass
class _Known:
    """The items of a project that were compared, under one reference."""

    reference_id: int
    near: Nearness
    placed: _Placed


class NearDuplicates:
    """Compares new items; what was compared stays in memory, up to the 100,000 latest of a project."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._known: dict[int, _Known] = {}

    def step(self, project: Project) -> bool:
        """Compare new items of a project; whether there were any."""
        with self._process.store.reading() as connection:
            new = twins.uncompared(connection, project, AT_ONCE)
        if new:
            self._compare(project, [placed for placed, _ in new], [picture for _, picture in new])
        return bool(new)

    def _compare(self, project: Project, new: Sequence[Placed], pictures: Sequence[bytes | None]) -> None:
        """What was found is written, unless an item that is repeated was erased meanwhile: then all are compared anew the next time."""
        known = self._known_of(project, [placed.item_id for placed in new])
        prints = [_fingerprint(picture) for picture in pictures]
        fresh = _Placed.of([placed.item_id for placed in new], b"".join(placed.compressed for placed in new), prints)
        every, points = known.placed.with_more(fresh), fresh.points.astype(np.float32)
        nearest = _nearest(points, known.placed.points)
        by_print = None if known.near.bits is None else _nearest_print(fresh, known.placed)
        index, distance, close = near_rows(points, every.points, nearest, by_print, known.near)
        rows, ids = np.flatnonzero(close & (index != NONE)), every.ids
        with self._process.store.writing() as connection:
            others = set(ids[index[rows]].tolist())
            roots = twins.roots_of(connection, sorted(others))
            there = twins.hold(connection, project, {*others, *roots.values(), *(placed.item_id for placed in new)})
            if not others <= there:
                self._known[project.id] = _Known(project.reference_id, known.near, self._read(project))
                return
            found: dict[int, tuple[int, TwinKind, float]] = {}
            for row in rows:
                other, id = int(ids[index[row]]), new[row].item_id
                first = found[other][0] if other in found else roots.get(other, other)
                kind = TwinKind.EXACT if distance[row] == 0 else TwinKind.NEAR
                if id in there:
                    found[id] = first if first in there else other, kind, float(distance[row])
            compared = {placed.item_id: one for placed, one in zip(new, prints, strict=True)}
            twins.keep_compared(connection, project, compared, found)
        known.placed = every.part(slice(max(0, len(every) - twins.MOST), None))
        if found:
            log("near duplicates found", project=project.external_id, items=len(found))

    def _known_of(self, project: Project, new: Sequence[int]) -> _Known:
        """What is known of a project, read once; items that show something else now are forgotten."""
        known = self._known.get(project.id)
        if known is None or known.reference_id != project.reference_id:
            reference = self._process.reference(project.reference_id)
            settings = self._process.run_settings(reference)
            near = nearness_of(reference, load_kept_model(reference, settings), settings)
            known = self._known[project.id] = _Known(project.reference_id, near, self._read(project))
        again = np.isin(known.placed.ids, new)
        if again.any():
            known.placed = known.placed.part(~again)
        return known

    def _read(self, project: Project) -> _Placed:
        """The latest items that were compared."""
        ids, points, prints = array("q"), bytearray(), list[bytes]()
        with self._process.store.reading() as connection:
            for placed in twins.compared(connection, project):
                ids.append(placed.item_id)
                points += placed.compressed
                prints.append(placed.fingerprint or b"")
        return _Placed.of(np.array(ids), bytes(points), prints).part(slice(None, None, -1))


def _nearest(new: Array, before: Array) -> tuple[Array, Array]:
    """For each new row the nearest one before it: among those that were there, then among the new ones; indices into both together."""
    index, distance = nearest_earlier(new)
    index = np.where(index == NONE, NONE, index + len(before))
    if len(before):
        other, apart = nearest_among(new, before)
        older = apart <= distance
        index, distance = np.where(older, other, index), np.where(older, apart, distance)
    return index, distance


def _nearest_print(new: _Placed, before: _Placed) -> tuple[Array, Array]:
    """As `_nearest`, by fingerprints: among those items that have a picture; the others are near to none."""
    mine, theirs = (np.flatnonzero(some.pictured) for some in (new, before))
    index, distance = np.full(len(new), NONE, dtype=np.intp), np.full(len(new), np.inf)
    found, apart = _nearest(_bits(new.prints[mine]).astype(np.float32), _bits(before.prints[theirs]))
    places = np.concatenate([theirs, len(before) + mine])
    index[mine] = np.where(found == NONE, NONE, places[found]) if len(places) else NONE
    distance[mine] = apart
    return index, distance


def _fingerprint(picture: bytes | None) -> bytes:
    """The fingerprint of a small picture, packed; empty without one."""
    if not picture:
        return b""
    return np.packbits(difference_hash(np.asarray(Image.open(io.BytesIO(picture)).convert("L"))).astype(bool)).tobytes()


def _bits(packed: Array) -> Array:
    """(N, 8) packed fingerprints: (N, 64) of 0 and 1."""
    return np.unpackbits(packed, axis=1)
