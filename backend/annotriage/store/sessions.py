"""Who is signed in to the dashboard. A session is found by its key alone; what lies here lets nobody in."""

from __future__ import annotations

import time

from sqlalchemy import Connection, delete, select, update

from annotriage.store.schema import session


def begin_session(connection: Connection, key: str, user: str, lifetime: float) -> None:
    """Remember who signed in, for so many seconds without a visit; those whose time is over are forgotten."""
    now = time.time()
    connection.execute(delete(session).where(session.c.ends_at <= now))
    connection.execute(session.insert().values(key=key, user=user, ends_at=now + lifetime))


def session_of(connection: Connection, key: str) -> tuple[str, float] | None:
    """Who is signed in with a key, and when that ends in seconds since 1970; None for nobody."""
    row = connection.execute(select(session.c.user, session.c.ends_at).where(session.c.key == key)).one_or_none()
    return None if row is None or row.ends_at <= time.time() else (str(row.user), float(row.ends_at))


def prolong_session(connection: Connection, key: str, lifetime: float) -> None:
    """Let a session last for so many seconds from now; one that has ended stays so."""
    connection.execute(update(session).where(session.c.key == key).values(ends_at=time.time() + lifetime))


def end_session(connection: Connection, key: str) -> None:
    """Sign out."""
    connection.execute(delete(session).where(session.c.key == key))
