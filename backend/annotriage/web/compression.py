"""Answers in gzip, for whoever takes them: pages, data and scripts of some size. Pictures and files that are written while they are read
go out as they are.

What a page repeats of its address could be used to guess secrets by the size of the answer (BREACH); the session's cookie is `SameSite`,
so no other site can have a browser ask for pages in its name.
"""

from __future__ import annotations

import gzip

from flask import Response, request

KINDS = (
    "text/html", "text/css", "text/javascript", "application/javascript", "application/json", "application/problem+json", "image/svg+xml",
    "application/vnd.annotriage.points",
)  # fmt: skip
LEAST = 1_000  # bytes: what is smaller fits a packet anyway
LEVEL = 5  # of 9: nearly as small as can be, in a tenth of the time


def compressed(response: Response) -> Response:
    """The answer in gzip, if the request allows it and it is worth it."""
    if response.mimetype not in KINDS or response.status_code != 200 or (response.is_streamed and not response.direct_passthrough):
        return response
    response.vary.add("Accept-Encoding")
    if not request.accept_encodings.quality("gzip") or "Content-Encoding" in response.headers:
        return response
    response.direct_passthrough = False
    content = response.get_data()
    if len(content) >= LEAST:
        response.set_data(gzip.compress(content, LEVEL, mtime=0))
        response.headers["Content-Encoding"] = "gzip"
    return response
