"""Opening the database: SQLite in WAL mode or PostgreSQL, migrated to the present schema; transactions for reading and for writing.

No transaction holds a network or a model call. On SQLite a writing one begins IMMEDIATE: begun as a reading one it would fail, not
wait, when another process writes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import math
import sqlite3
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache, wraps
from pathlib import Path
from typing import IO, Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import (
    JSON,
    URL,
    BindParameter,
    Column,
    ColumnElement,
    Connection,
    Dialect,
    Engine,
    Float,
    Insert,
    LargeBinary,
    Table,
    Text,
    Update,
    bindparam,
    cast,
    create_engine,
    event,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    InterfaceError,
    InternalError,
    NoSuchModuleError,
    NotSupportedError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as NoConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from annotriage.errors import StoreError
from annotriage.store.schema import inbox as inbox_table
from annotriage.store.upgrading import refuse_newer, upgrade

BUSY_SECONDS = 10
LOCK_SECONDS = 20.0  # for a row of PostgreSQL that somebody else holds
# A host of PostgreSQL that is gone without a word is given up; libpq's names, and what the address says goes before.
PATIENCE = {
    "connect_timeout": BUSY_SECONDS,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
IDLE_SECONDS = 120.0  # for which a transaction on PostgreSQL may ask nothing
MANY = 16  # rows from which on a statement that is made once is quicker executed as it is for the driver
CACHE_KB = 16 * 1024  # of SQLite's pages that a connection keeps; the system keeps the file's pages, too
# Of SQLite's log that is moved into the file at once, 64 MB: what many transactions change, as pages of indexes, is moved once. The log
# takes that much on the disk, and what a process that died left in it is read, all of it once, before the database opens.
LOG_PAGES = 16_000
KEPT, MOST_CONNECTIONS = 6, 30  # connections to SQLite of a process that idle, each with its pages, and of those that it has at once
GAP_SECONDS = 0.004  # twice as long as who waits for the writer sleeps
# What the database raises on a bad day of its own, whatever it was asked: it is away, full, locked, or may not be written to. Not
# supported is what a spare server says of writing as long as it has not taken over.
DATABASE_TROUBLE = (StoreError, OperationalError, InternalError, InterfaceError, NotSupportedError, NoConnection)
P = ParamSpec("P")
T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
MIGRATION_LOCK = 4_242_041_915  # any number that nothing else in the database uses


class Database:
    """A database, and transactions on it; threadsafe. Make one per process: connections do not survive a fork."""

    def __init__(self, engine: Engine, *, checkpoints: bool) -> None:
        """checkpoints: whether this process may move SQLite's log into the file, which makes the writer at hand wait; the web process
        leaves it to the worker."""
        self.engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"
        # SQLite has one writer at a time and no queue: this process's threads take turns, and leave others a gap after each.
        self._turn = threading.RLock()
        # On SQLite every transaction sees the state of its first query; PostgreSQL must be asked for it.
        self._snapshot: dict[str, Any] = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self._gives_way = self.is_sqlite and checkpoints
        self._next_turn = 0.0
        self.file = Path(str(engine.url.database)).absolute()
        self._opened: tuple[int, int] | None = None
        self._refused = ""  # why this code may no longer touch the database

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database, however many queries it asks, and cannot write."""
        self._check()
        with self.engine.connect().execution_options(**self._snapshot, known={}) as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is committed when the block ends well and undone when it does not. Keep it short."""
        with self._transaction(keep=True) as connection:
            yield connection

    @contextlib.contextmanager
    def trying(self) -> Iterator[Connection]:
        """As `writing`, and undone in any case: for what writing would cost. Others wait for it as for any other."""
        with self._transaction(keep=False) as connection:
            yield connection

    @contextlib.contextmanager
    def _transaction(self, *, keep: bool) -> Iterator[Connection]:
        self._check()
        last: dict[Callable[[Connection, list[Any]], None], list[Any]] = {}
        with self._writer() as connection, connection.execution_options(last=last).begin() as transaction:
            yield connection
            for act, parts in last.items():
                act(connection, parts)
            if not keep:
                transaction.rollback()

    def compact(self) -> None:
        """Let what was overwritten leave SQLite's log, too, unless somebody reads it at this moment: then it does so later."""
        if self.is_sqlite:
            with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Let go of all connections."""
        self.engine.dispose()

    def _check(self) -> None:
        """Raise StoreError if the database is not this code's any more, or its file was deleted: what is written into that is lost."""
        if self._refused:
            raise StoreError(self._refused)
        if self._opened is not None and _identity(self.file) != self._opened:
            raise StoreError(
                f"{self.file}: was deleted or replaced while the service ran, and what is written is lost; stop the service, put the file"
                " back where it was (or accept that it is gone), and start again"
            )

    @contextlib.contextmanager
    def _writer(self) -> Iterator[Connection]:
        """A connection whose transactions write; on SQLite no other thread of this process has one meanwhile."""
        if not self.is_sqlite:
            with self.engine.connect().execution_options(writing=True) as connection:
                yield connection
            return
        until = time.monotonic() + BUSY_SECONDS
        if self._gives_way:
            self._turn.acquire()
            time.sleep(min(GAP_SECONDS, max(0.0, self._next_turn - time.monotonic())))
            until = time.monotonic() + BUSY_SECONDS
        elif not self._turn.acquire(timeout=BUSY_SECONDS):  # people wait for the web process: who comes last waits no longer
            raise StoreError("the database could not be written to: others have been writing for too long; try again in a moment")
        try:
            with self.engine.connect().execution_options(writing=True, until=until) as connection:
                yield connection
        finally:
            self._next_turn = time.monotonic() + GAP_SECONDS
            self._turn.release()

    def _know_file(self) -> None:
        """From now on the file must stay the one that it is."""
        self._opened = _identity(self.file) if self.is_sqlite else None


class Watch:
    """Tells whether a SQLite database was written to since it was last asked, without a transaction: it costs a hundredth of a query.

    Of PostgreSQL, which tells nothing of the kind, and of a file that cannot be looked at, it says that it was. For one thread alone.
    """

    def __init__(self, database: Database) -> None:
        self._file = database.file if database.is_sqlite else None
        self._connection: sqlite3.Connection | None = None
        self._version: int | None = None  # of the file's contents as this connection sees them

    def changed(self) -> bool:
        """Whether anybody, this process included, has committed anything since the last call. The first time it says yes."""
        if self._file is None:
            return True
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(f"{self._file.as_uri()}?mode=ro", uri=True, timeout=0.0)
            ((version,),) = self._connection.execute("PRAGMA data_version").fetchall()  # to its end, so that nothing stays open
        except sqlite3.Error:
            self.close()
            return True
        last, self._version = self._version, int(version)
        return self._version != last

    def close(self) -> None:
        """Let go of the file."""
        connection, self._connection, self._version = self._connection, None, None
        if connection is not None:
            connection.close()


class Store(Database):
    """The service's database.

    inbox: what webhooks are written to. On SQLite, which lets one write at a time, it is a file of its own: the labeling tool then never
    waits for what the worker writes. It holds what is told again by polls, and no migration reaches it.
    """

    inbox: Database

    def __init__(self, url: str, *, checkpoints: bool = True, make: bool = True) -> None:
        """Open and migrate. url: as the setting `database`.

        make: whether a file that is not there yet is made; only the service itself does so. checkpoints: as of Database. Raises StoreError
        saying what is wrong with the address or the database.
        """
        super().__init__(_engine(url, checkpoints, make), checkpoints=checkpoints)
        self._reserved: IO[str] | None = None
        self.inbox = self
        try:
            self._migrate()
            self._know_file()
            if self._opened is not None:
                self._open_inbox(checkpoints)
        except StoreError:
            self.close()
            raise
        except OperationalError as error:
            self.close()
            raise StoreError(
                f"{_shown(url)}: cannot be opened ({cause(error)}); check the setting database and that it is running"
            ) from error

    def reserve(self) -> None:
        """Let no other service run on this SQLite file as long as this process lives: each would take the other's work for its own.

        Raises StoreError if one does. PostgreSQL is for several.
        """
        if not self.is_sqlite:
            return
        import fcntl

        beside = self._beside("service")
        try:
            self._reserved = beside.open("a")
            fcntl.flock(self._reserved, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreError(
                f"{self.file}: another annotriage serve runs on this file; stop it first, give this one a database of its own, or use"
                " PostgreSQL, which several services may share"
            ) from error
        except OSError as error:
            raise StoreError(f"{beside}: cannot be written ({error.strerror}); the service needs to write where its database is") from error

    def refuse_newer(self) -> None:
        """Raise StoreError if a newer version has meanwhile changed what this code reads or writes: from then on nobody who uses this
        store reads or writes anything."""
        with self.reading() as connection:
            try:
                refuse_newer(connection, self.known)
            except StoreError as error:
                self._refused = f"{_shown(str(self.engine.url))}: {error}"
                raise StoreError(self._refused) from error

    def compact(self) -> None:
        """As of Database, in the inbox, too."""
        super().compact()
        if self.inbox is not self:
            self.inbox.compact()

    def close(self) -> None:
        """Let go of all connections, and of what was reserved."""
        super().close()
        if self.inbox is not self:
            self.inbox.close()
        if self._reserved is not None:
            self._reserved.close()

    def _migrate(self) -> None:
        with self._writer() as connection, _without_foreign_keys(connection), connection.begin():
            if not self.is_sqlite:
                connection.execute(text("SET LOCAL lock_timeout = 0"))  # migrations may take long
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
            try:
                self.known = upgrade(connection)
            except StoreError as error:
                raise StoreError(f"{_shown(str(self.engine.url))}: {error}") from error

    def _open_inbox(self, checkpoints: bool) -> None:
        """Raises OperationalError. A file that is damaged is made anew: what it told, polls bring."""
        file = self._beside("inbox")
        self.inbox = Database(_sqlite_engine(self.engine.url.set(database=str(file)), checkpoints), checkpoints=checkpoints)
        try:
            self._make_inbox()
        except OperationalError:  # busy, or not to be written
            raise
        except DatabaseError as error:
            self.inbox.close()
            for ending in ("", "-wal", "-shm"):
                Path(f"{file}{ending}").unlink(missing_ok=True)
            logging.getLogger(__name__).warning("%s was damaged and is made anew: %s", file, cause(error))
            self._make_inbox()
        self.inbox._know_file()

    def _make_inbox(self) -> None:
        with self.inbox.writing() as connection:
            inbox_table.create(connection, checkfirst=True)

    def _beside(self, what: str) -> Path:
        """A file that goes with the database's."""
        return self.file.with_name(f"{self.file.name}-{what}")


def at_the_end(connection: Connection, act: Callable[[Connection, list[Any]], None], part: Any) -> None:
    """Let `act` be called once, as the last thing in this writing transaction, with all the parts that are handed in for it."""
    connection.get_execution_options()["last"].setdefault(act, []).append(part)


def read_once(question: Callable[Concatenate[Connection, P], T]) -> Callable[Concatenate[Connection, P], T]:
    """For questions that a page asks again and again: within one `reading`, which sees one state of the database, the answer is kept.

    Whoever writes asks each time. All share one answer, and change nothing of it; arguments can be keys of a dictionary.
    """

    @wraps(question)
    def ask(connection: Connection, /, *args: P.args, **named: P.kwargs) -> T:
        known: dict[Any, T] | None = connection.get_execution_options().get("known")
        if known is None:
            return question(connection, *args, **named)
        asked = (question, args, tuple(named.items()))
        if asked not in known:
            known[asked] = question(connection, *args, **named)
        return known[asked]

    return ask


def read_each(
    question: Callable[Concatenate[Connection, Sequence[K], P], dict[K, T]],
) -> Callable[Concatenate[Connection, Sequence[K], P], dict[K, T]]:
    """As `read_once`, for questions about many things at once: within one `reading` none of them is asked for twice.

    The question gets the keys of those that are asked for, and answers for those that have an answer.
    """

    @wraps(question)
    def ask(connection: Connection, keys: Sequence[K], /, *args: P.args, **named: P.kwargs) -> dict[K, T]:
        known: dict[Any, dict[K, T | None]] | None = connection.get_execution_options().get("known")
        if known is None:
            return question(connection, keys, *args, **named)
        answers = known.setdefault((question, args, tuple(named.items())), {})
        new = [key for key in keys if key not in answers]
        if new:
            found = question(connection, new, *args, **named)
            answers.update((key, found.get(key)) for key in new)
        return {key: answer for key in keys if (answer := answers[key]) is not None}

    return ask


def among(name: str) -> BindParameter[Any]:
    """A list that a statement is given when it is executed, so that the statement itself is made once: to make one takes longer than to
    execute it."""
    return bindparam(name, expanding=True)


def _identity(file: Path) -> tuple[int, int] | None:
    """Which file that is, whatever it is called; None if there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def columns_of(table: Table, kind: type) -> list[Column[Any]]:
    """The columns of a table that a dataclass is made of: those of its fields' names, in their order."""
    return [table.c[field.name] for field in dataclasses.fields(kind)]


def texts(labels: Sequence[str] | None) -> tuple[str, ...] | None:
    """Labels out of a JSON column."""
    return None if labels is None else tuple(labels)


def stored(column: ColumnElement[Any]) -> ColumnElement[str]:
    """A JSON column as the text that it is stored as, for `labels_of` (where thousands are read, few of them differ) and `facts_of`."""
    return cast(column, Text)


@lru_cache(10_000)
def labels_of(text: str | None) -> tuple[str, ...] | None:
    """Labels out of their text; None of SQL's null and of JSON's."""
    found = None if text is None else json.loads(text)
    return None if found is None else tuple(found)


@lru_cache(64)
def facts_of(text: str) -> dict[str, Any]:
    """Facts out of their text, which are long and seldom change. All share them, and change nothing of them."""
    found: dict[str, Any] = json.loads(text)
    return found


def is_answering(connection: Connection) -> None:
    """Asks the database for nothing. Raises whatever its driver does if it does not answer."""
    connection.execute(select(1)).scalar_one()


def seconds_of_database(connection: Connection) -> float | None:
    """The time by the clock of the database's machine, as time.time() counts it; None on SQLite, which has no other."""
    if connection.dialect.name == "sqlite":
        return None
    return float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())


def insert(connection: Connection, table: Table) -> Any:
    """An INSERT of this database's own dialect, which knows what to do on a conflict."""
    return insert_on(connection.dialect.name, table)


def insert_on(dialect: str, table: Table) -> Any:
    """The same by the name of the dialect, for statements that are made once."""
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)


def execute_many(connection: Connection, statement: Insert | Update, rows: Sequence[Mapping[str, Any]]) -> None:
    """As `connection.execute(statement, rows)`, in a third of the time on SQLite where there are many rows, which all have the same keys.

    What takes the time there is not the database: values are looked up and converted one by one, by their names. A statement that is made
    once is compiled once.
    """
    if connection.dialect.name != "sqlite" or len(rows) < MANY:
        connection.execute(statement, rows)
    else:
        execute_columns(connection, statement, {name: [row[name] for row in rows] for name in rows[0]})


def execute_columns(connection: Connection, statement: Insert | Update, columns: Mapping[str, Sequence[Any]]) -> None:
    """As `execute_many`, with the values of each column at once: a dictionary a row takes longer than the database does."""
    count = len(next(iter(columns.values())))
    if connection.dialect.name != "sqlite" or count < MANY:
        connection.execute(statement, [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)])
        return
    sql, parameters = _compiled(statement, connection.dialect, tuple(columns))
    written = []
    for name, convert, constant in parameters:
        values = columns[name] if name in columns else [constant] * count
        written.append(values if convert is None else convert(values))
    connection.exec_driver_sql(sql, list(zip(*written, strict=True)))


@lru_cache(32)
def _compiled(
    statement: Insert | Update, dialect: Dialect, keys: tuple[str, ...]
) -> tuple[str, list[tuple[str, Callable[[Sequence[Any]], Sequence[Any]] | None, Any]]]:
    """A statement for rows with these keys, and of each of its parameters the name, what converts a column of it, and the value that stands
    in the statement itself."""
    compiled: Any = statement.compile(dialect=dialect, column_keys=list(keys))
    constants = compiled.params
    return str(compiled), [(name, _converter(compiled.binds[name].type, dialect), constants.get(name)) for name in compiled.positiontup]


def _converter(kind: Any, dialect: Dialect) -> Callable[[Sequence[Any]], Sequence[Any]] | None:
    """What makes of values of this type what SQLite's driver takes; None where it takes them as they are."""
    if isinstance(kind, Text):
        return _texts
    if isinstance(kind, JSON) and not kind.none_as_null:
        return _jsons
    convert = None if isinstance(kind, LargeBinary) else kind.dialect_impl(dialect).bind_processor(dialect)
    return None if convert is None else lambda values: [convert(value) for value in values]


def _texts(values: Sequence[Any]) -> Sequence[Any]:
    """The same with plain texts for members of enums: for each of those the driver looks through its adapters first."""
    if any(issubclass(kind, StrEnum) for kind in set(map(type, values))):
        return [str(value) if isinstance(value, StrEnum) else value for value in values]
    return values


def _jsons(values: Sequence[Any]) -> Sequence[str]:
    """JSON of each value. Dictionaries are written all at once: to begin takes longer than to write a small one."""
    if all(type(value) is dict for value in values):
        with contextlib.suppress(ValueError):  # a number that is not finite
            written = _in_lines(list(values))[1:-1]  # no text holds a bare newline
            found = written.replace("}\n, {", "}\n{").replace("\n, ", ", ").split("\n")
            if len(found) == len(values):  # else there are dictionaries within
                return found
    return [_json(value) for value in values]


class whole(FunctionElement[float]):  # noqa: N801, a function of SQL
    """A number that is not negative without its fraction. A cast does that on SQLite; PostgreSQL's rounds."""

    type = Float()
    inherit_cache = True
    name = "whole"


@compiles(whole)
def _whole(element: whole, compiler: SQLCompiler, **options: Any) -> str:
    return f"trunc({compiler.process(element.clauses, **options)})"


@compiles(whole, "sqlite")
def _whole_on_sqlite(element: whole, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **options)} AS INTEGER)"


def _engine(url: str, checkpoints: bool, make: bool) -> Engine:
    try:
        address = make_url(url)
        if address.drivername in ("postgresql", "postgres"):
            address = address.set(drivername="postgresql+psycopg")
        if address.get_backend_name() == "sqlite":
            if address.database not in (None, "", ":memory:"):
                file = Path(str(address.database)).absolute()
                if not make and not file.exists():
                    raise StoreError(
                        f"there is no database {file}: annotriage serve makes it when it first starts; if it runs elsewhere, give its"
                        " settings file with --config, or its ANNOTRIAGE_DATABASE"
                    )
                file.parent.mkdir(parents=True, exist_ok=True)
            return _sqlite_engine(address, checkpoints)
        if address.get_backend_name() != "postgresql":
            raise StoreError(f"setting database: {_shown(url)}: neither sqlite:///PATH nor postgresql://USER:PASSWORD@HOST/NAME")
        patience = {name: value for name, value in PATIENCE.items() if name not in address.query}
        engine = create_engine(address, pool_pre_ping=True, pool_size=20, json_serializer=_json, connect_args=patience)
        _tune_postgresql(engine)
        return engine
    except ModuleNotFoundError as error:
        raise StoreError(f'{_shown(url)}: needs {error.name}; pip install "annotriage[postgres]"') from error
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise StoreError(f"setting database: {_shown(url)} is no address of a database; as sqlite:///annotriage.db") from error
    except OSError as error:
        raise StoreError(f"setting database: {_shown(url)}: its folder cannot be made ({error.strerror}); choose another") from error


def _sqlite_engine(address: URL, checkpoints: bool) -> Engine:
    options = {"timeout": BUSY_SECONDS, "check_same_thread": False}
    # The connection that was used last is taken first: its pages are at hand, and the others' are not read.
    pool = {"pool_size": KEPT, "max_overflow": MOST_CONNECTIONS - KEPT, "pool_use_lifo": True}
    engine = create_engine(address, connect_args=options, json_serializer=_json, **pool)
    _tune_sqlite(engine, checkpoints)
    return engine


def _tune_postgresql(engine: Engine) -> None:
    """A row that somebody holds for ever, as a process that was stopped in its midst, is not waited for; PostgreSQL ends that session."""

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        connection.execute(f"SET lock_timeout = {LOCK_SECONDS * 1000:.0f}")
        connection.execute(f"SET idle_in_transaction_session_timeout = {IDLE_SECONDS * 1000:.0f}")
        connection.commit()


def _tune_sqlite(engine: Engine, checkpoints: bool) -> None:
    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions begin as `begin` says, not as the driver guesses
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", f"cache_size=-{CACHE_KB}"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.execute(f"PRAGMA wal_autocheckpoint={LOG_PAGES if checkpoints else 0}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get("writing"):
            _begin_writing(connection.connection.driver_connection, options["until"])
        else:
            connection.exec_driver_sql("BEGIN")


@contextlib.contextmanager
def _without_foreign_keys(connection: Connection) -> Iterator[None]:
    """A block in which SQLite follows no foreign key: a table that is built anew is dropped on the way, and would take with it all rows
    that name its own. PostgreSQL changes tables in place."""
    if connection.dialect.name != "sqlite":
        yield
        return
    driver: Any = connection.connection.driver_connection  # outside a transaction, where alone it can be said
    driver.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys=ON")


def _begin_writing(connection: Any, until: float) -> None:
    """Wait for the one writer that SQLite allows. Its own waiting sleeps up to 100 ms at a time: too long for a webhook."""
    connection.execute("PRAGMA busy_timeout=0")
    try:
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise StoreError(
                        f"the database could not be written to ({error}); another process holds it, or its disk is full"
                    ) from error
            time.sleep(0.002)
    finally:
        connection.execute(f"PRAGMA busy_timeout={1000 * BUSY_SECONDS}")


_encoded = json.JSONEncoder(allow_nan=False).encode
_in_lines = json.JSONEncoder(allow_nan=False, separators=("\n, ", ": ")).encode


def _json(value: Any) -> str:
    """JSON proper: what is not finite is null, which PostgreSQL insists on."""
    if type(value) in (list, tuple) and len(value) == 1 and type(value[0]) is str:  # most labels: thousands are written, and few differ
        return _one_text(value[0])
    try:
        return _encoded(value)
    except ValueError:
        return _encoded(finite(value))


@lru_cache(10_000)
def _one_text(text: str) -> str:
    return _encoded([text])


def finite(value: Any) -> Any:
    """The same value with null for every number that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(part) for key, part in value.items()}
    return [finite(part) for part in value] if isinstance(value, list | tuple) else value


def _shown(url: str) -> str:
    """The address without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return "the value"


def cause(error: Exception) -> str:
    """What went wrong, in the database's own words."""
    return str(getattr(error, "orig", None) or error).strip().split("\n")[0]
