"""The cores that this process may use: fewer than the machine's where a container or a person says so."""

import os
from pathlib import Path

LIMIT = Path("/sys/fs/cgroup/cpu.max")  # of the container: microseconds of a core in each period, or "max"


def cores() -> int:
    """At least 1: those that the process is bound to, and no more than its container's limit makes up."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        share, period = LIMIT.read_text("ascii").split()
        return max(1, min(bound, int(share) // int(period)))
    except (OSError, ValueError):  # no Linux, or no limit
        return bound
