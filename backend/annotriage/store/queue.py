"""The queue: what waits for a person, in the order and with the filters that somebody asks for.

Every page is read by key: from the last row on, along an index, however deep it is. Filters for which there is no index look at a
fixed number of rows at a time and say where they stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, literal, or_, select, true, tuple_, union_all

from annotriage.states import AUTOMATIC_FROM, FOR_PEOPLE, UNANSWERED, UNSETTLED, Route
from annotriage.store.blindness import is_blind, shown_verdict
from annotriage.store.counters import chunks
from annotriage.store.database import AnyRow
from annotriage.store.projects import Project
from annotriage.store.schema import counter, dataset, group_member, item, item_dataset, spot_check, verdict

ORDERS = ("strangest", "groups", "boundary", "newest")
LOOKED_AT = 2_000  # rows that a filter looks at for one page
FEW = 5_000  # items of a dataset up to which it is read whole

Key = tuple[float, int]  # of the last row: its trust (its id, newest first) and its id


@dataclass(frozen=True, slots=True)
class Filters:
    """What is wanted of the queue; None: all of it.

    dataset: its row's id. label: what the model says. route: the true one; "auto" gives the spot checks among the automatic items.
    group: number of a group among the outliers of the dataset, or of all items. out: instead of what waits, what a person took out of
    the queue and nobody answered.
    """

    dataset: int | None = None
    label: str | None = None
    route: str | None = None
    group: int | None = None
    out: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the queue. rows: see `rows_of`. next: the key to go on from; None at the end.

    stopped: the filter has looked at as many rows as one page may, and found fewer than were asked for; there may be more from `next` on.
    """

    rows: Sequence[AnyRow]
    next: Key | None
    stopped: bool = False


def queue_page(
    connection: Connection,
    project: Project,
    *,
    order: str = "strangest",
    filters: Filters = Filters(),
    after: Key | None = None,
    limit: int = 50,
) -> Page:
    """Items that wait for a person.

    order: "strangest" (least trusted first), "groups" (one of each group among the outliers first, then the strangest), "boundary" (those
    nearest to being automatic first), "newest". after: the key of the last row seen; the faces of groups are on the first page, besides
    `limit` others.
    """
    faces = _faces(connection, project, filters) if order == "groups" else []
    ids, next_key, stopped = _walk(connection, project, order, filters, after, limit, backwards=False, without=faces)
    shown = ids if after is not None else [*faces, *ids]
    return Page(rows_of(connection, project, shown), next_key, stopped)


def spot_checks_waiting(connection: Connection, project: Project) -> int:
    """How many of what waits are spot checks among the automatic items."""
    parts, _ = _parts(connection, project, Filters(route="auto"), newest=False)
    return int(connection.execute(select(func.count()).select_from(union_all(*parts).subquery())).scalar_one())


def neighbours(
    connection: Connection, project: Project, item_id: int, *, order: str = "strangest", filters: Filters = Filters()
) -> tuple[int | None, int | None]:
    """The ids of the items before and after one in the queue; of an item that waits no more, those beside its former place."""
    faces = _faces(connection, project, filters) if order == "groups" else []
    if item_id in faces:
        place = faces.index(item_id)
        before = faces[place - 1] if place else None
        if place + 1 < len(faces):
            return before, faces[place + 1]
        return before, next(iter(_walk(connection, project, order, filters, None, 1, backwards=False, without=faces)[0]), None)
    row = connection.execute(select(item.c.trust).where(item.c.id == item_id)).one_or_none()
    if row is None or (row.trust is None and order != "newest"):
        return None, None
    key = (float(item_id if order == "newest" else row.trust), item_id)
    sides = [_walk(connection, project, order, filters, key, 1, backwards=back, without=faces)[0] for back in (True, False)]
    before, behind = (side[0] if side else None for side in sides)
    return (before if before is not None or not faces else faces[-1]), behind


def rows_of(connection: Connection, project: Project, ids: Sequence[int]) -> list[AnyRow]:
    """These items in this order, with their verdicts and spot checks.

    Columns: id, external_id, marker, at, answer, shown_dataset_id, sent_by, route (the true one), trust (as shown), label, cluster,
    confidence, outlier_score, p_value, reason, spot check (kind), spot_check_state.
    """
    of_item = (
        item.c.id,
        item.c.external_id,
        item.c.marker,
        item.c.at,
        item.c.answer,
        item.c.shown_dataset_id,
        item.c.sent_by,
        item.c.trust,
    )
    of_verdict = (verdict.c.label, verdict.c.cluster, verdict.c.confidence, verdict.c.outlier_score, verdict.c.p_value, verdict.c.reason)
    query = (
        select(*of_item, item.c.route, *of_verdict, spot_check.c.kind.label("spot_check"), spot_check.c.state.label("spot_check_state"))
        .select_from(item)
        .outerjoin(verdict, shown_verdict(project.reference_id))
        .outerjoin(spot_check, spot_check.c.item_id == item.c.id)
    )
    found = {row.id: row for some in chunks(ids) for row in connection.execute(query.where(item.c.id.in_(some)))}
    return [found[id] for id in ids if id in found]


def group_numbers(connection: Connection, dataset_id: int | None, item_ids: Sequence[int], project: Project) -> dict[int, int]:
    """The groups of items within a dataset, or within all items, by item."""
    chosen = dataset_id if dataset_id is not None else _every(connection, project)
    query = select(group_member.c.item_id, group_member.c.number).where(group_member.c.dataset_id == chosen)
    return {row.item_id: row.number for ids in chunks(item_ids) for row in connection.execute(query.where(group_member.c.item_id.in_(ids)))}


def datasets_named(connection: Connection, dataset_ids: Sequence[int]) -> dict[int, AnyRow]:
    """These datasets, by id."""
    return {row.id: row for ids in chunks(dataset_ids) for row in connection.execute(select(dataset).where(dataset.c.id.in_(ids)))}


# -- inside


def _walk(
    connection: Connection,
    project: Project,
    order: str,
    filters: Filters,
    after: Key | None,
    limit: int,
    *,
    backwards: bool,
    without: Sequence[int],
) -> tuple[list[int], Key | None, bool]:
    """Ids from a key on, the key to go on from, and whether a filter stopped before it had found enough."""
    newest = order == "newest"
    falls = (order in ("boundary", "newest")) != backwards
    parts, tests = _parts(connection, project, filters, newest)
    most = LOOKED_AT if tests else limit + len(without) + 1
    pieces = []
    for part in parts:
        id = part.selected_columns.id
        rank = id if newest else item.c.trust
        ordered = part.add_columns(rank.label("rank")).where(_beyond(rank, id, after, falls)).order_by(*_by(rank, id, falls))
        pieces.append(select(ordered.limit(most).subquery()))
    every = union_all(*pieces).subquery()
    looked_at = select(every).order_by(*_by(every.c.rank, every.c.id, falls)).limit(most).subquery()
    in_order = select(looked_at).order_by(*_by(looked_at.c.rank, looked_at.c.id, falls))
    passed = in_order.where(*(test(looked_at.c.id) for test in tests))
    if without:
        passed = passed.where(looked_at.c.id.not_in(without))
    rows = connection.execute(passed.limit(limit + 1)).all()
    ids = [int(row.id) for row in rows[:limit]]
    if len(rows) > limit:
        return ids, (float(rows[limit - 1].rank), ids[-1]), False
    last = connection.execute(in_order.offset(most - 1).limit(1)).one_or_none() if tests else None
    return ids, None if last is None else (float(last.rank), int(last.id)), last is not None


def _by(rank: ColumnElement[Any], id: ColumnElement[Any], falls: bool) -> tuple[ColumnElement[Any], ...]:
    if rank is id:
        return (id.desc(),) if falls else (id,)
    return (rank.desc(), id.desc()) if falls else (rank, id)


def _beyond(rank: ColumnElement[Any], id: ColumnElement[Any], after: Key | None, falls: bool) -> ColumnElement[bool]:
    if after is None:
        return true()
    if rank is id:
        return id < after[1] if falls else id > after[1]
    place = tuple_(rank, id)
    return place < tuple_(*after) if falls else place > tuple_(*after)


def _parts(connection: Connection, project: Project, filters: Filters, newest: bool) -> tuple[list[Select[Any]], list[Any]]:
    """Queries each of which reads along one range of an index, and the tests that their rows have still to pass."""
    tests: list[Any] = []
    if filters.label is not None:
        tests.append(lambda id: exists(select(literal(1)).where(*_verdict_of(project, id), verdict.c.label == filters.label)))
    if filters.group is not None:
        chosen = filters.dataset if filters.dataset is not None else _every(connection, project)
        members = select(item.c.id).join(group_member, group_member.c.item_id == item.c.id)
        members = members.where(group_member.c.dataset_id == chosen, group_member.c.number == filters.group, *_waits(filters))
        return [_of_routes(members, filters.route)], tests
    if filters.dataset is not None and _size(connection, project, filters.dataset) <= FEW:
        few = select(item.c.id).join(item_dataset, item_dataset.c.item_id == item.c.id)
        return [_of_routes(few.where(item_dataset.c.dataset_id == filters.dataset, *_waits(filters)), filters.route)], tests
    if filters.dataset is not None:
        tests.append(
            lambda id: exists(select(literal(1)).where(item_dataset.c.dataset_id == filters.dataset, item_dataset.c.item_id == id))
        )
    routes = [filters.route] if filters.route is not None else [*FOR_PEOPLE, Route.AUTO]
    parts = []
    for route in routes:
        for answer in UNANSWERED:
            dismissed = item.c.dismissed if filters.out else ~item.c.dismissed
            mine = (item.c.project_id == project.id, item.c.answer == answer, dismissed, item.c.route == route)
            query = select(item.c.id).where(*mine, ~item.c.labelled, ~item.c.gone)
            if route != Route.AUTO:
                parts.append(query)
            elif not newest:
                # open spot checks hide among the strangest: none has the trust of an automatic item
                parts.append(query.where(item.c.trust < AUTOMATIC_FROM, is_blind(item.c.id)))
    if newest and Route.AUTO in routes:
        for state in UNSETTLED:
            drawn = select(spot_check.c.item_id.label("id")).join(item, spot_check.c.item_id == item.c.id)
            parts.append(
                drawn.where(
                    spot_check.c.project_id == project.id, spot_check.c.state == state, item.c.route == Route.AUTO, *_waits(filters)
                )
            )
    return parts, tests


def _waits(filters: Filters) -> tuple[ColumnElement[bool], ...]:
    """Nobody has answered it, whichever route it has: for queries that come from elsewhere than the queue's index."""
    dismissed = item.c.dismissed if filters.out else ~item.c.dismissed
    return (item.c.answer.in_(UNANSWERED), dismissed, ~item.c.labelled, ~item.c.gone)


def _of_routes(query: Select[Any], route: str | None) -> Select[Any]:
    """Those of a route that wait; of the automatic ones the open spot checks."""
    automatic = and_(item.c.route == Route.AUTO, is_blind(item.c.id))
    if route == Route.AUTO:
        return query.where(automatic)
    return query.where(item.c.route == route) if route is not None else query.where(or_(item.c.route.in_(FOR_PEOPLE), automatic))


def _verdict_of(project: Project, id: ColumnElement[int]) -> tuple[ColumnElement[bool], ...]:
    return (verdict.c.item_id == id, verdict.c.reference_id == project.reference_id, ~is_blind(id))


def _faces(connection: Connection, project: Project, filters: Filters) -> list[int]:
    """Of each group the first member that waits, the largest group's first."""
    chosen = filters.dataset if filters.dataset is not None else _every(connection, project)
    groups = select(group_member.c.number).where(group_member.c.dataset_id == chosen).distinct()
    if filters.group is not None:
        groups = groups.where(group_member.c.number == filters.group)
    group = groups.subquery()
    of_it = (group_member.c.dataset_id == chosen, group_member.c.number == group.c.number, group_member.c.item_id == item.c.id)
    members = select(item.c.id).where(*of_it, item.c.route.in_(FOR_PEOPLE), *_waits(filters)).order_by(group_member.c.item_id).limit(1)
    if filters.route is not None:
        members = members.where(item.c.route == filters.route)
    if filters.label is not None:
        members = members.where(exists(select(literal(1)).where(*_verdict_of(project, item.c.id), verdict.c.label == filters.label)))
    face = members.correlate(group).scalar_subquery()
    found = connection.execute(select(face).select_from(group).order_by(group.c.number)).scalars()
    return [int(id) for id in found if id is not None]


def _size(connection: Connection, project: Project, dataset_id: int) -> int:
    """How many judged items a dataset has."""
    mine = (counter.c.dataset_id == dataset_id, counter.c.reference_id == project.reference_id)
    return int(connection.execute(select(func.coalesce(func.sum(counter.c.n), 0)).where(*mine)).scalar_one())


def _every(connection: Connection, project: Project) -> int:
    query = select(dataset.c.id).where(dataset.c.project_id == project.id, dataset.c.kind == "all")
    return int(connection.execute(query).scalar_one_or_none() or 0)
