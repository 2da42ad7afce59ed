"""Inside the model: what it is, the answers about it, and the jobs that find them; each page shows what one kind of job found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Response, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from markupsafe import Markup
from sqlalchemy import Connection

from annotriage.errors import DataError
from annotriage.report import inside_charts
from annotriage.service.readings.model import InsightState, ModelState, insight_state, model_state
from annotriage.states import InsightKind
from annotriage.store import insights, jobs
from annotriage.store.insights import Insight, job_kind
from annotriage.store.projects import Project
from annotriage.web.routing import Routes

ITEMS = ("answers", "training")  # which the questions can be answered on


@dataclass(frozen=True)
class ModelPage:
    """What the first page shows."""

    project: Project
    model: ModelState


@dataclass(frozen=True)
class Face:
    """An item that an answer is about. name: of its task, or of the training item. item_id: of an answered one; piece: the picture of
    another, None if it has none."""

    name: str
    label: str
    predicted: str
    item_id: int | None = None
    piece: str | None = None


@dataclass(frozen=True)
class DiagnosisPage:
    """What the page of the questions shows. faces: of each answer, those whose class may be said now."""

    project: Project
    model: ModelState
    diagnosis: InsightState
    faces: tuple[tuple[Face, ...], ...]
    training_known: bool


def add_views(routes: Routes) -> None:
    """Add the pages, what they fetch, and what they ask for."""
    routes.project_page("/model", "model", _page)
    routes.project_page("/model/diagnosis", "model_diagnosis", _diagnosis, draw=_drawn)

    @routes.reading("/model/pieces/<int:insight_id>/<name>")
    def insight_piece(connection: Connection, project: Project, insight_id: int, name: str) -> ResponseReturnValue:
        content = insights.piece_of(connection, project, insight_id, name)
        kinds = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp", b"GIF8": "image/gif"}
        kind = next((kind for start, kind in kinds.items() if content.startswith(start)), "application/json")
        return Response(content, mimetype=kind, headers={"Cache-Control": "private, max-age=3600"})

    @routes.writing("/model/<kind>/start")
    def look_inside(connection: Connection, project: Project, kind: str) -> ResponseReturnValue:
        wanted = _kind(kind)
        jobs.queue(connection, project.id, job_kind(wanted), _ASKED[wanted](request.form))
        flash("The model is being looked into; what is found shows here.", "done")
        return _back(project, wanted)

    @routes.writing("/model/<kind>/cancel")
    def stop_looking(connection: Connection, project: Project, kind: str) -> ResponseReturnValue:
        wanted = _kind(kind)
        stopped = jobs.cancel(connection, project.id, job_kind(wanted))
        flash("Cancelled; what was found before stays." if stopped else "It had ended already.", "done")
        return _back(project, wanted)


def _kind(name: str) -> InsightKind:
    """The kind of this name. Raises DataError."""
    if name not in _ASKED:
        raise DataError(f"{name[:40]!r} is nothing that can be looked for; there are {', '.join(_ASKED)}")
    return InsightKind(name)


def _back(project: Project, kind: InsightKind) -> ResponseReturnValue:
    return redirect(url_for(f"web.{PAGES[kind]}", project=project.external_id), 303)


def _asked_items(form: Mapping[str, str]) -> dict[str, Any]:
    """Which items the questions are to be answered on. Raises DataError."""
    items = form.get("items") or ITEMS[0]
    if items not in ITEMS:
        raise DataError(f"items: {items[:40]!r} is none of {', '.join(ITEMS)}")
    return {"items": items}


# By kind: the page that shows it, and what a form that asks for it says.
PAGES: dict[InsightKind, str] = {InsightKind.DIAGNOSIS: "model_diagnosis"}
_ASKED: dict[InsightKind, Callable[[Mapping[str, str]], dict[str, Any]]] = {InsightKind.DIAGNOSIS: _asked_items}


def _page(connection: Connection, project: Project) -> ModelPage:
    return ModelPage(project, model_state(connection, project))


def _diagnosis(connection: Connection, project: Project) -> DiagnosisPage:
    state = insight_state(connection, project, InsightKind.DIAGNOSIS)
    faces = () if state.insight is None else _faces(connection, project, state.insight)
    return DiagnosisPage(project, model_state(connection, project), state, faces, bool(project.options.training_data))


def _faces(connection: Connection, project: Project, found: Insight) -> tuple[tuple[Face, ...], ...]:
    """The items of each answer; of answered ones those alone that still are, since the class of others is hidden."""
    answers: Sequence[Any] = found.facts["answers"]
    ids = {face["item_id"] for answer in answers for face in answer["items"] if "item_id" in face}
    names = insights.answered_of(connection, project.id, sorted(ids))
    rows = []
    for answer in answers:
        shown = [face for face in answer["items"] if "item_id" not in face or face["item_id"] in names]
        rows.append(tuple(Face(**{"name": names.get(face.get("item_id", -1), ""), **face}) for face in shown))
    return tuple(rows)


def _drawn(picture: Mapping[str, Any]) -> Markup:
    """A figure of an answer; what is not known is nan again."""
    values = [[float("nan") if value is None else value for value in row] for row in picture["values"]]
    if "columns" in picture:
        return inside_charts.heat_chart(picture["title"], picture["rows"], picture["columns"], values, "", picture["axis"])
    draw = inside_charts.lines_chart if "places" in picture else inside_charts.bars_chart
    return draw(picture["title"], picture["places" if "places" in picture else "rows"], picture["series"], values, "")
