"""How foreign the incoming data is: over time, per cluster, per dataset, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from sqlalchemy import Connection

from annotriage.advice.numbers import percent, percent_range, points, points_range
from annotriage.report import charts
from annotriage.store import browsing, dashboard, jobs, reports, snapshots
from annotriage.store.database import AnyRow
from annotriage.store.jobs import Job
from annotriage.store.projects import Project
from annotriage.store.references import get_reference
from annotriage.web.query_args import SPANS, Stretch, dataset_asked, stretch_asked, whole
from annotriage.web.routing import Routes
from annotriage.web.views.overview import moment_of, reading_of

DATASETS = 30  # rows of a page
SURE = 0.05
THRESHOLDS = {"train": "train_above", "deploy": "deploy_below", "augmentation": "augmentation_above"}  # settings that advice turns on


@dataclass(frozen=True)
class ClusterLine:
    """A cluster of the dataset. usual: its share of outliers among held-out items; more: clearly above that."""

    name: str
    n: int
    share: float | None
    low: float | None
    high: float | None
    usual: float | None
    more: bool
    mix: float | None
    row: Markup


@dataclass(frozen=True)
class DatasetLine:
    """A dataset with its latest score; share None before the first."""

    row: AnyRow
    items: int
    failed: int
    share: float | None
    low: float | None
    high: float | None
    chart: Markup


@dataclass(frozen=True)
class DiversityPage:
    """What the page shows. score: the dataset's latest snapshot; facts: its diversity; None before the first."""

    project: Project
    dataset: AnyRow | None
    score: AnyRow | None
    facts: dict[str, Any] | None
    reading: str
    stretch: Stretch
    trend: Markup
    moments: int
    clusters: Sequence[ClusterLine]
    datasets: Sequence[DatasetLine]
    next: int | None
    advice: Sequence[dict[str, Any]]
    report: AnyRow | None
    making: Job | None


def add_views(routes: Routes) -> None:
    """Add the page."""
    routes.project_page("/diversity", "diversity", _page, SPANS=SPANS, charts=charts)


def _page(connection: Connection, project: Project) -> DiversityPage:
    dataset = dataset_asked(connection, project)
    first = None if dataset is None else dashboard.first_moment(connection, dataset.id)
    stretch = stretch_asked(first)
    score = None if dataset is None else snapshots.latest(connection, [dataset.id], project.reference_id).get(dataset.id)
    facts = None if score is None else score.facts["diversity"]
    rows = () if dataset is None else dashboard.moments(connection, dataset.id, stretch.start, stretch.end)
    datasets, following = _datasets(connection, project)
    return DiversityPage(
        project=project,
        dataset=dataset,
        score=score,
        facts=facts,
        reading=reading_of(score, facts),
        stretch=stretch,
        trend=_trend(rows, facts, stretch),
        moments=len(rows),
        clusters=() if facts is None else _clusters(facts),
        datasets=datasets,
        next=following,
        advice=() if score is None else _advice(connection, project, score),
        report=None if dataset is None else reports.report_of(connection, dataset.id),
        making=None if dataset is None else _making(connection, project, dataset.id),
    )


def _advice(connection: Connection, project: Project, score: AnyRow) -> list[dict[str, Any]]:
    """The four pieces of advice, each with what would decide it or turn it."""
    settings = get_reference(connection, project.reference_id).facts["settings"]
    diversity = score.facts["diversity"]
    found = []
    for one in score.facts["advice"]:
        threshold = settings.get(THRESHOLDS.get(one["question"], ""))
        turns = one["would_decide"]
        if not turns and threshold is not None and diversity["excess_low"] is not None:
            limits = points_range(diversity["excess_low"], diversity["excess_high"])
            turns = f"the limits of the excess, now {limits}, would have to lie on the other side of {points(threshold)}"
        found.append({**one, "would_decide": turns})
    return found


def _making(connection: Connection, project: Project, dataset_id: int) -> Job | None:
    """The latest job that makes this dataset's report, unless it is done."""
    found = [one for one in jobs.jobs_of(connection, project.id) if one.kind == "report" and one.payload["dataset"] == dataset_id]
    return found[0] if found and found[0].state != "done" else None


def _trend(rows: Sequence[AnyRow], facts: dict[str, Any] | None, stretch: Stretch) -> Markup:
    known = [moment_of(row) for row in rows]
    scored = [one for one in known if one.share is not None]
    if not scored:
        return Markup("")
    expected = facts["expected"] if facts is not None and facts["calibrated"] else None
    first, last = scored[0], scored[-1]
    described = (
        f"{percent(last.share)} at the end, with limits {percent_range(last.low, last.high)}; {percent(first.share)} at the beginning;"
        f" between {percent(min(one.share or 0 for one in scored))} and {percent(max(one.share or 0 for one in scored))} meanwhile."
    )
    return charts.trend_chart(known, expected, described, stretch.start, stretch.end)


def _clusters(facts: dict[str, Any]) -> list[ClusterLine]:
    """The clusters of a dataset, those with most outliers for their size first."""
    rows = facts["clusters"]
    usual = {row["name"]: row["held_out_outliers"] / row["held_out"] if row["held_out"] else None for row in rows}
    upper = charts.rows_upper([row["high"] for row in rows if row["n"]], [value for value in usual.values() if value is not None])
    lines = []
    for row in rows:
        share, expected, there = row["share"] if row["n"] else None, usual[row["name"]], row["n"] > 0
        more = row["p_value"] is not None and row["p_value"] <= SURE
        said = f"{row['name']}: {percent(share)}, limits {percent_range(row['low'], row['high'])}, held-out items {percent(expected)}"
        mark = float("nan") if expected is None else expected
        drawn = charts.interval_row(share or 0.0, row["low"], row["high"], mark, upper, said, "c-outlier" if more else "c-expected")
        lines.append(
            ClusterLine(
                row["name"],
                row["n"],
                share,
                row["low"] if there else None,
                row["high"] if there else None,
                expected,
                more,
                row["mix_change"],
                drawn if there else Markup(""),
            )
        )
    return sorted(lines, key=lambda one: (not one.more, -(one.share or 0.0)))


def _datasets(connection: Connection, project: Project) -> tuple[list[DatasetLine], int | None]:
    rows = browsing.datasets_page(connection, project, kind=None, after=whole("after"), limit=DATASETS)
    taken = snapshots.latest(connection, [row.id for row in rows], project.reference_id)
    upper = charts.rows_upper([one.high for one in taken.values() if one.n and one.high is not None], [])
    lines = []
    for row in rows:
        one = taken.get(row.id)
        if one is None or not one.n:
            lines.append(DatasetLine(row, 0 if one is None else one.failed, 0 if one is None else one.failed, None, None, None, Markup("")))
            continue
        share = one.outliers / one.n
        said = f"{row.name}: {percent(share)}, limits {percent_range(one.low, one.high)}"
        drawn = charts.interval_row(share, one.low, one.high, float("nan"), upper, said, "c-outlier")
        lines.append(DatasetLine(row, one.n + one.failed, one.failed, share, one.low, one.high, drawn))
    return lines, rows[-1].id if len(rows) == DATASETS else None
