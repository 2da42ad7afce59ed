"""Progress of long work: silent by default, bars with rate and remaining time on the command line."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Advance = Callable[[int], None]
# label, total (None if unknown) -> a context in which each call of the yielded function reports that many more items
Progress = Callable[[str, int | None], AbstractContextManager[Advance]]


@contextmanager
def silent(label: str, total: int | None) -> Iterator[Advance]:
    """Reports nothing."""
    yield lambda count: None


def interruptible(progress: Progress) -> Progress:
    """The same progress, for the command line: Ctrl-C and SIGTERM stop the work, at the latest at the end of a step.

    Python turns Ctrl-C into an exception, which compilers inside a library (the map's) may swallow; it is remembered here.
    """
    stopped: list[int] = []

    def stop(number: int, _frame: object) -> None:
        stopped.append(number)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)

    @contextmanager
    def step(label: str, total: int | None) -> Iterator[Advance]:
        with progress(label, total) as advance:
            yield advance
        if stopped:
            raise KeyboardInterrupt

    return step


@contextmanager
def bars(label: str, total: int | None) -> Iterator[Advance]:
    """A bar on standard error; where that is no terminal, a line when the step begins and its time when it ends."""
    from tqdm import tqdm

    terminal = sys.stderr.isatty()
    started = time.perf_counter()
    if not terminal:
        sys.stderr.write(f"{label} ...")
        sys.stderr.flush()
    took = "broke off"
    try:
        with tqdm(total=total, desc=label, unit=" items", disable=not terminal, dynamic_ncols=True) as bar:
            yield lambda count: bar.update(count) and None
        took = f"{time.perf_counter() - started:.1f} s"
    finally:
        if not terminal:
            sys.stderr.write(f" {took}\n")
