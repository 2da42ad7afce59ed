"""Maps: pictures of training and incoming items together, made by the jobs process, in pieces that are sent as they are stored."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Float,
    Select,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    null,
    or_,
    select,
    update,
)

from annotriage.errors import UnknownError
from annotriage.states import SPOT_CHECK, UNSETTLED
from annotriage.store.blindness import is_asked, is_blind, is_hidden, is_unnamed
from annotriage.store.counters import chunks
from annotriage.store.database import among, columns_of, insert, labels_of, stored
from annotriage.store.locks import lock_items
from annotriage.store.map_points import KINDS, Piece, pack, unpack
from annotriage.store.projects import Project
from annotriage.store.schema import item, map_, map_piece, point, proposal, proposal_member, rerouting, spot_check, training_item, verdict

METHODS = ("umap", "tsne")
IN_SPACE = ("umap-3d",)  # three values a point: made for who asks (t-SNE in space takes minutes)
LAYOUTS = (*METHODS, *IN_SPACE)
KEPT = 5  # maps of each method
TRAINING = 0  # the number of the piece that holds the training items
OVERLAP = 60.0  # seconds for which a verdict may be on its way into the database
AT_ONCE = 2_000  # rows in one transaction


@dataclass(frozen=True, slots=True)
class Map:
    """A map. The columns of its table; frame and names are empty, and finished_at is 0, until it is ready."""

    id: int
    reference_id: int
    method: str
    seed: int
    state: str
    progress: float
    text: str
    training: int
    fitted: int
    total: int
    frame: list[float]
    names: dict[str, Any]
    read_until: float
    at: float
    finished_at: float


@dataclass(frozen=True, slots=True)
class Drawn:
    """What is drawn of an item. compressed, nearest: packed. dataset_id: whose diversity its task shows. at: when it was judged."""

    item_id: int
    compressed: bytes
    nearest: bytes | None
    route: str
    labels: list[str]
    outlier_score: float | None
    class_score: float | None
    source_score: float | None
    dataset_id: int | None
    at: float


@dataclass(frozen=True, slots=True)
class TrainingItem:
    """A training item of the reference's sample, by its place in it."""

    place: int
    name: str
    label: str


@dataclass(frozen=True, slots=True)
class PieceFacts:
    """A piece of a map without its points."""

    number: int
    n: int
    version: int


# -- maps


def layout(method: str) -> str:
    """What lays a map's points out: one of METHODS."""
    return method.removesuffix("-3d")


def dimensions(method: str) -> int:
    """How many values the places on a map have: 2 or 3."""
    return 3 if method in IN_SPACE else 2


def ask_for(connection: Connection, project: Project, method: str) -> None:
    """Somebody wants to see this map: where it is missing or old it is made by and by. Asked for once, however often."""
    if not is_asked_for(connection, project.id, method):
        values = {"project_id": project.id, "reference_id": project.reference_id, "method": method, "seed": 0, "state": "asked"}
        connection.execute(map_.insert().values(**values, at=time.time()))


def is_asked_for(connection: Connection, project_id: int, method: str) -> bool:
    """Whether somebody has asked to see this map since it was last begun."""
    query = select(map_.c.id).where(map_.c.project_id == project_id, map_.c.method == method, map_.c.state == "asked")
    return connection.execute(query.limit(1)).scalar_one_or_none() is not None


def newest(connection: Connection, project_id: int, method: str, state: str = "ready") -> Map | None:
    """The latest map of a method in that state."""
    row = connection.execute(_NEWEST, {"of_project": project_id, "of_method": method, "in_state": state}).one_or_none()
    return None if row is None else _map(dict(row._mapping))


def latest_attempt(connection: Connection, project_id: int, method: str) -> Map | None:
    """The map of a method that was begun last, whatever came of it."""
    return next(iter(_maps(connection, project_id, map_.c.method == method, map_.c.state != "asked", limit=1)), None)


def map_of(connection: Connection, project: Project, map_id: int) -> Map:
    """One of the project's maps. Raises UnknownError: the old ones are dropped."""
    found = _maps(connection, project.id, map_.c.id == map_id)
    if not found:
        raise UnknownError(f"project {project.external_id} has no map {map_id} any more; load the page again")
    return found[0]


def ready_maps(connection: Connection, project_id: int, method: str) -> list[Map]:
    """The maps of a method that are there, the latest first."""
    return _maps(connection, project_id, map_.c.method == method, map_.c.state == "ready")


def _maps(connection: Connection, project_id: int, *which: ColumnElement[bool], limit: int | None = None) -> list[Map]:
    query = select(*columns_of(map_, Map)).where(map_.c.project_id == project_id, *which).order_by(map_.c.id.desc()).limit(limit)
    return [_map(dict(row._mapping)) for row in connection.execute(query)]


def _map(values: dict[str, Any]) -> Map:
    empty = {"frame": values["frame"] or [], "names": values["names"] or {}, "finished_at": values["finished_at"] or 0.0}
    return Map(**values | empty)


# Made once, as all that is asked every few seconds: to make one takes longer than to execute it.
_OF_PROJECT: BindParameter[int] = bindparam("of_project")
_NEWEST = (
    select(*columns_of(map_, Map))
    .where(map_.c.project_id == _OF_PROJECT, map_.c.method == bindparam("of_method"), map_.c.state == bindparam("in_state"))
    .order_by(map_.c.id.desc())
    .limit(1)
)


def begin(connection: Connection, project: Project, method: str, seed: int) -> int:
    """A map is being made from now on; what a process that died had begun is dropped."""
    connection.execute(delete(map_).where(map_.c.project_id == project.id, map_.c.method == method, map_.c.state != "ready"))
    values = {"project_id": project.id, "reference_id": project.reference_id, "method": method, "seed": seed, "state": "making"}
    return int(connection.execute(map_.insert().values(**values, at=time.time()).returning(map_.c.id)).scalar_one())


def change_map(connection: Connection, map_id: int, **values: Any) -> bool:
    """Set columns of a map; False if it is gone with its project."""
    return connection.execute(update(map_).where(map_.c.id == map_id).values(**values)).rowcount > 0


def finish(connection: Connection, map_id: int, **values: Any) -> None:
    """The map is ready; of the older ones of its method the last few stay."""
    change_map(connection, map_id, state="ready", progress=1.0, text="", finished_at=time.time(), **values)
    own = connection.execute(select(map_.c.project_id, map_.c.method).where(map_.c.id == map_id)).one()
    old = [row.id for row in ready_maps(connection, own.project_id, own.method)[KEPT:]]
    connection.execute(delete(map_).where(map_.c.id.in_(old)))


# -- pieces


def pieces(connection: Connection, map_id: int) -> list[PieceFacts]:
    """The pieces of a map, the training items first."""
    query = select(map_piece.c.number, map_piece.c.n, map_piece.c.version).where(map_piece.c.map_id == map_id).order_by(map_piece.c.number)
    return [PieceFacts(*row) for row in connection.execute(query)]


def piece_content(connection: Connection, map_id: int, number: int) -> bytes | None:
    """A piece as it is sent: gzipped."""
    query = select(map_piece.c.content).where(map_piece.c.map_id == map_id, map_piece.c.number == number)
    return connection.execute(query).scalar_one_or_none()


def piece_in_sight(connection: Connection, project: Project, map_id: int, number: int) -> bytes | None:
    """A piece as it is sent to whoever looks: without the spot checks that the project hides, and with nothing on others that are open.

    A map that is kept up to date is so in that, too.
    """
    content = piece_content(connection, map_id, number)
    if content is None or number == TRAINING or (is_kept_up_to_date(connection, project, map_id) and not project.hides_checks):
        return content
    piece = unpack(content)
    change = piece.drop if project.hides_checks else piece.hide
    changed = [change(id) for id in _open_checks(connection, project)]
    return pack(piece) if any(changed) else content


def is_kept_up_to_date(connection: Connection, project: Project, map_id: int) -> bool:
    """Whether what changes is still drawn on a map: on the newest of each method, as long as the project keeps its reference."""
    later = map_.alias("later")
    newer = exists().where(
        later.c.project_id == map_.c.project_id, later.c.method == map_.c.method, later.c.state == "ready", later.c.id > map_.c.id
    )
    mine = select(map_.c.id).where(map_.c.id == map_id, map_.c.reference_id == project.reference_id, ~newer)
    return connection.execute(mine).first() is not None


def in_sight(connection: Connection, project: Project, members: Mapping[int, int]) -> dict[int, int]:
    """What belongs to groups, by item, without open spot checks: that one is in a group says what the model thinks of it."""
    hidden = _open_checks(connection, project)
    return {id: number for id, number in members.items() if id not in hidden}


def _open_checks(connection: Connection, project: Project) -> frozenset[int]:
    mine = (spot_check.c.project_id == project.id, spot_check.c.state.in_(UNSETTLED))
    return frozenset(connection.execute(select(spot_check.c.item_id).where(*mine)).scalars())


def read_piece(connection: Connection, map_id: int, number: int) -> Piece | None:
    """The points of a piece."""
    content = piece_content(connection, map_id, number)
    return None if content is None else unpack(content)


def piece_to_change(connection: Connection, map_id: int, number: int) -> Piece | None:
    """The points of a piece that is written again in this transaction: nobody else changes it meanwhile."""
    connection.execute(select(map_piece.c.map_id).where(map_piece.c.map_id == map_id, map_piece.c.number == number).with_for_update())
    return read_piece(connection, map_id, number)


def drop_gone(connection: Connection, piece: Piece, ids: Iterable[int]) -> None:
    """Take those of the items off a piece that were erased since they were read; the others stay until the transaction ends."""
    wanted = list(ids)
    lock_items(connection, wanted)
    there = {id for some in chunks(wanted) for id in connection.execute(select(item.c.id).where(item.c.id.in_(some))).scalars()}
    for id in set(wanted) - there:
        piece.drop(id)


def write_piece(connection: Connection, map_id: int, number: int, piece: Piece) -> None:
    """Add a piece, or put it in the place of the one of that number."""
    ids = piece.ids
    values = {"n": len(piece), "first": ids[0] if ids else 0, "last": ids[-1] if ids else 0, "content": pack(piece)}
    add = insert(connection, map_piece).values(map_id=map_id, number=number, version=1, **values)
    again = values | {"version": map_piece.c.version + 1}
    connection.execute(add.on_conflict_do_update(index_elements=["map_id", "number"], set_=again))


def pieces_around(connection: Connection, map_id: int, first: int, last: int) -> list[int]:
    """The numbers of the pieces in which items from `first` to `last` may be."""
    query = select(map_piece.c.number).where(
        map_piece.c.map_id == map_id, map_piece.c.number != TRAINING, map_piece.c.first <= last, map_piece.c.last >= first
    )
    return list(connection.execute(query.order_by(map_piece.c.number)).scalars())


# -- what is put on a map


def scored_ids(connection: Connection, project: Project) -> list[int]:
    """All items of a project that have a place to be found: scored under its reference, neither deleted nor labelled at first sight."""
    query = select(verdict.c.item_id).join(item, item.c.id == verdict.c.item_id).where(_on_map(project)).order_by(verdict.c.item_id)
    return list(connection.execute(query.execution_options(yield_per=20_000)).scalars())


def rows_of(connection: Connection, project: Project, item_ids: Sequence[int]) -> list[Drawn]:
    """What is drawn of items, by id."""
    given = {"of_project": project.id, "of_reference": project.reference_id}
    found = []
    for ids in chunks(item_ids):
        for id, compressed, nearest, route, labels, *rest in connection.execute(_DRAWN, given | {"these": ids}):
            found.append(Drawn(id, compressed, nearest, route, list(labels_of(labels) or ()), *rest))
    return found


def judged_since(connection: Connection, project: Project, at: float) -> list[tuple[int, float]]:
    """(item id, when) of what was judged after a moment, by id; a little from before it, too: a verdict may have been on its way."""
    given = {"of_project": project.id, "of_reference": project.reference_id, "after": at - OVERLAP}
    return [(id, when) for id, when in connection.execute(_JUDGED, given)]


def routes_of_items(connection: Connection, item_ids: Sequence[int]) -> list[int]:
    """The codes of the routes that items have by now, in their order."""
    query = select(item.c.id, item.c.route)
    found = {row.id: row.route for ids in chunks(item_ids) for row in connection.execute(query.where(item.c.id.in_(ids)))}
    return [KINDS.index(found[id]) if found.get(id) in KINDS else 0 for id in item_ids]


def latest_verdict(connection: Connection, project: Project) -> float:
    """When the last item of a project was judged under its reference; 0 before the first."""
    mine = {"of_project": project.id, "of_reference": project.reference_id}
    return float(connection.execute(_LATEST, mine).scalar_one() or 0.0)


def rerouted_since(connection: Connection, project: Project, at: float) -> set[tuple[int, float | None]]:
    """What people sent to review or back after a moment, or undid: (its id, when it was undone)."""
    given = {"of_project": project.id, "after": at - OVERLAP}
    return {(id, undone_at) for id, undone_at in connection.execute(_REROUTED, given)}


def checked_since(connection: Connection, project: Project, at: float) -> set[tuple[int, str]]:
    """What people answer blind: (item id, state), of all spot checks that are open, of those that were answered after a moment, and of the
    look-alikes about which people are asked, or were. Nobody writes down since when people are asked, or since when a check is open again
    that was settled before."""
    given = {"of_project": project.id, "after": at - OVERLAP}
    found: set[tuple[int, str]] = {(id, state) for query in _CHECKED for id, state in connection.execute(query, given)}
    return found | {(id, "asked" if asked else "not asked") for id, asked in connection.execute(_ASKED, given)}


# -- training items


def training_items_kept(connection: Connection, reference_id: int) -> int:
    """How many items of the reference's sample are kept for people, in its order."""
    last = select(func.max(training_item.c.place)).where(training_item.c.reference_id == reference_id)
    place = connection.execute(last).scalar_one()
    return 0 if place is None else int(place) + 1


def keep_training_items(connection: Connection, reference_id: int, rows: Sequence[tuple[int, str, str, bytes]]) -> None:
    """Keep (place, name, label, thumbnail) of a reference's sample."""
    values = [
        {"reference_id": reference_id, "place": place, "name": name, "label": label, "thumbnail": picture or None}
        for place, name, label, picture in rows
    ]
    if values:
        connection.execute(insert(connection, training_item).on_conflict_do_nothing(), values)


def training_items(connection: Connection, reference_id: int, places: Sequence[int]) -> list[TrainingItem]:
    """Items of a reference's sample, in the order of `places`."""
    query = select(*columns_of(training_item, TrainingItem))
    query = query.where(training_item.c.reference_id == reference_id, training_item.c.place.in_(places))
    found = {row.place: TrainingItem(*row) for row in connection.execute(query)}
    return [found[place] for place in places if place in found]


def training_thumbnail(connection: Connection, reference_id: int, place: int) -> bytes | None:
    """The picture of a training item, if there is one."""
    query = select(training_item.c.thumbnail).where(training_item.c.reference_id == reference_id, training_item.c.place == place)
    return connection.execute(query).scalar_one_or_none()


def keep_nearest(connection: Connection, reference_id: int, nearest: Mapping[int, bytes]) -> None:
    """Keep the training items nearest to items: packed places in the reference's sample, by item."""
    if nearest:
        query = update(point).where(point.c.reference_id == reference_id, point.c.item_id == bindparam("of"))
        connection.execute(query.values(nearest=bindparam("to")), [{"of": id, "to": packed} for id, packed in nearest.items()])


def nearest_of(connection: Connection, item_id: int, reference_id: int) -> list[TrainingItem]:
    """The training items nearest to an item, the nearest first; none before it is on a map, or while what it looks like is hidden."""
    query = select(point.c.nearest).where(point.c.item_id == item_id, point.c.reference_id == reference_id, ~is_hidden(point.c.item_id))
    packed = connection.execute(query).scalar_one_or_none() or b""
    places = [int.from_bytes(packed[start : start + 2], "little") for start in range(0, len(packed), 2)]
    return training_items(connection, reference_id, places)


def _on_map(project: Project) -> Any:
    return and_(verdict.c.project_id == project.id, verdict.c.reference_id == project.reference_id, *_HAS_PLACE)


_HAS_PLACE = (verdict.c.score.is_not(None), ~item.c.gone, ~item.c.labelled)
_MINE = (verdict.c.project_id == _OF_PROJECT, verdict.c.reference_id == bindparam("of_reference"))
_AFTER: BindParameter[float] = bindparam("after", type_=Float)
_JUDGED = (
    select(verdict.c.item_id, verdict.c.at)
    .join(item, item.c.id == verdict.c.item_id)
    .where(*_MINE, *_HAS_PLACE, verdict.c.at > _AFTER)
    .order_by(verdict.c.item_id)
)
_LATEST = select(func.max(verdict.c.at)).where(*_MINE)
_REROUTED = select(rerouting.c.id, rerouting.c.undone_at).where(
    rerouting.c.project_id == _OF_PROJECT, rerouting.c.n > 0, or_(rerouting.c.at > _AFTER, rerouting.c.undone_at > _AFTER)
)
_CHECKED = [
    select(spot_check.c.item_id, spot_check.c.state).where(spot_check.c.project_id == _OF_PROJECT, *which)
    for which in (  # an index each
        (spot_check.c.state.in_(UNSETTLED),),
        (spot_check.c.answered_at > _AFTER,),
    )
]
_ASKED = (
    select(proposal_member.c.item_id, is_asked(proposal_member.c.item_id))
    .join(proposal)
    .distinct()
    .where(proposal.c.project_id == _OF_PROJECT, proposal_member.c.place < proposal.c.asked)
)


def _drawn() -> Select[Any]:
    same = and_(point.c.item_id == verdict.c.item_id, point.c.reference_id == verdict.c.reference_id)
    blind = is_hidden(verdict.c.item_id)
    hidden = or_(blind, is_unnamed(verdict.c.item_id))
    scores = (case((blind, null()), else_=verdict.c[name]).label(name) for name in ("outlier_score", "class_score", "source_score"))
    return (
        select(
            verdict.c.item_id,
            point.c.compressed,
            point.c.nearest,
            case((is_blind(verdict.c.item_id), SPOT_CHECK), else_=verdict.c.route).label("route"),
            case((hidden, null()), else_=stored(verdict.c.labels)),
            *scores,
            item.c.shown_dataset_id.label("dataset_id"),
            verdict.c.at,
        )
        .join(point, same)
        .join(item, item.c.id == verdict.c.item_id)
        .where(*_MINE, *_HAS_PLACE, verdict.c.item_id.in_(among("these")))
        .order_by(verdict.c.item_id)
    )


_DRAWN = _drawn()
