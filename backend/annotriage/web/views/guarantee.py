"""What is guaranteed of automatic labels, on what evidence, what people's blind answers say since, and what is not covered."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from flask import flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from markupsafe import Markup
from sqlalchemy import Connection

from annotriage.advice.guarantee_words import awaited, days_until, past_the_limit, watched
from annotriage.advice.numbers import amount, count, percent, percent_range
from annotriage.errors import DataError
from annotriage.report import charts
from annotriage.service.guarantee.decisions import Decision, decide, decisions
from annotriage.service.guarantee.spot_checks import MOST_OUTSTANDING, OLDEST_DAYS
from annotriage.service.readings.dataset import snapshot_of
from annotriage.service.readings.guarantee import GuaranteeState, guarantee_state, oldest_days
from annotriage.service.readings.people import people_error
from annotriage.service.readings.project import EventLine, Rescoring, event_lines, rescoring_of
from annotriage.states import SETTLED
from annotriage.store import jobs
from annotriage.store.datasets import dataset_of_all
from annotriage.store.events import history
from annotriage.store.jobs import Job
from annotriage.store.projects import Project, standing_of
from annotriage.store.references import get_curve, get_reference
from annotriage.store.reviews import answers_per_day
from annotriage.store.spot_checks import SpotCheckCount, outstanding, spot_check_counts
from annotriage.web.query_args import whole
from annotriage.web.routing import Routes
from annotriage.web.sessions import visitor_name

EVENTS = 30  # of a page
KINDS = ("recalibrate", "limits")


@dataclass(frozen=True)
class ClassLine:
    """The evidence on automatic labels of one class. off: none of them is automatic."""

    name: str
    n: int
    errors: int
    share: float
    bound: float
    limit: float
    above: bool
    off: bool
    row: Markup


@dataclass(frozen=True)
class GuaranteePage:
    """What the page shows. guarantee: the reference's facts of it; standing: None until the jobs process has found it. people: how often
    they are wrong, whose labels are taken as truth. crowded: whether so many checks are not settled, or for so long, that no label becomes
    an annotation; the same for everybody, as it tells nobody how many they are. past: why the likely range reaches past what is allowed, ""
    where it does not."""

    project: Project
    version: str
    guarantee: dict[str, Any]
    settings: dict[str, Any]
    state: GuaranteeState
    curve: Markup
    classes: Sequence[ClassLine]
    true_classes: Sequence[ClassLine]
    standing: dict[str, Any] | None
    interval: Markup
    level: Markup
    oldest: float | None
    crowded: bool
    until_alarm: tuple[str, str]
    decisions: Sequence[Decision]
    jobs: Sequence[Job]
    events: Sequence[EventLine]
    next: int | None
    rescoring: Rescoring | None
    watched: str
    people: str
    past: str


def add_views(routes: Routes) -> None:
    """Add the page."""
    routes.project_page("/guarantee", "guarantee", _page, awaited=awaited)

    @routes.writing("/spot-checks/<int:item_id>/decide")
    def decide_spot_check(connection: Connection, project: Project, item_id: int) -> ResponseReturnValue:
        decide(connection, project, item_id, _chosen(request.form.get("choice", "")), visitor_name())
        flash("Decided, and written down in the history.", "done")
        return redirect(url_for("web.guarantee", project=project.external_id, _anchor="decisions"), 303)


def _chosen(choice: str) -> tuple[str, ...] | None:
    """The labels of a choice, as the page sends them; None for none of those that it offers. Raises DataError."""
    try:
        labels = json.loads(choice)
    except ValueError:
        labels = 0
    if labels is None:
        return None
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise DataError("choice: it is not understood; choose one of the buttons on the page Guarantee")
    return tuple(labels)


def _page(connection: Connection, project: Project) -> GuaranteePage:
    reference = get_reference(connection, project.reference_id)
    guarantee = reference.facts["guarantee"]
    standing = standing_of(connection, project)
    oldest = None if standing is None else oldest_days(standing)
    rows = history(connection, project.id, before=whole("before"), limit=EVENTS)
    return GuaranteePage(
        project=project,
        version=project.version,
        guarantee=guarantee,
        settings=reference.facts["settings"],
        state=guarantee_state(project, guarantee, standing, snapshot_of(connection, project, dataset_of_all(connection, project))),
        curve=_curve(guarantee, get_curve(connection, reference.id)),
        classes=_classes(guarantee, "predicted"),
        true_classes=_classes(guarantee, "true"),
        standing=standing,
        interval=Markup("") if standing is None else _interval(standing),
        level=Markup("") if standing is None else _level(standing["level"]),
        oldest=oldest,
        crowded=(oldest or 0.0) > OLDEST_DAYS or outstanding(connection, project.id, project.reference_id)[0] > MOST_OUTSTANDING,
        until_alarm=_until_alarm(standing, answers_per_day(connection, project), spot_check_counts(connection, project)),
        decisions=decisions(connection, project),
        jobs=_jobs(connection, project),
        events=event_lines(rows),
        next=rows[-1].id if len(rows) == EVENTS else None,
        rescoring=rescoring_of(connection, project),
        watched=watched(guarantee),
        people=people_error(connection, project),
        past=_past(guarantee, standing),
    )


def _jobs(connection: Connection, project: Project) -> list[Job]:
    """The calibrations that are under way, and the last one that was."""
    rows = jobs.jobs_of(connection, project.id, kinds=KINDS)
    return [job for place, job in enumerate(rows) if place == 0 or job.state in ("queued", "running")]


def _curve(guarantee: dict[str, Any], curve: dict[str, list[float]]) -> Markup:
    if not curve.get("coverage"):
        return Markup("")
    known = {name: math.nan if value is None and name != "dearest" else value for name, value in guarantee.items()}
    curves = {f"curve_{name}": curve[name] for name in ("coverage", "risk", "bound")}
    return charts.risk_coverage_chart(SimpleNamespace(**known, **curves))  # type: ignore[arg-type]


def _classes(guarantee: dict[str, Any], side: str) -> list[ClassLine]:
    """The evidence per class, those above the limit first."""
    rows = [row for row in guarantee["classes"] if row["side"] == side]
    priced = guarantee.get("dearest") is not None
    limits = [guarantee["max_error"] if row.get("limit") is None else row["limit"] for row in rows]
    upper = charts.rows_upper([row["bound"] for row in rows if row["n"]], limits)
    lines = []
    for row, limit in zip(rows, limits, strict=True):
        seen = (row["cost"] if priced else row["errors"] / row["n"]) if row["n"] else math.nan
        figures = [(amount if priced else percent)(figure) for figure in (seen, row["bound"], limit)]
        said = f"{row['name']}: {figures[0]} {'a label' if priced else 'wrong'}, upper bound {figures[1]}, limit {figures[2]}"
        colour = "c-outlier" if row["above_limit"] else "c-expected"
        drawn = charts.interval_row(seen, seen, row["bound"], limit, upper, said, colour) if row["n"] else Markup("")
        off = side == "predicted" and not row["n"]
        lines.append(ClassLine(row["name"], row["n"], row["errors"], row["share"], row["bound"], limit, row["above_limit"], off, drawn))
    return sorted(lines, key=lambda line: (not line.above, -line.bound if line.n else 0.0))


def _past(guarantee: dict[str, Any], standing: dict[str, Any] | None) -> str:
    if standing is None or not standing["answers"] or not standing["low"] <= standing["max_error"] < standing["high"]:
        return ""
    return past_the_limit(standing["answers"], guarantee["labelled"])


def _level(level: float) -> Markup:
    return charts.level_bar(level, f"{percent(min(level, 1.0), 0)} of its level")


def _interval(standing: dict[str, Any]) -> Markup:
    if not standing["answers"]:
        return Markup("")
    share = standing["wrong"] / standing["answers"]
    upper = charts.rows_upper([standing["high"]], [standing["max_error"]])
    said = f"wrong: {percent(share)}, limits {percent_range(standing['low'], standing['high'])}, allowed {percent(standing['max_error'])}"
    return charts.interval_chart(share, standing["low"], standing["high"], standing["max_error"], upper, said, "c-outlier")


def _until_alarm(standing: dict[str, Any] | None, per_day: float | None, checks: Sequence[SpotCheckCount]) -> tuple[str, str]:
    """How soon a doubled error would be found, at the rate at which spot checks of automatic labels are answered."""
    if standing is None or standing["until_alarm"] is None:
        return "not known", ""
    answers = standing["until_alarm"]
    answered = sum(check.n for check in checks if check.state in SETTLED)
    # Of all answers some are spot checks of automatic labels; as many as lately, it is supposed.
    share = standing["answers"] / max(answered, 1) if answered else 0.0
    rate = None if per_day is None else per_day * share
    return f"about {count(round(answers), 'answer')}", days_until(answers, rate)
