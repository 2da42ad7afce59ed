"""Which machine this is, as far as processes are told apart by their numbers."""

from __future__ import annotations

import hashlib
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
