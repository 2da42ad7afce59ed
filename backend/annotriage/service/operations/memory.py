"""Memory that a process does not need any more goes back to the system."""

from __future__ import annotations

import ctypes
from contextlib import suppress

ARENAS, MAPPED = 2, 1 << 20  # glibc's heaps of a process, and bytes from which on something gets memory of its own
M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8  # glibc's malloc.h


def give_back_memory(*, large: bool = True) -> None:
    """For a process of many threads, each of which needs much for a moment now and then. Before the threads begin.

    Left to itself glibc gives each thread a heap, and puts into it whatever is as large as something that was freed before, up to 32 MB:
    below one small thing that lives on, all of that stays. Other systems do as they do.
    large: what is large goes back at once; not for who needs as much again in the next moment.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_ARENA_MAX, ARENAS)
        if large:
            mallopt(M_MMAP_THRESHOLD, MAPPED)
