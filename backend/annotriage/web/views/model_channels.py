"""What the channels of the model do: the graph of a class, units against concepts, the graph of layers with the course of the training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from markupsafe import Markup
from sqlalchemy import Connection

from annotriage.errors import DataError
from annotriage.report import inside_charts
from annotriage.report.graph_chart import GraphView, graph_chart
from annotriage.report.layers_chart import DrawnLayers, layers_chart
from annotriage.service.readings.model import InsightState, ModelState, insight_state, model_state
from annotriage.states import InsightKind, JobState
from annotriage.store import jobs, trainings
from annotriage.store.insights import job_kind
from annotriage.store.projects import Project
from annotriage.text import name_of
from annotriage.web.routing import Routes

NAME = 100  # characters of a file's name that are said
NAMED = 10  # epochs that are numbered
LEAST = 1e-9


@dataclass(frozen=True)
class GraphPage:
    """What the page of the graph shows. view: the graph; chart: its picture; None before the first."""

    project: Project
    model: ModelState
    graph: InsightState
    view: GraphView | None
    chart: Markup | None


@dataclass(frozen=True)
class UnitsPage:
    """What the page of units and concepts shows. chart: layers by concepts; None before the first."""

    project: Project
    model: ModelState
    units: InsightState
    chart: Markup | None


@dataclass(frozen=True)
class Curves:
    """The course of a training, epoch by epoch; None where nobody knows. version: of the model that came of it. in_use: whether it is."""

    losses: tuple[float | None, ...]
    right: tuple[float | None, ...]
    version: str
    in_use: bool
    charts: tuple[Markup, ...]


@dataclass(frozen=True)
class LayersPage:
    """What the page of the layers shows. chart: the graph, None before the first. curves: of the latest training here, if there was one."""

    project: Project
    model: ModelState
    layers: InsightState
    exact: bool
    chart: Markup | None
    curves: Curves | None


def add_views(routes: Routes) -> None:
    """Add the pages, and what the one of the concepts asks for."""
    routes.project_page("/model/graph", "model_graph", _graph, piece_of=_piece_of)
    routes.project_page("/model/units", "model_units", _units)
    routes.project_page("/model/layers", "model_layers", _layers)

    @routes.writing("/model/units/concepts")
    def dissect_units(connection: Connection, project: Project) -> ResponseReturnValue:
        said = "The units are being compared with your concepts; the result shows here."
        flash(ask(connection, project, InsightKind.UNITS, _concepts(), said), "done")
        return redirect(url_for("web.model_units", project=project.external_id), 303)


def ask(connection: Connection, project: Project, kind: InsightKind, payload: Mapping[str, Any], said: str) -> str:
    """Ask for a look into the model, the last word counts: what to say of it. said: where nothing else runs before."""
    if jobs.is_doing(connection, project.id, job_kind(kind), payload):
        return said
    if jobs.queue_last_word(connection, project.id, job_kind(kind), payload) == JobState.RUNNING:
        return "Another one runs at the moment; yours follows it, in the place of any that waits. Cancelling ends both."
    return said


def asked_graph(connection: Connection, project: Project, form: Mapping[str, str]) -> dict[str, Any]:
    """Of which class the graph is to be drawn, and beside which other one. Raises DataError."""
    classes = model_state(connection, project).classes
    kind, against = form.get("class", ""), form.get("against", "")
    if kind not in classes or (against and against not in classes):
        wrong = kind if kind not in classes else against
        raise DataError(f"class {wrong[:40]!r} is none of the model's; choose one of the list")
    if kind == against:
        raise DataError(f"class {kind[:40]!r} cannot be compared with itself; choose another one")
    return {"class": kind, "against": against or None}


def _concepts() -> dict[str, str]:
    """The name and the text of the CSV file that was sent. Raises DataError."""
    file = request.files.get("concepts")
    content = b"" if file is None else file.read()
    if not content.strip():
        raise DataError("no file was chosen; choose a CSV file with a column id and one column of 1 and 0 for each concept")
    try:
        return {"name": name_of((file and file.filename) or "")[:NAME] or "the file", "concepts": content.decode("utf-8-sig")}
    except UnicodeDecodeError as error:
        raise DataError(f"the file is no text in UTF-8 ({error.reason} at byte {error.start}); save it as CSV in UTF-8") from None


def _piece_of(project: Project, insight_id: int) -> Any:
    """The address of a piece by its name."""
    return lambda name: url_for("web.insight_piece", project=project.external_id, insight_id=insight_id, name=name)


def _graph(connection: Connection, project: Project) -> GraphPage:
    state = insight_state(connection, project, InsightKind.GRAPH)
    view = None if state.insight is None else GraphView.of(state.insight.facts)
    chart = None if view is None or state.insight is None else graph_chart(view, _piece_of(project, state.insight.id))
    return GraphPage(project, model_state(connection, project), state, view, chart)


def _units(connection: Connection, project: Project) -> UnitsPage:
    state = insight_state(connection, project, InsightKind.UNITS)
    chart = None
    if state.insight is not None:
        facts = state.insight.facts
        names = [concept["name"] for concept in facts["concepts"]]
        values = [[_best(layer["found"], name) for name in names] for layer in facts["layers"]]
        layers = [layer["name"] for layer in facts["layers"]]
        chart = inside_charts.heat_chart("AUROC of the best unit", layers, names, values, "", "concepts")
    return UnitsPage(project, model_state(connection, project), state, chart)


def _best(found: Sequence[Mapping[str, Any]], concept: str) -> float:
    return max((max(unit["value"], 1 - unit["value"]) for unit in found if unit["concept"] == concept), default=float("nan"))


def _layers(connection: Connection, project: Project) -> LayersPage:
    state = insight_state(connection, project, InsightKind.LAYERS)
    drawn = None if state.insight is None else DrawnLayers.of(state.insight.facts)
    chart = None if drawn is None else layers_chart(drawn)
    return LayersPage(project, model_state(connection, project), state, drawn is None or drawn.exact, chart, _curves(connection, project))


def _curves(connection: Connection, project: Project) -> Curves | None:
    trained = trainings.latest_trained(connection, project.id)
    if trained is None:
        return None
    course = trained.facts["course"]
    losses, right = (tuple(course.get(name) or ()) for name in ("losses", "right"))
    charts = [_curve(title, values) for title, values in (("Loss", losses), ("Right on the samples seen", right)) if values]
    return Curves(losses, right, trained.version, trained.reference_id == project.reference_id, tuple(charts))


def _curve(title: str, values: Sequence[float | None]) -> Markup:
    """A line over epochs, of which some are numbered."""
    step = max(1, math.ceil(len(values) / NAMED))
    places = [str(epoch + 1) if epoch % step == 0 else "" for epoch in range(len(values))]
    known = [float("nan") if value is None else float(value) for value in values]
    first, last = (next((value for value in order if math.isfinite(value)), LEAST) for order in (known, known[::-1]))
    described = f"{first:.3g} in the first epoch, {last:.3g} in the last."
    return inside_charts.lines_chart(title, places, [f"{last:.3g}"], [known], described)
