"""Webhooks that come at the same moment are written down together: each by itself would queue for its turn behind the worker's writing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(eq=False)
class _Arrival:
    body: bytes
    ready: threading.Event = field(default_factory=threading.Event)  # it is written or failed, or it is its own thread's turn to write
    written: bool = False
    error: BaseException | None = None


class Arrivals:
    """Takes bodies from many threads at once; one thread at a time writes what has come, its own among it.

    write: puts bodies down in one transaction, all of them or none.
    """

    def __init__(self, write: Callable[[Sequence[bytes]], None]) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._come: list[_Arrival] = []
        self._busy = False

    def take(self, body: bytes) -> None:
        """Come back once the body is written. Raises what the writing raised."""
        mine = _Arrival(body)
        with self._lock:
            self._come.append(mine)
            turn, self._busy = not self._busy, True
        if not turn:
            mine.ready.wait()
        if not mine.written and mine.error is None:
            self._write_what_has_come()
        if mine.error is not None:
            raise mine.error

    def _write_what_has_come(self) -> None:
        """Write it, and leave what comes meanwhile to the thread that brings the first of it: nobody writes for others for ever."""
        with self._lock:
            batch, self._come = self._come, []
        error = None
        try:
            self._write([arrival.body for arrival in batch])
        except BaseException as raised:
            error = raised
        with self._lock:
            following = self._come[0] if self._come else None
            self._busy = following is not None
        for arrival in batch:
            arrival.written, arrival.error = error is None, error
            arrival.ready.set()
        if following is not None:
            following.ready.set()
