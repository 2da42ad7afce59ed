"""Databases that many tests begin with: made once, and copied into the database of each of them."""

from __future__ import annotations

import filecmp
import itertools
import shutil
from contextlib import contextmanager
from pathlib import Path

import postgresql
from memory_tool import MemoryServer

from annotriage.service.operations.process import Process
from annotriage.settings import ServiceSettings

_numbers = itertools.count(1)


@contextmanager
def service(database, server=None):
    """A worker process that is not running, on that database, with the labeling tool in memory."""
    process = Process(ServiceSettings(database=database, label_studio_token="unused"), "worker")
    process.server = server or MemoryServer()
    try:
        yield process
    finally:
        process.leave()


def new(request, like):
    """The address of a further empty store, on the kind of database that `like` is an address of; it stays for the session."""
    number = next(_numbers)
    if like.startswith("sqlite"):
        file = request.getfixturevalue("tmp_path_factory").mktemp("beginning") / "store.db"
        shutil.copyfile(request.getfixturevalue("migrated"), file)
        return f"sqlite:///{file}"
    postgresql.copy(request.getfixturevalue("postgres_admin"), "migrated", f"beginning_{number}")
    return f"{like.rpartition('/')[0]}/beginning_{number}"


def is_empty(request, store):
    """Whether nothing was written yet into a store on SQLite; of one on PostgreSQL nobody asks."""
    if not store.is_sqlite:
        return False
    file = Path(store.engine.url.database)
    log = _beside(file, "-wal")
    return not (log.exists() and log.stat().st_size) and filecmp.cmp(file, request.getfixturevalue("migrated"), shallow=False)


def put(request, beginning, store):
    """Let an open store hold what is in the database at that address, whatever it held before."""
    store.engine.dispose()
    if store.is_sqlite:
        file = Path(store.engine.url.database)
        for name in ("-wal", "-shm"):
            _beside(file, name).unlink(missing_ok=True)
        shutil.copyfile(beginning.removeprefix("sqlite:///"), file)  # it stays the same file, or the store would take it for lost
        return
    admin, name = request.getfixturevalue("postgres_admin"), store.engine.url.database
    admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    postgresql.copy(admin, beginning.rpartition("/")[2], name)


def _beside(file, name):
    return file.with_name(file.name + name)
