"""How foreign the incoming data is: over time, per cluster, per dataset, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from markupsafe import Markup
from sqlalchemy import Connection

from annotriage.advice.numbers import percent, percent_range
from annotriage.report import charts
from annotriage.service.readings.dataset import DatasetDiversity, advice_on, assessed, sentence_of, snapshot_of
from annotriage.store import jobs, reports
from annotriage.store.datasets import Dataset, dataset_of_project, datasets_page, mark_augmented
from annotriage.store.jobs import Job
from annotriage.store.projects import Project
from annotriage.store.reports import ReportFile
from annotriage.store.snapshots import Moment, Snapshot, first_moment, moments
from annotriage.web.query_args import SPANS, Stretch, dataset_asked, stretch_asked, whole
from annotriage.web.routing import Routes

DATASETS = 30  # rows of a page
SURE = 0.05


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
    """A dataset with its latest figures, None before the first."""

    dataset: Dataset
    latest: Moment | None
    chart: Markup


PAGE_FILES = {
    reports.REPORT: "all of this with a map and pictures, in one file for others",
    reports.ATLAS: "the training items as the model sees them, to walk through, with this dataset's strange items where they fall",
}


@dataclass(frozen=True)
class PageFile:
    """A page that opens from a file. made: the latest, None before the first. making: the job that makes it anew, unless it is done."""

    kind: str
    meaning: str
    made: ReportFile | None
    making: Job | None


@dataclass(frozen=True)
class DiversityPage:
    """What the page shows. score: the dataset's latest snapshot, None before the first; facts: its diversity."""

    project: Project
    dataset: Dataset | None
    score: Snapshot | None
    facts: dict[str, Any] | None
    reading: str
    stretch: Stretch
    trend: Markup
    moments: int
    clusters: Sequence[ClusterLine]
    datasets: Sequence[DatasetLine]
    next: int | None
    advice: Sequence[dict[str, Any]]
    files: Sequence[PageFile]


def add_views(routes: Routes) -> None:
    """Add the page."""
    routes.project_page("/diversity", "diversity", _page, SPANS=SPANS, charts=charts)

    @routes.writing("/datasets/<int:dataset_id>/augmented")
    def mark_dataset(connection: Connection, project: Project, dataset_id: int) -> ResponseReturnValue:
        dataset, augmented = dataset_of_project(connection, project, dataset_id), request.form.get("augmented") == "yes"
        mark_augmented(connection, dataset.id, augmented)
        flash(f"{dataset.title}: {'augmented training data from now on' if augmented else 'not augmented training data any more'}.", "done")
        return redirect(url_for("web.diversity", project=project.external_id, dataset=dataset.id, _anchor="advice"), 303)


def _page(connection: Connection, project: Project) -> DiversityPage:
    dataset = dataset_asked(connection, project)
    stretch = stretch_asked(None if dataset is None else first_moment(connection, dataset.id))
    score = snapshot_of(connection, project, dataset)
    facts = None if score is None else score.facts["diversity"]
    known = [] if dataset is None else moments(connection, dataset.id, stretch.start, stretch.end)
    datasets, following = _datasets(connection, project)
    return DiversityPage(
        project=project,
        dataset=dataset,
        score=score,
        facts=facts,
        reading=sentence_of(score),
        stretch=stretch,
        trend=_trend(known, facts, stretch),
        moments=len(known),
        clusters=() if facts is None else _clusters(facts),
        datasets=datasets,
        next=following,
        advice=() if dataset is None or score is None else advice_on(connection, project, [DatasetDiversity(dataset, score)])[0].questions,
        files=() if dataset is None else _files(connection, project, dataset.id),
    )


def _files(connection: Connection, project: Project, dataset_id: int) -> list[PageFile]:
    mine = [job for job in jobs.jobs_of(connection, project.id, kinds=tuple(PAGE_FILES)) if job.payload.get("dataset") == dataset_id]
    lines = []
    for kind, meaning in PAGE_FILES.items():
        latest = next((job for job in mine if job.kind == kind), None)
        making = latest if latest is not None and latest.state != "done" else None
        lines.append(PageFile(kind, meaning, reports.report_of(connection, dataset_id, kind), making))
    return lines


def _trend(known: Sequence[Moment], facts: dict[str, Any] | None, stretch: Stretch) -> Markup:
    scored = [moment for moment in known if moment.share is not None]
    shares = [moment.share or 0.0 for moment in scored]
    if not scored:
        return Markup("")
    expected = facts["expected"] if facts is not None and facts["calibrated"] else None
    first, last = scored[0], scored[-1]
    described = (
        f"{percent(last.share)} at the end, with limits {percent_range(last.low, last.high)}; {percent(first.share)} at the beginning;"
        f" between {percent(min(shares))} and {percent(max(shares))} meanwhile."
    )
    drawn = [charts.Moment(moment.at, moment.share, moment.low, moment.high) for moment in scored]
    return charts.trend_chart(drawn, expected, described, stretch.start, stretch.end)


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
    return sorted(lines, key=lambda line: (not line.more, -(line.share or 0.0)))


def _datasets(connection: Connection, project: Project) -> tuple[list[DatasetLine], int | None]:
    datasets = datasets_page(connection, project, after=whole("after"), limit=DATASETS)
    found = assessed(connection, project, datasets)
    highest = [line.latest.high for line in found if line.latest is not None and line.latest.n]
    upper = charts.rows_upper([high for high in highest if high is not None], [])
    lines = [DatasetLine(line.dataset, line.latest, _dataset_row(line.dataset, line.latest, upper)) for line in found]
    return lines, datasets[-1].id if len(datasets) == DATASETS else None


def _dataset_row(dataset: Dataset, latest: Moment | None, upper: float) -> Markup:
    if latest is None or latest.share is None or latest.low is None or latest.high is None:
        return Markup("")
    said = f"{dataset.name}: {percent(latest.share)}, limits {percent_range(latest.low, latest.high)}"
    return charts.interval_row(latest.share, latest.low, latest.high, float("nan"), upper, said, "c-outlier")
