"""What every process of the service holds open: its settings, the store, the labeling tool, and the references it has read."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from annotriage.errors import StateError, StoreError
from annotriage.labeling_tool import LabelingTool, ToolProject, ToolServer, labeling_tool
from annotriage.service.operations.calls import Bell, Foretold
from annotriage.service.operations.log import log
from annotriage.service.operations.machine import machine
from annotriage.service.operations.references import OpenReferences
from annotriage.settings import ServiceSettings, Settings
from annotriage.store import DATABASE_TROUBLE, Store, jobs
from annotriage.store import work as work_queries
from annotriage.store.database import cause
from annotriage.store.projects import Project
from annotriage.store.secrets import secret_of
from annotriage.store.waits import end_impossible_waits

if TYPE_CHECKING:  # the web process never loads what judges
    from annotriage.engine.reference import Reference


STEP = 60.0  # seconds by which a clock that was put right may go back unnoticed
JOINING = "joining"  # the role of a worker that is not let join the others yet: nobody counts on it
VISITORS = ("command", "doctor")  # roles that look at a service or change it, and begin none


def _nobody(*_told: object) -> None:
    """Nobody can be told from here: who would be looks by itself before long."""


class Process:
    """One process of the service. Threadsafe.

    owner: the name under which it holds leases. Raises StoreError or SettingError if the store or the labeling tool cannot be used.
    """

    def __init__(self, settings: ServiceSettings, role: str, config: Path | None = None, host: str = "") -> None:
        """config: the settings file, for how the model runs (device, threads, batch_size). host: the machine's name as the process that
        started this one knows it, by default as it is now."""
        self.settings, self.role, self.config = settings, role, config
        self.host, self.pid = host or machine(), os.getpid()
        self.owner = f"{role}@{socket.gethostname()}:{self.pid}:{secrets.token_hex(4)}"
        self.store = Store(settings.database, checkpoints=role != "web", make=role not in VISITORS)
        self.tool: LabelingTool = labeling_tool()
        self.server: ToolServer = self.tool.connect_server(settings)
        self.joining = False  # whether its signs of life say that nobody is to count on it yet
        self._since = (role, time.time())  # its role, and when it took that
        self.beats = 0  # signs of life that were written down
        self.unwritten = ""  # why the last sign of life could not be written down
        self.trouble = ""  # why the labeling tool cannot be used; others learn of it by the sign of life
        self.stopping = threading.Event()
        self.called = threading.Event()  # set in the worker when somebody waits for what is due now: it looks at once
        self.call_worker: Callable[[], None] = _nobody  # in the web process, what sets it,
        self.foretell: Callable[[Sequence[Foretold]], None] = _nobody  # and what tells the worker before that what it will find;
        self.foretold: Callable[[Foretold], None] = _nobody  # in the worker, what is done then
        self.judged = Bell()  # in the web process: rings when the worker has written down verdicts
        self.tell_judged: Callable[[], None] = _nobody  # in the worker, what rings it
        self._lock = threading.Lock()
        self._files = tempfile.TemporaryDirectory(prefix="annotriage-")
        self._projects: dict[tuple[str, tuple[str, ...]], ToolProject] = {}
        self._clock = 0.0  # how far it is ahead of the time since the machine was started; 0 before the first sign of life
        self._references = OpenReferences(self.store, Path(self._files.name))

    def tool_project(self, project: Project) -> ToolProject:
        """The project in the labeling tool."""
        return self.named_project(project.external_id, project.classes)

    def named_project(self, external_id: str, classes: tuple[str, ...]) -> ToolProject:
        """The same by what the tool and the model call things."""
        key = (external_id, classes)
        with self._lock:
            if key not in self._projects:
                self._projects[key] = self.server.project(*key)
            return self._projects[key]

    def reference(self, id: int) -> Reference:
        """A reference, read from the database once, and kept as long as a project uses it. Raises UnknownError, MismatchError."""
        return self._references.get(id)

    def run_settings(self, reference: Reference) -> Settings:
        """How this process runs the model of a reference."""
        return Settings.load(self.config, fitted=reference.settings)

    @property
    def password(self) -> str:
        """The password of the service's own interfaces: that of the settings, or one that was made once and kept."""
        return self.settings.password or secret_of(self.store, "password")

    @property
    def webhook_secret(self) -> str:
        """What the labeling tool's webhooks carry."""
        return secret_of(self.store, "webhook")

    @property
    def url(self) -> str:
        """Where the labeling tool, and whoever is told of something, reaches the service."""
        return own_address(self.settings)

    def beat(self) -> bool:
        """Give a sign of life, hold on to leases, and free those of processes that died.

        Raises StoreError once a newer version has made the database its own: what is held here is then free before long.
        """
        try:
            self.store.refuse_newer()
            with self.store.writing() as connection:
                role = JOINING if self.joining else self.role
                if role != self._since[0]:
                    self._since = (role, time.time())
                work_queries.beat(connection, self.owner, role, self.host, self.pid, self.trouble, self._since[1])
                work_queries.renew(connection, self.owner)
                self._bury_dead(connection)
            if self._put_back():
                with self.store.writing() as connection:
                    ended = end_impossible_waits(connection)
                if ended:
                    log("waits ended that the clock had made", level=logging.WARNING, waits=ended)
        except DATABASE_TROUBLE as error:
            self.unwritten = cause(error)
            raise
        self.unwritten = ""
        self.beats += 1
        return False

    def others(self, role: str) -> list[work_queries.Heartbeat]:
        """The living processes of a role besides this one, wherever they run."""
        with self.store.writing() as connection:
            self._bury_dead(connection)
            return [row for row in work_queries.living(connection) if row.role == role and row.owner != self.owner]

    def _put_back(self) -> bool:
        """Whether the clock was put back since the last sign of life; before the first one it may have been."""
        before, self._clock = self._clock, time.time() - time.monotonic()
        return self.role == "worker" and (not before or self._clock < before - STEP)

    @contextmanager
    def alone(self, doing: str, refusal: str = "") -> Iterator[None]:
        """A block that runs once at a time, wherever it does. Who is killed in it holds it up for half a minute at most.

        doing: what is done and what with, as "connecting project 3". refusal: what somebody is told meanwhile, by default that another
        command does it. Raises StateError with that.
        """
        with self.store.writing() as connection:
            self._bury_dead(connection)
            held = work_queries.hold(connection, doing, "command", self.host, self.pid)
        if held is None:
            other = f"another command is {doing} at this moment; wait until it has ended, then look at annotriage status"
            raise StateError(refusal or other)
        ended = threading.Event()

        def hold_on() -> None:
            while not ended.wait(work_queries.DEAD_AFTER / 6):
                with suppress(*DATABASE_TROUBLE), self.store.writing() as connection:  # there may be time for another one
                    work_queries.hold_on(connection, held)

        holding = threading.Thread(target=hold_on, name="alone", daemon=True)
        holding.start()
        try:
            yield
        finally:
            ended.set()
            holding.join()
            with suppress(*DATABASE_TROUBLE), self.store.writing() as connection:  # else it is free in half a minute
                work_queries.let_go(connection, held)

    def _bury_dead(self, connection: Connection) -> None:
        dead = [row.owner for row in work_queries.registered(connection) if self._is_dead(row.host, row.pid, row.at)]
        work_queries.bury(connection, dead)

    def leave(self) -> None:
        """Take leave: what is still held is free at once."""
        self.stopping.set()
        try:
            with self.store.writing() as connection:
                jobs.give_back(connection, self.owner)
                work_queries.bury(connection, [self.owner])
        except (StoreError, SQLAlchemyError) as error:  # without a database its leases run out by themselves
            log("leave not taken", level=logging.WARNING, error=error)
        finally:
            self.close()

    def close(self) -> None:
        """Let go of connections and files, after an error in which no leave can be taken. A child process runs no exit handlers."""
        self.store.close()
        self._files.cleanup()

    def _is_dead(self, host: str, pid: int, at: float) -> bool:
        return at < time.time() - work_queries.DEAD_AFTER or (host == self.host and not _runs(pid))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def people_address(settings: ServiceSettings) -> str:
    """Where people reach the dashboard, without a slash at the end."""
    return settings.public_url.rstrip("/") or own_address(settings)


def own_address(settings: ServiceSettings) -> str:
    """Where others reach the service by these settings, without a slash at the end."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    return (settings.service_url or f"http://{f'[{host}]' if ':' in host else host}:{settings.port}").rstrip("/")
