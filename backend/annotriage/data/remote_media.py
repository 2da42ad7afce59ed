"""Media that manifests name by address: fetched while the items before them are judged, some at a time, in the manifest's order."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from annotriage.data.items import Media
from annotriage.data.local_paths import local_path
from annotriage.errors import MediaError
from annotriage.media.data_uri import decode_data_uri, is_data_uri
from annotriage.media.fetcher import Fetcher, Limits
from annotriage.media.object_store import StoreReader, is_stored
from annotriage.media.url_policy import shown
from annotriage.settings import ServiceSettings
from annotriage.states import Failure

T = TypeVar("T")

_ADDRESS = re.compile(r"(?!file:)[a-z][a-z0-9+.-]*://", re.IGNORECASE)


class MediaReader:
    """Whatever a manifest's cell names: a local file, a data: URI, an address on the web or in an object store. Threadsafe.

    settings: where media may be fetched from, and how much a file may cost. manifest: the manifest's own place; local paths are relative to
    its folder, and of object stores its own bucket may be read.
    """

    def __init__(self, settings: ServiceSettings, manifest: str) -> None:
        self.connections = settings.media_connections
        size = settings.media_mb * 2**20
        self._stored = is_stored(manifest)
        self._place = manifest if self._stored else str(Path(manifest).resolve())
        self._hosts = tuple(entry for entry in settings.media_hosts if not is_stored(entry))
        limits = Limits(seconds=settings.media_seconds, size=size)
        self._fetcher = Fetcher(self._hosts, limits=limits, connections=self.connections)
        self._store = StoreReader.of(settings.media_hosts, size, manifest if self._stored else None)

    def is_remote(self, written: str) -> bool:
        """Whether it takes a while to be read, so that several are fetched side by side."""
        return not is_data_uri(written) and (self._stored or is_address(written))

    def read(self, written: str) -> Media:
        """What is behind a cell. Raises MediaError saying what is wrong and what to do."""
        if is_data_uri(written):
            return decode_data_uri(written)
        if is_stored(written):
            return self._store.get(written)
        if is_address(written):
            if not self._hosts:
                raise MediaError(
                    Failure.FORBIDDEN,
                    f"{shown(written)} is an address, and none may be fetched; list its host in the setting media_hosts, or download it"
                    " and name it",
                )
            return self._fetcher.get(written, "its media")
        if self._stored:
            return self._store.get(beside(self._place, written))
        return local_path(written, Path(self._place).parent)


def is_address(written: str) -> bool:
    """Whether a cell, or an item's path, names a place on the web or in an object store."""
    return _ADDRESS.match(written) is not None


def beside(manifest: str, written: str) -> str:
    """A cell of a manifest in an object store as a whole address; as it is where it is one, or the manifest lies on this machine."""
    if not is_stored(manifest) or is_data_uri(written) or is_address(written):
        return written
    return f"{manifest.rpartition('/')[0]}/{written}"


def ahead(rows: Iterable[T], written: Callable[[T], str | None], reader: MediaReader) -> Iterator[tuple[T, Media | MediaError | None]]:
    """Each row with its media or what is wrong with them, in order; further ones are fetched meanwhile.

    written: the cell of a row that names its media, None where there is nothing to read.
    """
    waiting: deque[tuple[T, Callable[[], Media | MediaError | None]]] = deque()
    with ThreadPoolExecutor(reader.connections, "media") as pool:
        try:
            for row in rows:
                cell = written(row)
                if cell is None:
                    waiting.append((row, lambda: None))
                elif reader.is_remote(cell):
                    waiting.append((row, pool.submit(_read, reader, cell).result))
                else:
                    waiting.append((row, partial(_read, reader, cell)))
                if len(waiting) > 2 * reader.connections:
                    first, found = waiting.popleft()
                    yield first, found()
            while waiting:
                first, found = waiting.popleft()
                yield first, found()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _read(reader: MediaReader, written: str) -> Media | MediaError:
    try:
        return reader.read(written)
    except MediaError as error:
        return error
