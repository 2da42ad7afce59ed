"""The inbox: webhooks as they came, kept until they are read."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlalchemy import Connection, select, update

from annotriage.store.database import AnyRow
from annotriage.store.schema import inbox

KEPT_FAILED = 1_000


def put(connection: Connection, body: bytes) -> None:
    """Keep a webhook's body."""
    connection.execute(inbox.insert().values(body=body, at=time.time()))


def unread(connection: Connection, most: int) -> Sequence[AnyRow]:
    """The oldest bodies that nobody has read: id, body."""
    query = select(inbox.c.id, inbox.c.body).where(inbox.c.state == "new").order_by(inbox.c.id).limit(most)
    return connection.execute(query).all()


def done(connection: Connection, id: int) -> None:
    """What it told is in the store: the body is not needed any more."""
    connection.execute(inbox.delete().where(inbox.c.id == id))


def failed(connection: Connection, id: int, error: str) -> None:
    """It could not be read; it stays, for people to look at."""
    connection.execute(update(inbox).where(inbox.c.id == id).values(state="failed", error=error))
    old = select(inbox.c.id).where(inbox.c.state == "failed").order_by(inbox.c.id.desc()).offset(KEPT_FAILED)
    connection.execute(inbox.delete().where(inbox.c.id.in_(old)))


def troubles(connection: Connection, limit: int = 20) -> Sequence[AnyRow]:
    """The latest bodies that could not be read: id, error, at."""
    query = select(inbox.c.id, inbox.c.error, inbox.c.at).where(inbox.c.state == "failed").order_by(inbox.c.id.desc()).limit(limit)
    return connection.execute(query).all()
