"""The inbox: webhooks as they came, kept until they are read."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select, update

from annotriage.states import Time
from annotriage.store.schema import inbox

KEPT_FAILED = 1_000
MOST_UNREAD, MOST_BYTES = 20_000, 512 * 2**20  # that wait to be read, on the disk
READ_BYTES = 8 * 2**20  # that are read at once, and take several times as much once they are parsed; a larger one alone


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook as it came."""

    id: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A webhook that could not be read, and why."""

    id: int
    error: str
    at: Time


def put(connection: Connection, *bodies: bytes) -> None:
    """Keep the bodies of webhooks."""
    now = time.time()
    connection.execute(inbox.insert(), [{"body": body, "at": now} for body in bodies])


def is_full(connection: Connection) -> bool:
    """Whether so much waits to be read that more would only fill the disk: the polls bring what it would tell."""
    sizes = select(func.length(inbox.c.body).label("size")).where(inbox.c.state == "new").limit(MOST_UNREAD + 1).subquery()
    count, total = connection.execute(select(func.count(), func.coalesce(func.sum(sizes.c.size), 0)).select_from(sizes)).one()
    return bool(count > MOST_UNREAD or total > MOST_BYTES)


def unread(connection: Connection, most: int) -> list[Webhook]:
    """The oldest that nobody has read: so many at most, and no more than fit into memory beside each other."""
    sizes = select(inbox.c.id, func.length(inbox.c.body)).where(inbox.c.state == "new").order_by(inbox.c.id).limit(most)
    ids: list[int] = []
    left = READ_BYTES
    for id, size in connection.execute(sizes):
        left -= size
        if ids and left < 0:
            break
        ids.append(id)
    if not ids:
        return []
    query = select(inbox.c.id, inbox.c.body).where(inbox.c.id.in_(ids)).order_by(inbox.c.id)
    return [Webhook(*row) for row in connection.execute(query)]


def done(connection: Connection, ids: Sequence[int]) -> None:
    """What they told is in the store: the bodies are not needed any more."""
    connection.execute(inbox.delete().where(inbox.c.id.in_(ids)))


def failed(connection: Connection, id: int, error: str) -> None:
    """It could not be read; it stays, for people to look at."""
    connection.execute(update(inbox).where(inbox.c.id == id).values(state="failed", error=error))
    old = select(inbox.c.id).where(inbox.c.state == "failed").order_by(inbox.c.id.desc()).offset(KEPT_FAILED)
    connection.execute(inbox.delete().where(inbox.c.id.in_(old)))


def drop_failed(connection: Connection, before: float) -> int:
    """Forget those that could not be read and came before a moment: how many."""
    return int(connection.execute(inbox.delete().where(inbox.c.state == "failed", inbox.c.at < before)).rowcount)


def troubles(connection: Connection, limit: int = 20) -> list[Unreadable]:
    """The latest that could not be read."""
    query = select(inbox.c.id, inbox.c.error, inbox.c.at).where(inbox.c.state == "failed").order_by(inbox.c.id.desc()).limit(limit)
    return [Unreadable(*row) for row in connection.execute(query)]


def states(connection: Connection) -> dict[str, int]:
    """How many webhooks were not read yet (new), and how many cannot be (failed)."""
    query = select(inbox.c.state, func.count()).where(inbox.c.state.in_(("new", "failed"))).group_by(inbox.c.state)
    return {"new": 0, "failed": 0} | {state: int(count) for state, count in connection.execute(query)}


def clear(connection: Connection) -> int:
    """Forget webhooks that could not be read: how many."""
    return int(connection.execute(inbox.delete().where(inbox.c.state == "failed")).rowcount)
