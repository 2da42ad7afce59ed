"""The first page: a card per project. And where a project's address leads."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection

from annotriage.advice.numbers import percent
from annotriage.report import charts
from annotriage.service.guarantee import pausing
from annotriage.service.operations.process import Process
from annotriage.service.readings.dataset import DatasetDiversity, advice_on, sentence_of, snapshot_of
from annotriage.service.readings.guarantee import GuaranteeState, guarantee_state
from annotriage.service.readings.next_step import NextStep, next_step
from annotriage.service.readings.project import ProjectLine, project_line
from annotriage.service.readings.waiting import WaitingWork, waiting_work
from annotriage.states import SPOT_CHECK
from annotriage.store import jobs
from annotriage.store.datasets import dataset_of_all
from annotriage.store.projects import Project, standing_of
from annotriage.store.queue import checks_by_route
from annotriage.store.references import get_reference
from annotriage.store.snapshots import Snapshot, moments
from annotriage.web.routing import Routes
from annotriage.web.sessions import local
from annotriage.web.visited import visited_projects

TREND_DAYS = 30.0
DAY = 86_400.0
LONGEST_REASON = 500


@dataclass(frozen=True)
class Card:
    """A project at a glance. counts: its items by route, those that are answered blind under states.SPOT_CHECK alone. score: its latest
    snapshot, None before the first; advice: of it."""

    project: Project
    line: ProjectLine
    counts: Mapping[str, int]
    bar: str
    waiting: WaitingWork
    next: NextStep
    score: Snapshot | None
    reading: str
    trend: str
    advice: Sequence[dict[str, Any]]
    state: GuaranteeState


@dataclass(frozen=True)
class OverviewPage:
    """The connected projects."""

    cards: Sequence[Card]


def add_views(routes: Routes) -> None:
    """Add the page, and pausing, resuming and recalibrating, which other pages offer too."""
    process = routes.process

    def build() -> OverviewPage:
        with process.store.reading() as connection:
            return OverviewPage([card(connection, process, project) for project in visited_projects(connection)])

    routes.page("/", "overview", build)

    @routes.open("")
    def project(project: Project) -> ResponseReturnValue:
        return redirect(url_for("web.project_overview", project=project.external_id))

    @routes.open(".json")
    def project_json(project: Project) -> ResponseReturnValue:
        return redirect(url_for("web.project_overview_json", project=project.external_id))

    @routes.writing("/pause")
    def pause(connection: Connection, project: Project) -> ResponseReturnValue:
        flash(pausing.pause(connection, project, request.form.get("reason", "")[:LONGEST_REASON]), "done")
        return _back()

    @routes.writing("/resume")
    def resume(connection: Connection, project: Project) -> ResponseReturnValue:
        flash(pausing.resume(connection, project), "done")
        return _back()

    @routes.writing("/recalibrate")
    def recalibrate(connection: Connection, project: Project) -> ResponseReturnValue:
        jobs.queue(connection, project.id, "recalibrate")
        flash("A recalibration is queued. The result will show in the history of the guarantee.", "done")
        return redirect(url_for("web.guarantee", project=project.external_id), 303)


def card(connection: Connection, process: Process, project: Project) -> Card:
    """What the first page shows of a project."""
    every, line = dataset_of_all(connection, project), project_line(connection, process, project)
    blind = checks_by_route(connection, project, answered=True)
    counts = {count.route: count.items - blind.get(count.route, 0) for count in line.routes} | {SPOT_CHECK: sum(blind.values())}
    latest = snapshot_of(connection, project, every)
    guarantee = get_reference(connection, project.reference_id).facts["guarantee"]
    return Card(
        project=project,
        line=line,
        counts=counts,
        bar=charts.routes_bar(counts),
        waiting=waiting_work(connection, project),
        next=next_step(connection, project),
        score=latest,
        reading=sentence_of(latest),
        trend="" if every is None else trend(connection, every.id),
        advice=() if every is None or latest is None else advice_on(connection, project, [DatasetDiversity(every, latest)])[0].questions,
        state=guarantee_state(project, guarantee, standing_of(connection, project), latest),
    )


def trend(connection: Connection, dataset_id: int) -> str:
    """How a dataset's score went lately, as a small chart."""
    found = moments(connection, dataset_id, time.time() - TREND_DAYS * DAY, time.time())
    shares = [moment.share for moment in found if moment.share is not None]
    if not shares:
        return ""
    said = f"share of strange items over the last {TREND_DAYS:.0f} days: from {percent(shares[0])} to {percent(shares[-1])}"
    return charts.sparkline(shares, said)


def _back() -> ResponseReturnValue:
    return redirect(local(request.form.get("back", "")), 303)
