"""Many items at once, a part of them on each of some threads: numpy lets other threads run while it multiplies."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from annotriage.latent.products import rounds_alike

LEAST = 128  # items of a part: of fewer the threads wait for one another longer than they compute
MOST = 256  # and for more, memory is asked of the system anew each time, which takes a seventh of the time
T = TypeVar("T")


def in_parts(work: Callable[[slice], T], count: int, threads: int) -> list[T]:
    """What `work` says of all `count` rows, in order, by parts of LEAST to MOST rows, on as many threads at most.

    All in one where digits depend on how many rows there are (`rounds_alike`): they must not depend on the threads.
    """
    if not rounds_alike():
        return [work(slice(0, count))]
    parts = max(1, min(threads, count // LEAST), -(-count // MOST))
    rows = [slice(count * part // parts, count * (part + 1) // parts) for part in range(parts)]
    if threads <= 1 or parts == 1:
        return [work(part) for part in rows]
    others = [_pool(threads - 1).submit(work, part) for part in rows[1:]]
    found = [work(rows[0])]
    for other, part in zip(reversed(others), reversed(rows), strict=False):  # the last first: the pool takes them from the front
        found.insert(1, work(part) if other.cancel() else other.result())
    return found


@cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, "judging")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # no thread outlives a fork
