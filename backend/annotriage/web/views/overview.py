"""The first page: a card per project. And where a project's address leads."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection

from annotriage.advice import page_words
from annotriage.advice.numbers import percent
from annotriage.report import charts
from annotriage.report.charts import Moment
from annotriage.service.guarantee import pausing
from annotriage.service.operations.process import Process
from annotriage.service.readings.guarantee import GuaranteeState, guarantee_state
from annotriage.store import browsing, dashboard, jobs, snapshots
from annotriage.store.database import AnyRow
from annotriage.store.projects import Project, projects
from annotriage.store.references import get_reference
from annotriage.web.routing import Routes
from annotriage.web.sessions import local

TREND_DAYS = 30.0
LONGEST_REASON = 500


@dataclass(frozen=True)
class Card:
    """A project at a glance. score: its latest snapshot, None before the first; advice: of it; trend, bar: charts."""

    project: Project
    address: str
    items: int
    counts: Mapping[str, int]
    bar: str
    queue: int
    rate: str
    waiting: int
    score: AnyRow | None
    share: float | None
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
            return OverviewPage([card(connection, process, project) for project in projects(connection, gone=True)])

    routes.page("/", "overview", build)

    @routes.open("")
    def project(project: Project) -> ResponseReturnValue:
        return redirect(url_for("web.map", project=project.external_id))

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
        flash("A recalibration is queued. What came of it will stand in the history of the guarantee.", "done")
        return redirect(url_for("web.guarantee", project=project.external_id), 303)


def card(connection: Connection, process: Process, project: Project) -> Card:
    """What the first page shows of a project."""
    every = dashboard.dataset_of_all(connection, project)
    counted = {} if every is None else browsing.dataset_routes(connection, project, [every.id])
    counts = {one.route: one.items for one in counted.get(every.id, ())} if every is not None else {}
    latest = None if every is None else snapshots.latest(connection, [every.id], project.reference_id).get(every.id)
    facts = None if latest is None else latest.facts["diversity"]
    queue = browsing.queue_length(connection, project)
    guarantee = get_reference(connection, project.reference_id).facts["guarantee"]
    return Card(
        project=project,
        address=process.tool_project(project).address(),
        items=sum(counts.values()),
        counts=counts,
        bar=charts.routes_bar(counts),
        queue=queue,
        rate=page_words.waiting(queue, dashboard.answers_per_day(connection, project)),
        waiting=browsing.waiting(connection, project),
        score=latest,
        share=latest.outliers / latest.n if latest is not None and latest.n else None,
        reading=reading_of(latest, facts),
        trend="" if every is None else trend(connection, every.id),
        advice=() if latest is None else latest.facts["advice"],
        state=guarantee_state(project, guarantee, dashboard.standing_of(connection, project)),
    )


def reading_of(snapshot: AnyRow | None, facts: dict[str, Any] | None) -> str:
    """What a snapshot says, in a sentence for everybody."""
    if snapshot is None or facts is None or not snapshot.n:
        return "Nothing is assessed yet: the first figures follow some seconds after the first items."
    known = facts["calibrated"]
    expected, high = (facts["expected"], facts["expected_high"]) if known else (None, None)
    return page_words.reading(snapshot.outliers / snapshot.n, snapshot.low, expected, high)


def trend(connection: Connection, dataset_id: int) -> str:
    """How a dataset's score went lately, as a small chart."""
    rows = dashboard.moments(connection, dataset_id, time.time() - TREND_DAYS * dashboard.DAY, time.time())
    known = [moment_of(row) for row in rows]
    shares = [one.share for one in known if one.share is not None]
    if not shares:
        return ""
    return charts.sparkline(
        known, f"share of outliers of the last {TREND_DAYS:.0f} days: from {percent(shares[0])} to {percent(shares[-1])}"
    )


def moment_of(row: AnyRow) -> Moment:
    """A snapshot as a place on a chart."""
    return Moment(row.at, row.outliers / row.n if row.n else None, row.low if row.n else None, row.high if row.n else None)


def _back() -> ResponseReturnValue:
    return redirect(local(request.form.get("back", "")), 303)
