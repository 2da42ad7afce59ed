"""The queue: what waits for a person, in the order and with the filters that somebody asks for.

Every page is read by key: from the last row on, along an index, however deep it is. Filters for which there is no index look at a
fixed number of rows at a time and say where they stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, exists, func, literal, or_, select, true, tuple_, union_all

from annotriage.states import FOR_PEOPLE, SPOT_CHECK, UNANSWERED, UNSETTLED, Route
from annotriage.store.blindness import is_asked, is_blind, is_hidden, is_unnamed
from annotriage.store.browsing import Item, items_of
from annotriage.store.counters import chunks
from annotriage.store.datasets import id_of_all, routes_of, routes_of_datasets
from annotriage.store.projects import Project
from annotriage.store.schema import counter, group_member, item, item_dataset, proposal_member, spot_check, verdict

ORDERS = ("strangest", "groups", "boundary", "newest")
LOOKED_AT = 2_000  # rows that a filter looks at for one page
DAYS_WORK = 10_000  # items
FEW = 5_000  # items of a dataset up to which it is read whole

Key = tuple[float, int]  # of the last row: its trust (its id, newest first) and its id


@dataclass(frozen=True, slots=True)
class Filters:
    """What is wanted of the queue; None: all of it.

    dataset: its row's id. label: what the model says. route: of those that wait for people, or states.SPOT_CHECK: what is answered blind.
    group: number of a group among the outliers of the dataset, or of all items. out: instead of what waits, what a person took out of
    the queue and nobody answered. proposal: members of this group of look-alikes that people are asked about.
    """

    dataset: int | None = None
    label: str | None = None
    route: str | None = None
    group: int | None = None
    out: bool = False
    proposal: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the queue. next: the key to go on from; None at the end.

    stopped: the filter has looked at as many rows as one page may, and found fewer than were asked for; there may be more from `next` on.
    """

    rows: Sequence[Item]
    next: Key | None
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits for people. strange, unsure, unreadable: by the model's judgement; sent: a person asked people to look; spot_checks: to be
    answered blind."""

    strange: int
    unsure: int
    sent: int
    unreadable: int
    spot_checks: int

    @property
    def total(self) -> int:
        """All of it, each item once."""
        return self.strange + self.unsure + self.sent + self.unreadable + self.spot_checks


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
    return Page(items_of(connection, project, shown), next_key, stopped)


def front_of_queue(connection: Connection, project: Project) -> list[float]:
    """The trusts of what waits, spot checks left out, the strangest first: so many as people may be handed in a day."""
    parts, _ = _parts(connection, project, Filters(), newest=False)
    ordered = [part.with_only_columns(item.c.trust).order_by(item.c.trust).limit(DAYS_WORK) for part in parts]
    every = union_all(*(select(part.subquery()) for part in ordered)).subquery()
    return list(connection.execute(select(every.c.trust).order_by(every.c.trust).limit(DAYS_WORK)).scalars())


def places_of_checks(connection: Connection, project: Project) -> list[float]:
    """The places of the spot checks that wait, as trusts, of so many as people may be handed in a day."""
    mine = (spot_check.c.project_id == project.id, spot_check.c.state.in_(UNSETTLED))
    query = select(item.c.trust).join(spot_check, spot_check.c.item_id == item.c.id).where(*mine, item.c.trust.is_not(None))
    return list(connection.execute(query.limit(DAYS_WORK)).scalars())


def waiting_by_kind(connection: Connection, project: Project, dataset_id: int | None = None) -> Waiting:
    """What waits for people, counted by why; each item once. dataset_id: of this dataset alone."""
    routes = routes_of(connection, project)
    mine = [spot_check.c.project_id == project.id, spot_check.c.state.in_(UNSETTLED), *_waits(Filters())]
    if dataset_id is not None:
        routes = routes_of_datasets(connection, project, [dataset_id]).get(dataset_id, [])
        mine.append(_in_dataset(dataset_id))
    queued = {count.route: count.open for count in routes if count.route in FOR_PEOPLE}
    drawn = select(item.c.route, func.count()).join(spot_check, spot_check.c.item_id == item.c.id).where(*mine)
    checks = {route: int(n) for route, n in connection.execute(drawn.group_by(item.c.route))}
    asked = [item.c.project_id == project.id, item.c.sent_by.is_not(None), item.c.route == Route.UNCERTAIN, *_waits(Filters())]
    if dataset_id is not None:
        asked.append(_in_dataset(dataset_id))
    sent = int(connection.execute(select(func.count()).where(*asked, ~is_blind(item.c.id))).scalar_one())

    def of(route: str) -> int:
        return max(0, queued.get(route, 0) - checks.get(route, 0))

    return Waiting(of(Route.OUTLIER), max(0, of(Route.UNCERTAIN) - sent), sent, of(Route.FAILED), sum(checks.values()))


def waiting_in_datasets(connection: Connection, project: Project, dataset_ids: Sequence[int]) -> dict[int, int]:
    """How many items of each dataset wait for a person, spot checks left out; of those that have any."""
    routes = routes_of_datasets(connection, project, dataset_ids)
    waits = {id: sum(count.open for count in counts if count.route in FOR_PEOPLE) for id, counts in routes.items()}
    mine = (spot_check.c.project_id == project.id, spot_check.c.state.in_(UNSETTLED), item.c.route.in_(FOR_PEOPLE), *_waits(Filters()))
    query = select(item_dataset.c.dataset_id, func.count()).select_from(spot_check).join(item, item.c.id == spot_check.c.item_id)
    query = query.join(item_dataset, item_dataset.c.item_id == item.c.id).where(*mine, item_dataset.c.dataset_id.in_(waits))
    for id, checks in connection.execute(query.group_by(item_dataset.c.dataset_id)):
        waits[id] = max(0, waits[id] - checks)
    return waits


def waiting_in_groups(connection: Connection, project: Project, numbers: Sequence[int], dataset_id: int | None = None) -> dict[int, int]:
    """How many members of groups among the outliers of a dataset, by default of all items, wait for a person; of those that have any."""
    chosen = dataset_id if dataset_id is not None else id_of_all(project.id)
    query = select(group_member.c.number, func.count()).join(item, item.c.id == group_member.c.item_id)
    query = query.where(group_member.c.dataset_id == chosen, group_member.c.number.in_(numbers), *_waits(Filters()))
    found = connection.execute(_of_routes(query, None).group_by(group_member.c.number))
    return {number: int(n) for number, n in found}


def still_waiting(connection: Connection, project: Project, item_ids: Sequence[int], *, out: bool = False) -> list[int]:
    """Those of the items that wait for a person, spot checks among them. out: that are out of the queue, and unanswered."""
    query = select(item.c.id).where(item.c.project_id == project.id, *_waits(Filters(out=out)))
    query = query.where(or_(item.c.route.in_(FOR_PEOPLE), is_hidden(item.c.id)))
    return [int(id) for ids in chunks(item_ids) for id in connection.execute(query.where(item.c.id.in_(ids))).scalars()]


def queue_length(connection: Connection, project: Project) -> int:
    """How many items wait for a person, spot checks left out."""
    queued = sum(count.open for count in routes_of(connection, project) if count.route in FOR_PEOPLE)
    checks = (spot_check.c.project_id == project.id, spot_check.c.state.in_(UNSETTLED), *_waits(Filters()), item.c.route.in_(FOR_PEOPLE))
    query = select(func.count()).select_from(spot_check).join(item, item.c.id == spot_check.c.item_id)
    return queued - int(connection.execute(query.where(*checks)).scalar_one())


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
    if filters.proposal is not None:
        asked = select(item.c.id).join(proposal_member, proposal_member.c.item_id == item.c.id)
        asked = asked.where(proposal_member.c.proposal_id == filters.proposal, item.c.project_id == project.id, is_asked(item.c.id))
        return [asked.where(*_waits(filters))], tests
    if filters.group is not None:
        chosen = filters.dataset if filters.dataset is not None else id_of_all(project.id)
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
    if filters.route == SPOT_CHECK:
        drawn = select(item.c.id).join(spot_check, spot_check.c.item_id == item.c.id)
        mine = (spot_check.c.project_id == project.id, *_waits(filters))
        return [drawn.where(*mine, spot_check.c.state == state) for state in UNSETTLED], tests
    parts = []
    for route in FOR_PEOPLE if filters.route is None else [filters.route]:
        for answer in UNANSWERED:
            dismissed = item.c.dismissed if filters.out else ~item.c.dismissed
            waits = (item.c.project_id == project.id, item.c.answer == answer, dismissed, item.c.route == route)
            parts.append(select(item.c.id).where(*waits, ~item.c.labelled, ~item.c.gone, ~is_blind(item.c.id)))
    return parts, tests


def _in_dataset(dataset_id: int) -> ColumnElement[bool]:
    member = item_dataset.alias("member")
    return exists().where(member.c.dataset_id == dataset_id, member.c.item_id == item.c.id).correlate_except(member)


def _waits(filters: Filters) -> tuple[ColumnElement[bool], ...]:
    """Nobody has answered it, whichever route it has: for queries that come from elsewhere than the queue's index."""
    dismissed = item.c.dismissed if filters.out else ~item.c.dismissed
    return (item.c.answer.in_(UNANSWERED), dismissed, ~item.c.labelled, ~item.c.gone)


def _of_routes(query: Select[Any], route: str | None) -> Select[Any]:
    """Those of a route that wait, or the open spot checks."""
    if route == SPOT_CHECK:
        return query.where(is_blind(item.c.id))
    return query.where(item.c.route.in_(FOR_PEOPLE if route is None else (route,)), ~is_blind(item.c.id))


def _verdict_of(project: Project, id: ColumnElement[int]) -> tuple[ColumnElement[bool], ...]:
    return (verdict.c.item_id == id, verdict.c.reference_id == project.reference_id, ~is_hidden(id), ~is_unnamed(id))


def _faces(connection: Connection, project: Project, filters: Filters) -> list[int]:
    """Of each group the first member that waits, the largest group's first."""
    chosen = filters.dataset if filters.dataset is not None else id_of_all(project.id)
    groups = select(group_member.c.number).where(group_member.c.dataset_id == chosen).distinct()
    if filters.group is not None:
        groups = groups.where(group_member.c.number == filters.group)
    group = groups.subquery()
    of_it = (group_member.c.dataset_id == chosen, group_member.c.number == group.c.number, group_member.c.item_id == item.c.id)
    members = _of_routes(select(item.c.id).where(*of_it, *_waits(filters)), filters.route).order_by(group_member.c.item_id).limit(1)
    if filters.label is not None:
        members = members.where(exists(select(literal(1)).where(*_verdict_of(project, item.c.id), verdict.c.label == filters.label)))
    face = members.correlate(group).scalar_subquery()
    found = connection.execute(select(face).select_from(group).order_by(group.c.number)).scalars()
    return [int(id) for id in found if id is not None]


def _size(connection: Connection, project: Project, dataset_id: int) -> int:
    """How many judged items a dataset has."""
    mine = (counter.c.dataset_id == dataset_id, counter.c.reference_id == project.reference_id)
    return int(connection.execute(select(func.coalesce(func.sum(counter.c.n), 0)).where(*mine)).scalar_one())
