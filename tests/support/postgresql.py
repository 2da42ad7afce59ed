"""A real PostgreSQL for the tests, as its own user in a folder of that user: it refuses to run as root."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from running import free_port
from waiting import PATIENCE

if TYPE_CHECKING:
    import psycopg

MEMORY = Path("/dev/shm")
ROOM = 2 * 2**30  # bytes; four servers write less than half of it


def programs() -> Path | None:
    """The folder of PostgreSQL's programs; None where it is not installed."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    found = shutil.which("initdb")
    return installed[-1].parent if installed else Path(found).resolve().parent if found else None


@dataclass(frozen=True)
class Running:
    """A server. address: of its database `postgres`; restart: end it at once, as a crash does, and start it again; stand_by: start it
    again as the spare of a server that it never hears of, which everybody may read and nobody write; promote: that server's end.
    """

    address: str
    restart: Callable[[], None]
    stand_by: Callable[[], None]
    promote: Callable[[], None]


@contextmanager
def server(programs: Path) -> Iterator[str]:
    """A server for many small databases on a free port of 127.0.0.1, ended with the block: the address of its database `postgres`.

    To make a database is to write 600 files: on a disk that takes ten times as long as in memory, where these are if there is room.
    """
    roomy = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM
    with running(programs, MEMORY if roomy else None, "-c autovacuum=off -c max_wal_size=128MB") as found:
        yield found.address


@contextmanager
def running(programs: Path, place: Path | None = None, options: str = "") -> Iterator[Running]:
    """As `server`, one that may be restarted, and as large as it grows. place: where its folder is made, if not where temporary files
    are."""
    user = pwd.getpwnam(os.environ.get("POSTGRES_USER", "postgres")) if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    folder = Path(tempfile.mkdtemp(prefix="annotriage-postgres-", dir=place))
    os.chown(folder, user.pw_uid, user.pw_gid)
    data, log = folder / "data", folder / "log"
    port = free_port()

    def run(program: str, *arguments: object) -> None:
        as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
        done = subprocess.run([programs / program, *map(str, arguments)], cwd=folder, capture_output=True, text=True, **as_user)
        trouble = log.read_text("utf-8") if log.exists() else done.stderr
        assert done.returncode == 0, f"{program}: {trouble[-2000:]}"

    try:
        run("initdb", "-D", data, "-U", "annotriage", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=200 {options}"
        waiting = ("-D", data, "-w", "-t", f"{PATIENCE:.0f}")
        run("pg_ctl", *waiting, "-l", log, "-o", options, "start")
        restart = partial(run, "pg_ctl", *waiting, "-l", log, "-o", options, "restart", "-m")

        def stand_by() -> None:
            signal = data / "standby.signal"
            signal.touch()
            os.chown(signal, user.pw_uid, user.pw_gid)
            restart("fast")

        address, promote = f"postgresql+psycopg://annotriage@127.0.0.1:{port}/postgres", partial(run, "pg_ctl", *waiting, "promote")
        try:
            yield Running(address, partial(restart, "immediate"), stand_by, promote)
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def copy(admin: psycopg.Connection, template: str, name: str) -> None:
    """Make a database as another one is, which nobody uses meanwhile. Its files are copied; from PostgreSQL 15 on the default is to write
    each of its pages to the log."""
    strategy = "STRATEGY FILE_COPY" if admin.info.server_version >= 150_000 else ""
    admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} {strategy}")
