"""What the dashboard's pages ask: how a project stands, how it got there, how fast people are. No query reads all items."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Select, func, select, update

from annotriage.store.counters import chunks
from annotriage.store.database import AnyRow, whole
from annotriage.store.projects import Project
from annotriage.store.schema import (
    counter,
    dataset,
    delivery,
    event,
    field_write,
    heartbeat,
    inbox,
    item,
    item_dataset,
    job,
    project,
    snapshot,
    spot_check,
    verdict,
)

DAY = 86_400.0
COUNTED = 500  # of the latest answers, from which people's speed is taken
RECENT_DAYS = 14.0
LOOKED_THROUGH = 2_000  # of the latest items, among which faces are found
STEPS = 240  # places on a chart of time


# -- how a project stands


def dataset_of_all(connection: Connection, of: Project) -> AnyRow | None:
    """The dataset of all items; None before there is one."""
    return connection.execute(select(dataset).where(dataset.c.project_id == of.id, dataset.c.kind == "all")).one_or_none()


def answers_per_day(connection: Connection, of: Project) -> float:
    """How many items people answer a day, by the latest few hundred answers of the last two weeks; 0 without any."""
    now = time.time()
    latest = (
        select(item.c.answered_at.label("at"))
        .where(item.c.project_id == of.id, ~item.c.machine, item.c.answered_at > now - RECENT_DAYS * DAY)
        .order_by(item.c.answered_at.desc())
        .limit(COUNTED)
        .subquery()
    )
    count, first = connection.execute(select(func.count(), func.min(latest.c.at))).one()
    return float(count) / max((now - first) / DAY, 1.0) if count else 0.0


def answered_spot_checks(connection: Connection, of: Project) -> tuple[object, ...]:
    """What changes when a spot check is drawn or answered: counts by kind and state, and the latest answer."""
    query = select(spot_check.c.kind, spot_check.c.state, func.count(), func.max(spot_check.c.answered_at)).where(
        spot_check.c.project_id == of.id
    )
    rows = connection.execute(query.group_by(spot_check.c.kind, spot_check.c.state).order_by(spot_check.c.kind, spot_check.c.state)).all()
    return tuple(tuple(row) for row in rows)


def keep_standing(connection: Connection, of: Project, facts: Mapping[str, Any]) -> None:
    """Keep how the guarantee stands under the project's present reference."""
    values = {**facts, "reference_id": of.reference_id, "at": time.time()}
    connection.execute(update(project).where(project.c.id == of.id).values(standing=values))


def standing_of(connection: Connection, of: Project) -> dict[str, Any] | None:
    """How the guarantee stands, as the jobs process last found it; None if it has not yet, under the present reference."""
    found = connection.execute(select(project.c.standing).where(project.c.id == of.id)).scalar_one_or_none()
    return dict(found) if found and found["reference_id"] == of.reference_id else None


def mark_of(connection: Connection, project_ids: Sequence[int]) -> tuple[object, ...]:
    """Changes whenever something that the pages of these projects show does; cheap enough to be asked every few seconds."""
    shown = (dataset.c.project_id.in_(project_ids), dataset.c.kind == "all")
    counts = select(func.sum(counter.c.n), func.sum(counter.c.open)).join(dataset, dataset.c.id == counter.c.dataset_id).where(*shown)
    latest = select(func.max(snapshot.c.at)).join(dataset, dataset.c.id == snapshot.c.dataset_id).where(*shown)
    stops = (project.c.paused_at, project.c.pause_reason, project.c.alarm, project.c.trouble, project.c.problem)
    states = select(project.c.id, *stops, project.c.reference_id, project.c.next_reference_id)
    jobs_seen = select(func.max(job.c.id), func.max(job.c.finished_at)).where(job.c.project_id.in_(project_ids))
    events = select(func.max(event.c.id)).where(event.c.project_id.in_(project_ids))
    asked = (counts, latest, states.where(project.c.id.in_(project_ids)).order_by(project.c.id), jobs_seen, events)
    return tuple(tuple(row) for query in asked for row in connection.execute(query))


# -- how it got there


def moments(connection: Connection, dataset_id: int, start: float, end: float) -> Sequence[AnyRow]:
    """The snapshots of a dataset between two moments, thinned out to what a chart shows, the first first:
    reference_id, n, outliers, failed, low, high, at."""
    slot = max((end - start) / STEPS, 1.0)
    within = (snapshot.c.dataset_id == dataset_id, snapshot.c.at >= start, snapshot.c.at <= end)
    last = select(func.max(snapshot.c.id)).where(*within).group_by(whole((snapshot.c.at - start) / slot))
    columns = [column for column in snapshot.c if column.name not in ("id", "dataset_id", "facts")]
    return connection.execute(select(*columns).where(snapshot.c.id.in_(last)).order_by(snapshot.c.at)).all()


def snapshot_before(connection: Connection, dataset_id: int, reference_id: int, at: float) -> AnyRow | None:
    """The state of a dataset under a reference at a moment: its last snapshot until then."""
    query = select(snapshot).where(snapshot.c.dataset_id == dataset_id, snapshot.c.reference_id == reference_id, snapshot.c.at <= at)
    return connection.execute(query.order_by(snapshot.c.at.desc()).limit(1)).one_or_none()


def first_moment(connection: Connection, dataset_id: int) -> float | None:
    """When a dataset was first assessed."""
    found = connection.execute(select(func.min(snapshot.c.at)).where(snapshot.c.dataset_id == dataset_id)).scalar_one()
    return None if found is None else float(found)


# -- pictures


def items_named(connection: Connection, of: Project, names: Sequence[str]) -> dict[str, int]:
    """The row of each item that goes by one of these names, of its task or the one that it was pushed with."""
    found: dict[str, int] = {}
    for column in (item.c.external_id, item.c.marker):  # an index each
        for some in chunks([name for name in names if name not in found]):
            query = select(column, item.c.id).where(item.c.project_id == of.id, column.in_(some))
            found |= {row[0]: row.id for row in connection.execute(query)}
    return found


def strangest_of(connection: Connection, of: Project, dataset_id: int, limit: int) -> Sequence[AnyRow]:
    """The strangest outliers among the latest items of a dataset: id, external_id."""
    latest = select(item_dataset.c.item_id).where(item_dataset.c.dataset_id == dataset_id).order_by(item_dataset.c.item_id.desc())
    return _strangest(connection, of, latest.limit(LOOKED_THROUGH), limit)


def strangest_between(connection: Connection, of: Project, start: float, end: float, limit: int) -> Sequence[AnyRow]:
    """The strangest outliers among those that were judged last in a stretch of time: id, external_id."""
    latest = (
        select(verdict.c.item_id)
        .where(verdict.c.project_id == of.id, verdict.c.reference_id == of.reference_id, verdict.c.at >= start, verdict.c.at < end)
        .order_by(verdict.c.at.desc())
        .limit(LOOKED_THROUGH)
    )
    return _strangest(connection, of, latest, limit)


def _strangest(connection: Connection, of: Project, among: Select[Any], limit: int) -> Sequence[AnyRow]:
    found = among.subquery()
    judged = (verdict.c.item_id == found.c.item_id) & (verdict.c.reference_id == of.reference_id)
    query = (
        select(item.c.id, item.c.external_id)
        .select_from(found)
        .join(item, item.c.id == found.c.item_id)
        .join(verdict, judged)
        .where(verdict.c.route == "outlier", ~item.c.gone)
        .order_by(verdict.c.trust)
        .limit(limit)
    )
    return connection.execute(query).all()


# -- the service itself


def processes(connection: Connection) -> Sequence[AnyRow]:
    """The processes of the service, those that fell silent too."""
    return connection.execute(select(heartbeat).order_by(heartbeat.c.role, heartbeat.c.started_at)).all()


def latest_jobs(connection: Connection, limit: int) -> Sequence[AnyRow]:
    """The latest jobs of all projects, with their project's external_id."""
    query = select(job, project.c.external_id).join(project, project.c.id == job.c.project_id)
    return connection.execute(query.order_by(job.c.id.desc()).limit(limit)).all()


def failed_fields(connection: Connection, project_id: int) -> int:
    """How many tasks could not be given their fields."""
    query = select(func.count()).select_from(field_write).where(field_write.c.project_id == project_id, field_write.c.state == "failed")
    return int(connection.execute(query).scalar_one())


def retry_deliveries(connection: Connection, of: Project) -> int:
    """Let predictions that were refused be sent again, and those that wait after an error at once: how many."""
    now: dict[str, Any] = {"not_before": 0.0, "attempts": 0}
    refused = (delivery.c.project_id == of.id, delivery.c.state == "refused", delivery.c.reference_id.in_(of.references))
    again = connection.execute(update(delivery).where(*refused).values(state="pending", error=None, **now)).rowcount
    late = (delivery.c.project_id == of.id, delivery.c.state == "pending", delivery.c.error.is_not(None))
    return int(again + connection.execute(update(delivery).where(*late, delivery.c.not_before > 0).values(**now)).rowcount)


def retry_fields(connection: Connection, of: Project) -> int:
    """Let tasks be written whose fields could not be: how many."""
    failed = (field_write.c.project_id == of.id, field_write.c.state == "failed")
    return int(connection.execute(update(field_write).where(*failed).values(state="pending", attempts=0, not_before=0.0)).rowcount)


def clear_inbox(connection: Connection) -> int:
    """Forget webhooks that could not be read: how many."""
    return int(connection.execute(inbox.delete().where(inbox.c.state == "failed")).rowcount)
