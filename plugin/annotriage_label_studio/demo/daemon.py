"""A program that outlives the process which started it: begun, recognised later, ended with all its children.

For `server`, beside the walk `data -> model -> latent -> triage -> store -> delivery`. Linux and macOS.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from annotriage.errors import SettingError

PATIENCE = 10.0  # seconds to end in good order


@contextmanager
def begun(command: Sequence[str], log: Path, variables: Mapping[str, str]) -> Iterator[int]:
    """The id of a new process, in a session of its own, that appends what it says to `log`; ended if the block fails.

    Raises SettingError if it cannot be run.
    """
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    with launching(command[0]):
        pid = os.posix_spawn(command[0], list(command), variables, file_actions=actions, setsid=True)
    try:
        yield pid
    except BaseException:
        end(pid)
        raise


def began(pid: int) -> str | None:
    """When a process began, in the system's own words, which tell it from a later one with the same id; None if it has ended."""
    with suppress(ChildProcessError):
        if os.waitpid(pid, os.WNOHANG)[0] == pid:  # a child of ours that has ended is let go of
            return None
    if Path("/proc/self/stat").exists():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] == "Z" else fields[19]
    listed = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return listed.stdout.strip() or None


def end(pid: int) -> None:
    """Ask the process and its children to end, wait, insist."""
    this_one = began(pid)
    for request in (signal.SIGTERM, signal.SIGKILL):
        limit = time.monotonic() + PATIENCE
        if this_one is not None and began(pid) == this_one:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, request)
        while began(pid) == this_one is not None and time.monotonic() < limit:
            time.sleep(0.05)


@contextmanager
def launching(executable: str | Path) -> Iterator[None]:
    """A block that runs `executable`; raises SettingError if that cannot be run."""
    try:
        yield
    except OSError as error:
        reason = "its interpreter is gone (was the environment moved?)" if error.errno == errno.ENOENT else error.strerror
        raise SettingError(f"{executable}: cannot be run: {reason}. Install it there again") from error
