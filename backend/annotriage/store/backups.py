"""Backups: the whole database as one file, taken while the service runs, and put back into an empty or a given-up one.

A backup is a SQLite database, whatever it was taken of. SQLite copies itself, under one state, while others write; of PostgreSQL all rows
are read in one transaction that sees one state. So both need no program besides this one, the file can be looked into with any tool for
SQLite, and what was saved from one kind of database can be put back into the other: that is how a service moves. The inbox is left out:
polls bring what its webhooks tell.

Its checksum stands beside it, as `sha256sum --check` reads it. What is put back goes in as rows, in one transaction: all of it or nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic.runtime.migration import MigrationContext
from sqlalchemy import JSON, Connection, Table, Text, bindparam, cast, func, insert, select, text, update
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from annotriage.errors import DataError, OutputError, StateError, StoreError
from annotriage.progress import Progress, silent
from annotriage.states import DeliveryState
from annotriage.store.database import Store
from annotriage.store.schema import before_connecting, delivery, heartbeat, inbox, metadata, notice, project, session
from annotriage.store.work import living

PAGES = 2_000  # of SQLite in one step of copying
ROWS = 500  # in one step of copying,
LARGE = {"file_piece": 1, "map_piece": 4}  # and of tables whose rows are large
SKEW_SECONDS = 60.0  # by which the clocks of the labeling tool and of this machine may differ
CHECKSUM = ".sha256"
COPIED = [table for table in metadata.sorted_tables if table is not inbox]
UNSURE = (DeliveryState.PENDING, DeliveryState.SENDING)


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup on the disk. rows: in all tables. notes: sentences on what could not be checked."""

    file: str
    bytes: int
    rows: int
    projects: int
    notes: tuple[str, ...] = ()


def back_up(store: Store, file: Path, progress: Progress = silent, *, replace: bool = False) -> Backup:
    """Write the present state of the database into a file; the service may go on meanwhile.

    replace: whether the file may be there already. The file is made whole or not at all, and nobody but its owner can read it: it holds
    the service's secrets. Raises OutputError.
    """
    if file.exists() and not replace:
        raise OutputError(f"{file}: exists already; choose another name, or pass --replace")
    partial = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(partial, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600))
        (_copy_sqlite if store.is_sqlite else _copy_rows_out)(store, partial, progress)
        _settle(partial)
        found = _examine(partial)
        checksum = _checksum(partial, progress)
        partial.replace(file)
        file.with_name(file.name + CHECKSUM).write_text(f"{checksum}  {file.name}\n", "utf-8")
    except (OSError, sqlite3.Error, OperationalError) as error:
        why = getattr(error, "orig", None) or error
        raise OutputError(f"{file}: the backup could not be written ({why}); is there room, and may you write there?") from error
    finally:
        for left in ("", "-wal", "-shm", "-journal", "-inbox"):
            with contextlib.suppress(OSError):
                partial.with_name(partial.name + left).unlink()
    return Backup(str(file), file.stat().st_size, *found)


def restore(database: str, file: Path, progress: Progress = silent, *, force: bool = False) -> Backup:
    """Put a backup into a database, which is made if it is a file that is not there.

    database: as the setting. force: whether what the database holds may be given up. Nobody may use it meanwhile. What was on its way when
    the backup was taken is read back from the labeling tool before anything is sent; everybody must sign in again.
    Raises DataError if the file is no backup or damaged, StateError if a service runs on the database or it holds projects, StoreError if
    a newer version made the backup.
    """
    notes = _checked(file, progress)
    with tempfile.TemporaryDirectory(prefix="annotriage-") as folder:
        copy = Path(folder) / "backup.db"
        try:
            shutil.copyfile(file, copy)
        except OSError as error:
            raise DataError(
                f"{file}: cannot be copied to {folder} ({error.strerror}); is there room? TMPDIR names another place"
            ) from error
        with _opened(copy, str(file)) as source, contextlib.closing(Store(database)) as target:
            _put_back(source, target, progress, force)
        rows, projects = _examine(copy)
    return Backup(str(file), file.stat().st_size, rows, projects, notes)


# -- taking it


def _copy_sqlite(store: Store, partial: Path, progress: Progress) -> None:
    """The file's pages as of one moment: a reading transaction keeps others' writing out of what is copied."""
    with store.reading() as connection, contextlib.closing(sqlite3.connect(partial)) as target:
        connection.execute(select(func.count()).select_from(project)).scalar_one()  # the state that is seen begins here
        source: Any = connection.connection.driver_connection
        pages = source.execute("PRAGMA page_count").fetchone()[0]
        with progress("copying the database", pages) as advance:
            done = 0

            def step(_status: int, remaining: int, total: int) -> None:
                nonlocal done
                advance(total - remaining - done)
                done = total - remaining

            source.backup(target, pages=PAGES, progress=step)


def _copy_rows_out(store: Store, partial: Path, progress: Progress) -> None:
    """All rows as of one moment."""
    with contextlib.closing(Store(f"sqlite:///{partial}")) as target, store.reading() as there:
        _refuse_other_schema(there, target)
        with target.writing() as here:
            _empty(here)
            _copy(there, here, progress)


def _settle(partial: Path) -> None:
    """What is told of running processes is of no use later: they are dead then, and what they held is free."""
    with contextlib.closing(sqlite3.connect(partial)) as connection:
        connection.execute("UPDATE heartbeat SET at = 0")
        connection.execute("DELETE FROM session")
        connection.commit()
        connection.execute("PRAGMA journal_mode=DELETE")


def _examine(file: Path) -> tuple[int, int]:
    """How many rows and projects a backup has. Raises DataError if its structure is damaged."""
    with contextlib.closing(sqlite3.connect(file)) as connection:
        try:
            (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            dangling = connection.execute("PRAGMA foreign_key_check").fetchone()
            if found == "ok" and dangling is None:
                rows = sum(connection.execute(f'SELECT count(*) FROM "{table.name}"').fetchone()[0] for table in metadata.sorted_tables)
                return rows, connection.execute("SELECT count(*) FROM project").fetchone()[0]
        except sqlite3.DatabaseError as error:
            found = str(error)
    wrong = found if found != "ok" else f"rows of {dangling[0]} that belong to none of {dangling[2]}"
    raise DataError(f"{file}: is damaged ({wrong}); take another backup")


# -- putting it back


def _checked(file: Path, progress: Progress) -> tuple[str, ...]:
    """Notes on what of a backup cannot be checked. Raises DataError if it is none, or has changed since it was taken."""
    try:
        with file.open("rb") as stream:
            if not stream.read(16).startswith(b"SQLite format 3"):
                raise DataError(f"{file}: is no backup of annotriage; annotriage backup FILE makes one")
        beside = file.with_name(file.name + CHECKSUM)
        if not beside.exists():
            return (f"There is no {beside.name} beside it: whether the backup is still what was written cannot be told.",)
        if beside.read_text("utf-8").split()[:1] != [_checksum(file, progress)]:
            raise DataError(f"{file}: is not what was written (its checksum is not that of {beside.name}); take another backup")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read ({error}); check the path") from error
    return ()


@contextlib.contextmanager
def _opened(copy: Path, named: str) -> Iterator[Store]:
    """A backup's copy, at the present schema. Raises StoreError if a newer version made it, DataError if it is none."""
    with contextlib.closing(sqlite3.connect(copy)) as connection:
        try:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        except sqlite3.DatabaseError as error:
            raise DataError(f"{named}: is damaged ({error}); take another backup") from error
    if not {"alembic_version", project.name} <= tables:
        raise DataError(f"{named}: is a database of something else, and no backup of annotriage")
    try:
        store = Store(f"sqlite:///{copy}")
    except (StoreError, SQLAlchemyError) as error:
        raise StoreError(str(error).replace(f"sqlite:///{copy}", named)) from error
    with contextlib.closing(store):
        with store.reading() as connection:
            if MigrationContext.configure(connection).get_current_revision() not in store.known:
                raise StoreError(f"{named}: was made by a newer version of annotriage; restore it with that version")
        yield store


def _put_back(source: Store, target: Store, progress: Progress, force: bool) -> None:
    now = time.time()
    with source.reading() as there, target.writing() as here:
        _refuse_other_schema(here, source)
        _refuse_running(here)
        _refuse_full(here, force)
        _empty(here)
        _copy(there, here, progress)
        here.execute(session.delete())
        here.execute(notice.delete())  # people were told meanwhile
        here.execute(update(heartbeat).values(at=0.0))
        here.execute(update(project).values(restored_at=now + SKEW_SECONDS))
        here.execute(update(delivery).where(delivery.c.state.in_(UNSURE)).values(state=DeliveryState.UNKNOWN, not_before=0.0))
        for table in COPIED:
            if table not in (session, notice) and _rows(there, table) != _rows(here, table):
                raise StoreError(f"table {table.name}: not all rows arrived; nothing was changed: report this")
    with target.inbox.writing() as here:  # they told of what was given up
        here.execute(inbox.delete())


def _refuse_running(connection: Connection) -> None:
    if connection.dialect.name != "sqlite":
        connection.execute(text(f"LOCK TABLE {_names()} IN ACCESS EXCLUSIVE MODE"))  # nobody starts meanwhile
    running = living(connection)
    if running:
        shown = ", ".join(sorted({f"{process.role} on {process.host}" for process in running}))
        raise StateError(f"annotriage runs on this database ({shown}); stop it first. What was killed is forgotten after half a minute")


def _refuse_full(connection: Connection, force: bool) -> None:
    titles = connection.execute(select(project.c.title).order_by(project.c.id)).scalars().all()
    if (titles or _rows(connection, before_connecting)) and not force:
        raise StateError(
            f"the database holds {len(titles)} projects ({', '.join(titles)[:200]}); --force gives them up for those of the backup."
            " Take a backup of them before"
        )


def _refuse_other_schema(connection: Connection, of: Store) -> None:
    """Rows are copied between like tables alone. Raises StoreError."""
    present = MigrationContext.configure(connection).get_current_revision()
    if present != of.known[-1]:
        raise StoreError(f"the database is at migration {present}, this version at {of.known[-1]}: use the version that the service runs")


def _empty(connection: Connection) -> None:
    if connection.dialect.name != "sqlite":
        connection.execute(text(f"TRUNCATE {_names()}"))
        return
    for table in reversed(metadata.sorted_tables):
        connection.execute(table.delete())


def _names() -> str:
    return ", ".join(f'"{table.name}"' for table in metadata.sorted_tables)


def _rows(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def _copy(there: Connection, here: Connection, progress: Progress) -> None:
    """The rows of one database into the other, as they are, earlier ones first: a row may name one of its own table; ids go on behind the
    largest."""
    for table in COPIED:
        read = select(*(cast(column, Text).label(column.name) if isinstance(column.type, JSON) else column for column in table.c))
        read = read.order_by(*table.primary_key)
        write = insert(table).values({column.name: _given(column, here) for column in table.c})
        with progress(f"copying {table.name}", _rows(there, table)) as advance:
            size = LARGE.get(table.name, ROWS)
            for rows in there.execute(read.execution_options(yield_per=size)).mappings().partitions():
                here.execute(write, [{f"new_{name}": value for name, value in row.items()} for row in rows])
                advance(len(rows))
        if here.dialect.name != "sqlite" and "id" in table.c:
            last = select(func.coalesce(func.max(table.c.id), 0)).scalar_subquery()
            sequence = func.pg_get_serial_sequence(f'"{table.name}"', "id")
            here.execute(select(func.setval(sequence, func.greatest(last, 1), last > 0)))


def _given(column: Any, connection: Connection) -> Any:
    """The place of a value in an INSERT. JSON goes as its text: read and written again, null would become another null."""
    if not isinstance(column.type, JSON):
        return bindparam(f"new_{column.name}", type_=column.type)
    given = bindparam(f"new_{column.name}", type_=Text())
    return given if connection.dialect.name == "sqlite" else cast(given, column.type)


def _checksum(file: Path, progress: Progress) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream, progress("its checksum", file.stat().st_size) as advance:
        while piece := stream.read(2**22):
            digest.update(piece)
            advance(len(piece))
    return digest.hexdigest()
