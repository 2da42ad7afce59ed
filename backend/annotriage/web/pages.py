"""The dashboard: all its pages, and what they share: their headers, what templates may call, and errors as pages for people."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from flask import Blueprint, Flask, Response, render_template, request, send_from_directory
from jinja2 import FileSystemLoader, PrefixLoader
from markupsafe import Markup

from annotriage.advice import numbers, page_words
from annotriage.advice.answer_words import badge_of
from annotriage.advice.glossary import term_of
from annotriage.advice.route_words import ROUTE_MEANINGS, route_name
from annotriage.advice.state_words import why_paused
from annotriage.advice.strangeness_words import surprise_words
from annotriage.advice.waiting_words import work_time
from annotriage.service.operations.process import Process
from annotriage.service.readings.next_step import NextStep
from annotriage.service.readings.project import unread_seconds
from annotriage.settings import SERVICE_SETTINGS, SETTINGS
from annotriage.states import ROUTES
from annotriage.store import work
from annotriage.store.projects import Project
from annotriage.web.problems import MEDIA_TYPE
from annotriage.web.routing import Number, Plain, Routes
from annotriage.web.sessions import Sessions, wants_page
from annotriage.web.tabs import MODEL_PAGES, PROJECT_TABS
from annotriage.web.views import (
    accounts,
    answering,
    certificates,
    changes,
    compare,
    diversity,
    exports,
    glossary,
    groups,
    guarantee,
    item,
    items,
    label_audit,
    likeness,
    look_alikes,
    map,
    model,
    model_channels,
    model_items,
    new_class,
    overview,
    people,
    project_overview,
    queue,
    saved_views,
    settings,
    system,
    training,
    versions,
)

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:;"
    " connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
SETTING_NAMES = frozenset(field.name for field in (*SETTINGS, *SERVICE_SETTINGS))
SHARED = Path(__file__).parent.parent / "report" / "static"  # what report.html is made of, too
WORDS = (
    "percent",
    "probability",
    "percent_range",
    "count",
    "points",
    "points_range",
    "p_figure",
    "chance",
    "certainty",
    "amount",
)  # of numbers
VIEWS = (
    overview,
    project_overview,
    glossary,
    changes,
    diversity,
    groups,
    new_class,
    guarantee,
    certificates,
    label_audit,
    people,
    look_alikes,
    training,
    model,
    model_channels,
    model_items,
    compare,
    versions,
    settings,
    system,
    accounts,
    exports,
    map,
    likeness,
    queue,
    items,
    saved_views,
    answering,
    item,
)


def add_pages(app: Flask, process: Process, sessions: Sessions) -> None:
    """Add the pages to the app."""
    pages = Blueprint("web", __name__, template_folder="templates", static_folder="static", static_url_path="/static")
    sessions.routes(pages)
    _dress(app, pages, process)
    app.url_map.converters.update(plain=Plain, int=Number)
    routes = Routes(pages, process)
    for view in VIEWS:
        view.add_views(routes)
    app.register_blueprint(pages)


def _dress(app: Flask, pages: Blueprint, process: Process) -> None:
    """Give the pages their headers, filters and error pages."""
    app.jinja_loader = PrefixLoader({"report": FileSystemLoader(SHARED.parent / "templates")})  # parts that files have, too
    app.jinja_env.filters.update({name: getattr(numbers, name) for name in WORDS})
    app.jinja_env.filters.update(surprising=surprise_words, work_time=work_time, route_name=route_name)
    app.jinja_env.filters.update(
        moment=page_words.moment, ago=page_words.ago, number=page_words.number, span=page_words.span, known=_known, ticks=_ticks
    )
    app.jinja_env.filters.update(sentence=lambda said: page_words.sentence(said, SETTING_NAMES))
    app.jinja_env.globals.update(badge_of=badge_of, term_of=term_of, unread_for=_unread_for, step_place=_step_place, is_here=_is_here)

    def service_trouble() -> str:
        """What keeps the running service from the labeling tool, as it says itself; "" if nothing does."""
        with process.store.reading() as connection:
            return work.trouble(work.living(connection))

    app.jinja_env.globals.update(
        service_trouble=service_trouble,
        PROJECT_TABS=PROJECT_TABS,
        MODEL_PAGES=MODEL_PAGES,
        ROUTES=ROUTES,
        why_paused=why_paused,
        ROUTE_MEANINGS=ROUTE_MEANINGS,
        TOOL=process.tool.title,
    )
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True

    @pages.get("/static/shared/<name>")
    def shared(name: str) -> Response:
        return send_from_directory(SHARED, name)

    @app.after_request
    def as_page(response: Response) -> Response:
        """Errors that a person's browser would show are pages; every page keeps to itself."""
        if response.mimetype == MEDIA_TYPE and wants_page():
            found = json.loads(response.get_data(as_text=True))
            if response.status_code == 404 and request.url_rule is None:
                found["detail"] = f"There is no page at {request.path}."
            response.set_data(render_template("error.html", **{name: found[name] for name in ("status", "title", "detail")}))
            response.mimetype = "text/html"
        if request.blueprint == "web" or response.mimetype == "text/html":
            response.headers.setdefault("Content-Security-Policy", POLICY)
            response.headers.setdefault("Referrer-Policy", "same-origin")
        return response


def _unread_for(project: Project) -> str:
    """How long the labeling tool has not been read, in words; "" if all is well."""
    late = unread_seconds(project)
    return page_words.span(late) if late else ""


def _step_place(project: Project, step: NextStep) -> dict[str, Any]:
    """The parts of the address of what is to be done next."""
    return dict(step.args) if step.page == "system" else {"project": project.external_id, **step.args}


def _is_here(step: NextStep) -> bool:
    """Whether the page at hand is the one on which it is done."""
    asked = all(request.args.get(name) == str(value) for name, value in step.args.items() if not name.startswith("_"))
    return request.endpoint == f"web.{step.page}" and asked


def _ticks(text: str) -> Markup:
    """Text of ours in which `words` stand in ticks."""
    parts = text.split("`")
    return Markup("").join(Markup("<code>{}</code>").format(part) if place % 2 else part for place, part in enumerate(parts))


def _known(facts: dict[str, Any]) -> SimpleNamespace:
    """Stored figures as those who draw them expect: what is not known is nan again."""
    return SimpleNamespace(**{name: math.nan if value is None else value for name, value in facts.items()})
