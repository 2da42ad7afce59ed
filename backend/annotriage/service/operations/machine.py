"""Which machine this is, as far as processes are told apart by their numbers, and how much of it they may use."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path


def machine() -> str:
    """The machine's name, and a mark of where process numbers are counted.

    Machines may be called alike, containers may share the name of theirs, and each counts its own processes.
    """
    name = socket.gethostname()
    try:
        counted = Path("/proc/sys/kernel/random/boot_id").read_text("ascii") + str(Path("/proc/self/ns/pid").readlink())
    except OSError:  # not Linux, and so no container
        return name
    return f"{name} {hashlib.sha256(counted.encode()).hexdigest()[:8]}"


def cores() -> int:
    """The cores that this process may use: fewer than the machine has where it is bound to some, or its container has a limit."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        share, period = Path("/sys/fs/cgroup/cpu.max").read_text("ascii").split()
        return max(1, min(bound, int(share) // int(period)))
    except (OSError, ValueError):  # no Linux, or no limit
        return bound
