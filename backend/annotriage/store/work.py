"""Work: which items are to be judged, and who is at it. A lease that runs out gives an item back, so that a crash loses nothing."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Float, Integer, Select, and_, bindparam, case, func, or_, select, update

from annotriage.store import deliveries, jobs
from annotriage.store.counters import chunks
from annotriage.store.database import among, columns_of, insert, read_once
from annotriage.store.locks import lock_items
from annotriage.store.schema import delivery, field_write, heartbeat, item, project, work

LEASE_SECONDS = 60.0
SUSPECT = 2  # attempts after which an item is taken alone, so that it cannot take others along,
GIVEN_UP = 5  # and after which it fails: of three deaths during one item alone not all came from outside
DEAD_AFTER = 30.0  # seconds without a sign of life
STANDS_BACK = "stands back"  # the role of a name that says what a process leaves to others of its kind, as its model does not run there


@dataclass(frozen=True, slots=True)
class ClaimedItem:
    """An item that is to be judged: columns of `item`, and of `work` how often it was begun, and how often its media were asked for."""

    id: int
    external_id: str | None
    marker: str | None
    media: str
    media_hash: str
    group: str | None
    shown_dataset_id: int | None
    answer: str
    dismissed: bool
    sent_by: str | None
    attempts: int
    tries: int
    work_id: int


_ITEM = [item.c[name] for name in ClaimedItem.__dataclass_fields__ if name in item.c]


def to_try(connection: Connection, project_id: int, count: int) -> list[ClaimedItem]:
    """The last items of a project as a worker gets them; nothing is claimed, and there may be no work on them."""
    query = select(*_ITEM).where(item.c.project_id == project_id, ~item.c.gone).order_by(item.c.id.desc()).limit(count)
    return [ClaimedItem(**row._mapping, attempts=0, tries=0, work_id=0) for row in connection.execute(query)]


@dataclass(frozen=True)
class Claim:
    """Items of one project that this worker judges under one reference. suspect: it is one alone, and `begin` is to be told when."""

    project_id: int
    reference_id: int
    rows: Sequence[ClaimedItem]
    suspect: bool


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A process of the service, and when it last gave a sign of life. text: what keeps it from its work, "" if nothing does."""

    owner: str
    role: str
    host: str
    pid: int
    started_at: float
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Held:
    """A name that somebody holds alone: who, and since when, which tells two holders of one process apart."""

    name: str
    role: str
    host: str
    pid: int
    since: float


def claim(connection: Connection, owner: str, most: int, without: Collection[int] = ()) -> Claim | None:
    """Take up to `most` items that are due, all for one project and reference, under a lease; None if nothing is due.

    This counts as an attempt at those that are taken together: were they at hand when a worker died, that makes them suspects. At a suspect
    it does not: what the worker dies of may be another item, which it judges before, or the model as it is loaded.

    without: references under which the owner can judge nothing.
    """
    given = {"now": time.time(), "without": list(without)}
    first = connection.execute(_FIRST, given).one_or_none()
    if first is None:
        return None
    suspect = bool(first.attempts >= SUSPECT)
    if suspect:
        chosen, given = _SUSPECT, given | {"first": first.id}
    else:
        chosen, given = _TOGETHER, given | {"of_project": first.project_id, "of_reference": first.reference_id, "most": most}
    ids = connection.execute(chosen, given).scalars().all()
    if not ids:
        return None
    taken = {"by": owner, "until": time.time() + LEASE_SECONDS, "more": int(not suspect)}
    for some in chunks(ids):
        connection.execute(_TAKE, taken | {"these": some})
    rows = [ClaimedItem(**row._mapping) for some in chunks(ids) for row in connection.execute(_TAKEN, {"these": some})]
    return Claim(first.project_id, first.reference_id, rows, suspect)


# Made once: people wait for some claims, and to make these takes longer than to execute them.
_NOW = bindparam("now", type_=Float)
_DUE = and_(
    work.c.not_before <= _NOW,
    or_(work.c.lease_until.is_(None), work.c.lease_until < _NOW),
    work.c.reference_id.not_in(among("without")),
)
_CONNECTED = work.c.project_id.in_(select(project.c.id).where(~project.c.gone))
_IN_TURN = (work.c.urgent.desc(), work.c.id)
_FIRST = select(work.c.project_id, work.c.reference_id, work.c.attempts, work.c.id).where(_DUE, _CONNECTED).order_by(*_IN_TURN).limit(1)
_SUSPECT = select(work.c.id).where(_DUE, _CONNECTED, work.c.id == bindparam("first")).with_for_update(skip_locked=True)
_TOGETHER = (
    select(work.c.id)
    .where(_DUE, _CONNECTED, work.c.project_id == bindparam("of_project"), work.c.reference_id == bindparam("of_reference"))
    .where(work.c.attempts < SUSPECT)
    .order_by(*_IN_TURN)
    .limit(bindparam("most", type_=Integer))
    .with_for_update(skip_locked=True)
)
_TAKE = (
    update(work)
    .where(work.c.id.in_(among("these")))
    .values(owner=bindparam("by"), lease_until=bindparam("until"), attempts=work.c.attempts + bindparam("more", type_=Integer))
)
_TAKEN = (
    select(*_ITEM, work.c.attempts, work.c.tries, work.c.id.label("work_id"))
    .join(work, work.c.item_id == item.c.id)
    .where(work.c.id.in_(among("these")))
    .order_by(work.c.id)
)
_ANY = select(work.c.id).where(_DUE).order_by(*_IN_TURN).limit(1)


def anything_due(connection: Connection, without: Collection[int] = ()) -> bool:
    """Whether `claim` may find something: asked first, so that idle workers do not take turns at writing."""
    return connection.execute(_ANY, {"now": time.time(), "without": list(without)}).scalar_one_or_none() is not None


def renew(connection: Connection, owner: str) -> None:
    """Hold on to what this worker has claimed."""
    connection.execute(update(work).where(work.c.owner == owner).values(lease_until=time.time() + LEASE_SECONDS))


def begin(connection: Connection, owner: str, work_ids: Sequence[int]) -> None:
    """Count an attempt at suspects that this worker has claimed: from now on it does nothing else until they are finished or given back."""
    for ids in chunks(work_ids):
        connection.execute(update(work).where(work.c.id.in_(ids), work.c.owner == owner).values(attempts=work.c.attempts + 1))


def finish(connection: Connection, work_ids: Sequence[int]) -> None:
    """These items are judged. What nobody holds any more is to be judged anew: the item shows something else by now."""
    for ids in chunks(work_ids):
        connection.execute(_FINISH, {"these": ids})


_FINISH = work.delete().where(work.c.id.in_(among("these")), work.c.owner.is_not(None))


def put_off(connection: Connection, work_ids: Sequence[int], until: float, *, tried: bool = False) -> None:
    """Give items back, to be taken again at `until`. tried: their media could not be had this time."""
    if not work_ids:  # most often
        return
    values = {"owner": None, "lease_until": None, "not_before": until, "attempts": 0, "tries": work.c.tries + int(tried)}
    for ids in chunks(work_ids):
        connection.execute(update(work).where(work.c.id.in_(ids)).values(values))


def release(connection: Connection, work_ids: Sequence[int], until: float) -> None:
    """Give items back after a failure that nobody foresaw: their attempts still count, so that one that always fails ends alone."""
    for ids in chunks(work_ids):
        values = {"owner": None, "lease_until": None, "not_before": until}
        connection.execute(update(work).where(work.c.id.in_(ids)).values(values))


def there(connection: Connection, work_ids: Collection[int]) -> set[int]:
    """Which of this work is still to be done."""
    query = select(work.c.id)
    return {id for ids in chunks(sorted(work_ids)) for id in connection.execute(query.where(work.c.id.in_(ids))).scalars()}


def held(connection: Connection, owner: str) -> set[int]:
    """The work that an owner has claimed, whether or not it knows."""
    return set(connection.execute(select(work.c.id).where(work.c.owner == owner)).scalars())


@read_once
def waiting(connection: Connection, project_id: int, reference_id: int, most: int | None = None) -> int:
    """How many items are still to be judged under a reference, those that are being judged among them. most: at which counting ends."""
    return int(connection.execute(_waiting(most), {"of_project": project_id, "of_reference": reference_id}).scalar_one())


@lru_cache(8)
def _waiting(most: int | None) -> Select[int]:
    mine = (work.c.project_id == bindparam("of_project"), work.c.reference_id == bindparam("of_reference"))
    return select(func.count()).select_from(select(work.c.id).where(*mine).limit(most).subquery())


def beat(connection: Connection, owner: str, role: str, host: str, pid: int, text: str = "", started: float | None = None) -> None:
    """A sign of life of one process of the service. Who takes another role counts from then on as started.

    started: when it was, in its role, should it not be known (any more); by default now.
    """
    now = time.time()
    since = case((heartbeat.c.role == role, heartbeat.c.started_at), else_=now)
    values: dict[str, Any] = {"role": role, "started_at": since, "at": now, "text": text}
    if not connection.execute(update(heartbeat).where(heartbeat.c.owner == owner).values(values)).rowcount:
        values = {
            "owner": owner,
            "role": role,
            "host": host,
            "pid": pid,
            "started_at": now if started is None else started,
            "at": now,
            "text": text,
        }
        connection.execute(heartbeat.insert().values(values))


def living(connection: Connection) -> list[Heartbeat]:
    """The processes of the service that gave a sign of life lately."""
    since = time.time() - DEAD_AFTER
    return [process for process in registered(connection) if process.at > since]


def hold(connection: Connection, name: str, role: str, host: str, pid: int) -> Held | None:
    """Take a name as its only holder; None if somebody has it. It is held like a process lives: by signs of life, until it is buried."""
    held = Held(name, role, host, pid, time.time())
    return held if _take(connection, held) else None


def hold_on(connection: Connection, held: Held) -> None:
    """A sign of life for a name that is held. One that was buried meanwhile is taken again, unless somebody else has it by now."""
    if not connection.execute(update(heartbeat).where(*_holds(held)).values(at=time.time())).rowcount:
        _take(connection, held)


def let_go(connection: Connection, held: Held) -> None:
    """Give up a name that is held; what somebody else holds by that name stays theirs."""
    connection.execute(heartbeat.delete().where(*_holds(held)))


def _take(connection: Connection, held: Held) -> bool:
    values = {"owner": held.name, "role": held.role, "host": held.host, "pid": held.pid, "started_at": held.since, "at": time.time()}
    add = insert(connection, heartbeat).values(values).on_conflict_do_nothing(index_elements=["owner"])
    return connection.execute(add.returning(heartbeat.c.owner)).scalar_one_or_none() is not None


def _holds(held: Held) -> tuple[ColumnElement[bool], ...]:
    columns = heartbeat.c
    return columns.owner == held.name, columns.host == held.host, columns.pid == held.pid, columns.started_at == held.since


def trouble(living: Sequence[Heartbeat]) -> str:
    """What keeps the running service from its work, as it says itself; "" if nothing does."""
    return next((process.text for process in living if process.text), "")


def bury(connection: Connection, owners: Sequence[str]) -> None:
    """These processes are dead: what they held is free again, and what they were delivering has an unknown outcome."""
    jobs.take_back(connection, owners)
    for some in chunks(owners):
        held = (select(table.c.item_id).where(table.c.owner.in_(some)) for table in (work, delivery, field_write))
        lock_items(connection, [id for query in held for id in connection.execute(query).scalars()])
        free = {"owner": None, "lease_until": None}
        connection.execute(update(work).where(work.c.owner.in_(some)).values(free))
        deliveries.release(connection, some)
        connection.execute(update(field_write).where(field_write.c.owner.in_(some)).values(owner=None))
        connection.execute(heartbeat.delete().where(heartbeat.c.owner.in_(some)))


def registered(connection: Connection) -> list[Heartbeat]:
    """All processes that were started and not taken leave of."""
    return [Heartbeat(*row) for row in connection.execute(_REGISTERED)]


_REGISTERED = select(*columns_of(heartbeat, Heartbeat)).order_by(heartbeat.c.role, heartbeat.c.started_at)
