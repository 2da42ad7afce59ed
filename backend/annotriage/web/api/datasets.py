"""Datasets: their counts, how foreign they are and got so, what to do about them; and time windows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from annotriage.errors import DataError
from annotriage.service.operations.process import Process
from annotriage.service.readings import dataset as readings
from annotriage.service.readings.dataset import Advice, DatasetDiversity, DatasetLine, DatasetName, DiversityLine, Window
from annotriage.service.readings.times import Time, time_text
from annotriage.store import browsing, snapshots
from annotriage.store.database import AnyRow
from annotriage.store.projects import Project, project_of
from annotriage.web.api.openapi import Operation, Parameter
from annotriage.web.api.paging import AFTER, LIMIT, next_page, number_after, number_in_path


@dataclass(frozen=True, slots=True)
class DatasetList:
    """Datasets, the latest first. next: give it as `after` for the next page; null on the last."""

    datasets: tuple[DatasetLine, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class DiversityList:
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
class AdviceList:
    """The advice on datasets, the latest datasets first; those not assessed yet are left out. next: as everywhere."""

    datasets: tuple[Advice, ...]
    next: str | None


def list_datasets(process: Process, project: str, kind: str | None, after: str | None, limit: int) -> DatasetList:
    """The project's datasets, the latest first."""
    with process.store.reading() as connection:
        found = project_of(connection, project)
        rows = browsing.datasets_page(connection, found, kind=kind, after=number_after(after), limit=limit)
        counts = browsing.dataset_routes(connection, found, [row.id for row in rows])
    lines = tuple(readings.dataset_line(row, counts.get(row.id, [])) for row in rows)
    return DatasetList(lines, next_page(rows, limit, lambda row: row.id))


def list_diversity(process: Process, project: str, after: str | None, limit: int) -> DiversityList:
    """How foreign the project's datasets are."""
    with process.store.reading() as connection:
        rows, taken = _snapshots(connection, project_of(connection, project), after, limit)
    found = [(row, taken[row.id]) for row in rows if row.id in taken]
    return DiversityList(tuple(readings.dataset_diversity(*pair) for pair in found), next_page(rows, limit, lambda row: row.id))


def get_diversity(process: Process, project: str, dataset: str, after: float | None, limit: int) -> DiversityHistory:
    """How a dataset's diversity score got where it is."""
    with process.store.reading() as connection:
        row = browsing.dataset_of_project(connection, project_of(connection, project), number_in_path(dataset, "dataset"))
        past = snapshots.history(connection, row.id, before=after, limit=limit)
    lines = tuple(map(readings.diversity_line, past))
    return DiversityHistory(readings.dataset_name(row), lines, next_page(past, limit, lambda row: repr(row.at)))


def list_advice(process: Process, project: str, after: str | None, limit: int) -> AdviceList:
    """What to do about the project's datasets."""
    with process.store.reading() as connection:
        rows, taken = _snapshots(connection, project_of(connection, project), after, limit)
    found = [(row, taken[row.id]) for row in rows if row.id in taken]
    return AdviceList(tuple(readings.dataset_advice(*pair) for pair in found), next_page(rows, limit, lambda row: row.id))


def get_window(process: Process, project: str, start: float | None, end: float | None) -> Window:
    """The items judged in a time window, and the share of outliers among them."""
    start, end = start or 0.0, time.time() if end is None else end
    if start >= end:
        raise DataError(f"a time window from {time_text(start)} to {time_text(end)} is empty; `from` must be before `to`")
    with process.store.reading() as connection:
        return readings.window(connection, project_of(connection, project), start, end)


def _snapshots(connection: Connection, project: Project, after: str | None, limit: int) -> tuple[Sequence[AnyRow], dict[int, AnyRow]]:
    """A page of datasets, and their latest snapshots."""
    rows = browsing.datasets_page(connection, project, kind=None, after=number_after(after), limit=limit)
    return rows, snapshots.latest(connection, [row.id for row in rows], project.reference_id)


KIND = Parameter("kind", str, "Only datasets of this kind.", choices=("all", "batch", "field", "pushed"))
BETWEEN = (Parameter("from", Time, "Judged then or later."), Parameter("to", Time, "Judged before.  [now]"))

OPERATIONS = (
    Operation("GET", "/projects/{project}/datasets", list_datasets, DatasetList, (KIND, AFTER, LIMIT)),
    Operation("GET", "/projects/{project}/diversity", list_diversity, DiversityList, (AFTER, LIMIT)),
    Operation(
        "GET",
        "/projects/{project}/diversity/{dataset}",
        get_diversity,
        DiversityHistory,
        (Parameter("after", float, AFTER.help), LIMIT),
    ),
    Operation("GET", "/projects/{project}/advice", list_advice, AdviceList, (AFTER, LIMIT)),
    Operation("GET", "/projects/{project}/window", get_window, Window, BETWEEN),
)
