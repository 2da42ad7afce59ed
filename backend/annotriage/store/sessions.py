"""Who is signed in to the dashboard. A session is found by its key alone; what lies here lets nobody in."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import Connection, delete, select, update

from annotriage.states import Role
from annotriage.store.schema import session


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in. granted: what an identity provider lets them do, None if they gave a password. ends_at: seconds since
    1970."""

    user: str
    granted: Role | None
    ends_at: float


def begin_session(connection: Connection, key: str, user: str, lifetime: float, granted: Role | None = None) -> None:
    """Remember who signed in, for so many seconds without a visit; those whose time is over are forgotten.

    granted: by an identity provider.
    """
    now = time.time()
    connection.execute(delete(session).where(session.c.ends_at <= now))
    connection.execute(session.insert().values(key=key, user=user, granted=granted, ends_at=now + lifetime))


def session_of(connection: Connection, key: str) -> Session | None:
    """Who is signed in with a key; None for nobody."""
    query = select(session.c.user, session.c.granted, session.c.ends_at).where(session.c.key == key)
    row = connection.execute(query).one_or_none()
    if row is None or row.ends_at <= time.time():
        return None
    return Session(str(row.user), None if row.granted is None else Role(row.granted), float(row.ends_at))


def prolong_session(connection: Connection, key: str, lifetime: float) -> None:
    """Let a session last for so many seconds from now; one that has ended stays so."""
    connection.execute(update(session).where(session.c.key == key).values(ends_at=time.time() + lifetime))


def end_session(connection: Connection, key: str) -> None:
    """Sign out."""
    connection.execute(delete(session).where(session.c.key == key))
