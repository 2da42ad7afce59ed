"""The very picture behind an item, for its page: fetched as the worker fetches it, handed on only if browsers show such pictures.

Whoever can create an item chooses what lies at its address. So nothing is handed on as what it calls itself: its first bytes say what
it is, everything else is refused, and nothing in it can run. Nothing is decoded here.
"""

from __future__ import annotations

import threading

from flask import Response

from annotriage.errors import MediaError, MediaUnavailable
from annotriage.media.data_uri import decode_data_uri, is_data_uri
from annotriage.media.fetcher import Fetcher, Limits
from annotriage.service.operations.process import Process
from annotriage.states import Failure
from annotriage.store.browsing import Medium
from annotriage.store.projects import Project

SECONDS = 15.0  # at most for one picture: a person waits
AT_ONCE = 3  # so that slow hosts leave threads for the pages
PATIENCE = 5.0  # seconds to wait for a turn
KINDS = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"), (b"BM", "image/bmp"))


class FullPictures:
    """Fetches pictures for pages, a few at a time; any number of threads may use one."""

    def __init__(self, process: Process) -> None:
        settings = process.settings
        limits = Limits(seconds=min(SECONDS, settings.media_seconds), size=settings.media_mb * 2**20)
        trusted = {process.server.url: process.server.media_headers}
        self._process = process
        self._fetcher = Fetcher(settings.media_hosts, trusted=trusted, limits=limits, connections=AT_ONCE)
        self._turns = threading.BoundedSemaphore(AT_ONCE)

    def response(self, project: Project, medium: Medium) -> Response:
        """The picture of an item. Raises MediaError saying why it cannot be shown."""
        where = f"task {medium.task or medium.pushed}"
        content = self._content(project, medium, where)
        kind = kind_of(content)
        if kind is None:
            raise MediaError(Failure.UNREADABLE, f"{where}: its file is no picture that browsers show; open it in the labeling tool")
        headers = {
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Content-Disposition": "inline",
            "Cache-Control": "private, max-age=600",
        }
        return Response(content, mimetype=kind, headers=headers)

    def _content(self, project: Project, medium: Medium, where: str) -> bytes:
        if medium.gone:
            raise MediaError(Failure.GONE, f"{where}: was deleted in the labeling tool")
        if not medium.media:
            raise MediaError(Failure.ADDRESS, f"{where}: its data names no picture; correct the task's data")
        if is_data_uri(medium.media):
            try:
                return decode_data_uri(medium.media)
            except MediaError as error:
                raise MediaError(error.failure, f"{where}: {error}") from error
        address = self._process.tool_project(project).media_address(medium.media, medium.task or "")
        if not self._turns.acquire(timeout=PATIENCE):
            raise MediaUnavailable(f"{where}: too many pictures are being fetched at this moment; try again", 5.0)
        try:
            return self._fetcher.get(address, where)
        finally:
            self._turns.release()


def kind_of(content: bytes) -> str | None:
    """The type of a picture that browsers show, by its first bytes; None for anything else."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for start, kind in KINDS if content.startswith(start)), None)
