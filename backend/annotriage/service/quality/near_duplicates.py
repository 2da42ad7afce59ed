"""Near duplicates in a project: each new item is compared with those before it, in the jobs process, after it was judged.

What repeats an earlier item counts once in the diversity score's evidence, together with that, and may inherit its answer.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
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
from annotriage.service.quality.inheriting import inherit
from annotriage.states import TwinKind
from annotriage.store import twins
from annotriage.store.projects import Project
from annotriage.store.twins import Placed

Array = NDArray[Any]

AT_ONCE = 2_000  # items
BITS = 64


@dataclass
class _Known:
    """The items of a project that were compared, under one reference. ids; points (N, n); prints (N, 64), and which of them are there."""

    reference_id: int
    near: Nearness
    ids: list[int] = field(default_factory=list)
    points: list[Array] = field(default_factory=list)
    prints: list[Array] = field(default_factory=list)


class NearDuplicates:
    """Compares new items; what was compared stays in memory, up to the 100,000 latest of a project."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._known: dict[int, _Known] = {}

    def step(self, project: Project) -> bool:
        """Compare new items of a project, and let their twins inherit answers; whether anything was done. Raises ToolError."""
        with self._process.store.reading() as connection:
            new = twins.uncompared(connection, project, AT_ONCE)
        if new:
            self._compare(project, [placed for placed, _ in new], [picture for _, picture in new])
        return inherit(self._process, project) or bool(new)

    def _compare(self, project: Project, new: Sequence[Placed], pictures: Sequence[bytes | None]) -> None:
        """What was found is written, unless an item that is repeated was erased meanwhile: then all are compared anew the next time."""
        known = self._known_of(project, {placed.item_id for placed in new})
        points = np.stack([_point(placed.compressed) for placed in new])
        bits = [_bits(picture) for picture in pictures]
        prints = np.stack([np.full(BITS, np.nan, np.float32) if one is None else one for one in bits])
        before = np.stack(known.points) if known.ids else np.empty((0, points.shape[1]), np.float32)
        every, their_prints = np.concatenate([before, points]), np.concatenate([*([np.stack(known.prints)] if known.ids else []), prints])
        ids = [*known.ids, *(placed.item_id for placed in new)]
        nearest = _nearest(points, before)
        by_print = None if known.near.bits is None else _nearest_print(prints, their_prints[: len(before)])
        index, distance, close = near_rows(points, every, nearest, by_print, known.near)
        rows = np.flatnonzero(close & (index != NONE))
        with self._process.store.writing() as connection:
            others = {ids[place] for place in index[rows]}
            roots = twins.roots_of(connection, sorted(others))
            there = twins.hold(connection, project, {*others, *roots.values(), *(placed.item_id for placed in new)})
            if not others <= there:
                self._known[project.id] = self._read(project, known.near)
                return
            found: dict[int, tuple[int, TwinKind, float]] = {}
            for row in rows:
                other, id = ids[index[row]], new[row].item_id
                first = found[other][0] if other in found else roots.get(other, other)
                kind = TwinKind.EXACT if distance[row] == 0 else TwinKind.NEAR
                if id in there:
                    found[id] = first if first in there else other, kind, float(distance[row])
            compared = {placed.item_id: b"" if one is None else _packed(one) for placed, one in zip(new, bits, strict=True)}
            twins.keep_compared(connection, project, compared, found)
        known.ids += [placed.item_id for placed in new]
        known.points += list(points)
        known.prints += list(prints)
        for part in (known.ids, known.points, known.prints):
            del part[: max(0, len(part) - twins.MOST)]
        if found:
            log("near duplicates found", project=project.external_id, items=len(found))

    def _known_of(self, project: Project, new: set[int]) -> _Known:
        """What is known of a project, read once; items that show something else now are forgotten."""
        known = self._known.get(project.id)
        if known is None or known.reference_id != project.reference_id:
            reference = self._process.reference(project.reference_id)
            settings = self._process.run_settings(reference)
            model = load_kept_model(reference, settings)
            known = self._known[project.id] = self._read(project, nearness_of(reference, model, settings))
        if new & set(known.ids):
            kept = [place for place, id in enumerate(known.ids) if id not in new]
            known.ids = [known.ids[place] for place in kept]
            known.points = [known.points[place] for place in kept]
            known.prints = [known.prints[place] for place in kept]
        return known

    def _read(self, project: Project, near: Nearness) -> _Known:
        with self._process.store.reading() as connection:
            placed = twins.compared(connection, project)
        ids, points = [one.item_id for one in placed], [_point(one.compressed) for one in placed]
        return _Known(project.reference_id, near, ids, points, [_unpacked(one.fingerprint or b"") for one in placed])


def _nearest(new: Array, before: Array) -> tuple[Array, Array]:
    """For each new row the nearest one before it: among those that were there, then among the new ones; indices into both together."""
    index, distance = nearest_earlier(new)
    index = np.where(index == NONE, NONE, index + len(before))
    if len(before):
        other, apart = nearest_among(new, before)
        older = apart <= distance
        index, distance = np.where(older, other, index), np.where(older, apart, distance)
    return index, distance


def _nearest_print(new: Array, before: Array) -> tuple[Array, Array]:
    """As `_nearest`, by fingerprints: among those items that have a picture; the others are near to none."""
    mine, theirs = (np.flatnonzero(~np.isnan(prints[:, 0])) for prints in (new, before))
    index, distance = np.full(len(new), NONE, dtype=np.intp), np.full(len(new), np.inf)
    found, apart = _nearest(new[mine], before[theirs])
    places = np.concatenate([theirs, len(before) + mine])
    index[mine] = np.where(found == NONE, NONE, places[found]) if len(places) else NONE
    distance[mine] = apart
    return index, distance


def _point(compressed: bytes) -> Array:
    return np.frombuffer(compressed, np.float16).astype(np.float32)


def _bits(picture: bytes | None) -> Array | None:
    """The fingerprint of a small picture; None without one."""
    return None if not picture else difference_hash(np.asarray(Image.open(io.BytesIO(picture)).convert("L")))


def _packed(bits: Array) -> bytes:
    return np.packbits(bits.astype(bool)).tobytes()


def _unpacked(packed: bytes) -> Array:
    """(64,) of 0 and 1, NaN without a picture."""
    return np.unpackbits(np.frombuffer(packed, np.uint8)).astype(np.float32) if packed else np.full(BITS, np.nan, np.float32)
