"""`annotriage serve`: the web process, and the worker and jobs processes that it starts, watches and ends.

A child that dies is started again, after a pause that grows. One that hangs is killed, and then it is one that died: what it held is
free for others by then, and whatever it was in the middle of is taken up as after any death. Children end when the web process does,
however it ended: each holds one end of a pipe whose other end only the web process has.
"""

from __future__ import annotations

import contextlib
import logging
import math
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from annotriage.errors import SettingError, StoreError
from annotriage.labeling_tool import Check, labeling_tool
from annotriage.service.operations.calls import Foretold, tell, told
from annotriage.service.operations.joining import REFUSED
from annotriage.service.operations.log import log, start_log
from annotriage.service.operations.loops import SOON, Loop, Step, heartbeat
from annotriage.service.operations.notices import ways_of
from annotriage.service.operations.process import JOINING, Process
from annotriage.settings import ServiceSettings
from annotriage.store import work

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

ROLES = ("worker", "jobs")
WATCH_SECONDS = 0.5
RESTART = (0.5, 2.0, 10.0, 30.0)  # seconds before a child that died again is started again
LOOK_SECONDS = 30.0  # between two looks at the labeling tool
SOUND_SECONDS = 60.0  # a child that lived so long starts anew at once
END_SECONDS = 20.0
KILL_SECONDS = 5.0  # until a killed process is gone; one that waits for a disk that hangs may not be
STOPS = (signal.SIGINT, signal.SIGTERM)
SILENT = 36  # signs of life of the web process, one each five seconds, without one of a child: it hangs


class Server(Protocol):
    """A web server that is bound already."""

    def run(self) -> None:
        """Answer requests until the thread is interrupted."""

    def close(self) -> None:
        """Let go of the socket."""


def serve(
    settings: ServiceSettings,
    create_server: Callable[[Process, socket.socket], Server],
    say: Callable[[str], None],
    config: Path | None = None,
) -> int:
    """Run the service until it is told to stop (Ctrl-C, SIGTERM), or its worker may not join those of other replicas: its exit status.

    create_server: makes the web server on a socket (annotriage.web.app.create_server).
    say: told where the service is, once it answers, and what keeps it from the labeling tool. Raises SettingError without a token or if
    the address is taken, StoreError if the database cannot be used, or is SQLite and another service runs on it.
    """
    start_log("web")
    if not settings.label_studio_token:
        raise SettingError(wrong_with(labeling_tool().connect_server(settings).checks()))
    ways_of(settings)  # refuses those that cannot work
    listener = _listen(settings)
    settings = replace(settings, port=listener.getsockname()[1])
    process = Process(settings, "web", config)
    try:
        process.store.reserve()
    except StoreError:
        process.close()
        listener.close()
        raise
    server = create_server(process, listener)
    refused = threading.Event()

    def leave() -> None:
        refused.set()
        os.kill(os.getpid(), signal.SIGTERM)

    def start(role: str, joined: bool) -> Child:
        return start_child(role, settings, config, process.host, joined, process.judged.ring)

    children = Children(process, start, refused=leave)
    process.call_worker, process.foretell = children.call_worker, children.foretell
    watch = Loop(process, "children", [Step("children", children.watch)], WATCH_SECONDS, back_off=SOON)
    loops = (watch, heartbeat(process), looking(process, say))
    threads = [threading.Thread(target=loop.run, name=loop.name, daemon=True) for loop in loops]

    def stop(_number: int, _frame: object) -> None:
        _ignore_stops()
        raise KeyboardInterrupt

    for number in STOPS:
        signal.signal(number, stop)
    try:
        for thread in threads:
            thread.start()
        say(f"annotriage listens on {process.url} (user {settings.user}; annotriage password shows the password).")
        server.run()
    except KeyboardInterrupt:
        pass
    finally:
        _ignore_stops()
        process.stopping.set()
        why = "this replica may not join the others; the log line `not let join` says why."
        say(f"Stopping: {why if refused.is_set() else 'what is being judged is given back.'}")
        threads[0].join()  # no child is started any more
        children.end()
        server.close()
        process.leave()
    return int(refused.is_set())


def _ignore_stops() -> None:
    """Nothing interrupts a stop that has begun: it ends by itself within half a minute."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)


def looking(process: Process, say: Callable[[str], None]) -> Loop:
    """Looks at the labeling tool now and then: what is wrong with it or with our token is said at once, and by each sign of life."""

    def look() -> bool:
        wrong = wrong_with(process.server.checks())
        if wrong != process.trouble and not process.stopping.is_set():  # a service that stops has said its last sentence
            say(wrong or "The labeling tool can be used again.")
            log("labeling tool", level=logging.ERROR if wrong else logging.INFO, found=wrong or "can be used again")
            process.trouble = wrong
            process.beat()
        return False

    return Loop(process, "labeling tool", [Step("labeling tool", look)], LOOK_SECONDS, back_off=SOON)


def wrong_with(checks: Sequence[Check]) -> str:
    """What the checks found wrong, with the fix; "" if nothing."""
    return " ".join(f"{check.name}: {check.found.rstrip('.')}. {check.fix}".strip() for check in checks if check.ok is False)


class Child(Protocol):
    """A process that was started, as far as watching it takes."""

    @property
    def exitcode(self) -> int | None:
        """Its exit status; None while it runs."""

    @property
    def pid(self) -> int | None:
        """Its number, by which its signs of life are known."""

    def stop(self) -> None:
        """Ask it to end."""

    def call(self, foretold: Sequence[Foretold] = ()) -> None:
        """Tell it that somebody waits, or what it will be called for. Never waits itself, and raises nothing."""

    def join(self, timeout: float) -> None:
        """Wait for its end."""

    def kill(self) -> None:
        """End it at once, and wait a while for that."""


@dataclass
class _Running:
    """A child that runs. heard: when it gave its last sign of life, 0 before the first; at: how many we had given then."""

    child: Child
    started: float
    at: int
    heard: float = 0.0


class Children:
    """The worker and jobs processes.

    Whether one hangs is not told by any clock, which may jump, or stand still for all of them while the machine sleeps, but by what the
    web process itself writes meanwhile: where nobody can write to the database, nobody is held for hanging.
    """

    def __init__(
        self,
        process: Process,
        start: Callable[[str, bool], Child],
        clock: Callable[[], float] = time.monotonic,
        refused: Callable[[], None] = lambda: None,
    ) -> None:
        """start: starts a child of a role, told whether one of that role has worked here before. refused: called when a worker may not
        join those of other replicas; it is not started again."""
        self._process, self._start, self._clock, self._refused = process, start, clock, refused
        self._running: dict[str, _Running] = {}
        self._worked: set[str] = set()  # roles whose child has worked, and not only tried to join
        self._dead: dict[str, tuple[int, float]] = {}  # by role: failures in a row, and when the next one is started
        self._beats = 0  # of our own, when we last looked for theirs

    def watch(self) -> bool:
        """Start those that do not run: at first, and after a pause those that died or were ended as they hung; whether any was."""
        started = [self._keep_running(role) for role in ROLES]
        if self._beats != self._process.beats:
            self._beats = self._process.beats
            self._end_hung()
        return any(started)

    def call_worker(self) -> None:
        """Tell the worker, if one runs, that somebody waits for what is due now. From any thread."""
        running = self._running.get("worker")
        if running is not None:
            running.child.call()

    def foretell(self, foretold: Sequence[Foretold]) -> None:
        """Tell the worker, if one runs, what it will soon be called for. From any thread."""
        running = self._running.get("worker")
        if running is not None:
            running.child.call(foretold)

    def end(self) -> None:
        """End them, in order while there is time."""
        end = self._clock() + END_SECONDS
        children = [running.child for running in self._running.values()]
        for child in children:
            child.stop()
        for child in children:
            child.join(max(0.1, end - self._clock()))
            if child.exitcode is None:
                child.kill()

    def _end_hung(self) -> None:
        with self._process.store.reading() as connection:
            registered = [row for row in work.registered(connection) if row.host == self._process.host]
        signs = {("worker" if row.role == JOINING else row.role, row.pid): row.at for row in registered}
        at_work = {(row.role, row.pid) for row in registered}
        for role, running in self._running.items():
            child = (role, running.child.pid or 0)
            if child in at_work:
                self._worked.add(role)
            sign = signs.get(child, running.heard)  # who is held for dead has none any more
            if sign != running.heard:
                running.heard, running.at = sign, self._beats
            elif self._beats - running.at >= SILENT:
                log("child hangs", level=logging.ERROR, child=role, pid=running.child.pid, lived=round(self._clock() - running.started))
                running.child.kill()
                running.at = self._beats

    def _keep_running(self, role: str) -> bool:
        if role in self._running and (ended := self._running[role].child).exitcode is not None:
            if ended.exitcode == REFUSED:
                self._running.pop(role)
                ended.stop()
                self._dead[role] = (0, math.inf)
                if not self._process.stopping.is_set():
                    self._refused()
            else:
                self._bury(role)
        _, again = self._dead.get(role, (0, 0.0))
        if role in self._running or (role in self._dead and self._clock() < again):
            return False
        self._running[role] = _Running(self._start(role, role in self._worked), self._clock(), self._process.beats)
        return True

    def _bury(self, role: str) -> None:
        """Take a dead child away, and say when the next one is started."""
        running = self._running.pop(role)
        child, lived = running.child, self._clock() - running.started
        failures = 0 if lived > SOUND_SECONDS else self._dead.get(role, (0, 0.0))[0]
        wait = RESTART[min(failures, len(RESTART) - 1)]
        self._dead[role] = (failures + 1, self._clock() + wait)
        log("child ended", level=logging.ERROR, child=role, status=child.exitcode, lived=round(lived), again_in=wait)
        child.stop()


@dataclass(frozen=True)
class SpawnedChild:
    """A child process, with the end of the pipe whose closing tells it that its parent is gone, and through which it is called."""

    process: SpawnProcess
    lifeline: Connection
    _using: threading.Lock = field(default_factory=threading.Lock)  # the lifeline: once it is closed, its number may be another file's

    @property
    def exitcode(self) -> int | None:
        """Its exit status; None while it runs."""
        return self.process.exitcode

    @property
    def pid(self) -> int | None:
        """Its number."""
        return self.process.pid

    def stop(self) -> None:
        """Ask it to end."""
        with self._using:
            self.lifeline.close()
        self.process.terminate()

    def call(self, foretold: Sequence[Foretold] = ()) -> None:
        """Tell it that somebody waits, or what it will be called for. Never waits itself, and raises nothing."""
        with self._using, contextlib.suppress(OSError):  # it was told to end
            tell(self.lifeline.fileno(), foretold)

    def join(self, timeout: float) -> None:
        """Wait for its end."""
        self.process.join(timeout)

    def kill(self) -> None:
        """End it at once, and wait a while for that."""
        self.process.kill()
        self.process.join(KILL_SECONDS)


def start_child(
    role: str, settings: ServiceSettings, config: Path | None, host: str, joined: bool, judged: Callable[[], None]
) -> SpawnedChild:
    """Start a worker or jobs process. host: this machine, as the web process knows it: its name may change meanwhile. joined: whether one
    of that role has worked here before. judged: called, in a thread of its own, when it has written down verdicts."""
    context = multiprocessing.get_context("spawn")
    theirs, ours = context.Pipe(duplex=False)
    news, telling = context.Pipe(duplex=False)
    for written in (ours, telling):
        os.set_blocking(written.fileno(), False)  # one that hangs reads nothing
    process = context.Process(target=run_child, args=(role, settings, config, host, joined, theirs, telling), name=f"annotriage-{role}")
    process.start()
    theirs.close()
    telling.close()
    threading.Thread(target=listen, args=(news, judged), name=f"{role}'s news", daemon=True).start()
    return SpawnedChild(process, ours)


def listen(news: Connection, judged: Callable[[], None]) -> None:
    """Take what a child tells until it ends."""
    with news:
        for _ in told(news.fileno()):
            judged()


def run_child(
    role: str, settings: ServiceSettings, config: Path | None, host: str, joined: bool, lifeline: Connection, telling: Connection
) -> None:
    """A child process from beginning to end. host, joined: as of `start_child`. telling: where it says that verdicts were written down."""
    start_log(role)
    process = Process(settings, role, config, host)
    process.tell_judged = lambda: tell(telling.fileno())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the web process ends its children in order
    signal.signal(signal.SIGTERM, lambda _number, _frame: process.stopping.set())
    threading.Thread(target=_end_with_parent, args=(process, lifeline), name="lifeline", daemon=True).start()
    from threadpoolctl import threadpool_limits

    run = _main_loop(role, joined)
    # One thread, for the whole process: small products that wait for threads while the model holds the cores take a hundred times as long.
    threadpool_limits(1)
    run(process)


def _main_loop(role: str, joined: bool) -> Callable[[Process], None]:
    if role == "worker":
        from annotriage.service.operations.worker import run_worker

        return partial(run_worker, joined=joined)
    from annotriage.service.operations.jobs import run_jobs

    return run_jobs


def _end_with_parent(process: Process, lifeline: Connection) -> None:
    """Stop in order once the web process is gone, or at once if that takes too long."""
    heed(process, lifeline)
    time.sleep(END_SECONDS)
    os._exit(1)


def heed(process: Process, lifeline: Connection) -> None:
    """Take the web process's calls until it has let go of the other end; then the process is to stop."""
    try:
        for foretold in told(lifeline.fileno()):
            if foretold is None:
                process.called.set()
            else:
                process.foretold(foretold)
    finally:  # whatever becomes of a call, a process without its parent ends
        process.stopping.set()


def _listen(settings: ServiceSettings) -> socket.socket:
    """Bind before anything starts, so that a port that is taken is told at once."""
    listener = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen()  # two may bind as long as neither listens
    except OSError as error:
        listener.close()
        raise SettingError(
            f"settings host, port: cannot listen on {settings.host}:{settings.port} ({error.strerror}); another service may be there:"
            " stop it, or choose another port"
        ) from error
    return listener
