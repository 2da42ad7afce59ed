"""Jobs: what takes long and is asked for now and then, as a recalibration; one at a time per project and kind."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, or_, select, update

from annotriage.store.database import AnyRow
from annotriage.store.schema import heartbeat, job
from annotriage.store.work import DEAD_AFTER

GRACE_SECONDS = 60.0  # in which a process that has just taken a job may still have to give its first sign of life


def queue(connection: Connection, project_id: int, kind: str, payload: Mapping[str, Any] | None = None) -> int:
    """Ask for a job: its id. One of that kind that waits or runs already is not asked for twice."""
    query = select(job.c.id).where(job.c.project_id == project_id, job.c.kind == kind, job.c.state.in_(("queued", "running")))
    found = connection.execute(query.order_by(job.c.id).limit(1)).scalar_one_or_none()
    if found is not None:
        return int(found)
    values = {"project_id": project_id, "kind": kind, "state": "queued", "payload": dict(payload or {}), "at": time.time()}
    return int(connection.execute(job.insert().values(values).returning(job.c.id)).scalar_one())


def take(connection: Connection, owner: str, kinds: Sequence[str]) -> AnyRow | None:
    """The oldest job of these kinds that waits, or whose process died over it: it is this process's now."""
    now = time.time()
    living = select(heartbeat.c.owner).where(heartbeat.c.at > now - DEAD_AFTER)
    left = (job.c.state == "running") & (job.c.at < now - GRACE_SECONDS) & job.c.owner.not_in(living)
    query = select(job).where(job.c.kind.in_(kinds), or_(job.c.state == "queued", left)).order_by(job.c.id).limit(1)
    found = connection.execute(query.with_for_update(skip_locked=True)).one_or_none()
    if found is not None:
        connection.execute(update(job).where(job.c.id == found.id).values(state="running", owner=owner, at=now))
    return found


def progress(connection: Connection, id: int, text: str) -> None:
    """What a running job is at."""
    connection.execute(update(job).where(job.c.id == id).values(text=text))


def finish(connection: Connection, id: int, text: str, *, failed: bool = False) -> None:
    """A job has ended, with a sentence on what came of it."""
    state = "failed" if failed else "done"
    connection.execute(update(job).where(job.c.id == id).values(state=state, text=text, finished_at=time.time()))


def jobs_of(connection: Connection, project_id: int, limit: int = 20) -> Sequence[AnyRow]:
    """The latest jobs of a project."""
    return connection.execute(select(job).where(job.c.project_id == project_id).order_by(job.c.id.desc()).limit(limit)).all()
