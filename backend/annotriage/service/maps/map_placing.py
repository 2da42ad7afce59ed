"""What comes in is put on a project's newest maps at once, among its nearest neighbours; what is judged anew is drawn anew."""

from __future__ import annotations

import time
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from annotriage.guarantee.conformal import hashed_places
from annotriage.latent.maps import nearest_training, place
from annotriage.service.maps.map_coding import Frame, Names, extend, places_of, points_of
from annotriage.store import maps
from annotriage.store.map_points import FULL, Piece
from annotriage.store.maps import LAYOUTS
from annotriage.store.projects import Project
from annotriage.store.reroutings import items_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from annotriage.service.operations.process import Process
    from annotriage.store.maps import Drawn, Map

Array = NDArray[Any]

SAMPLE = 10_000  # incoming items that a map is fitted on; the others are placed among them and as many training items
TAIL = 10_000  # points in a piece that grows as items come in: it is written anew each time
AT_ONCE = 2_000  # items that are placed and written together
NEAREST = 5  # training items that are kept as the most similar ones


@dataclass
class Placed:
    """What placing further items on a map takes.

    ids: (N,) ascending, of items on it. anchors: (A, n) compressed points with their places (A, d). rerouted, checked: what people sent
    elsewhere, and what they answer blind with its state, that are drawn already.
    """

    ids: Array
    anchors: Array
    places: Array
    rerouted: set[tuple[int, float | None]]
    checked: set[tuple[int, str]]

    def holds(self, id: int) -> bool:
        """Whether an item is on the map."""
        at = int(np.searchsorted(self.ids, id))
        return at < len(self.ids) and int(self.ids[at]) == id


class _Look:
    """What one look at a project reads for its first map, and then has at hand for the others: mostly the same is new on all of them."""

    def __init__(self, process: Process, project: Project) -> None:
        self._process, self._project = process, project
        self._latest: float | None = None
        self._judged: dict[float, list[tuple[int, float]]] = {}
        self._rows: dict[tuple[tuple[int, ...], frozenset[tuple[int, str]]], tuple[Sequence[Drawn], Array]] = {}

    def latest(self, connection: Connection) -> float:
        """When the last item was judged."""
        if self._latest is None:
            self._latest = maps.latest_verdict(connection, self._project)
        return self._latest

    def judged_since(self, connection: Connection, at: float) -> list[tuple[int, float]]:
        """As of the store."""
        if at not in self._judged:
            self._judged[at] = maps.judged_since(connection, self._project, at)
        return self._judged[at]

    def rows_of(self, ids: Sequence[int], checks: Set[tuple[int, str]]) -> tuple[Sequence[Drawn], Array]:
        """What is drawn of items, and where they lie, (N, n). Their nearest training items are kept by then.

        checks: as `maps.checked_since` just told them. What was read while they said something else of these items is read anew: it may
        show what is hidden now.
        """
        wanted = set(ids)
        key = tuple(ids), frozenset(check for check in checks if check[0] in wanted)
        if key not in self._rows:
            rows = rows_of(self._process, self._project, ids)
            points = points_of(rows)
            keep_nearest(self._process, self._project.reference_id, rows, points)
            self._rows = {key: (rows, points)}
        return self._rows[key]


class Placing:
    """Keeps the newest maps of all projects up to date. What a map's places are is read once."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._placed: dict[int, Placed] = {}

    def step(self, project: Project) -> bool:
        """Put on the newest maps what was judged since, and show what people sent elsewhere or check; whether anything was."""
        with self._process.store.reading() as connection:
            found = [maps.newest(connection, project.id, method) for method in LAYOUTS]
        own = [row for row in found if row is not None and row.reference_id == project.reference_id]
        look = _Look(self._process, project)
        done = [self._place(project, row, look) for row in own]
        return any(done)

    def _place(self, project: Project, map_row: Map, look: _Look) -> bool:
        """Verdicts may be written a little later than they say: for a while after the last one, all of that while are looked at."""
        store = self._process.store
        with store.reading() as connection:
            latest = look.latest(connection)
            quiet = latest <= map_row.read_until and time.time() > latest + maps.OVERLAP
            judged = [] if quiet else look.judged_since(connection, map_row.read_until)
            said = maps.rerouted_since(connection, project, map_row.at)
            checks = maps.checked_since(connection, project, map_row.at)  # what is hidden of them, or is not any more
        if not judged and not said and not checks:
            return False
        placed = self._placed_on(project, map_row)
        known = np.isin(np.array([id for id, _ in judged], dtype=np.int64), placed.ids)
        changed = {id for (id, at), on_it in zip(judged, known, strict=True) if on_it and at > map_row.read_until}
        with store.reading() as connection:
            changed |= {id for rerouting_id, *_ in said - placed.rerouted for id in items_of(connection, rerouting_id)}
        changed |= {id for id, _ in checks ^ placed.checked if placed.holds(id)}
        new = [id for (id, _), on_it in zip(judged, known, strict=True) if not on_it]
        frame, names = Frame.of(map_row.frame), Names.of(map_row.names)
        for start in range(0, len(new), AT_ONCE):
            self._add(map_row, *look.rows_of(new[start : start + AT_ONCE], checks), placed, frame, names)
        if changed:
            self._change(project, map_row, sorted(changed), placed, frame, names)
        placed.rerouted |= said  # not before it is drawn: what the database did not take is drawn by the next look
        placed.checked = checks
        if latest > map_row.read_until or new:
            with store.writing() as connection:
                maps.change_map(connection, map_row.id, read_until=max(latest, map_row.read_until), names=names.as_dict())
        return bool(new)

    def _add(self, map_row: Map, rows: Sequence[Drawn], points: Array, placed: Placed, frame: Frame, names: Names) -> None:
        if not rows:
            return
        own = place(points, placed.anchors, placed.places)
        with self._process.store.writing() as connection:
            last = maps.pieces(connection, map_row.id)[-1]
            grows = last.number != maps.TRAINING and last.n + len(rows) <= TAIL
            piece = maps.piece_to_change(connection, map_row.id, last.number) if grows else None
            piece = piece or Piece()
            extend(piece, rows, frame.within(own), names)
            maps.drop_gone(connection, piece, [row.item_id for row in rows])
            maps.write_piece(connection, map_row.id, last.number if grows else last.number + 1, piece)
        placed.ids = np.union1d(placed.ids, [row.item_id for row in rows])

    def _change(self, project: Project, map_row: Map, ids: Sequence[int], placed: Placed, frame: Frame, names: Names) -> None:
        """Draw items anew that were judged again or sent elsewhere."""
        rows = {row.item_id: row for row in rows_of(self._process, project, ids)}
        if not rows:
            return
        moved = [row for row in rows.values() if row.at > map_row.read_until]  # judged anew, perhaps on another picture
        places = frame.within(place(points_of(moved), placed.anchors, placed.places)) if moved else ()
        own = dict(zip([row.item_id for row in moved], places, strict=True))
        with self._process.store.reading() as connection:
            numbers = maps.pieces_around(connection, map_row.id, ids[0], ids[-1])
        for number in numbers:
            with self._process.store.writing() as connection:
                piece = maps.piece_to_change(connection, map_row.id, number)
                if piece is None:
                    continue
                before = len(piece)
                touched = False
                for id, row in rows.items():
                    at = piece.find(id)
                    if at is None:
                        continue
                    there = own[id] if id in own else [axis[at] for axis in piece.places]
                    values = (*map(int, there), *names.codes(row))
                    touched |= values != tuple(column[at] for column in piece.columns)
                    piece.put(id, values)
                if touched and len(piece) == before:
                    maps.write_piece(connection, map_row.id, number, piece)

    def _placed_on(self, project: Project, map_row: Map) -> Placed:
        """What is on a map, read from its pieces once: its training items and a sample of the others are the anchors."""
        if map_row.id in self._placed:
            return self._placed[map_row.id]
        reference = self._process.reference(map_row.reference_id)
        training = reference.sample.compressed[: map_row.training].astype(np.float32)
        frame = Frame.of(map_row.frame)
        own: Array = np.empty((0, maps.dimensions(map_row.method)))
        all_ids: Array = np.empty(0, dtype=np.int64)
        all_places: Array = np.empty((0, maps.dimensions(map_row.method)))
        for number in self._numbers(map_row.id):
            with self._process.store.reading() as connection:
                piece = maps.read_piece(connection, map_row.id, number)
            if piece is None:
                continue
            places = frame.outside(places_of(piece))
            if number == maps.TRAINING:
                own = places
            else:
                all_ids = np.append(all_ids, np.array(piece.ids, dtype=np.int64))
                all_places = np.concatenate([all_places, places])
        order = np.argsort(all_ids)
        all_ids, all_places = all_ids[order], all_places[order]
        sampled, points = sample(self._process, project, all_ids, map_row.seed)
        there = all_places[np.searchsorted(all_ids, sampled)]
        anchors = np.concatenate([training, points]) if len(points) else training
        self._placed = {key: value for key, value in self._placed.items() if key in self._current(project)}
        self._placed[map_row.id] = Placed(all_ids, anchors, np.concatenate([own, there]).astype(np.float32), set(), set())
        return self._placed[map_row.id]

    def _numbers(self, map_id: int) -> list[int]:
        with self._process.store.reading() as connection:
            return [facts.number for facts in maps.pieces(connection, map_id)]

    def _current(self, project: Project) -> set[int]:
        """The maps whose anchors are kept: all but this project's former ones."""
        with self._process.store.reading() as connection:
            old = {row.id for method in LAYOUTS for row in maps.ready_maps(connection, project.id, method)[1:]}
        return set(self._placed) - old


def sample(process: Process, project: Project, ids: Array, seed: int) -> tuple[Array, Array]:
    """A seeded sample of (N,) items, by id, with their compressed points: (S,), (S, n)."""
    if len(ids) > SAMPLE:
        ids = np.sort(ids[np.argsort(hashed_places(ids, seed, "map"), kind="stable")[:SAMPLE]])
    rows = rows_of(process, project, ids.tolist())
    return np.array([row.item_id for row in rows], dtype=np.int64), points_of(rows)


def rows_of(process: Process, project: Project, ids: Sequence[int]) -> Sequence[Drawn]:
    """What is drawn of items, by id."""
    with process.store.reading() as connection:
        return maps.rows_of(connection, project, ids)


def keep_nearest(process: Process, reference_id: int, rows: Sequence[Drawn], points: Array) -> None:
    """Keep the nearest training items of those items of which they are not known yet. points: (N, n), of the rows."""
    new = [at for at, row in enumerate(rows) if row.nearest is None]
    if not new:
        return
    training = process.reference(reference_id).sample.compressed[:FULL].astype(np.float32)
    nearest = nearest_training(points[new], training, NEAREST).astype("<u2")
    with process.store.writing() as connection:
        maps.keep_nearest(connection, reference_id, {rows[at].item_id: nearest[k].tobytes() for k, at in enumerate(new)})
