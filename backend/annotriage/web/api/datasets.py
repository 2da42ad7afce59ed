"""Datasets: their counts, how foreign they are and got so, what to do about them; and time windows, which are queries."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from annotriage.errors import DataError
from annotriage.service.operations.process import Process
from annotriage.store import browsing, snapshots
from annotriage.store.browsing import RouteCount
from annotriage.store.database import AnyRow
from annotriage.store.projects import Project, project_of
from annotriage.web.api.openapi import Operation, Parameter, Time, time_text
from annotriage.web.api.paging import AFTER, LIMIT, next_page, number_after, number_in_path
from annotriage.web.api.routes import Route, routes_of


@dataclass(frozen=True, slots=True)
class DatasetName:
    """A dataset, by its id, kind and name."""

    dataset: int
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class DatasetLine:
    """A dataset of a project. kind: all, batch (an import), field (a value of a data field) or pushed."""

    dataset: int
    kind: str
    name: str
    first_at: Time
    last_at: Time
    items: int
    open: int
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class DatasetPage:
    """Datasets, the latest first. next: give it as `after` for the next page; null on the last."""

    datasets: tuple[DatasetLine, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class DiversityLine:
    """How foreign a dataset was at a time. share: of outliers among its `items` that could be scored; low, high: its limits."""

    at: Time
    items: int
    outliers: int
    failed: int
    share: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class DatasetDiversity:
    """A dataset's diversity score. sentence: it in words; facts: all figures of it; groups: of outliers that lie close together."""

    dataset: DatasetName
    latest: DiversityLine
    sentence: str
    facts: dict[str, Any]
    groups: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class DiversityPage:
    """The diversity scores of datasets, the latest datasets first; those not assessed yet are left out. next: as everywhere."""

    datasets: tuple[DatasetDiversity, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class DiversityHistory:
    """How a dataset's diversity score got where it is, the latest first. next: as everywhere."""

    dataset: DatasetName
    history: tuple[DiversityLine, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do about a dataset. questions: train, deploy, augmentation, annotate, each with answer, headline and reason."""

    dataset: DatasetName
    at: Time
    questions: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class AdvicePage:
    """The advice on datasets, the latest datasets first; those not assessed yet are left out. next: as everywhere."""

    datasets: tuple[Advice, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Window:
    """The items judged from `start` until before `end`. share: of outliers among those that could be scored; low, high: its 95 % limits,
    counted by item, whatever groups they belong to. Null where nothing was scored."""

    start: Time
    end: Time
    items: int
    routes: tuple[Route, ...]
    share: float | None
    low: float | None
    high: float | None


def list_datasets(process: Process, project: str, kind: str | None, after: str | None, limit: int) -> DatasetPage:
    """The project's datasets, the latest first."""
    with process.store.reading() as connection:
        found = project_of(connection, project)
        rows = browsing.datasets_page(connection, found, kind=kind, after=number_after(after), limit=limit)
        counts = browsing.dataset_routes(connection, found, [row.id for row in rows])
    lines = tuple(dataset_line(row, counts.get(row.id, [])) for row in rows)
    return DatasetPage(lines, next_page(rows, limit, lambda row: row.id))


def list_diversity(process: Process, project: str, after: str | None, limit: int) -> DiversityPage:
    """How foreign the project's datasets are."""
    with process.store.reading() as connection:
        rows, taken = _snapshots(connection, project_of(connection, project), after, limit)
    found = [(row, taken[row.id]) for row in rows if row.id in taken]
    return DiversityPage(tuple(_diversity(*one) for one in found), next_page(rows, limit, lambda row: row.id))


def get_diversity(process: Process, project: str, dataset: str, after: float | None, limit: int) -> DiversityHistory:
    """How a dataset's diversity score got where it is."""
    with process.store.reading() as connection:
        row = browsing.dataset_of_project(connection, project_of(connection, project), number_in_path(dataset, "dataset"))
        past = snapshots.history(connection, row.id, before=after, limit=limit)
    lines = tuple(diversity_line(one) for one in past)
    return DiversityHistory(dataset_name(row), lines, next_page(past, limit, lambda row: repr(row.at)))


def list_advice(process: Process, project: str, after: str | None, limit: int) -> AdvicePage:
    """What to do about the project's datasets."""
    with process.store.reading() as connection:
        rows, taken = _snapshots(connection, project_of(connection, project), after, limit)
    found = [(row, taken[row.id]) for row in rows if row.id in taken]
    lines = [Advice(dataset_name(row), time_text(one.at), tuple(one.facts["advice"])) for row, one in found]
    return AdvicePage(tuple(lines), next_page(rows, limit, lambda row: row.id))


def get_window(process: Process, project: str, start: float | None, end: float | None) -> Window:
    """The items judged in a time window, and the share of outliers among them."""
    start, end = start or 0.0, time.time() if end is None else end
    if start >= end:
        raise DataError(f"a time window from {time_text(start)} to {time_text(end)} is empty; `from` must be before `to`")
    with process.store.reading() as connection:
        routes = browsing.routes_between(connection, project_of(connection, project), start, end)
    return _window(start, end, routes)


def dataset_name(row: AnyRow) -> DatasetName:
    """A row of `dataset`: its id, kind and name."""
    return DatasetName(row.id, row.kind, row.name)


def dataset_line(row: AnyRow, counts: Sequence[RouteCount]) -> DatasetLine:
    """A row of `dataset` with its counts."""
    items, open_ = sum(one.items for one in counts), sum(one.open for one in counts)
    return DatasetLine(row.id, row.kind, row.name, time_text(row.first_at), time_text(row.last_at), items, open_, routes_of(counts))


def diversity_line(row: AnyRow) -> DiversityLine:
    """A row of `snapshot`."""
    share = row.outliers / row.n if row.n else None
    return DiversityLine(time_text(row.at), row.n, row.outliers, row.failed, share, row.low, row.high)


def _snapshots(connection: Connection, project: Project, after: str | None, limit: int) -> tuple[Sequence[AnyRow], dict[int, AnyRow]]:
    """A page of datasets, and their latest snapshots."""
    rows = browsing.datasets_page(connection, project, kind=None, after=number_after(after), limit=limit)
    return rows, snapshots.latest(connection, [row.id for row in rows], project.reference_id)


def _diversity(row: AnyRow, snapshot: AnyRow) -> DatasetDiversity:
    facts, groups = snapshot.facts["diversity"], snapshot.facts["groups"]
    return DatasetDiversity(dataset_name(row), diversity_line(snapshot), facts["sentence"], facts, tuple(groups))


def _window(start: float, end: float, routes: Sequence[browsing.RouteCount]) -> Window:
    from annotriage.guarantee.binomial import clopper_pearson  # only whoever asks for a window loads what computes

    scored = sum(one.items for one in routes if one.route != "failed")
    outliers = sum(one.items for one in routes if one.route == "outlier")
    low, high = clopper_pearson(outliers, scored) if scored else (None, None)
    share = outliers / scored if scored else None
    items = sum(one.items for one in routes)
    return Window(time_text(start), time_text(end), items, routes_of(routes), share, low, high)


KIND = Parameter("kind", str, "Only datasets of this kind.", choices=("all", "batch", "field", "pushed"))
BETWEEN = (Parameter("from", Time, "Judged then or later."), Parameter("to", Time, "Judged before.  [now]"))

OPERATIONS = (
    Operation("GET", "/projects/{project}/datasets", list_datasets, DatasetPage, (KIND, AFTER, LIMIT)),
    Operation("GET", "/projects/{project}/diversity", list_diversity, DiversityPage, (AFTER, LIMIT)),
    Operation(
        "GET",
        "/projects/{project}/diversity/{dataset}",
        get_diversity,
        DiversityHistory,
        (Parameter("after", float, AFTER.help), LIMIT),
    ),
    Operation("GET", "/projects/{project}/advice", list_advice, AdvicePage, (AFTER, LIMIT)),
    Operation("GET", "/projects/{project}/window", get_window, Window, BETWEEN),
)
