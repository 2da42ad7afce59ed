"""A database that is of no use for a while: SQLite that somebody else has locked, PostgreSQL that takes no connections."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from sqlalchemy.engine import make_url

ALLOW = 'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {state}'
END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"


@contextmanager
def unusable(address: str) -> Iterator[None]:
    """A block in which nobody can write into a database; on PostgreSQL nobody can read it either. address: as SQLAlchemy takes it."""
    url = make_url(address)
    if url.get_backend_name() == "sqlite":
        with closing(sqlite3.connect(str(url.database), isolation_level=None, timeout=120)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
        return
    import psycopg

    beside = url.set(drivername="postgresql", database="template1").render_as_string(hide_password=False)
    with psycopg.connect(beside, autocommit=True) as admin:
        admin.execute(ALLOW.format(name=url.database, state="false"))
        admin.execute(END, [url.database])
        try:
            yield
        finally:
            admin.execute(ALLOW.format(name=url.database, state="true"))
