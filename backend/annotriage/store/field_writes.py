"""Field writes: whose task's data are to get the triage fields, and what they hold of the dataset's diversity.

pending -> written. `stale`: the dataset's share has left the limits that were written, or is known far better, or there are far more or
fewer look-alikes: what says so is written again.
`failed`: the labeling tool did not take them, again and again. Whoever writes one holds it as its `owner` until it is over; what is
queued again meanwhile is written again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Insert, Select, and_, case, func, literal, or_, select, update

from annotriage.states import FieldWriteState, Route
from annotriage.store.counters import chunks, one_of
from annotriage.store.database import execute_many, insert, insert_on
from annotriage.store.datasets import id_of_all
from annotriage.store.projects import Project
from annotriage.store.schema import field_write, group_member, item, item_dataset, spot_check, verdict
from annotriage.store.snapshots import Snapshot

WIDER = 2.0  # times that limits may be as wide as they are now, before they are written again
MOVED = 0.1  # share by which the number of look-alikes may be another one
HELD_SECONDS = 60.0  # for which rows that were taken are nobody else's

_AGAIN = {"state": FieldWriteState.PENDING, "attempts": 0, "not_before": 0.0}
FIRST = -1.0  # the place of spot checks: their fields say in which tab they stand, so they are written before all others


@dataclass(frozen=True, slots=True)
class Write:
    """A write that somebody has taken."""

    item_id: int
    external_id: str
    state: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Taken:
    """Writes that were taken together. mark: changes as soon as one of them is queued again."""

    owner: str
    mark: float
    writes: tuple[Write, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """What was written that may change: of the diversity its dataset and limits, and how many look-alikes there were."""

    dataset_id: int | None
    low: float | None
    high: float | None
    look_alikes: int | None


@dataclass(frozen=True, slots=True)
class Judged:
    """What the fields of an item are made of. spot_check: its kind, None for no spot check. look_alikes: outliers in its group."""

    item_id: int
    route: str
    reason: str
    held_back: str | None
    sent_by: str | None
    outlier_score: float | None
    class_score: float | None
    source_score: float | None
    shown_dataset_id: int | None
    external_id: str | None
    dismissed: bool
    spot_check: str | None
    look_alikes: int | None


def queue(connection: Connection, project_id: int, trusts: Mapping[int, float], others: Sequence[int]) -> None:
    """Let the tasks of these items get their fields (again). trusts: by item, the strangest first. others: no field is theirs any more."""
    rows = [{"item_id": id, "project_id": project_id, "state": FieldWriteState.PENDING, "trust": trust} for id, trust in trusts.items()]
    if rows:
        execute_many(connection, _adding(connection.dialect.name), rows)
    for some in one_of(connection, field_write.c.item_id, others) if others else ():
        connection.execute(update(field_write).where(some).values(_AGAIN))


@lru_cache(2)
def _adding(dialect: str) -> Insert:
    add = insert_on(dialect, field_write)
    written: Insert = add.on_conflict_do_update(index_elements=["item_id"], set_=_AGAIN | {"trust": add.excluded.trust})
    return written


def queue_all(connection: Connection, project: Project, reference_id: int) -> None:
    """As `queue`, for all that is not answered yet, by the verdicts under a reference that takes over."""
    unanswered = select(item.c.id).where(item.c.project_id == project.id, item.c.answer != "resolved")
    connection.execute(
        update(field_write).where(field_write.c.project_id == project.id, field_write.c.item_id.in_(unanswered)).values(_AGAIN)
    )
    spot_checks = select(spot_check.c.item_id).where(spot_check.c.project_id == project.id)
    place = case((item.c.id.in_(spot_checks), FIRST), else_=verdict.c.shown_trust)
    new = (
        select(item.c.id, item.c.project_id, literal(FieldWriteState.PENDING), place)
        .join(verdict, and_(verdict.c.item_id == item.c.id, verdict.c.reference_id == reference_id))
        .where(item.c.id.in_(unanswered), ~item.c.gone, ~item.c.labelled, or_(verdict.c.route != "auto", item.c.id.in_(spot_checks)))
    )
    add = insert(connection, field_write).from_select(["item_id", "project_id", "state", "trust"], new)
    connection.execute(add.on_conflict_do_nothing(index_elements=["item_id"]))


def any_due(connection: Connection, project_id: int) -> bool:
    """Whether `take` may find something."""
    query = select(field_write.c.item_id).where(*_due(project_id, (FieldWriteState.PENDING, FieldWriteState.STALE)))
    return connection.execute(query.limit(1)).first() is not None


def people_at_work(connection: Connection, project_id: int, since: float) -> bool:
    """Whether a person has answered a task of the project since then."""
    given = (item.c.project_id == project_id, ~item.c.machine, item.c.answered_at >= since)
    return connection.execute(select(item.c.id).where(*given).limit(1)).scalar_one_or_none() is not None


def take(connection: Connection, project_id: int, owner: str, most: int) -> Taken:
    """Take writes that are due, the strangest first, before those that are merely stale."""
    writes: list[Write] = []
    free = or_(field_write.c.owner.is_(None), field_write.c.owner == owner)
    for state in (FieldWriteState.PENDING, FieldWriteState.STALE):
        query = (
            select(field_write.c.item_id, item.c.external_id, field_write.c.state, field_write.c.attempts)
            .join(item, item.c.id == field_write.c.item_id)
            .where(*_due(project_id, (state,)), free, item.c.external_id.is_not(None))
            .order_by(field_write.c.trust, field_write.c.item_id)
            .limit(most - len(writes))
        )
        writes += [Write(*row) for row in connection.execute(query.with_for_update(skip_locked=True, of=field_write))]
    mark = time.time() + HELD_SECONDS
    for some in chunks(writes):
        ids = [write.item_id for write in some]
        connection.execute(update(field_write).where(field_write.c.item_id.in_(ids)).values(not_before=mark, owner=owner))
    return Taken(owner, mark, tuple(writes))


def _due(project_id: int, states: Sequence[str]) -> tuple[ColumnElement[bool], ...]:
    return (field_write.c.project_id == project_id, field_write.c.state.in_(states), field_write.c.not_before <= time.time())


def any_held(connection: Connection, project_id: int) -> bool:
    """Whether somebody is writing fields into the project at this moment."""
    held = select(field_write.c.item_id).where(field_write.c.project_id == project_id, field_write.c.owner.is_not(None))
    return connection.execute(held.limit(1)).scalar_one_or_none() is not None


def finish(
    connection: Connection,
    taken: Taken,
    item_ids: Iterable[int],
    to: str | None = None,
    *,
    attempts: int = 0,
    not_before: float = 0.0,
    shown: Written | None = None,
) -> set[int]:
    """Bring writes that were taken into a state (None: as they are), and let go of them: the items whose writes really moved.

    Those that were queued again meanwhile stay as they are. shown: what was written now.
    """
    values: dict[str, Any] = {"attempts": attempts, "not_before": not_before, "owner": None} | ({} if to is None else {"state": to})
    if shown is not None:
        values |= asdict(shown) | {"at": time.time()}
    moved: set[int] = set()
    for ids in chunks(list(item_ids)):
        change = update(field_write).where(*_held(taken, ids)).values(values)
        moved.update(connection.execute(change.returning(field_write.c.item_id)).scalars())
    return moved


def drop(connection: Connection, taken: Taken, item_ids: Iterable[int]) -> None:
    """Forget writes that were taken: there is nothing to be written any more."""
    for ids in chunks(list(item_ids)):
        connection.execute(field_write.delete().where(*_held(taken, ids)))


def let_go(connection: Connection, taken: Taken) -> None:
    """Let go of all that was taken and is not finished, queued again or not."""
    for some in chunks(taken.writes):
        ids = [write.item_id for write in some]
        connection.execute(update(field_write).where(*_held(taken, ids)).values(not_before=0.0))
        mine = (field_write.c.item_id.in_(ids), field_write.c.owner == taken.owner)
        connection.execute(update(field_write).where(*mine).values(owner=None))


def _held(taken: Taken, item_ids: Sequence[int]) -> tuple[ColumnElement[bool], ...]:
    return (field_write.c.item_id.in_(item_ids), field_write.c.owner == taken.owner, field_write.c.not_before == taken.mark)


def created(connection: Connection, item_ids: Sequence[int]) -> None:
    """The tasks of these items were created with their fields: all that may be missing is the dataset's diversity."""
    for ids in chunks(item_ids):
        connection.execute(
            update(field_write)
            .where(field_write.c.item_id.in_(ids), field_write.c.state == FieldWriteState.PENDING)
            .values(state=FieldWriteState.STALE)
        )


def outdated(connection: Connection, project_id: int, latest: Mapping[int, Snapshot], written_before: float) -> list[int]:
    """The items of unanswered tasks that show limits which their dataset's share has left, or that are far wider than now, or none; and
    of those that show another number of look-alikes than there are.

    latest: by dataset. written_before: seconds since 1970; what was written later stays.
    """
    groups = _look_alikes(project_id).subquery()
    written = (field_write.c.dataset_id, field_write.c.low, field_write.c.high, field_write.c.look_alikes)
    query: Select[*tuple[Any, ...]] = (
        select(field_write.c.item_id, *written, case((spot_check.c.item_id.is_(None) & (item.c.route == Route.OUTLIER), groups.c.n)))
        .join(item, item.c.id == field_write.c.item_id)
        .outerjoin(spot_check, spot_check.c.item_id == field_write.c.item_id)
        .outerjoin(groups, groups.c.item_id == field_write.c.item_id)
        .where(
            field_write.c.project_id == project_id,
            field_write.c.state == FieldWriteState.WRITTEN,
            field_write.c.at < written_before,
            item.c.answer != "resolved",
        )
    )
    return [
        id
        for id, dataset_id, low, high, then, now in connection.execute(query)
        if not _holds(latest.get(dataset_id), low, high) or _moved(then or 0, now or 0)
    ]


def _moved(then: int, now: int) -> bool:
    return abs(now - then) > MOVED * max(then, now)


def _look_alikes(project_id: int) -> Select[Any]:
    """Of each outlier that is in a group among those of all items, how many belong to it."""
    members = group_member.alias("members")
    everything = id_of_all(project_id)
    sizes = (
        select(members.c.number, func.count().label("n")).where(members.c.dataset_id == everything).group_by(members.c.number).subquery()
    )
    query = select(group_member.c.item_id, sizes.c.n).join(sizes, sizes.c.number == group_member.c.number)
    return query.where(group_member.c.dataset_id == everything)


def _holds(now: Snapshot | None, low: float | None, high: float | None) -> bool:
    if now is None or now.share is None or now.low is None or now.high is None:
        return True
    return low is not None and high is not None and low <= now.share <= high and high - low <= WIDER * (now.high - now.low)


def make_stale(connection: Connection, item_ids: Sequence[int]) -> None:
    """Let what may change be written again into the tasks of these items, whose fields were written."""
    for ids in chunks(item_ids):
        written = (field_write.c.item_id.in_(ids), field_write.c.state == FieldWriteState.WRITTEN)
        connection.execute(update(field_write).where(*written).values(state=FieldWriteState.STALE))


def shown_datasets(connection: Connection, project_id: int) -> list[int]:
    """The datasets whose diversity stands in some task of a project, and that of all items."""
    query = select(field_write.c.dataset_id).where(field_write.c.project_id == project_id, field_write.c.dataset_id.is_not(None))
    return [id for id in connection.execute(query.union(select(id_of_all(project_id)))).scalars() if id is not None]


def verdicts_shown(connection: Connection, project: Project, item_ids: Sequence[int]) -> list[Judged]:
    """What the fields of these items are made of, under the project's reference."""
    found: list[Judged] = []
    why = (verdict.c.reason, verdict.c.held_back, item.c.sent_by)
    of_verdict: tuple[Any, ...] = (
        verdict.c.item_id,
        verdict.c.route,
        *why,
        verdict.c.outlier_score,
        verdict.c.class_score,
        verdict.c.source_score,
    )
    groups = _look_alikes(project.id).subquery()
    query: Select[*tuple[Any, ...]] = (
        select(*of_verdict, item.c.shown_dataset_id, item.c.external_id, item.c.dismissed, spot_check.c.kind, groups.c.n)
        .join(item, item.c.id == verdict.c.item_id)
        .outerjoin(spot_check, spot_check.c.item_id == verdict.c.item_id)
        .outerjoin(groups, groups.c.item_id == verdict.c.item_id)
        .where(verdict.c.reference_id == project.reference_id)
    )
    for ids in chunks(item_ids):
        found += [Judged(*row) for row in connection.execute(query.where(verdict.c.item_id.in_(ids)))]
    return found


def holds_at_least(connection: Connection, dataset_id: int, number: int) -> bool:
    """Whether a dataset has so many items."""
    query = select(item_dataset.c.item_id).where(item_dataset.c.dataset_id == dataset_id).offset(number - 1).limit(1)
    return connection.execute(query).one_or_none() is not None


def failed(connection: Connection, project: Project) -> int:
    """How many tasks could not be given their fields."""
    return int(connection.execute(select(func.count()).select_from(field_write).where(*_failed(project))).scalar_one())


def retry(connection: Connection, project: Project) -> int:
    """Let tasks be written whose fields could not be: how many."""
    return int(connection.execute(update(field_write).where(*_failed(project)).values(_AGAIN)).rowcount)


def _failed(project: Project) -> tuple[ColumnElement[bool], ...]:
    return (field_write.c.project_id == project.id, field_write.c.state == FieldWriteState.FAILED)
