"""Maps of a project's items beside its training items: fitted in the background, kept up to date as items come in.

A map is fitted on seeded samples; what is not in them, and what comes in later, is placed at once among its nearest neighbours. A new
fit starts from the one before it. A map in space is made, and made anew, only when somebody has asked to see it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from annotriage.latent.maps import lay_out, place
from annotriage.service.maps.map_coding import Frame, Names, extend, frame_around, places_of, points_of, training_piece
from annotriage.service.maps.map_placing import AT_ONCE, keep_nearest, rows_of, sample
from annotriage.service.maps.training_items import keep_training
from annotriage.service.operations.apart import apart
from annotriage.service.operations.log import log
from annotriage.store import maps, work
from annotriage.store.datasets import routes_of
from annotriage.store.map_points import Piece
from annotriage.store.maps import IN_SPACE, LAYOUTS
from annotriage.store.projects import Project

if TYPE_CHECKING:
    from annotriage.service.operations.process import Process

Array = NDArray[Any]

SAMPLE = 10_000  # training items that a map is fitted on, with as many incoming ones
PIECE = 50_000  # points in a piece of a new map
SOON = 200  # items from which on a first map is made while more are coming in
GROWN, LEAST = 1.2, 10  # a map is made anew when so many times, and so many more, items are there,
AGED = 3_600.0  # or when it is so old, in seconds, and any have come in;
PAUSE, REST = 15.0, 5.0  # but not before so many seconds, and so many times what the last one took


class MapMaking:
    """Makes the maps of all projects, one at a time."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def step(self, project: Project) -> bool:
        """Make the map that is due, if one is; whether one was made."""
        for method in LAYOUTS:
            if self._is_due(project, method):
                self._make(project, method)
                return True
        return False

    def _is_due(self, project: Project, method: str) -> bool:
        with self._process.store.reading() as connection:
            if method in IN_SPACE and not maps.is_asked_for(connection, project.id, method):
                return False
            total = sum(route.items for route in routes_of(connection, project) if route.route != "failed")
            last = maps.newest(connection, project.id, method)
            failed = maps.newest(connection, project.id, method, "failed")
            streaming = work.waiting(connection, project.id, project.reference_id) > 0
        if not total or (failed is not None and time.time() < failed.at + AGED and total < GROWN * failed.total):
            return False
        if last is None or last.reference_id != project.reference_id:
            return total >= SOON or not streaming
        now = time.time()
        if now < last.finished_at + max(PAUSE, REST * (last.finished_at - last.at)):
            return False
        return bool(total >= GROWN * last.total + LEAST or (total > last.total and now > last.at + AGED))

    def _make(self, project: Project, method: str) -> None:
        process = self._process
        reference = process.reference(project.reference_id)
        seed = reference.settings.seed
        started = time.time()
        with process.store.writing() as connection:
            map_id = maps.begin(connection, project, method, seed)
        total = 0
        try:
            self._tell(map_id, 0.02, "reading the items")
            keep_training(self._process.store, project.reference_id, reference)
            with process.store.reading() as connection:
                ids = np.array(maps.scored_ids(connection, project), dtype=np.int64)
            total = len(ids)
            sampled, points = sample(process, project, ids, seed)
            training = reference.sample.compressed[:SAMPLE].astype(np.float32)
            self._tell(map_id, 0.1, f"laying out {len(training):,} training and {len(sampled):,} incoming items")
            former = self._former(project, method, training, sampled)
            anchors = np.concatenate([training, points])
            asked = (anchors, maps.layout(method), seed, former, maps.dimensions(method))
            places = apart("map", lay_out, *asked, stopping=process.stopping, without=("pandas",))  # scikit-learn would load it: 70 MB
            frame = frame_around(places)
            names = Names(reference)
            values = {"training": len(training), "fitted": len(sampled), "total": total, "frame": frame.as_list(), "read_until": started}
            known = training_piece(reference, frame.within(places[: len(training)]), names)
            with process.store.writing() as connection:
                maps.write_piece(connection, map_id, maps.TRAINING, known)
            fitted = dict(zip(sampled.tolist(), places[len(training) :], strict=True))
            self._place_all(project, map_id, ids, fitted, anchors, places, frame, names)
            with process.store.writing() as connection:
                maps.finish(connection, map_id, names=names.as_dict(), **values)
        except InterruptedError:  # the service was stopped: whoever is started next begins anew
            return
        except Exception as error:
            with process.store.writing() as connection:
                there = maps.change_map(connection, map_id, state="failed", text=str(error)[:500], total=total)
            if not there:  # the project was disconnected meanwhile
                log("map given up", project=project.external_id, method=method)
                return
            raise
        log("map made", project=project.external_id, method=method, items=total, seconds=round(time.time() - started, 1))

    def _former(self, project: Project, method: str, training: Array, sampled: Array) -> Array | None:
        """Where these points are on the last map, NaN where they are not on it."""
        with self._process.store.reading() as connection:
            last = maps.newest(connection, project.id, method)
            if last is None:
                return None
            frame = Frame.of(last.frame)
            found = np.full((len(training) + len(sampled), maps.dimensions(method)), np.nan, dtype=np.float32)
            kept = maps.read_piece(connection, last.id, maps.TRAINING)
            same = last.reference_id == project.reference_id or self._same_sample(last.reference_id, project.reference_id)
            if kept is not None and same and len(kept) == len(training):
                found[: len(training)] = frame.outside(places_of(kept))
            for facts in maps.pieces(connection, last.id)[1:]:
                piece = maps.read_piece(connection, last.id, facts.number)
                if piece is None or not len(piece):
                    continue
                own = np.array(piece.ids, dtype=np.int64)
                at = np.searchsorted(own, sampled).clip(0, len(own) - 1)
                there = own[at] == sampled
                found[len(training) :][there] = frame.outside(places_of(piece)[at[there]])
        return found

    def _same_sample(self, reference_id: int, other: int) -> bool:
        return self._process.reference(reference_id).sample.ids == self._process.reference(other).sample.ids

    def _place_all(
        self,
        project: Project,
        map_id: int,
        ids: Array,
        fitted: dict[int, Array],
        anchors: Array,
        places: Array,
        frame: Frame,
        names: Names,
    ) -> None:
        """Write all pieces of a new map: fitted items where they are, the others among them."""
        number = maps.TRAINING
        for start in range(0, len(ids), PIECE):
            piece = Piece()
            number += 1
            for low in range(start, min(start + PIECE, len(ids)), AT_ONCE):
                if self._process.stopping.is_set():
                    raise InterruptedError("the service was stopped while the map was made; it is made again")
                rows = rows_of(self._process, project, ids[low : min(low + AT_ONCE, start + PIECE)].tolist())
                if not rows:
                    continue
                points = points_of(rows)
                own = place(points, anchors, places)
                for row, item in enumerate(rows):
                    if item.item_id in fitted:
                        own[row] = fitted[item.item_id]
                keep_nearest(self._process, project.reference_id, rows, points)
                extend(piece, rows, frame.within(own), names)
                self._tell(map_id, 0.6 + 0.4 * low / len(ids), f"placing {len(ids):,} items")
            with self._process.store.writing() as connection:
                maps.drop_gone(connection, piece, piece.ids)
                maps.write_piece(connection, map_id, number, piece)

    def _tell(self, map_id: int, progress: float, text: str) -> None:
        with self._process.store.writing() as connection:
            maps.change_map(connection, map_id, progress=progress, text=text)
