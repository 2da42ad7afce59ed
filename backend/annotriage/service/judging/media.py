"""Media of items, fetched ahead of the model: a few at a time over kept connections, in order, in bounded memory."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Generic, Protocol, TypeVar

from annotriage.data import Item, Problem
from annotriage.errors import AnnotriageError, MediaError, MediaUnavailable, ToolRefused, ToolUnavailable
from annotriage.labeling_tool import ToolProject, ToolServer
from annotriage.media.data_uri import decode_data_uri, is_data_uri
from annotriage.media.fetcher import Fetcher, Limits
from annotriage.settings import ServiceSettings
from annotriage.states import Failure

AHEAD = 64  # items whose media are fetched and not used yet
EXPECTED = 8  # media that are fetched before their items are claimed: nobody waits for more at a time
EXPECTED_SECONDS = 10.0  # for which they are kept


class HasMedia(Protocol):
    """An item as far as reading its media takes."""

    @property
    def id(self) -> int:
        """Its row."""

    @property
    def external_id(self) -> str | None:
        """Its task; None of a pushed item that has none yet,"""

    @property
    def marker(self) -> str | None:
        """which has a marker."""

    @property
    def media(self) -> str:
        """What its task holds in the media field."""

    @property
    def group(self) -> str | None:
        """What it belongs to."""


Row = TypeVar("Row", bound=HasMedia)


class MediaReader:
    """Reads the media of items; any number of threads may use one."""

    def __init__(self, settings: ServiceSettings, server: ToolServer) -> None:
        limits = Limits(seconds=settings.media_seconds, size=settings.media_mb * 2**20)
        trusted = {server.url: server.media_headers}
        self._fetcher = Fetcher(settings.media_hosts, trusted=trusted, limits=limits, connections=settings.media_connections)
        self._threads = ThreadPoolExecutor(settings.media_connections, "media")
        self._places = threading.Semaphore(AHEAD)
        self._lock = threading.Lock()
        self._expected: dict[tuple[str, str, str], tuple[float, Future[bytes]]] = {}
        self._last_turn = threading.Event()
        self._last_turn.set()

    def read(self, tool: ToolProject, rows: Sequence[Row]) -> Reading[Row]:
        """Read the media of these items; fetching starts at once, in the order of the calls, and goes on while items are used."""
        turn = threading.Event()
        with self._lock:
            before, self._last_turn = self._last_turn, turn
        reading: Reading[Row] = Reading(self._places, len(rows))
        left = deque(rows)

        def start() -> None:
            row = left.popleft()
            reading.started.put((row, self._threads.submit(self._item, tool, row)))

        def start_others() -> None:
            try:
                # Places go to what is used first: taken by later items they would never come free.
                while not before.wait(0.05) and not reading.given_up.is_set():
                    pass
                while left:
                    self._places.acquire()
                    if reading.given_up.is_set():
                        self._places.release()
                        return
                    start()
            finally:
                turn.set()

        while left and before.is_set() and self._places.acquire(blocking=False):  # most often there is room, and no thread is needed
            start()
        if left or not before.is_set():
            reading.ahead = threading.Thread(target=start_others, name="media-ahead", daemon=True)
            reading.ahead.start()
        else:
            turn.set()
        return reading

    def expect(self, tool: ToolProject, task: str, media: str) -> None:
        """Fetch the media of a task that will be read in a moment: what is read then is this, or why it could not be fetched."""
        self.forget_unread()
        with self._lock, suppress(RuntimeError):  # it is closed
            if len(self._expected) < EXPECTED and (tool.id, task, media) not in self._expected and not is_data_uri(media):
                fetched = self._threads.submit(self._content, tool, task, media, f"task {task}")
                self._expected[tool.id, task, media] = time.monotonic(), fetched

    def forget_unread(self) -> None:
        """Let go of what was expected and is not read after all."""
        before = time.monotonic() - EXPECTED_SECONDS
        with self._lock:
            for key in [key for key, (began, _) in self._expected.items() if began < before]:
                self._expected.pop(key)[1].cancel()

    def close(self) -> None:
        """Let go of all connections."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._fetcher.close()

    def _item(self, tool: ToolProject, row: HasMedia) -> Item | MediaUnavailable:
        where = f"task {row.external_id or row.marker}"
        try:
            with self._lock:
                _, expected = self._expected.pop((tool.id, row.external_id or "", row.media), (0.0, None))
            content = self._content(tool, row.external_id or "", row.media, where) if expected is None else expected.result()
            return Item(str(row.id), content, group=row.group, path=where)
        except MediaUnavailable as error:
            return error
        except (ToolRefused, ToolUnavailable) as error:  # neither is this item's fault
            return MediaUnavailable(f"{where}: {error}")
        except AnnotriageError as error:
            failure = error.failure if isinstance(error, MediaError) else Failure.ADDRESS
            return Item(str(row.id), None, group=row.group, path=where, problem=Problem(failure, str(error)))

    def _content(self, tool: ToolProject, task: str, media: str, where: str) -> bytes:
        if not media:
            raise MediaError(Failure.ADDRESS, f"{where}: its data names no picture; correct the task's data")
        if is_data_uri(media):
            return decode_data_uri(media)
        return self._fetcher.get(tool.media_address(media, task), where)


class Reading(Generic[Row]):
    """Each row with its item, in order; of media that may be had later the error. Other problems are in the item.

    Close it, whether it was used or not: what it holds is free for others then.
    """

    def __init__(self, places: threading.Semaphore, count: int) -> None:
        self.started: SimpleQueue[tuple[Row, Future[Item | MediaUnavailable]]] = SimpleQueue()
        self.given_up = threading.Event()
        self.ahead = threading.Thread()
        self._places, self._count = places, count

    def __iter__(self) -> Iterator[tuple[Row, Item | MediaUnavailable]]:
        for _ in range(self._count):
            row, future = self.started.get()
            self._places.release()
            yield row, future.result()

    def close(self) -> None:
        """Give back the places of what was not used."""
        self.given_up.set()
        while self.ahead.is_alive() or not self.started.empty():
            with suppress(Empty):
                self.started.get(timeout=0.05)
                self._places.release()
