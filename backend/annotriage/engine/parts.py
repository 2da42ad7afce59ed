"""Many items at once, a part of them on each of some threads: numpy lets other threads run while it multiplies."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from annotriage.latent.products import rounds_alike

LEAST = 128  # items of a part: of fewer the threads wait for one another longer than they compute
T = TypeVar("T")


def in_parts(work: Callable[[slice], T], count: int, threads: int) -> list[T]:
    """What `work` says of all `count` rows, in order, by parts of LEAST rows or more, on as many threads at most.

    All in one where digits depend on how many rows there are (`rounds_alike`): they must not depend on the threads.
    """
    parts = max(1, min(threads, count // LEAST)) if threads > 1 and rounds_alike() else 1
    rows = [slice(count * part // parts, count * (part + 1) // parts) for part in range(parts)]
    others = [_pool(parts - 1).submit(work, part) for part in rows[1:]]
    return [work(rows[0]), *(other.result() for other in others)]


@cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, "judging")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # no thread outlives a fork
