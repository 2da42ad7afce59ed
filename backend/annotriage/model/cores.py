"""The cores that this process may use: fewer than the machine's where a container or a person says so."""

import os


def cores() -> int:
    """At least 1."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
