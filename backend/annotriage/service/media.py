"""Media of items, fetched ahead of the model: a few at a time over kept connections, in order, in bounded memory.

The step data of data -> model -> latent -> triage -> store -> delivery, for a running labeling tool.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue

from annotriage.data import Item
from annotriage.data.data_uri import decode_data_uri, is_data_uri
from annotriage.errors import AnnotriageError, MediaError, MediaUnavailable, ToolRefused, ToolUnavailable
from annotriage.fetch import Fetcher, Limits
from annotriage.labeling_tool import ToolProject, ToolServer
from annotriage.settings import ServiceSettings
from annotriage.store.database import AnyRow

AHEAD = 64  # items whose media are fetched and not used yet

_Started = SimpleQueue[tuple[AnyRow, Future[Item | MediaUnavailable]]]


class MediaReader:
    """Reads the media of items; any number of threads may use one."""

    def __init__(self, settings: ServiceSettings, server: ToolServer) -> None:
        limits = Limits(seconds=settings.media_seconds, size=settings.media_mb * 2**20)
        trusted = {server.url: server.headers}
        self._fetcher = Fetcher(settings.media_hosts, trusted=trusted, limits=limits, connections=settings.media_connections)
        self._threads = ThreadPoolExecutor(settings.media_connections, "media")
        self._places = threading.Semaphore(AHEAD)

    def read(self, tool: ToolProject, rows: Sequence[AnyRow]) -> Iterator[tuple[AnyRow, Item | MediaUnavailable]]:
        """Each row with its item, in order; of media that may be had later the error. Other problems are in the item.

        Fetching starts at once, and goes on while the items are used.
        """
        started: _Started = SimpleQueue()
        given_up = threading.Event()

        def start() -> None:
            for row in rows:
                self._places.acquire()
                if given_up.is_set():
                    self._places.release()
                    return
                started.put((row, self._threads.submit(self._item, tool, row)))

        ahead = threading.Thread(target=start, name="media-ahead", daemon=True)
        ahead.start()
        return self._results(started, len(rows), given_up, ahead)

    def close(self) -> None:
        """Let go of all connections."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._fetcher.close()

    def _results(
        self, started: _Started, count: int, given_up: threading.Event, ahead: threading.Thread
    ) -> Iterator[tuple[AnyRow, Item | MediaUnavailable]]:
        try:
            for _ in range(count):
                row, future = started.get()
                self._places.release()
                yield row, future.result()
        finally:
            given_up.set()
            while ahead.is_alive() or not started.empty():  # whoever stops early gives the places back
                with suppress(Empty):
                    started.get(timeout=0.05)
                    self._places.release()

    def _item(self, tool: ToolProject, row: AnyRow) -> Item | MediaUnavailable:
        where = f"task {row.external_id or row.marker}"
        try:
            return Item(str(row.id), self._content(tool, row, where), group=row.group, path=where)
        except MediaUnavailable as error:
            return error
        except (ToolRefused, ToolUnavailable) as error:  # neither is this item's fault
            return MediaUnavailable(f"{where}: {error}")
        except AnnotriageError as error:
            return Item(str(row.id), None, group=row.group, path=where, problem=str(error))

    def _content(self, tool: ToolProject, row: AnyRow, where: str) -> bytes:
        if not row.media:
            raise MediaError(f"{where}: its data names no picture; correct the task's data")
        if is_data_uri(row.media):
            return decode_data_uri(row.media)
        return self._fetcher.get(tool.media_address(row.media, row.external_id or ""), where)
