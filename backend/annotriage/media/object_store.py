"""Files in object stores (s3://bucket/key, gs://, abfs://): listed and read by pyarrow's file systems with this machine's credentials.

A store's address names a bucket, and credentials may open more buckets than are meant: of what a manifest names, only files in the
manifest's own bucket and in those that the setting `media_hosts` lists (as s3://bucket) are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from annotriage.errors import DataError, MediaError, MediaUnavailable
from annotriage.states import Failure

SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss")
_ADDRESS = re.compile(r"(?P<scheme>[A-Za-z0-9]+)://(?P<bucket>[A-Za-z0-9][A-Za-z0-9._@-]*)(?P<path>(/.*)?)")


def is_stored(address: str) -> bool:
    """Whether the address is that of a file, or of files, in an object store."""
    scheme, mark, _ = address.partition("://")
    return bool(mark) and scheme.lower() in SCHEMES


def split(address: str) -> tuple[str, str]:
    """The bucket of an address with its scheme, "s3://photos", and what is behind it, as it is written.

    One reading for what is checked and what is opened. Raises DataError if it names no bucket, or what is behind it leads elsewhere.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None or not address.isprintable() or ".." in found["path"].split("/"):
        raise DataError(f"{address[:200]!r}: no address in an object store; it looks like s3://bucket/folder/file.png")
    return f"{found['scheme'].lower()}://{found['bucket']}", found["path"]


@lru_cache(maxsize=64)
def _opened(bucket: str) -> tuple[Any, str]:
    """The file system that holds a bucket, and how it calls it."""
    try:
        from pyarrow import fs
    except ModuleNotFoundError as error:
        raise DataError(f'{bucket}: object stores need pyarrow; pip install "annotriage[parquet]"') from error
    try:
        system, root = fs.FileSystem.from_uri(f"{bucket}/")
    except (OSError, ValueError) as error:
        raise DataError(f"{bucket}: cannot be opened ({_said(error)}); check the address and this machine's credentials") from error
    return system, root.rstrip("/")


def opened(address: str) -> tuple[Any, str]:
    """The pyarrow file system behind an address, and the file's or folder's path in it. Raises DataError if there is none."""
    bucket, path = split(address)
    system, root = _opened(bucket)
    return system, f"{root}{path}".rstrip("/")


def listed(address: str) -> list[tuple[str, int]]:
    """The files at and below an address with their sizes in bytes, sorted by path; paths relative to it, "" for the address itself.

    Raises DataError if nothing is there or it may not be listed.
    """
    system, path = opened(address)
    from pyarrow import fs

    try:
        here = system.get_file_info(path)
        if here.type == fs.FileType.File:
            return [("", int(here.size))]
        found = system.get_file_info(fs.FileSelector(path, recursive=True, allow_not_found=True))
    except (OSError, ValueError) as error:
        raise DataError(f"{address}: cannot be listed ({_said(error)}); check the address and this machine's credentials") from error
    files = sorted((info.path[len(path) :].lstrip("/"), int(info.size)) for info in found if info.type == fs.FileType.File)
    if not files:
        raise DataError(f"{address}: nothing is stored there; check the bucket and the path")
    return files


@dataclass(frozen=True)
class StoreReader:
    """Reads files of some buckets. buckets: as `bucket_of` names them. size: bytes; a longer file is refused. Threadsafe."""

    buckets: frozenset[str]
    size: int

    @classmethod
    def of(cls, allowed: Iterable[str], size: int, own: str | None = None) -> StoreReader:
        """For the buckets among the `media_hosts`, and that of the manifest at the address `own`."""
        named = [entry for entry in (*allowed, own or "") if is_stored(entry)]
        return cls(frozenset(split(entry)[0] for entry in named), size)

    def get(self, address: str) -> bytes:
        """The content of a file. Raises MediaUnavailable where the store is away or throttles for long, else MediaError."""
        try:
            bucket, _ = split(address)
        except DataError as error:
            raise MediaError(Failure.ADDRESS, str(error)) from error
        if bucket not in self.buckets:
            raise MediaError(
                Failure.FORBIDDEN, f"{address}: {bucket} may not be read; add {bucket} to the setting media_hosts if it is meant"
            )
        try:
            system, path = opened(address)
        except DataError as error:
            raise MediaError(Failure.ADDRESS, str(error)) from error
        return self._read(system, path, address)

    def _read(self, system: Any, path: str, address: str) -> bytes:
        try:
            with system.open_input_file(path) as file:
                if file.size() > self.size:
                    found = f"{address}: {file.size() / 2**20:.0f} MB, more than the {self.size / 2**20:.0f} of the setting media_mb"
                    raise MediaError(Failure.TOO_LARGE, found)
                return bytes(file.read())
        except FileNotFoundError:
            raise MediaError(Failure.GONE, f"{address}: no such file in the store; correct the address or put it there") from None
        except ValueError as error:
            raise MediaError(Failure.ADDRESS, f"{address}: no file can be called so ({_said(error)}); correct the address") from error
        except OSError as error:
            if isinstance(error, PermissionError) or "ACCESS_DENIED" in str(error):
                raise MediaError(
                    Failure.REFUSED, f"{address}: the store refuses it ({_said(error)}); give these credentials the right to read it"
                ) from error
            # The store's client has tried again and again by then.
            raise MediaUnavailable(f"{address}: the store did not give it ({_said(error)}); run this again later") from error


def addresses(base: str, paths: Iterable[str]) -> Iterator[str]:
    """The addresses of paths that `listed` gave for `base`."""
    for path in paths:
        yield f"{base.rstrip('/')}/{path}" if path else base


def _said(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:300]
