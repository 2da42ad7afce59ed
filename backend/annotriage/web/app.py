"""The web process put together: the labeling tool's own routes, the API, the pages, and what operators look at.

Everything but /health and /health/ready needs credentials. Answers come from the store, at once; whatever takes long is done by the
worker and the jobs process.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from flask import Flask, Response, g, request
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import RequestEntityTooLarge

from annotriage.errors import AnnotriageError
from annotriage.service.judging.predicting import StorePredictor
from annotriage.service.operations.log import log
from annotriage.service.operations.metrics import CONTENT_TYPE, Metrics
from annotriage.service.operations.process import Process
from annotriage.store.database import is_answering
from annotriage.store.people import write_deed
from annotriage.store.work import living
from annotriage.web.api import api_blueprint
from annotriage.web.auth import Guard
from annotriage.web.compression import compressed
from annotriage.web.pages import add_pages
from annotriage.web.problems import RETRY_AFTER, answer_problems, problem
from annotriage.web.roles import LOOKING, needed, refusal
from annotriage.web.sessions import OPEN, SAFE, Sessions, visitor_name
from annotriage.web.sizes import FIELD, FORM, PUSHING, SELECTION, endpoint_of, most_bytes
from annotriage.web.storable import why_unstorable

FOREIGN = ("cross-site", "same-site")  # browsers say so of every request, but not over plain http; programs say nothing
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")  # what any site's page can send
NAMED = 500  # characters of a name or an address in the log of deeds
UNLOGGED = ("/health", "/health/ready", "/ready", "/metrics")  # asked for every few seconds
GUARD, MOST_BYTES = "annotriage-guard", "annotriage-most-bytes"  # in the app's extensions


def create_server(process: Process, listener: socket.socket) -> Any:
    """A server of the app on a bound socket; `run` serves until it is interrupted."""
    from annotriage.web.server import server_of

    app = create_app(process)
    guard: Guard = app.extensions[GUARD]

    def most(method: str, path: str, headers: Mapping[str, str], peer: str) -> int:
        """What a stranger sends is never larger than a form: nobody else fills the disk."""
        allowed = app.extensions[MOST_BYTES](endpoint_of(app, method, path))
        return int(allowed if allowed <= SELECTION or guard.foresees(headers, peer) else FORM)

    return server_of(app, listener, process.settings, most)


def create_app(process: Process) -> Flask:
    """The app on this process's store, settings and labeling tool."""
    app = Flask("annotriage", static_folder=None)
    app.config["MAX_FORM_MEMORY_SIZE"] = FIELD
    guard, metrics = Guard(process), Metrics(process)
    sessions = Sessions(app, process, guard)
    tool = process.tool.blueprint(StorePredictor(process), guard.authenticated, guard.is_webhook)
    most = partial(most_bytes, tool=tool.name, settings=process.settings)
    app.extensions |= {GUARD: guard, MOST_BYTES: most}

    @app.before_request
    def refuse_strangers() -> ResponseReturnValue | None:
        g.started = time.perf_counter()
        request.max_content_length = most(request.endpoint)
        if (request.content_length or 0) > request.max_content_length:
            raise RequestEntityTooLarge
        if fault := why_unstorable([request.path, *request.args.keys(), *request.args.values()]):
            return problem(422, f"the address {fault}")
        if request.method not in SAFE and _is_from_elsewhere():
            return problem(
                403,
                "another site's page sent this; a browser that knows the password must not act for it."
                " If this is the service's own page behind a proxy: let the proxy hand on the Host header",
            )
        if _is_form_for_programs():
            return problem(415, f"{request.path} takes no form: send JSON, with the header Content-Type: application/json")
        if request.blueprint == tool.name or request.endpoint == for_balancers.__name__:  # its routes look themselves
            return None
        role = guard.role()
        if role is None:
            answer = sessions.admit()
            if answer is not None or request.endpoint in OPEN:
                return answer
            role, g.person = sessions.role(), sessions.visitor()
            if role is None:
                return problem(403, "you have no account here; whoever administers annotriage gives you one: annotriage people add NAME")
        elif request.authorization is not None:
            g.person = request.authorization.username
        g.role = role
        wanted = needed(request.method, request.endpoint)
        return None if role.may(wanted) else problem(403, refusal(role, wanted))

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("Cache-Control", "no-store")
        seconds = time.perf_counter() - g.get("started", time.perf_counter())
        rule = "unknown" if request.url_rule is None else request.url_rule.rule
        metrics.count(request.method, rule, response.status_code, seconds)
        acts = request.method not in SAFE and request.blueprint in ("web", "api") and request.endpoint not in LOOKING
        if acts and visitor_name():
            write_down(response.status_code)
        if request.path not in UNLOGGED:
            named = request.view_args or {}
            log(
                "request",
                method=request.method,
                path=request.path,
                status=response.status_code,
                seconds=round(seconds, 4),
                project=named.get("project"),
                item=named.get("task"),
            )
        return compressed(response)

    def write_down(status: int) -> None:
        """Who did what: in the log that people can export. What they sent is not in it."""
        action = (request.endpoint or "").rpartition(".")[2].replace("_", " ")
        try:
            with process.store.writing() as connection:
                write_deed(connection, visitor_name()[:NAMED], action, request.path[:NAMED], status)
        except (AnnotriageError, SQLAlchemyError) as error:  # what was done is done
            log("deed not written", level=logging.ERROR, person=visitor_name(), action=action, error=error)

    @app.get("/health/ready")
    def for_balancers() -> ResponseReturnValue:
        """Whether requests may be sent here, for whoever spreads them over replicas and has no password: it learns yes or no, not why."""
        try:
            found = ready()
        except (AnnotriageError, SQLAlchemyError):
            found = None
        up = isinstance(found, dict)
        return {"status": "UP" if up else "DOWN"}, 200 if up else 503

    @app.get("/ready")
    def ready() -> ResponseReturnValue:
        with process.store.reading() as connection:
            is_answering(connection)
            roles = {row.role for row in living(connection) if row.host == process.host}  # each replica answers for itself
        if process.unwritten:
            return problem(503, f"the database cannot be written to ({process.unwritten}): nothing goes on", {"Retry-After": RETRY_AFTER})
        if "worker" not in roles:
            return problem(
                503, "there was no sign of life from a worker recently: nothing is judged or delivered; is annotriage serve running?"
            )
        return {"ready": True}

    @app.get("/metrics")
    def figures() -> ResponseReturnValue:
        return Response(metrics.text(), content_type=CONTENT_TYPE)

    answer_problems(app)
    add_pages(app, process, sessions)
    app.register_blueprint(tool)
    app.register_blueprint(api_blueprint(process), url_prefix="/api")
    return app


def _is_from_elsewhere() -> bool:
    """Whether a browser sends this for the page of another site. Programs, Label Studio's among them, name no origin."""
    if request.headers.get("Sec-Fetch-Site") in FOREIGN:
        return True
    origin = request.headers.get("Origin")
    return origin is not None and origin.partition("://")[2].lower() != request.host.lower()


def _is_form_for_programs() -> bool:
    """Whether this is a form, which any page can send, where programs send JSON; files are the one exception."""
    return request.blueprint == "api" and request.mimetype in FORMS and (request.endpoint, request.mimetype) != (PUSHING, FORMS[1])
