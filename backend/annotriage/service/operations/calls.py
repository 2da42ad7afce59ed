"""What the web process and the worker tell each other over their pipes, so that nobody who waits has to wait for a next look.

Everything here only makes things sooner: what is not told, or is lost, is found by looking into the store.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

_END = b"\n"  # of each thing that is told; alone it is a call


@dataclass(frozen=True, slots=True)
class Foretold:
    """A task whose work the worker is about to find. project, classes: of the labeling tool's project; media: as of `Task`."""

    project: str
    classes: tuple[str, ...]
    task: str
    media: str


class Bell:
    """Wakes all who wait, each once for whatever rang since it last looked. Threadsafe."""

    def __init__(self) -> None:
        self.rung = 0  # how often it rang
        self._ringing = threading.Condition()

    def ring(self) -> None:
        """Wake those who wait."""
        with self._ringing:
            self.rung += 1
            self._ringing.notify_all()

    def wait(self, heard: int, seconds: float) -> None:
        """Wait until it rings, so long at most; not at all if it rang since `rung` was `heard`."""
        with self._ringing:
            self._ringing.wait_for(lambda: self.rung != heard, seconds)


def tell(file: int, foretold: Sequence[Foretold] = ()) -> None:
    """Write a call, or what is foretold, into a pipe that does not block. Never waits, and raises nothing."""
    lines = [json.dumps(asdict(one)).encode() + _END for one in foretold] or [_END]
    for line in lines:
        if len(line) <= select.PIPE_BUF:  # what is longer may be written in part
            with contextlib.suppress(OSError):  # the pipe is full of calls, or whoever read them is gone
                os.write(file, line)


def told(file: int) -> Iterator[Foretold | None]:
    """What comes out of a pipe until its other end is closed; None for a call, and one for many that came at once."""
    rest = b""
    with contextlib.suppress(OSError):
        while some := os.read(file, select.PIPE_BUF):
            *lines, rest = (rest + some).split(_END)
            for line in lines:
                if line:
                    fields = json.loads(line)
                    yield Foretold(**fields | {"classes": tuple(fields["classes"])})
            if b"" in lines:
                yield None
