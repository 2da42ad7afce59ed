"""Snapshots: the state of each dataset as it was assessed, the latest and how it got there, with its groups of outliers.

A dataset's history has at most one snapshot in five minutes, later one an hour and one a day: the latest replaces the one before it
in the same five minutes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import BindParameter, Connection, Float, ScalarSelect, Select, bindparam, case, cast, delete, func, or_, select, update

from annotriage.states import Time
from annotriage.store.counters import chunks
from annotriage.store.database import among, facts_of, insert, read_each, stored, whole
from annotriage.store.projects import Project
from annotriage.store.schema import counter, dataset, group_member, snapshot, spot_check

SLOT = 300.0  # seconds of history that one snapshot stands for,
OLDER = ((86_400.0, 3_600.0), (30 * 86_400.0, 86_400.0))  # and those older than the first: the second


STEPS = 240  # places on a chart of time


@dataclass(frozen=True, slots=True)
class Moment:
    """How foreign a dataset was at a time. share: of outliers among its n items that could be scored, with its limits; null without any."""

    reference_id: int
    at: Time
    n: int
    outliers: int
    failed: int
    share: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Snapshot(Moment):
    """The state of a dataset. facts: all figures of its diversity, advice, groups of outliers that lie close together."""

    id: int
    dataset_id: int
    facts: dict[str, Any]


_OUTLIERS = cast(snapshot.c.outliers, Float) / func.nullif(snapshot.c.n, 0)
_MOMENT = [_OUTLIERS if name == "share" else snapshot.c[name] for name in Moment.__dataclass_fields__]
_MOMENT_OF = (snapshot.c.dataset_id, *_MOMENT)
_OTHER = snapshot.alias()
_SNAPSHOT = (*_MOMENT, snapshot.c.id, snapshot.c.dataset_id, stored(snapshot.c.facts))


@dataclass(frozen=True)
class Changed:
    """A dataset whose latest snapshot, if there is one, does not tell its state any more.

    total: judged items; outliers, failed: among them. answers: those of its spot checks, ever.
    """

    id: int
    total: int
    outliers: int
    failed: int
    answers: int


def changed(connection: Connection, project: Project) -> list[Changed]:
    """The datasets of a project that were judged on since their latest snapshot, or whose spot checks were answered."""
    given = {"of_project": project.id, "of_reference": project.reference_id}
    return [Changed(*map(int, row)) for row in connection.execute(_CHANGED, given)]


def _changed() -> Select[int, int, int, int, int]:
    counts = (
        func.sum(counter.c.n).label("total"),
        func.sum(case((counter.c.route == "outlier", counter.c.n), else_=0)).label("outliers"),
        func.sum(case((counter.c.route == "failed", counter.c.n), else_=0)).label("failed"),
    )
    now = (
        select(counter.c.dataset_id, *counts)
        .join(dataset, dataset.c.id == counter.c.dataset_id)
        .where(dataset.c.project_id == bindparam("of_project"), counter.c.reference_id == bindparam("of_reference"))
        .group_by(counter.c.dataset_id)
        .subquery()
    )
    answers = select(func.count()).where(
        spot_check.c.project_id == bindparam("of_project"), spot_check.c.dataset_id == now.c.dataset_id, spot_check.c.answered_at > 0
    )
    answers = answers.correlate(now, snapshot)
    later = answers.where(spot_check.c.answered_at > snapshot.c.at)
    moved = or_(
        snapshot.c.id.is_(None),
        snapshot.c.n + snapshot.c.failed != now.c.total,
        snapshot.c.outliers != now.c.outliers,
        snapshot.c.failed != now.c.failed,
        later.scalar_subquery() > 0,
    )
    return (
        select(now.c.dataset_id, now.c.total, now.c.outliers, now.c.failed, answers.scalar_subquery())
        .select_from(now)
        .outerjoin(snapshot, snapshot.c.id == _latest_id(now.c.dataset_id, bindparam("of_reference")))
        .where(moved)
    )


def latest(connection: Connection, dataset_ids: Sequence[int], reference_id: int) -> dict[int, Snapshot]:
    """The latest snapshot under a reference of each of these datasets that has one, by dataset."""
    rows = _latest(connection, dataset_ids, reference_id, _SNAPSHOT)
    return {found.dataset_id: found for found in (_snapshot(row) for row in rows)}


@read_each
def latest_moments(connection: Connection, dataset_ids: Sequence[int], reference_id: int) -> dict[int, Moment]:
    """The same without their facts, which are long: for lists."""
    rows = _latest(connection, dataset_ids, reference_id, _MOMENT_OF)
    return {dataset_id: Moment(*row) for dataset_id, *row in rows}


def _latest(connection: Connection, dataset_ids: Sequence[int], reference_id: int, columns: Sequence[Any]) -> Iterator[Sequence[Any]]:
    query = _latest_of(tuple(columns), reference_id)
    return (row for ids in chunks(dataset_ids) for row in connection.execute(query, {"these": ids}))


@lru_cache(64)
def _latest_of(columns: tuple[Any, ...], reference_id: int) -> Select[Any]:
    latest_of_it = snapshot.c.id == _latest_id(dataset.c.id, reference_id)
    return select(*columns).select_from(dataset).join(snapshot, latest_of_it).where(dataset.c.id.in_(among("these")))


def _snapshot(row: Sequence[Any]) -> Snapshot:
    values = [*row[:-1], facts_of(row[-1])]
    return Snapshot(*values)


def history(connection: Connection, dataset_id: int, *, before: float | None = None, limit: int = 200) -> list[Moment]:
    """How a dataset got where it is, the latest first."""
    query = select(*_MOMENT).where(snapshot.c.dataset_id == dataset_id).order_by(snapshot.c.at.desc()).limit(limit)
    return [Moment(*row) for row in connection.execute(query if before is None else query.where(snapshot.c.at < before))]


def moments(connection: Connection, dataset_id: int, start: float, end: float) -> list[Moment]:
    """The snapshots of a dataset between two moments, thinned out to what a chart shows, the first first."""
    slot = max((end - start) / STEPS, 1.0)
    given = {"of_dataset": dataset_id, "start": start, "end": end, "slot": slot}
    return [Moment(*row) for row in connection.execute(_THINNED, given)]


_START: BindParameter[float] = bindparam("start", type_=Float)
_WITHIN = (snapshot.c.dataset_id == bindparam("of_dataset"), snapshot.c.at >= _START, snapshot.c.at <= bindparam("end"))
_IN_SLOT = whole((snapshot.c.at - _START) / bindparam("slot", type_=Float))
_THINNED = (
    select(*_MOMENT).where(snapshot.c.id.in_(select(func.max(snapshot.c.id)).where(*_WITHIN).group_by(_IN_SLOT))).order_by(snapshot.c.at)
)


def snapshot_before(connection: Connection, dataset_id: int, reference_id: int, at: float) -> Snapshot | None:
    """The state of a dataset under a reference at a moment: its last snapshot until then."""
    mine = (snapshot.c.dataset_id == dataset_id, snapshot.c.reference_id == reference_id, snapshot.c.at <= at)
    row = connection.execute(select(*_SNAPSHOT).where(*mine).order_by(snapshot.c.at.desc()).limit(1)).one_or_none()
    return None if row is None else _snapshot(row)


def first_moment(connection: Connection, dataset_id: int) -> float | None:
    """When a dataset was first assessed."""
    found = connection.execute(select(func.min(snapshot.c.at)).where(snapshot.c.dataset_id == dataset_id)).scalar_one()
    return None if found is None else float(found)


def save(connection: Connection, dataset_id: int, reference_id: int, **values: Any) -> None:
    """Keep a snapshot, taken now. values: n, outliers, failed, low, high, facts."""
    now = time.time()
    last = connection.execute(
        select(snapshot.c.id, snapshot.c.at)
        .where(snapshot.c.dataset_id == dataset_id, snapshot.c.reference_id == reference_id)
        .order_by(snapshot.c.at.desc())
        .limit(1)
    ).one_or_none()
    if last is not None and last.at // SLOT == now // SLOT:
        connection.execute(update(snapshot).where(snapshot.c.id == last.id).values(at=now, **values))
    else:
        connection.execute(snapshot.insert().values(dataset_id=dataset_id, reference_id=reference_id, at=now, **values))


def keep_groups(connection: Connection, dataset_id: int, numbers: Mapping[int, int]) -> None:
    """Which outliers of a dataset belong together: group numbers by item; those of its former snapshot are forgotten."""
    known = groups_of(connection, dataset_id)
    gone = [id for id in known if id not in numbers]
    for ids in chunks(gone):
        connection.execute(delete(group_member).where(group_member.c.dataset_id == dataset_id, group_member.c.item_id.in_(ids)))
    new = [{"dataset_id": dataset_id, "item_id": id, "number": number} for id, number in numbers.items() if known.get(id) != number]
    if new:
        add = insert(connection, group_member)
        connection.execute(add.on_conflict_do_update(index_elements=["dataset_id", "item_id"], set_={"number": add.excluded.number}), new)


def groups_of(connection: Connection, dataset_id: int | ScalarSelect[int], item_ids: Sequence[int] | None = None) -> dict[int, int]:
    """The group numbers of a dataset's outliers, by item; of these items alone, if they are named."""
    query = _groups(dataset_id, item_ids is not None)
    if item_ids is None:
        return {row.item_id: row.number for row in connection.execute(query.order_by(group_member.c.item_id))}
    return {row.item_id: row.number for ids in chunks(item_ids) for row in connection.execute(query, {"these": ids})}


@lru_cache(64)
def _groups(dataset_id: int | ScalarSelect[int], of_some: bool) -> Select[int, int]:
    query = select(group_member.c.item_id, group_member.c.number).where(group_member.c.dataset_id == dataset_id)
    return query.where(group_member.c.item_id.in_(among("these"))) if of_some else query


def thin_out(connection: Connection) -> int:
    """Leave one snapshot an hour of those older than a day, one a day of those older than a month: how many were dropped."""
    dropped = 0
    for age, slot in OLDER:
        old = snapshot.c.at < time.time() - age
        kept = (
            select(func.max(snapshot.c.id)).where(old).group_by(snapshot.c.dataset_id, snapshot.c.reference_id, whole(snapshot.c.at / slot))
        )
        dropped += connection.execute(delete(snapshot).where(old, snapshot.c.id.not_in(kept))).rowcount
    return dropped


def _latest_id(dataset_id: Any, reference_id: int | BindParameter[int]) -> ScalarSelect[int]:
    of_it = select(_OTHER.c.id).where(_OTHER.c.dataset_id == dataset_id, _OTHER.c.reference_id == reference_id)
    return of_it.order_by(_OTHER.c.at.desc()).limit(1).correlate(dataset_id.table).scalar_subquery()


_CHANGED = _changed()  # made once: it is asked every second while items stream in, and to make it takes longer than to execute it
