"""How large a request each address takes: a form for people is small, tasks and pushed items may carry pictures.

The same rule is asked twice: by the server before it reads a body, and by the app, which answers in our own words.
"""

from __future__ import annotations

from flask import Flask
from werkzeug.exceptions import HTTPException

from annotriage.settings import ServiceSettings

FORM = 64 * 2**10  # bytes; it holds every form, and all that a stranger may send
TABLE = 2**20  # a CSV file of concepts
SELECTION = 2**19  # a lasso around all items of a map
FIELD = 2**20  # one text field among files
SELECTING, PUSHING, DISSECTING = ("web.map_reroute", "web.map_foresee"), "api.push_items", "web.dissect_units"  # endpoints


def most_bytes(endpoint: str | None, tool: str, settings: ServiceSettings) -> int:
    """The largest body in bytes that an endpoint takes. tool: the name of the labeling tool's blueprint."""
    if endpoint in SELECTING:
        return SELECTION
    if endpoint == DISSECTING:
        return TABLE
    if endpoint == PUSHING or (endpoint or "").startswith(f"{tool}."):
        return settings.max_request_mb * 2**20
    return FORM


def endpoint_of(app: Flask, method: str, path: str) -> str | None:
    """The endpoint that a request will be for; None if there is none."""
    try:
        endpoint, _ = app.url_map.bind("localhost").match(path, method)
    except HTTPException:
        return None
    return str(endpoint)
