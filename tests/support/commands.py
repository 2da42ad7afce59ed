"""The commands of annotriage as their users run them: each in a process of its own, whose output and exit status tests see.

To load what a command needs takes a second and a half of a core; so one process beside the tests has loaded it, and forks for each command.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path

LOADED = (
    "annotriage.cli",
    "annotriage.engine.reference",
    "annotriage.service.operations.connecting",
    "annotriage.service.operations.doctor",
    "annotriage_label_studio.server.connection",
)
NUMBER = struct.Struct("!q")  # of a process, then of its exit status


class Command:
    """A command that was begun, as subprocess.Popen would have it. returncode: None until its end was seen."""

    returncode: int | None = None

    def __init__(self, words: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self.args = list(words)
        self._output = tempfile.TemporaryFile()  # noqa: SIM115, until the end of the command
        self._told, theirs = socket.socketpair()
        asked = json.dumps({"words": self.args, "folder": str(folder), "environment": dict(environment)})
        with theirs:
            socket.send_fds(_loaded(), [f"{asked}\n".encode()], [theirs.fileno(), self._output.fileno()])
        self.pid = self._number()

    def poll(self) -> int | None:
        """Its exit status; None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self._wait(0)
        return self.returncode

    def kill(self) -> None:
        """End it at once."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """Wait for its end: all that it said. Raises TimeoutExpired."""
        self._wait(timeout)
        with self._output:
            self._output.seek(0)
            return self._output.read().decode(), None

    def _wait(self, timeout: float | None) -> None:
        if self.returncode is not None:
            return
        if not select.select([self._told], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        with self._told:
            self.returncode = self._number()

    def _number(self) -> int:
        (number,) = NUMBER.unpack(self._told.recv(NUMBER.size, socket.MSG_WAITALL))
        return int(number)


@cache
def _loaded() -> socket.socket:
    """Where the process that has loaded everything is asked; it ends when this one does."""
    ours, theirs = socket.socketpair()
    with theirs:
        _kept.append(subprocess.Popen([sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()]))
    return ours


_kept: list[subprocess.Popen[bytes]] = []


def _serve(asked: socket.socket) -> None:
    """Begin what is asked for until nobody can ask any more. Also leaves, in a process of its own, with what a command leaves with."""
    for name in LOADED:
        import_module(name)
    keep_code(FOLDER)
    gc.freeze()  # or each command would look through all of it at its end
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for who attends to a command
    while True:
        text, handles, _, _ = socket.recv_fds(asked, 2**16, 2)
        while text and not text.endswith(b"\n"):
            text += asked.recv(2**16)
        if not text:
            return
        if os.fork() == 0:
            asked.close()
            _attend(json.loads(text), *handles)
            return
        for handle in handles:
            os.close(handle)


def _attend(asked: dict[str, object], answers: int, output: int) -> None:
    """Fork for one command, tell its process and how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid:
        os.write(answers, NUMBER.pack(pid))
        os.write(answers, NUMBER.pack(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
        os._exit(0)
    os.close(answers)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.close(output)
    os.chdir(str(asked["folder"]))
    os.environ.clear()
    os.environ.update(asked["environment"])  # type: ignore[call-overload]
    sys.argv = ["annotriage", *asked["words"]]  # type: ignore[misc]
    runpy.run_module("annotriage.cli", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    from kept_code import FOLDER, keep_code

    sys.path.pop(0)  # this folder
    _serve(socket.socket(fileno=int(sys.argv[1])))
