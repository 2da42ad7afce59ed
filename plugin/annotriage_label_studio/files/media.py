"""Where a task's picture lies when no Label Studio server is at hand: in the task itself, or in a file."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote

from annotriage.data.local_paths import has_file, local_path
from annotriage.errors import MediaError
from annotriage.media.data_uri import decode_data_uri, is_data_uri
from annotriage.states import Failure
from annotriage.text import storable

IMAGE = re.compile(r"\.(jpe?g|jpe|jfif|mpo|png|webp|bmp|dib|gif|tiff?|p[bgnp]m|avif|heic|heif)([?#].*)?$", re.IGNORECASE)
UPLOADED = "/data/upload/"
LOCAL_FILES = "/data/local-files/"
SERVED = re.compile(r"(https?://[^/?#]+)?(/[^?#]*)?/data/(local-files/\?(.*&)?d=|upload/)", re.IGNORECASE)
ROOT_VARIABLES = ("LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT", "HEARTEX_LOCAL_FILES_DOCUMENT_ROOT", "LOCAL_FILES_DOCUMENT_ROOT")


def looks_like_image(value: Any) -> bool:
    """Whether a data value seems to name a picture: by its extension, or because Label Studio serves or embeds it."""
    if not isinstance(value, str):
        return False
    if is_data_uri(value):
        return value[:11].lower() == "data:image/"
    return value.startswith(LOCAL_FILES) or SERVED.match(value) is not None or bool(IMAGE.search(value))


def local_media(value: Any, folder: Path) -> Path | bytes:
    """The picture that a data value names: its bytes, or a file, relative ones in `folder`, the tasks file's own.

    Raises MediaError saying what to do if it lies elsewhere: with the Label Studio server, in a cloud storage, on the web.
    """
    if not isinstance(value, str) or not value.strip():
        what = "no picture" if not value else "several pictures" if isinstance(value, list) else f"a {type(value).__name__}"
        raise MediaError(Failure.ADDRESS, f"{what} where the path of one picture is expected; correct the task's data")
    if is_data_uri(value):
        return decode_data_uri(value)
    served = SERVED.match(value)
    if value.startswith(LOCAL_FILES) or (served and served.group(3).lower() != "upload/"):
        return _local_file(value, folder)
    if served and (value.startswith(UPLOADED) or not has_file(Path(value))):
        raise MediaError(
            Failure.ADDRESS,
            f"{value} was uploaded to Label Studio and only its server has it; run annotriage serve connected to the project,"
            " or export the tasks together with their files and put paths to these in the data",
        )
    if re.match(r"(?!file:)[a-z][a-z0-9+.-]*://", value, re.IGNORECASE):
        raise MediaError(
            Failure.ADDRESS,
            f"{value} is not on this machine; download it and put its path in the task's data, or run annotriage serve connected"
            " to the project",
        )
    return local_path(value, folder)


def local_files_root() -> Path | None:
    """The folder that Label Studio serves as local files, if the environment names it."""
    named = (os.environ.get(variable) for variable in ROOT_VARIABLES)
    return next((Path(root) for root in named if root), None)


def local_files_address(file: Path) -> str | None:
    """The address under which Label Studio serves the file, if it lies in its local files root."""
    root = local_files_root()
    if root is None or not file.resolve().is_relative_to(root.resolve()):
        return None
    return f"{LOCAL_FILES}?d={quote(file.resolve().relative_to(root.resolve()).as_posix())}"


def _local_file(value: str, folder: Path) -> Path:
    below = parse_qs(value.partition("?")[2]).get("d", [""])[0] or unquote(value.removeprefix(LOCAL_FILES))
    if storable(below) != below:
        raise MediaError(Failure.ADDRESS, "a path with a NUL character or half of one, which no file has; correct the task's data")
    root = (local_files_root() or folder).resolve()
    file = root / below.lstrip("/")
    if not file.resolve().is_relative_to(root):
        raise MediaError(Failure.FORBIDDEN, f"{value} leads out of {root}; correct the task's data")
    if not has_file(file):
        raise MediaError(
            Failure.GONE, f"{value}: no file {file}; set {ROOT_VARIABLES[0]} to the folder that Label Studio serves, or put the file there"
        )
    return file
