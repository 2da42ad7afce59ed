"""Where the media of a running Label Studio's tasks can be fetched: what a task holds -> an address for the guarded fetcher."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from annotriage.errors import MediaError
from annotriage.states import Failure
from annotriage_label_studio.editor.tasks import NOT_LISTED, UNLISTED

CLOUD = {"s3": "s3", "gs": "gcs", "azure-blob": "azure"}  # schemes that the server can presign -> its type of storage for them
KEPT = re.compile(r"/(data|storage-data)/|/(tasks|projects)/\d+/(presign|resolve)/$")
DISGUISED = re.compile(r"//|\\|/\.{1,2}(/|$)|%(2e|2f|5c|25)", re.IGNORECASE)  # what a proxy on the way may read as another path
LONGEST_SHOWN = 100  # characters of an address in a message


def is_kept_here(server: str, target: str) -> bool:
    """Whether a path and query of the server at `server` is that of an upload, a local file, or a file in a cloud that it signs for."""
    path = target.partition("?")[0]
    below = urlsplit(server).path.rstrip("/")
    if not path.startswith(f"{below}/") or DISGUISED.search(path):
        return False
    return KEPT.match(path.removeprefix(below)) is not None


def media_address(server: str, project: str, media: str, task_id: str, storage_types: Callable[[], Collection[str]]) -> str:
    """The http(s) address of a task's media; uploads, local files and clouds through the server at `server`.

    storage_types: tells the kinds of storage that are connected to the project, asked only for media in a cloud: without its storage
    the server just answers 404. Raises MediaError saying what to change if the media cannot be fetched from anywhere.
    """
    if media == UNLISTED:
        raise MediaError(Failure.UNLISTED, f"task {task_id}: {NOT_LISTED}")
    scheme, separator, rest = media.partition("://")
    scheme = scheme.lower() if separator and rest else ""
    shown = repr(media if len(media) <= LONGEST_SHOWN else f"{media[:LONGEST_SHOWN]}...")
    if media.startswith("/") and not media.startswith("//"):
        below = urlsplit(server).path.rstrip("/")  # a Label Studio below a path names its uploads with it
        return server + (media.removeprefix(below) if below and media.startswith(f"{below}/") else media)
    if scheme in ("http", "https"):
        return media
    if scheme not in CLOUD:
        cloud = ", ".join(f"{known}://" for known in CLOUD)
        raise MediaError(
            Failure.ADDRESS,
            f"task {task_id}: Label Studio has no file for {shown}; give an upload (/data/upload/...), a local file"
            f" (/data/local-files/...), http(s)://, or {cloud} with its storage connected to the project",
        )
    if CLOUD[scheme] not in storage_types():
        raise MediaError(
            Failure.ADDRESS,
            f"task {task_id}: {shown} lies in a cloud storage that is not connected to project {project}; add it in the project's"
            " Settings, Cloud Storage, or let the task name an address that can be fetched",
        )
    return f"{server}/tasks/{task_id}/presign/?fileuri={base64.urlsafe_b64encode(media.encode()).decode()}"
