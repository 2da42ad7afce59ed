"""The web process put together: the labeling tool's own routes, the API, the pages, and what operators look at.

Everything but /health needs credentials. Answers come from the store, at once; whatever takes long is done by the worker and the jobs
process.
"""

from __future__ import annotations

import socket
import time
from typing import Any

from flask import Flask, Response, g, request
from flask.typing import ResponseReturnValue

from annotriage.service.judging.predicting import StorePredictor
from annotriage.service.operations.log import log
from annotriage.service.operations.metrics import CONTENT_TYPE, Metrics
from annotriage.service.operations.process import Process
from annotriage.store.database import is_answering
from annotriage.store.work import living
from annotriage.web.api import api_blueprint
from annotriage.web.auth import Guard
from annotriage.web.pages import add_pages
from annotriage.web.problems import answer_problems, problem
from annotriage.web.sessions import Sessions

SAFE = ("GET", "HEAD", "OPTIONS")
FOREIGN = ("cross-site", "same-site")  # browsers say so of every request; programs say nothing
UNLOGGED = ("/health", "/ready", "/metrics")  # asked for every few seconds
THREADS = 16


def create_server(process: Process, listener: socket.socket) -> Any:
    """A waitress server of the app on a bound socket; `run` serves until it is interrupted."""
    from waitress.server import create_server as create

    settings = process.settings
    return create(
        create_app(process),
        sockets=[listener],
        threads=THREADS,
        max_request_body_size=settings.max_request_mb * 2**20,
        trusted_proxy=settings.trusted_proxy or None,
        # Not X-Forwarded-For: whether a request came through the proxy is told by the address it came from. It is kept for the guard.
        trusted_proxy_headers={"x-forwarded-proto", "x-forwarded-host"} if settings.trusted_proxy else set(),
        clear_untrusted_proxy_headers=False,
        ident=None,
    )


def create_app(process: Process) -> Flask:
    """The app on this process's store, settings and labeling tool."""
    app = Flask("annotriage", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = process.settings.max_request_mb * 2**20
    app.config["MAX_FORM_MEMORY_SIZE"] = app.config["MAX_CONTENT_LENGTH"]
    guard, metrics = Guard(process), Metrics(process)
    sessions = Sessions(app, process, guard)
    tool = process.tool.blueprint(StorePredictor(process), guard.authenticated, guard.is_webhook)

    @app.before_request
    def refuse_strangers() -> ResponseReturnValue | None:
        g.started = time.perf_counter()
        if request.method not in SAFE and request.headers.get("Sec-Fetch-Site") in FOREIGN:
            return problem(403, "another site's page sent this; a browser that knows the password must not act for it")
        if request.blueprint == tool.name or guard.authenticated():  # the labeling tool's routes look themselves
            return None
        return sessions.admit()

    @app.after_request
    def count(response: Response) -> Response:
        seconds = time.perf_counter() - g.get("started", time.perf_counter())
        rule = "unknown" if request.url_rule is None else request.url_rule.rule
        metrics.count(request.method, rule, response.status_code, seconds)
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
        return response

    @app.get("/ready")
    def ready() -> ResponseReturnValue:
        with process.store.reading() as connection:
            is_answering(connection)
            roles = {row.role for row in living(connection)}
        if "worker" not in roles:
            return problem(503, "no worker gave a sign of life lately: nothing is judged or delivered; is annotriage serve running?")
        return {"ready": True}

    @app.get("/metrics")
    def figures() -> ResponseReturnValue:
        return Response(metrics.text(), content_type=CONTENT_TYPE)

    answer_problems(app)
    add_pages(app, process, sessions)
    app.register_blueprint(tool)
    app.register_blueprint(api_blueprint(process), url_prefix="/api")
    return app
