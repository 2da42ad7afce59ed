"""The web process: the labeling tool's own routes, the API, and what operators look at. Everything but /health needs credentials.

It answers from the store, at once; whatever takes long is done by the worker and the jobs process.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from flask import Flask, Response, g, request
from flask.typing import ResponseReturnValue

from annotriage.service.judging.predicting import StorePredictor
from annotriage.service.operations.log import log
from annotriage.service.operations.metrics import CONTENT_TYPE, Metrics
from annotriage.service.operations.process import Process
from annotriage.store.browsing import is_answering
from annotriage.store.work import living
from annotriage.web.api import api_blueprint
from annotriage.web.auth import CHALLENGE, Guard
from annotriage.web.problems import answer_problems, problem

SAFE = ("GET", "HEAD", "OPTIONS")
FOREIGN = ("cross-site", "same-site")  # browsers say so of every request; programs say nothing
UNLOGGED = ("/health", "/ready", "/metrics")  # asked for every few seconds

# What a request without the service's credentials is answered; None lets it pass.
Admit = Callable[[], ResponseReturnValue | None]
# What adds pages for people, which look after their visitors themselves.
Pages = Callable[[Flask, Process], Admit]


def create_app(process: Process, pages: Pages | None = None) -> Flask:
    """The app on this process's store, settings and labeling tool, with pages for people if there are any."""
    app = Flask("annotriage", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = process.settings.max_request_mb * 2**20
    app.config["MAX_FORM_MEMORY_SIZE"] = app.config["MAX_CONTENT_LENGTH"]
    guard, metrics = Guard(process), Metrics(process)
    tool = process.tool.blueprint(StorePredictor(process), guard.authenticated, guard.is_webhook)

    @app.before_request
    def refuse_strangers() -> ResponseReturnValue | None:
        g.started = time.perf_counter()
        if request.method not in SAFE and request.headers.get("Sec-Fetch-Site") in FOREIGN:
            return problem(403, "another site's page sent this; a browser that knows the password must not act for it")
        if request.blueprint == tool.name or guard.authenticated():  # the labeling tool's routes look themselves
            return None
        if admit is not None:
            return admit()
        return problem(401, "give the user and the password of the service; annotriage password shows them", CHALLENGE)

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
    admit = None if pages is None else pages(app, process)
    app.register_blueprint(tool)
    app.register_blueprint(api_blueprint(process), url_prefix="/api")
    return app
