"""A program that outlives the process which started it: begun, recognised later, ended with all its children. Linux and macOS."""

from __future__ import annotations

import errno
import os
import random
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from annotriage.errors import SettingError

PATIENCE = 30.0  # seconds to end in good order
PORTS = range(20_000, 32_768)  # Linux gives outgoing connections those from 32768 on, macOS from 49152
SAME = 2.0  # seconds by which a start may seem to move when the clock is set


@dataclass(frozen=True, slots=True)
class Daemon:
    """A process. started: seconds since 1970, which tell it from a later one with the same id."""

    pid: int
    started: float

    def is_running(self) -> bool:
        """Whether it still is."""
        return self._process() is not None

    def end(self) -> None:
        """Ask it to end, wait, insist; its children go with it."""
        process = self._process()
        if process is None:
            return
        family = [process]
        with suppress(psutil.NoSuchProcess):
            family += process.children(recursive=True)
            process.terminate()
        for member in _left(family, PATIENCE):
            with suppress(psutil.NoSuchProcess):
                member.kill()
        _left(family, PATIENCE)

    def _process(self) -> psutil.Process | None:
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < SAME
        except psutil.NoSuchProcess:
            return None
        return process if same and _is_alive(process) else None


def _left(processes: Sequence[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Those of the processes that have not ended after so long."""
    limit = time.monotonic() + seconds
    while (left := [process for process in processes if _is_alive(process)]) and time.monotonic() < limit:
        time.sleep(0.05)
    return left


def _is_alive(process: psutil.Process) -> bool:
    """Whether a process runs. One that has ended may be listed until its parent asks, which in a container nobody may do."""
    try:
        with suppress(psutil.TimeoutExpired):
            process.wait(0)  # a child of ours that has ended is let go of
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@contextmanager
def begun(command: Sequence[str], log: Path, variables: Mapping[str, str]) -> Iterator[Daemon]:
    """A new process, in a session of its own, that appends what it says to `log`; ended if the block fails.

    Raises SettingError if it cannot be run.
    """
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    with launching(command[0]):  # not subprocess, which complains of a process that is still running when ours ends
        pid = os.posix_spawn(command[0], list(command), variables, file_actions=actions, setsid=True)
    daemon = Daemon(pid, psutil.Process(pid).create_time())
    try:
        yield daemon
    except BaseException:
        daemon.end()
        raise


@contextmanager
def launching(executable: str | Path) -> Iterator[None]:
    """A block that runs `executable`; raises SettingError if that cannot be run."""
    try:
        yield
    except OSError as error:
        reason = "its interpreter is gone (was the environment moved?)" if error.errno == errno.ENOENT else error.strerror
        raise SettingError(f"{executable}: cannot be run: {reason}. Install it there again") from error


def free_port() -> int:
    """A port of 127.0.0.1 on which nothing listens.

    Below those that outgoing connections get, where there are any: of these, one could be taken before a server has started on it.
    """
    for port in random.sample(PORTS, 100):
        if is_free(port):
            return port
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether nothing listens on that port of 127.0.0.1."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of a server that has ended may linger
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def last_lines(log: Path) -> str:
    """The end of a program's log, for a message that says why it did not come up."""
    return "\n".join(log.read_text("utf-8", "replace").splitlines()[-15:]) if log.exists() else "(there is none)"
