"""Errors as the service answers them: problem details (RFC 9457), whatever went wrong and wherever."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from annotriage.errors import AnnotriageError, StoreError
from annotriage.service.operations.log import log
from annotriage.store import DATABASE_TROUBLE

RETRY_AFTER = "10"  # seconds
MEDIA_TYPE = "application/problem+json"


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None, **further: Any) -> Response:
    """An answer that says what went wrong. further: members of its own, such as which items were refused."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **further}
    response = Response(json.dumps(body), status, mimetype=MEDIA_TYPE)
    response.headers.update(headers or {})
    return response


def answer_problems(app: Flask) -> None:
    """Let the app answer every error so."""

    @app.errorhandler(AnnotriageError)
    def known(error: AnnotriageError) -> Response:
        return problem(error.status, str(error), {"Retry-After": RETRY_AFTER} if error.status == 503 else None)

    @app.errorhandler(RequestEntityTooLarge)
    def too_large(_error: RequestEntityTooLarge) -> Response:
        most = request.max_content_length or 0
        if most < 2**20:
            return problem(413, f"the request is larger than {most // 2**10} kB, and nothing larger is of use here; send less at once")
        if (request.content_length or 0) > most:
            return problem(413, f"the request is larger than {most // 2**20} MB; send less at once, or raise the setting max_request_mb")
        parts, field = request.max_form_parts or 0, (request.max_form_memory_size or 0) // 2**20
        return problem(413, f"the form has more than {parts:,} parts, or a text field of more than {field} MB; send less at once")

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        kept = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After", "WWW-Authenticate")}
        detail = error.description or ""
        if error.code == 404:
            detail = f"there is nothing at {request.path}; /api/openapi.json lists what there is"
        elif error.code == 405:
            allowed = sorted(set(kept.get("Allow", "").split(", ")) - {"HEAD", "OPTIONS"})
            detail = f"{request.method} is not what {request.path} is for; use {' or '.join(allowed)}"
        return problem(error.code or 500, detail, kept)

    def no_database(error: Exception) -> Response:
        log("database failed", level=logging.ERROR, path=request.path, error=str(getattr(error, "orig", None) or error))
        said = str(error) if isinstance(error, StoreError) else "the database does not answer; annotriage doctor says what is wrong with it"
        return problem(503, said, {"Retry-After": RETRY_AFTER})

    for kind in DATABASE_TROUBLE:
        app.register_error_handler(kind, no_database)

    @app.errorhandler(Exception)
    def unforeseen(_error: Exception) -> Response:
        logging.getLogger("annotriage.service").exception("request failed", extra={"fields": {"path": request.path}})
        return problem(500, "an error of the service itself; its log says more")
