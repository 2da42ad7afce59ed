"""Jobs: what takes long and is asked for now and then, as a recalibration; at most one open per project and kind.

queued -> running -> done | failed. A job whose process died over it is queued again, a few times; then it has failed. What must be
done in any case, as an erasure, never has: it waits, and is tried again.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import JSON, ColumnElement, Connection, Select, and_, case, exists, func, literal, or_, select, true, update

from annotriage.states import JobState, Time
from annotriage.store.counters import drop_past_latest
from annotriage.store.database import columns_of, insert
from annotriage.store.schema import JOB_OPEN, heartbeat, job, project

ERASURE = "erase"  # the kind that is tried until it is done
LIMITS = "limits"  # the kind that changes the limits of a guarantee
LABEL_AUDIT = "label audit"
TRAINING = "training"
VERSIONS = "versions"  # two references are compared
MOST_ATTEMPTS = 3
REST_SECONDS = 3600.0  # before what must be done is tried again that so many processes died over
GRACE_SECONDS = 60.0  # in which a process that has just taken a job may still have to give its first sign of life


OPEN = (JobState.QUEUED, JobState.RUNNING)


class Cancelled(Exception):
    """A job is to be done here no more: a person cancelled it, or it is another process's by now."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job.

    payload: what its kind needs to know. text: what it is at, or what came of it; done, total: how far it is with that, in whatever it
    counts, total None where nobody knows; step_at: since when. attempts: times that it was begun.
    """

    id: int
    project_id: int
    kind: str
    state: JobState
    payload: Mapping[str, Any]
    text: str
    done: int
    total: int | None
    step_at: Time | None
    attempts: int
    at: Time
    finished_at: Time | None

    @property
    def left(self) -> float | None:
        """About how many seconds the step that it is at still takes; None where nobody knows."""
        if not self.total or not self.done or self.step_at is None or self.state != JobState.RUNNING:
            return None
        return (time.time() - self.step_at) / self.done * max(0, self.total - self.done)

    @property
    def open(self) -> bool:
        """Whether it waits or runs."""
        return self.state in OPEN


def queue(connection: Connection, project_id: int, kind: str, payload: Mapping[str, Any] | None = None) -> int:
    """Ask for a job: its id. One of that kind that waits or runs already is not asked for twice."""
    opened = select(job.c.id).where(job.c.project_id == project_id, job.c.kind == kind, job.c.state.in_(OPEN))
    while True:  # the job in the way may end between the two
        id = _add(connection, project_id, kind, payload or {}) or connection.execute(opened).scalar_one_or_none()
        if id is not None:
            return id


def queue_last_word(connection: Connection, project_id: int, kind: str, payload: Mapping[str, Any]) -> JobState | None:
    """Ask for a job whose latest payload is the one that counts; the state of the open job that it changed, None if there was none.

    One that waits gets the payload at once; one that runs is run again with it afterwards.
    """
    mine = (job.c.project_id == project_id, job.c.kind == kind)
    changes: dict[JobState, dict[str, Any]] = {
        JobState.QUEUED: {"payload": dict(payload), "not_before": 0.0},
        JobState.RUNNING: {"next_payload": dict(payload)},
    }
    while True:
        for state, values in changes.items():
            if connection.execute(update(job).where(*mine, job.c.state == state).values(values)).rowcount:
                return state
        if _add(connection, project_id, kind, payload) is not None:
            return None


def is_doing(connection: Connection, project_id: int, kind: str, payload: Mapping[str, Any]) -> bool:
    """Whether just this is at work, and nothing else is asked for after it."""
    running = select(job.c.payload, job.c.next_payload).where(job.c.project_id == project_id, job.c.kind == kind)
    row = connection.execute(running.where(job.c.state == JobState.RUNNING)).one_or_none()
    return row is not None and row.next_payload is None and row.payload == dict(payload)


def withdraw(connection: Connection, project_id: int, kind: str) -> bool:
    """What waits of that kind is not wanted any more; whether anything did. What runs goes on."""
    mine = (job.c.project_id == project_id, job.c.kind == kind)
    waiting = connection.execute(job.delete().where(*mine, job.c.state == JobState.QUEUED)).rowcount
    following = (*mine, job.c.state == JobState.RUNNING, job.c.next_payload.is_not(None))
    return bool(waiting or connection.execute(update(job).where(*following).values(next_payload=None)).rowcount)


def _add(connection: Connection, project_id: int, kind: str, payload: Mapping[str, Any]) -> int | None:
    """A new job: its id; None if one of that kind is open."""
    values = {"project_id": project_id, "kind": kind, "state": JobState.QUEUED, "payload": dict(payload), "at": time.time()}
    add = insert(connection, job).values(values).on_conflict_do_nothing(index_elements=["project_id", "kind"], index_where=JOB_OPEN)
    return connection.execute(add.returning(job.c.id)).scalar_one_or_none()


def open_payload(connection: Connection, project_id: int, kind: str) -> dict[str, Any]:
    """What an open job of that kind is still to do: what it waits with, or is to be run again with; {} if nothing is."""
    query = select(job.c.state, job.c.payload, job.c.next_payload).where(job.c.project_id == project_id, job.c.kind == kind)
    row = connection.execute(query.where(job.c.state.in_(OPEN))).one_or_none()
    return {} if row is None else dict((row.payload if row.state == JobState.QUEUED else row.next_payload) or {})


def asked_of(connection: Connection, id: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a job is at, and what it is to be run again with afterwards, {} if nothing."""
    row = connection.execute(select(job.c.payload, job.c.next_payload).where(job.c.id == id)).one()
    return dict(row.payload), dict(row.next_payload or {})


def any_waiting(connection: Connection, kinds: Sequence[str], without: Collection[int] = ()) -> bool:
    """Whether `take` may find something: asked first, so that nothing is written while there is nothing to do."""
    return connection.execute(_waiting(kinds, without).with_only_columns(job.c.id).limit(1)).scalar_one_or_none() is not None


def is_at_any(connection: Connection, owner: str, kinds: Sequence[str]) -> bool:
    """Whether a process runs a job of these kinds, as far as the store knows."""
    mine = (job.c.owner == owner, job.c.kind.in_(kinds), job.c.state == JobState.RUNNING)
    return connection.execute(select(job.c.id).where(*mine).limit(1)).first() is not None


def take(connection: Connection, owner: str, kinds: Sequence[str], without: Collection[int] = ()) -> Job | None:
    """The oldest job of these kinds that waits: it is this process's now. without: jobs that the owner leaves to others.

    New limits wait as long as another reference is taking over.
    """
    id = connection.execute(
        _waiting(kinds, without).with_only_columns(job.c.id).limit(1).with_for_update(skip_locked=True, of=job)
    ).scalar()
    if id is None:
        return None
    values = {"state": JobState.RUNNING, "owner": owner, "at": time.time(), "attempts": job.c.attempts + 1}
    query = update(job).where(job.c.id == id, job.c.state == JobState.QUEUED).values(values)
    if not connection.execute(query).rowcount:
        return None
    return _job(connection.execute(_JOBS.where(job.c.id == id)).one())


def begin_step(connection: Connection, id: int, owner: str, text: str, total: int | None) -> bool:
    """What a job that this owner runs is at from now on; False if it does so no more, because a person cancelled it, or it was held for
    dead and another one runs it."""
    values = {"text": text, "done": 0, "total": total, "step_at": time.time()}
    return connection.execute(update(job).where(*_run_by(id, owner)).values(values)).rowcount == 1


def advance(connection: Connection, id: int, owner: str, done: int) -> bool:
    """How far a job is with what it is at; False as for `begin_step`."""
    return connection.execute(update(job).where(*_run_by(id, owner)).values(done=done)).rowcount == 1


def hold(connection: Connection, id: int, owner: str) -> None:
    """A job that this owner runs is cancelled by nobody until the transaction ends: what it found can be kept in it. Raises Cancelled if
    the owner does so no more."""
    if not connection.execute(update(job).where(*_run_by(id, owner)).values(owner=owner)).rowcount:
        raise Cancelled


def _run_by(id: int, owner: str) -> tuple[ColumnElement[bool], ...]:
    return job.c.id == id, job.c.owner == owner, job.c.state == JobState.RUNNING


def is_running(connection: Connection, project_id: int, kind: str) -> bool:
    """Whether a job of that kind is at work in a project."""
    mine = (job.c.project_id == project_id, job.c.kind == kind, job.c.state == JobState.RUNNING)
    return connection.execute(select(job.c.id).where(*mine)).first() is not None


def is_wanted(connection: Connection, id: int) -> bool:
    """Whether a job waits or runs, wherever it does."""
    return connection.execute(select(job.c.id).where(job.c.id == id, job.c.state.in_(OPEN))).first() is not None


def cancel(connection: Connection, project_id: int, kind: str, *, waiting: bool = True, forget: bool = False) -> bool:
    """A job of that kind is wanted no more, whether it waits or runs; whether there was one. waiting: False leaves one that waits.
    forget: what it was asked for is not to be known any more."""
    states = OPEN if waiting else (JobState.RUNNING,)
    mine = (job.c.project_id == project_id, job.c.kind == kind, job.c.state.in_(states))
    values: dict[str, Any] = {"state": JobState.CANCELLED, "next_payload": None, "owner": None, "finished_at": time.time()}
    values |= {"payload": {}} if forget else {}
    return bool(connection.execute(update(job).where(*mine).values(values)).rowcount)


def finish(connection: Connection, id: int, text: str, *, failed: bool = False, forget: bool = False) -> bool:
    """A running job has ended, with a sentence on what came of it; it is queued again if somebody asked for something else meanwhile.

    False if it ran no more: nothing is changed then. forget: what it was asked for is not to be known any more.
    """
    running = (job.c.id == id, job.c.state == JobState.RUNNING)
    again = {"state": JobState.QUEUED, "owner": None, "payload": job.c.next_payload, "next_payload": None, "attempts": 0, "text": ""}
    if connection.execute(update(job).where(*running, job.c.next_payload.is_not(None)).values(again)).rowcount:
        return True
    state = JobState.FAILED if failed else JobState.DONE
    values: dict[str, Any] = {"state": state, "text": text, "owner": None, "finished_at": time.time()}
    values |= {"payload": {}} if forget else {}
    return connection.execute(update(job).where(*running).values(values)).rowcount == 1


def give_back(connection: Connection, owner: str, kinds: Sequence[str] | None = None) -> None:
    """A process stops in order: what it was at, or of these kinds, is queued again, and nobody holds that against the job."""
    values = {"state": JobState.QUEUED, "owner": None, "attempts": job.c.attempts - 1}
    mine = (job.c.owner == owner, job.c.state == JobState.RUNNING, true() if kinds is None else job.c.kind.in_(kinds))
    connection.execute(update(job).where(*mine).values(values))


def leave(connection: Connection, id: int, owner: str) -> bool:
    """A process cannot do what it has begun, and others may: it is queued again, and counts as begun. False if it ran here no more."""
    values = {"state": JobState.QUEUED, "owner": None, "text": "", "done": 0, "total": None, "step_at": None}
    return connection.execute(update(job).where(*_run_by(id, owner)).values(values)).rowcount == 1


def put_off(connection: Connection, id: int, owner: str, payload: Mapping[str, Any], reason: str, until: float) -> bool:
    """What must be done could not be done now: it waits with this payload, and is tried again then. False if it ran here no more.

    until: seconds since 1970.
    """
    values = {"state": JobState.QUEUED, "owner": None, "payload": dict(payload), "next_payload": None, "text": reason, "not_before": until}
    return connection.execute(update(job).where(*_run_by(id, owner)).values(values)).rowcount == 1


def take_back(connection: Connection, dead: Sequence[str]) -> None:
    """These processes died: what they were at is queued again, or has failed if too many died over it; what must be done rests then.

    So is what a process was at that nobody has ever heard of.
    """
    unheard = and_(job.c.at < time.time() - GRACE_SECONDS, job.c.owner.not_in(select(heartbeat.c.owner)))
    left = and_(job.c.state == JobState.RUNNING, or_(job.c.owner.in_(dead), unheard))
    if connection.execute(select(job.c.id).where(left).limit(1)).scalar_one_or_none() is None:
        return
    tired = job.c.attempts >= MOST_ATTEMPTS
    given_up, rests = and_(tired, job.c.kind != ERASURE), and_(tired, job.c.kind == ERASURE)
    reason = f"the process that ran it died, after {MOST_ATTEMPTS} attempts or more; look at its log and at the memory of the machine"
    values = {
        "state": case((given_up, JobState.FAILED.value), else_=JobState.QUEUED.value),
        "text": case((given_up, f"given up: {reason}"), (rests, reason), else_=job.c.text),
        "finished_at": case((given_up, time.time()), else_=None),
        "not_before": case((rests, time.time() + REST_SECONDS), else_=job.c.not_before),
        "owner": None,
    }
    connection.execute(update(job).where(left).values(values))


def drop_ended(connection: Connection, kept: int, most: int) -> int:
    """Forget jobs that ended, but for the latest `kept` of each project and kind, so many at most: how many."""
    return drop_past_latest(connection, job, job.c.state.not_in(OPEN), kept, most)


def jobs_of(connection: Connection, project_id: int | None = None, limit: int = 20, kinds: Sequence[str] = ()) -> list[Job]:
    """The latest jobs of a project, or of all. kinds: these alone, among however many others."""
    query = _JOBS.order_by(job.c.id.desc()).limit(limit)
    query = query.where(job.c.kind.in_(kinds)) if kinds else query
    return [_job(row) for row in connection.execute(query if project_id is None else query.where(job.c.project_id == project_id))]


def latest_of(connection: Connection, project_id: int, kind: str) -> Job | None:
    """The latest job of a kind, without its payload, which may be large: the open one, if one is. None if there was none."""
    query = select(*_WITHOUT_PAYLOAD).where(job.c.project_id == project_id, job.c.kind == kind).order_by(job.c.id.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else _job(row)


def latest_job(connection: Connection, project_id: int, kind: str) -> Job | None:
    """As `latest_of`, with its payload."""
    query = _JOBS.where(job.c.project_id == project_id, job.c.kind == kind).order_by(job.c.id.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else _job(row)


def failed_of(connection: Connection, project_id: int, after: float) -> list[Job]:
    """Of each kind the last job that failed, if it did after a moment and none of its kind is done or open since; without payloads."""
    mine = (job.c.project_id == project_id, job.c.state == JobState.FAILED)  # few: looked for along the index on states
    later = job.alias("later")
    same = (later.c.project_id == job.c.project_id, later.c.kind == job.c.kind, later.c.id > job.c.id)
    better = exists().where(*same, later.c.state.in_((JobState.DONE, *OPEN)))
    last = select(func.max(job.c.id)).where(*mine).group_by(job.c.kind)
    query = select(*_WITHOUT_PAYLOAD).where(job.c.id.in_(last), func.coalesce(job.c.finished_at, job.c.at) > after, ~better)
    return [_job(row) for row in connection.execute(query.order_by(job.c.id))]


_JOBS = select(*columns_of(job, Job))
_WITHOUT_PAYLOAD = [literal({}, JSON).label("payload") if column.name == "payload" else column for column in columns_of(job, Job)]


def _waiting(kinds: Sequence[str], without: Collection[int]) -> Select[Any]:
    takes_over = func.coalesce(project.c.next_reference_id, project.c.old_reference_id).is_not(None)
    ready = and_(or_(job.c.kind != LIMITS, ~takes_over), job.c.not_before <= time.time())
    query = select(job).join(project, project.c.id == job.c.project_id)
    query = query.where(job.c.id.not_in(without)) if without else query
    return query.where(job.c.kind.in_(kinds), job.c.state == JobState.QUEUED, ready).order_by(job.c.id)


def _job(row: Sequence[Any]) -> Job:
    id, project_id, kind, state, *rest = row
    return Job(id, project_id, kind, JobState(state), *rest)
