"""The queue: what waits for a person, in the order and with the filters that somebody asks for; and other lists of items in its order.

Every page is read by key: from the last row on, along an index, however deep it is. Filters for which there is no index look at a
fixed number of rows at a time and say where they stopped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import isqrt
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    and_,
    bindparam,
    exists,
    false,
    func,
    or_,
    select,
    true,
    tuple_,
    union_all,
)

from annotriage.states import FOR_PEOPLE, ROUTES, UNSETTLED, InsightKind, Route, Standing
from annotriage.store.blindness import is_asked, is_blind, is_hidden
from annotriage.store.browsing import Item, in_sight, items_of
from annotriage.store.counters import chunks
from annotriage.store.database import among, labels_of, read_each, read_once, stored
from annotriage.store.datasets import id_of_all, routes_of, routes_of_datasets
from annotriage.store.filters import Filters, Test, of_routes, ranges, standing_of, stands, tests
from annotriage.store.gold import is_open_copy
from annotriage.store.insights import insight_of
from annotriage.store.projects import Project
from annotriage.store.schema import counter, group_member, item, item_dataset, proposal_member, spot_check

WAITING = Filters()
ORDERS = ("strangest", "groups", "boundary", "chosen", "newest")
LOOKED_AT = 2_000  # rows that a filter looks at for one page
DAYS_WORK = 10_000  # items
FEW = 5_000  # items of a dataset up to which it is read whole

Key = tuple[float, int]  # of the last row: its trust (its id, newest first) and its id


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the queue. next: the key to go on from; None at the end. front: how many items the order puts before all others, on the
    first page: faces of groups, or what a sampler chose.

    stopped: the filter has looked at as many rows as one page may, and found fewer than were asked for; there may be more from `next` on.
    """

    rows: Sequence[Item]
    next: Key | None
    stopped: bool = False
    front: int = 0


@dataclass(frozen=True, slots=True)
class _Way:
    """How a list is walked: from which key on, whether ranks fall, and how many rows are wanted; most: 0: all, or in another order."""

    after: Key | None = None
    falls: bool = False
    most: int = 0


ALL = _Way()
Part = tuple[Select[Any], ColumnElement[Any]]  # a query for ids, and what ranks them


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


@read_once
def queue_page(
    connection: Connection,
    project: Project,
    *,
    order: str = "strangest",
    filters: Filters = WAITING,
    after: Key | None = None,
    limit: int = 50,
) -> Page:
    """Items that wait for a person.

    order: "strangest" (least trusted first), "groups" (one of each group among the outliers first, then the strangest), "boundary" (those
    nearest to being automatic first), "chosen" (those that a sampler chose first, as it put them, then the strangest), "newest". after: the
    key of the last row seen; the faces of groups and what a sampler chose are on the first page, besides `limit` others.
    """
    faces = _first(connection, project, order, filters)
    ids, next_key, stopped = _walk(connection, project, order, filters, after, limit, backwards=False, without=faces)
    shown = ids if after is not None else [*faces, *ids]
    return Page(items_of(connection, project, shown), next_key, stopped, len(faces))


def front_of_queue(connection: Connection, project: Project) -> list[float]:
    """The trusts of what waits, spot checks left out, the strangest first: so many as people may be handed in a day."""
    return list(connection.execute(_front(), {"of_project": project.id}).scalars())


@lru_cache(1)
def _front() -> Select[float]:
    """Made once, as every claim of the worker asks: to make it takes several times as long as to answer it."""
    there = (item.c.project_id == bindparam("of_project"), ~item.c.labelled, ~item.c.gone, ~is_blind(item.c.id))
    ordered = (select(item.c.trust).where(*within, *there).order_by(item.c.trust).limit(DAYS_WORK) for within in ranges(WAITING))
    every = union_all(*(select(part.subquery()) for part in ordered)).subquery()
    return select(every.c.trust).order_by(every.c.trust).limit(DAYS_WORK)


def places_of_checks(connection: Connection, project: Project) -> list[float]:
    """The places of the spot checks that wait, as trusts, of so many as people may be handed in a day."""
    return list(connection.execute(_PLACES, {"of_project": project.id}).scalars())


_PLACES = (
    select(item.c.trust)
    .join(spot_check, spot_check.c.item_id == item.c.id)
    .where(spot_check.c.project_id == bindparam("of_project"), spot_check.c.state.in_(UNSETTLED), item.c.trust.is_not(None))
    .limit(DAYS_WORK)
)


@read_once
def waiting_by_kind(connection: Connection, project: Project, dataset_id: int | None = None) -> Waiting:
    """What waits for people, counted by why; each item once. dataset_id: of this dataset alone."""
    routes = routes_of(connection, project)
    if dataset_id is not None:
        routes = routes_of_datasets(connection, project, [dataset_id]).get(dataset_id, [])
    queued = {count.route: count.open for count in routes if count.route in FOR_PEOPLE}
    checks = checks_by_route(connection, project, dataset_id)
    asked = _sent(project.id)
    sent = int(connection.execute(asked if dataset_id is None else asked.where(_in_dataset(dataset_id))).scalar_one())

    def of(route: str) -> int:
        return max(0, queued.get(route, 0) - checks.get(route, 0))

    return Waiting(of(Route.OUTLIER), max(0, of(Route.UNCERTAIN) - sent), sent, of(Route.FAILED), sum(checks.values()))


@lru_cache(64)
def _sent(project_id: int) -> Select[int]:
    mine = (item.c.project_id == project_id, item.c.sent_by.is_not(None), item.c.route == Route.UNCERTAIN, *stands(Filters()))
    return select(func.count()).where(*mine, ~is_blind(item.c.id))


@read_once
def checks_by_route(connection: Connection, project: Project, dataset_id: int | None = None, *, answered: bool = False) -> dict[str, int]:
    """The spot checks of a project, or of a dataset, that wait for people, by the route that they have besides.

    answered: those too that people have answered or taken out of the queue, but that are not settled.
    """
    query = _checks(project.id, project.reference_id, dataset_id, answered)
    return {route: int(n) for route, n in connection.execute(query)}


@lru_cache(64)
def _checks(project_id: int, reference_id: int, dataset_id: int | None, answered: bool) -> Select[str, int]:
    number = counter.c.checks if answered else counter.c.open_checks
    of_it = (counter.c.dataset_id == (id_of_all(project_id) if dataset_id is None else dataset_id), number > 0)
    query = select(counter.c.route, func.sum(number)).where(counter.c.reference_id == reference_id, *of_it)
    return query.group_by(counter.c.route)


def waiting_in_datasets(connection: Connection, project: Project, dataset_ids: Sequence[int]) -> dict[int, int]:
    """How many items of each dataset wait for a person, spot checks left out; of those that have any."""
    routes = routes_of_datasets(connection, project, dataset_ids)
    waits = {id: sum(count.open for count in counts if count.route in FOR_PEOPLE) for id, counts in routes.items()}
    for ids in chunks(list(waits)):
        for id, checks in connection.execute(_CHECKS_IN, {"of_reference": project.reference_id, "these": ids}):
            waits[id] = max(0, waits[id] - checks)
    return waits


_CHECKS_IN = (
    select(counter.c.dataset_id, func.sum(counter.c.open_checks))
    .where(counter.c.reference_id == bindparam("of_reference"), counter.c.route.in_(FOR_PEOPLE), counter.c.dataset_id.in_(among("these")))
    .group_by(counter.c.dataset_id)
)


@dataclass(frozen=True, slots=True)
class GroupStands:
    """How the members of a group among outliers stand. waiting: for a person; aside: taken out of the queue; answers: how often people
    gave which labels. Open spot checks take no part."""

    waiting: int
    aside: int
    answers: Mapping[tuple[str, ...], int]


@read_each
def groups_stand(connection: Connection, numbers: Sequence[int], project: Project, dataset_id: int | None) -> dict[int, GroupStands]:
    """How the members of groups among the outliers of a dataset, None: of all items, stand; of those that have any to tell of."""
    counts: dict[int, Counter[Standing | None]] = {}
    answers: dict[int, Counter[tuple[str, ...]]] = {}
    for number, answer, dismissed, route, labels, n in connection.execute(_in_groups(project.id, dataset_id), {"these": numbers}):
        state = standing_of(answer, dismissed, route)
        counts.setdefault(number, Counter())[state] += int(n)
        if state == Standing.ANSWERED:
            answers.setdefault(number, Counter())[labels_of(labels) or ()] += int(n)
    return {number: GroupStands(some[Standing.WAITING], some[Standing.OUT], answers.get(number, {})) for number, some in counts.items()}


def waiting_in_groups(connection: Connection, numbers: Sequence[int], project: Project, dataset_id: int | None = None) -> dict[int, int]:
    """How many members of groups wait for a person, as `groups_stand`, by default of all items; of those that have any."""
    found = groups_stand(connection, numbers, project, dataset_id)
    return {number: some.waiting for number, some in found.items() if some.waiting}


@lru_cache(64)
def _in_groups(project_id: int, dataset_id: int | None) -> Select[int, str, bool, str, str, int]:
    """Whatever is asked of members, their items are read once: they lie anywhere in a large table."""
    chosen = dataset_id if dataset_id is not None else id_of_all(project_id)
    alike = (group_member.c.number, item.c.answer, item.c.dismissed, item.c.route, stored(item.c.labels))
    query = select(*alike, func.count()).join(item, item.c.id == group_member.c.item_id)
    query = query.where(group_member.c.dataset_id == chosen, group_member.c.number.in_(among("these")))
    return query.where(*stands(Filters(state=None)), ~is_blind(item.c.id)).group_by(*alike)


def ids_of(connection: Connection, project: Project, filters: Filters) -> list[int]:
    """The ids of all judged items that are wanted, ascending."""
    parts, left = _parts(connection, project, filters)
    every = union_all(*(part for part, _ in parts)).subquery()
    query = select(every.c.id).where(*(test(every.c.id) for test in left)).order_by(every.c.id)
    return list(connection.execute(query).scalars())


def still_waiting(connection: Connection, project: Project, item_ids: Sequence[int], *, out: bool = False) -> list[int]:
    """Those of the items that wait for a person, spot checks and gold tasks among them where the project shows them. out: that are out of
    the queue, and unanswered."""
    judged = and_(
        *stands(Filters(state=Standing.OUT if out else Standing.WAITING)), or_(item.c.route.in_(FOR_PEOPLE), is_hidden(item.c.id))
    )
    asked = and_(is_open_copy(item.c.id), ~item.c.gone, item.c.dismissed if out else ~item.c.dismissed)
    query = select(item.c.id).where(item.c.project_id == project.id, or_(judged, asked), *in_sight(project))
    return [int(id) for ids in chunks(item_ids) for id in connection.execute(query.where(item.c.id.in_(ids))).scalars()]


def queue_length(connection: Connection, project: Project) -> int:
    """How many items wait for a person, spot checks left out."""
    queued = sum(count.open for count in routes_of(connection, project) if count.route in FOR_PEOPLE)
    return queued - sum(n for route, n in checks_by_route(connection, project).items() if route in FOR_PEOPLE)


def left_in_datasets(
    connection: Connection, project: Project, filters: Filters, dataset_ids: Sequence[int], *, grouped: bool = False
) -> dict[int, int]:
    """How many items each dataset has that are wanted, if it is chosen in the place of the filters' own; of those that have any. grouped:
    of members of its groups alone. It reads each item: for few thousands."""
    of_item: ColumnElement[Any]
    home: ColumnElement[Any]
    if grouped or filters.group is not None:
        found = select(group_member.c.dataset_id).join(item, item.c.id == group_member.c.item_id)
        found = of_routes(found.where(*stands(filters), ~is_blind(item.c.id)), filters)
        found = found if filters.group is None else found.where(group_member.c.number == filters.group)
        left, of_item, home = tests(project, filters, dataset=False), item.c.id, group_member.c.dataset_id
    else:
        parts, left = _parts(connection, project, replace(filters, dataset=None))
        every = union_all(*(part for part, _ in parts)).subquery()
        found = select(item_dataset.c.dataset_id).join(every, every.c.id == item_dataset.c.item_id)
        of_item, home = every.c.id, item_dataset.c.dataset_id
    query = found.add_columns(func.count()).where(home.in_(dataset_ids), *(test(of_item) for test in left)).group_by(home)
    return {int(id): int(n) for id, n in connection.execute(query)}


def neighbours(
    connection: Connection, project: Project, item_id: int, *, order: str = "strangest", filters: Filters = WAITING
) -> tuple[int | None, int | None]:
    """The ids of the items before and after one in the queue; of an item that waits no more, those beside its former place."""
    faces = _first(connection, project, order, filters)
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
    way = _Way(after, (order in ("boundary", "newest")) != backwards, 0 if newest else limit + len(without) + 1)
    parts, left = _parts(connection, project, filters, way)
    most = LOOKED_AT if left else limit + len(without) + 1
    looked_at = _along(parts, way, most, newest=newest).subquery()
    passes = and_(true(), *(test(looked_at.c.id) for test in left), *([looked_at.c.id.not_in(without)] if without else []))
    place = func.row_number().over(order_by=_by(looked_at.c.rank, looked_at.c.id, way.falls)).label("place")
    placed = select(looked_at, place, passes.label("passes")).subquery()
    wanted = or_(placed.c.passes, placed.c.place == most) if left else placed.c.passes
    query = select(placed).where(wanted).order_by(placed.c.place).limit(limit + 2)
    rows = connection.execute(query).all()
    passed = [row for row in rows if row.passes][: limit + 1]
    ids = [int(row.id) for row in passed[:limit]]
    if len(passed) > limit:
        return ids, (float(passed[limit - 1].rank), ids[-1]), False
    last = rows[-1] if left and rows and rows[-1].place == most else None
    return ids, None if last is None else (float(last.rank), int(last.id)), last is not None


def _along(parts: Sequence[Part], way: _Way, most: int, *, newest: bool = False) -> Select[Any]:
    """The first rows of all parts along a way, each with its rank."""
    pieces = []
    for part, place in parts:
        id = part.selected_columns.id
        rank = id if newest else place
        beyond = _beyond(rank, id, way.after, way.falls)
        ordered = part.add_columns(rank.label("rank")).where(beyond).order_by(*_by(rank, id, way.falls))
        pieces.append(select(ordered.limit(most).subquery()))
    every = union_all(*pieces).subquery()
    return select(every).order_by(*_by(every.c.rank, every.c.id, way.falls)).limit(most)


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


def _parts(connection: Connection, project: Project, filters: Filters, way: _Way = ALL) -> tuple[list[Part], list[Test]]:
    """Queries each of which reads along one range of an index, with what ranks their rows; and the tests that these have still to pass."""
    if filters.proposal is not None:
        asked = select(item.c.id).join(proposal_member, proposal_member.c.item_id == item.c.id)
        asked = asked.where(proposal_member.c.proposal_id == filters.proposal, item.c.project_id == project.id, is_asked(item.c.id))
        return [(asked.where(*stands(filters)), item.c.trust)], tests(project, filters, dataset=True)
    if filters.group is not None:
        members = select(item.c.id).join(group_member, group_member.c.item_id == item.c.id)
        members = members.where(*_in_group(project, filters), *stands(filters), ~is_blind(item.c.id))
        return [(of_routes(members, filters), item.c.trust)], tests(project, filters, dataset=False)
    if filters.dataset is not None and size_of(connection, project, filters.dataset) <= FEW:
        few = select(item.c.id).join(item_dataset, item_dataset.c.item_id == item.c.id)
        few = few.where(item_dataset.c.dataset_id == filters.dataset, *stands(filters))
        return [(of_routes(few, filters), item.c.trust)], tests(project, filters, dataset=False)
    parts: list[Part] = []
    left = tests(project, filters, dataset=True)
    there = (item.c.project_id == project.id, ~item.c.labelled, ~item.c.gone)
    told: list[Part] = [(select(item.c.id).where(*within, *there, ~is_blind(item.c.id)), item.c.trust) for within in ranges(filters)]
    if filters.blind:
        many = _many(connection, project, LOOKED_AT if left and way.most else way.most)
        edge = _edge(connection, told, way) if left and way.most and filters.state is None else None
        if edge is not None or _is_more(connection, project, many):
            near = (*there, *_within(item.c.trust, edge, way))
            parts += [(select(item.c.id).where(*within, *near, is_blind(item.c.id)), item.c.trust) for within in ranges(filters, ROUTES)]
        else:
            drawn = select(spot_check.c.item_id.label("id")).select_from(spot_check).join(item, item.c.id == spot_check.c.item_id)
            drawn = drawn.where(spot_check.c.project_id == project.id, *stands(filters))
            parts += [(drawn.where(spot_check.c.state == state), item.c.trust) for state in UNSETTLED]
    parts += told
    return parts or [(select(item.c.id).where(false()), item.c.trust)], left


def _edge(connection: Connection, told: Sequence[Part], way: _Way) -> float | None:
    """The rank up to which a filter looks at items that are no open spot checks, in a list of all: of those, too, none beyond it is among
    the first. So these, of which there may be tens of thousands, need not be sorted. None if fewer items are left."""
    if not told:
        return None
    first = _along(told, way, LOOKED_AT).subquery()
    last = func.min(first.c.rank) if way.falls else func.max(first.c.rank)
    count, edge = connection.execute(select(func.count(), last)).one()
    return None if count < LOOKED_AT else float(edge)


def _within(rank: ColumnElement[Any], edge: float | None, way: _Way) -> tuple[ColumnElement[bool], ...]:
    return () if edge is None else (rank >= edge if way.falls else rank <= edge,)


def _many(connection: Connection, project: Project, most: int) -> int:
    """So many open spot checks that it is faster to look for `most` of them along all items, in their order, than to sort them.

    Of n items of which k are spot checks that takes most * n / k steps, each half as long as one of the k of sorting. 0: never.
    """
    return isqrt(most * sum(count.items for count in routes_of(connection, project)) // 2) if most else 0


def _is_more(connection: Connection, project: Project, many: int) -> bool:
    """Whether there are more open spot checks than so many, in as many steps at most."""
    if not many:
        return False
    given = {"of_project": project.id, "most": many + 1}
    return int(connection.execute(_CHECKS_UP_TO, given).scalar_one()) > many


_SOME_CHECKS = select(spot_check.c.item_id).where(spot_check.c.project_id == bindparam("of_project"), spot_check.c.state.in_(UNSETTLED))
_CHECKS_UP_TO = select(func.count()).select_from(_SOME_CHECKS.limit(bindparam("most", type_=Integer)).subquery())


def _in_group(project: Project, filters: Filters) -> tuple[ColumnElement[bool], ...]:
    """The conditions on a member of the group that is wanted."""
    chosen = filters.dataset if filters.dataset is not None else id_of_all(project.id)
    return group_member.c.dataset_id == chosen, group_member.c.number == filters.group


def _in_dataset(dataset_id: int) -> ColumnElement[bool]:
    member = item_dataset.alias("member")
    return exists().where(member.c.dataset_id == dataset_id, member.c.item_id == item.c.id).correlate_except(member)


def _first(connection: Connection, project: Project, order: str, filters: Filters) -> list[int]:
    """What stands before all others in this order. Members of a group of look-alikes are answered blind: nothing that the model says of
    them brings one before another."""
    if filters.proposal is not None:
        return []
    if order == "groups":
        return _faces(connection, project, filters)
    return _chosen(connection, project, filters) if order == "chosen" else []


def _chosen(connection: Connection, project: Project, filters: Filters) -> list[int]:
    """What a sampler chose last, as it put it; those that pass the filters."""
    found = insight_of(connection, project.id, InsightKind.SAMPLE)
    ids = [] if found is None else [int(one["item_id"]) for one in found.facts["chosen"]]
    if not ids:
        return []
    mine = select(item.c.id).where(item.c.project_id == project.id, ~is_hidden(item.c.id), *stands(filters))
    mine = of_routes(mine, filters).where(*(test(item.c.id) for test in tests(project, filters, dataset=True)))
    if filters.group is not None:
        mine = mine.join(group_member, group_member.c.item_id == item.c.id).where(*_in_group(project, filters))
    wanted = {id for some in chunks(ids) for id in connection.execute(mine.where(item.c.id.in_(some))).scalars()}
    return [id for id in ids if id in wanted]


def _faces(connection: Connection, project: Project, filters: Filters) -> list[int]:
    """Of each group the first member that waits, the largest group's first."""
    chosen = filters.dataset if filters.dataset is not None else id_of_all(project.id)
    groups = select(group_member.c.number).where(group_member.c.dataset_id == chosen).distinct()
    if filters.group is not None:
        groups = groups.where(group_member.c.number == filters.group)
    group = groups.subquery()
    of_it = (group_member.c.dataset_id == chosen, group_member.c.number == group.c.number, group_member.c.item_id == item.c.id)
    members = of_routes(select(item.c.id).where(*of_it, *stands(filters)), filters).order_by(group_member.c.item_id).limit(1)
    members = members.where(*(test(item.c.id) for test in tests(project, filters, dataset=False)))
    face = members.correlate(group).scalar_subquery()
    found = connection.execute(select(face).select_from(group).order_by(group.c.number)).scalars()
    return [int(id) for id in found if id is not None]


@read_once
def size_of(connection: Connection, project: Project, dataset_id: int) -> int:
    """How many judged items a dataset has."""
    return int(connection.execute(_SIZE, {"of_dataset": dataset_id, "of_reference": project.reference_id}).scalar_one())


_SIZE = select(func.coalesce(func.sum(counter.c.n), 0)).where(
    counter.c.dataset_id == bindparam("of_dataset"), counter.c.reference_id == bindparam("of_reference")
)
