"""Datasets: their counts, how foreign they are and got so, what to do about them; and time windows."""

from __future__ import annotations

import time
from dataclasses import dataclass

from annotriage.errors import DataError
from annotriage.service.readings import dataset as readings
from annotriage.service.readings.dataset import DatasetAdvice, DatasetDiversity, DatasetLine, Window
from annotriage.states import Time
from annotriage.store.datasets import Dataset, dataset_of_project, datasets_page
from annotriage.store.snapshots import Moment, history
from annotriage.web.api.openapi import Asked, Operation, Parameter
from annotriage.web.api.paging import AFTER, LIMIT, next_page, number_after, number_in_path
from annotriage.web.plain import time_text


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

    dataset: Dataset
    history: tuple[Moment, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class AdviceList:
    """The advice on datasets, the latest datasets first; those not assessed yet are left out. next: as everywhere."""

    datasets: tuple[DatasetAdvice, ...]
    next: str | None


def list_datasets(asked: Asked, kind: str | None, after: str | None, limit: int) -> DatasetList:
    """The project's datasets, the latest first."""
    datasets = datasets_page(asked.connection, asked.project, kind=kind, after=number_after(after), limit=limit)
    lines = readings.dataset_lines(asked.connection, asked.project, datasets)
    return DatasetList(lines, next_page(datasets, limit, lambda dataset: dataset.id))


def list_diversity(asked: Asked, after: str | None, limit: int) -> DiversityList:
    """How foreign the project's datasets are."""
    datasets = datasets_page(asked.connection, asked.project, after=number_after(after), limit=limit)
    lines = readings.diversity_of(asked.connection, asked.project, datasets)
    return DiversityList(lines, next_page(datasets, limit, lambda dataset: dataset.id))


def get_diversity(asked: Asked, dataset: str, after: float | None, limit: int) -> DiversityHistory:
    """How a dataset's diversity score got where it is."""
    found = dataset_of_project(asked.connection, asked.project, number_in_path(dataset, "dataset"))
    past = history(asked.connection, found.id, before=after, limit=limit)
    return DiversityHistory(found, tuple(past), next_page(past, limit, lambda moment: repr(moment.at)))


def list_advice(asked: Asked, after: str | None, limit: int) -> AdviceList:
    """What to do about the project's datasets."""
    datasets = datasets_page(asked.connection, asked.project, after=number_after(after), limit=limit)
    lines = readings.advice_on(asked.connection, asked.project, readings.diversity_of(asked.connection, asked.project, datasets))
    return AdviceList(lines, next_page(datasets, limit, lambda dataset: dataset.id))


def get_window(asked: Asked, start: float | None, end: float | None) -> Window:
    """The items judged in a time window, and the share of strange ones among them."""
    start, end = start or 0.0, time.time() if end is None else end
    if start >= end:
        raise DataError(f"a time window from {time_text(start)} to {time_text(end)} is empty; `from` must be before `to`")
    return readings.window(asked.connection, asked.project, start, end)


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
