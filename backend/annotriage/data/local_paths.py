"""What a manifest or a task calls its file, as a path on this machine."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from annotriage.errors import MediaError
from annotriage.states import Failure

_FILE = "file://"
_WINDOWS = re.compile(r"[a-zA-Z]:[\\/]|\\\\")


def local_path(written: str, folder: Path) -> Path:
    """The path that was written, relative ones from `folder`; whether there is a file is left to its reader.

    Understands file:// addresses, and backslashes where Windows wrote them. Raises MediaError saying what to do about a path that
    no file on this machine can have.
    """
    if "\0" in written:
        raise MediaError(Failure.ADDRESS, "the path holds a NUL character; write it again")
    if written[: len(_FILE)].lower() == _FILE:
        return _of_address(written)
    try:
        os.fsencode(written)
    except UnicodeEncodeError:
        raise MediaError(
            Failure.ADDRESS, "the path holds half of a character (a lone surrogate), which no file's name has; write it again"
        ) from None
    path = folder / written
    if os.sep == "\\" or "\\" not in written or os.path.lexists(path):
        return path
    if _WINDOWS.match(written):
        raise MediaError(
            Failure.ADDRESS, f"{written} is a path on a Windows machine; write it relative to {folder}, with / between folders"
        )
    slashed = folder / written.replace("\\", "/")
    return slashed if has_file(slashed) else path


def has_file(path: Path) -> bool:
    """Whether there is a file. One whose name is too long for any, or whose folder may not be looked into, is not there."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _of_address(address: str) -> Path:
    try:
        parts = urlsplit(address)
        path = unquote(parts.path, errors="surrogateescape")
        os.fsencode(path)
    except (ValueError, UnicodeEncodeError):
        raise MediaError(Failure.ADDRESS, f"{address!r:.200} is no valid file:// address; write the path alone") from None
    if parts.netloc not in ("", "localhost"):
        raise MediaError(Failure.ADDRESS, f"{address} names the machine {parts.netloc}; copy the file here and write its path")
    if not path.startswith("/") or "\0" in path:
        raise MediaError(Failure.ADDRESS, f"{address!r:.200} names no file; write its whole path after file://")
    if _WINDOWS.match(path[1:]) and os.sep == "/":
        raise MediaError(Failure.ADDRESS, f"{address} is a path on a Windows machine; copy the file here and write its path")
    return Path(path)
