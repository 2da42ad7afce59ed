"""`annotriage serve`: the web process, and the worker and jobs processes that it starts, watches and ends.

A child that dies is started again, after a pause that grows. Children end when the web process does, however it ended: each holds one
end of a pipe whose other end only the web process has.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annotriage.errors import SettingError
from annotriage.service.operations.log import log, start_log
from annotriage.service.operations.process import Process
from annotriage.settings import ServiceSettings

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess


ROLES = ("worker", "jobs")
WATCH_SECONDS = 0.5
RESTART = (0.5, 2.0, 10.0, 30.0)  # seconds before a child that died again is started again
SOUND_SECONDS = 60.0  # a child that lived so long starts anew at once
END_SECONDS = 20.0


def serve(
    settings: ServiceSettings,
    say: Callable[[str], None],
    create_server: Callable[[Process, socket.socket], Any],
    config: Path | None = None,
) -> int:
    """Run the service until it is told to stop (Ctrl-C, SIGTERM): its exit status.

    create_server: makes the web server on a socket (annotriage.web.app.create_server).
    say: told where the service is, once it answers. Raises SettingError if the address is taken, StoreError if the database cannot be used.
    """
    start_log("web")
    listener = _listen(settings)
    settings = replace(settings, port=listener.getsockname()[1])
    process = Process(settings, "web", config)
    server = create_server(process, listener)
    children = Children(settings, config)
    watch = threading.Thread(target=children.watch, name="watch")
    beat = threading.Thread(target=process.beat, name="beat", daemon=True)

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        watch.start()
        beat.start()
        say(f"annotriage listens on {process.url} (user {settings.user}; annotriage password shows the password).")
        server.run()
    except KeyboardInterrupt:
        pass
    finally:
        say("Stopping: what is being judged is given back.")
        children.stop()
        watch.join()
        server.close()
        process.leave()
    return 0


@dataclass
class Children:
    """The worker and jobs processes."""

    settings: ServiceSettings
    config: Path | None
    _stopping: threading.Event = field(default_factory=threading.Event)
    _running: dict[str, tuple[SpawnProcess, Connection, float]] = field(default_factory=dict)
    _failures: dict[str, int] = field(default_factory=dict)

    def watch(self) -> None:
        """Start them, and start again what died, until `stop`; then end them."""
        again = dict.fromkeys(ROLES, 0.0)
        while not self._stopping.wait(WATCH_SECONDS if self._running else 0.0):
            for role in ROLES:
                child = self._running.get(role)
                if child is not None and not child[0].is_alive():
                    again[role] = time.monotonic() + self._buried(role)
                if role not in self._running and time.monotonic() >= again[role]:
                    self._start(role)
        self._end()

    def stop(self) -> None:
        """End them; `watch` returns when they are gone."""
        self._stopping.set()

    def _start(self, role: str) -> None:
        context = multiprocessing.get_context("spawn")
        theirs, ours = context.Pipe(duplex=False)
        child = context.Process(target=run_child, args=(role, self.settings, self.config, theirs), name=f"annotriage-{role}")
        child.start()
        theirs.close()
        self._running[role] = (child, ours, time.monotonic())

    def _buried(self, role: str) -> float:
        """Take a dead child away: seconds to wait before the next."""
        child, lifeline, started = self._running.pop(role)
        lifeline.close()
        lived = time.monotonic() - started
        failures = 0 if lived > SOUND_SECONDS else self._failures.get(role, 0)
        self._failures[role] = failures + 1
        wait = RESTART[min(failures, len(RESTART) - 1)]
        log("child ended", level=logging.ERROR, child=role, status=child.exitcode, lived=round(lived), again_in=wait)
        return wait

    def _end(self) -> None:
        for child, lifeline, _ in self._running.values():
            lifeline.close()
            if child.pid is not None:
                os.kill(child.pid, signal.SIGTERM)
        end = time.monotonic() + END_SECONDS
        for child, _, _ in self._running.values():
            child.join(max(0.1, end - time.monotonic()))
            if child.is_alive():
                child.kill()
                child.join()


def run_child(role: str, settings: ServiceSettings, config: Path | None, lifeline: Connection) -> None:
    """A child process from beginning to end; exits with the status of its main loop."""
    start_log(role)
    process = Process(settings, role, config)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the web process ends its children in order
    signal.signal(signal.SIGTERM, lambda _number, _frame: process.stopping.set())
    threading.Thread(target=_end_with_parent, args=(process, lifeline), name="lifeline", daemon=True).start()
    from threadpoolctl import threadpool_limits

    run = _main_loop(role)
    # One thread, for the whole process: small products that wait for threads while the model holds the cores take a hundred times as long.
    threadpool_limits(1)
    raise SystemExit(run(process))


def _main_loop(role: str) -> Callable[[Process], int]:
    if role == "worker":
        from annotriage.service.operations.worker import run_worker

        return run_worker
    from annotriage.service.operations.jobs import run_jobs

    return run_jobs


def _end_with_parent(process: Process, lifeline: Connection) -> None:
    """Wait until the web process has let go of the other end; then stop in order, or at once if that takes too long."""
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv()
    process.stopping.set()
    time.sleep(END_SECONDS)
    os._exit(1)


def _listen(settings: ServiceSettings) -> socket.socket:
    """Bind before anything starts, so that a port that is taken is told at once."""
    try:
        kind = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        listener = socket.socket(kind, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
    except OSError as error:
        raise SettingError(
            f"settings host, port: cannot listen on {settings.host}:{settings.port} ({error.strerror}); another service may be there:"
            " stop it, or choose another port"
        ) from error
    return listener
