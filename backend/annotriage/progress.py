"""Progress of long work: silent by default, bars with rate and remaining time on the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Advance = Callable[[int], None]
# label, total (None if unknown) -> a context in which each call of the yielded function reports that many more items
Progress = Callable[[str, int | None], AbstractContextManager[Advance]]


@contextmanager
def silent(label: str, total: int | None) -> Iterator[Advance]:
    """Reports nothing."""
    yield lambda count: None


@contextmanager
def bars(label: str, total: int | None) -> Iterator[Advance]:
    """A bar on standard error; where that is no terminal, one line when the step ends."""
    from tqdm import tqdm

    terminal = sys.stderr.isatty()
    with tqdm(total=total, desc=label, unit=" items", unit_scale=False, disable=not terminal, dynamic_ncols=True) as bar:
        yield lambda count: bar.update(count) and None
    if not terminal:
        sys.stderr.write(f"{label}: done\n")
