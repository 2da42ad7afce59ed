"""Snapshots: the state of each dataset as it was assessed, the latest and how it got there.

A dataset's history has at most one snapshot in five minutes, later one an hour and one a day: the latest replaces the one before it
in the same five minutes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, ScalarSelect, case, delete, func, or_, select, update

from annotriage.store.counters import chunks
from annotriage.store.database import AnyRow, whole
from annotriage.store.projects import Project
from annotriage.store.schema import counter, dataset, snapshot, spot_check

SLOT = 300.0  # seconds of history that one snapshot stands for,
OLDER = ((86_400.0, 3_600.0), (30 * 86_400.0, 86_400.0))  # and those older than the first: the second


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
    counts = (
        func.sum(counter.c.n).label("total"),
        func.sum(case((counter.c.route == "outlier", counter.c.n), else_=0)).label("outliers"),
        func.sum(case((counter.c.route == "failed", counter.c.n), else_=0)).label("failed"),
    )
    now = (
        select(counter.c.dataset_id, *counts)
        .join(dataset, dataset.c.id == counter.c.dataset_id)
        .where(dataset.c.project_id == project.id, counter.c.reference_id == project.reference_id)
        .group_by(counter.c.dataset_id)
        .subquery()
    )
    answers = select(func.count()).where(
        spot_check.c.project_id == project.id, spot_check.c.dataset_id == now.c.dataset_id, spot_check.c.answered_at > 0
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
    query = (
        select(now.c.dataset_id, now.c.total, now.c.outliers, now.c.failed, answers.scalar_subquery())
        .select_from(now)
        .outerjoin(snapshot, snapshot.c.id == _latest_id(now.c.dataset_id, project.reference_id))
        .where(moved)
    )
    return [Changed(*map(int, row)) for row in connection.execute(query)]


def latest(connection: Connection, dataset_ids: Sequence[int], reference_id: int) -> dict[int, AnyRow]:
    """The latest snapshot under a reference of each of these datasets that has one, by dataset."""
    found: dict[int, AnyRow] = {}
    for ids in chunks(dataset_ids):
        its_latest = snapshot.c.id == _latest_id(dataset.c.id, reference_id)
        query = select(snapshot).select_from(dataset).join(snapshot, its_latest).where(dataset.c.id.in_(ids))
        found |= {row.dataset_id: row for row in connection.execute(query)}
    return found


def history(connection: Connection, dataset_id: int, *, before: float | None = None, limit: int = 200) -> Sequence[AnyRow]:
    """The snapshots of a dataset without their facts, the latest first: reference_id, n, outliers, failed, low, high, at."""
    columns = [column for column in snapshot.c if column.name not in ("id", "dataset_id", "facts")]
    query = select(*columns).where(snapshot.c.dataset_id == dataset_id).order_by(snapshot.c.at.desc()).limit(limit)
    return connection.execute(query if before is None else query.where(snapshot.c.at < before)).all()


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


def _latest_id(dataset_id: Any, reference_id: int) -> ScalarSelect[int]:
    inner = snapshot.alias()
    of_it = select(inner.c.id).where(inner.c.dataset_id == dataset_id, inner.c.reference_id == reference_id)
    return of_it.order_by(inner.c.at.desc()).limit(1).correlate(dataset_id.table).scalar_subquery()
