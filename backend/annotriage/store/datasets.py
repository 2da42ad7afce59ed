"""Datasets: the named sets that a project's items belong to, and how many items of each route they hold. Counts are read, never made."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, ScalarSelect, Select, bindparam, case, func, select, update

from annotriage.errors import UnknownError
from annotriage.states import Time
from annotriage.store.counters import chunks
from annotriage.store.database import among, columns_of, insert, insert_on, read_once
from annotriage.store.projects import Project
from annotriage.store.schema import counter, dataset, item, item_dataset, verdict

BATCH_GAP = 60.0  # seconds between tasks that are still one import
SHOWN_FROM = 50  # items from which on a batch is large enough to show its own diversity
LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset of a project. kind: all, batch (an import), field (a value of a data field) or pushed.

    augmented: a person said that it is made of training items, by augmentation.
    """

    id: int
    kind: str
    name: str
    first_at: Time
    last_at: Time
    augmented: bool

    @property
    def title(self) -> str:
        """Its name, for people."""
        return "All items" if self.kind == "all" else self.name


@dataclass(frozen=True, slots=True)
class RouteCount:
    """How many items of one route there are, and how many of them are not answered yet."""

    route: str
    items: int
    open: int


_COLUMNS = columns_of(dataset, Dataset)


def datasets_page(
    connection: Connection, project: Project, *, kind: str | None = None, after: int | None = None, limit: int
) -> list[Dataset]:
    """A project's datasets, the latest made first; after: the id of the last one seen."""
    given = {"of_project": project.id, "kind": kind, "after": after}
    return [Dataset(*row) for row in connection.execute(_page(kind is not None, after is not None, limit), given)]


@lru_cache(64)
def _page(of_kind: bool, later: bool, limit: int) -> Select[Any]:
    query = select(*_COLUMNS).where(dataset.c.project_id == bindparam("of_project")).order_by(dataset.c.id.desc()).limit(limit)
    query = query.where(dataset.c.kind == bindparam("kind")) if of_kind else query
    return query.where(dataset.c.id < bindparam("after")) if later else query


@read_once
def dataset_of_all(connection: Connection, project: Project) -> Dataset | None:
    """The dataset of all items; None before there is one."""
    row = connection.execute(_of_all(project.id)).one_or_none()
    return None if row is None else Dataset(*row)


# Asked by every page, and made once for each project.
@lru_cache(64)
def _of_all(project_id: int) -> Select[Any]:
    return select(*_COLUMNS).where(dataset.c.project_id == project_id, dataset.c.kind == "all")


@lru_cache(64)
def id_of_all(project_id: int) -> ScalarSelect[int]:
    """The id of the dataset of all items, within a query."""
    return select(dataset.c.id).where(dataset.c.project_id == project_id, dataset.c.kind == "all").scalar_subquery()


def dataset_of_project(connection: Connection, project: Project, dataset_id: int) -> Dataset:
    """One of the project's datasets. Raises UnknownError."""
    row = connection.execute(select(*_COLUMNS).where(dataset.c.project_id == project.id, dataset.c.id == dataset_id)).one_or_none()
    if row is None:
        raise UnknownError(
            f"project {project.external_id} has no dataset {dataset_id}; /api/projects/{project.external_id}/datasets lists them"
        )
    return Dataset(*row)


def datasets_named(connection: Connection, project: Project, dataset_ids: Collection[int]) -> dict[int, Dataset]:
    """Those of these datasets that are the project's, by id."""
    rows = (row for ids in chunks(sorted(dataset_ids)) for row in connection.execute(_AMONG, {"of_project": project.id, "these": ids}))
    return {row.id: Dataset(*row) for row in rows}


_AMONG = select(*_COLUMNS).where(dataset.c.project_id == bindparam("of_project"), dataset.c.id.in_(among("these")))


def datasets_of_item(connection: Connection, item_id: int) -> list[Dataset]:
    """The datasets that an item belongs to."""
    query = select(*_COLUMNS).join(item_dataset, item_dataset.c.dataset_id == dataset.c.id).where(item_dataset.c.item_id == item_id)
    return [Dataset(*row) for row in connection.execute(query.order_by(dataset.c.id))]


# -- counts


def mark_augmented(connection: Connection, dataset_id: int, augmented: bool) -> None:
    """Write down whether a dataset is made of training items, by augmentation."""
    connection.execute(update(dataset).where(dataset.c.id == dataset_id).values(augmented=augmented))


@read_once
def routes_of(connection: Connection, project: Project) -> list[RouteCount]:
    """The items of a project by route, under its reference."""
    found = connection.execute(_routes_of_all(project.id, project.reference_id))
    return [RouteCount(route, int(items), int(still_open)) for _, route, items, still_open in found]


@lru_cache(64)
def _routes_of_all(project_id: int, reference_id: int) -> Select[Any]:
    return _routes(reference_id).where(counter.c.dataset_id == id_of_all(project_id))


def routes_of_datasets(connection: Connection, project: Project, dataset_ids: Sequence[int]) -> dict[int, list[RouteCount]]:
    """The items of datasets by route; of each dataset that has any."""
    found: dict[int, list[RouteCount]] = {}
    for ids in chunks(dataset_ids):
        for id, route, items, still_open in connection.execute(_routes_of_some(project.reference_id), {"these": ids}):
            found.setdefault(id, []).append(RouteCount(route, int(items), int(still_open)))
    return found


@lru_cache(64)
def _routes_of_some(reference_id: int) -> Select[Any]:
    return _routes(reference_id).where(counter.c.dataset_id.in_(among("these")))


@lru_cache(64)
def _routes(reference_id: int) -> Select[Any]:
    return (
        select(counter.c.dataset_id, counter.c.route, func.sum(counter.c.n), func.sum(counter.c.open))
        .where(counter.c.reference_id == reference_id, counter.c.n > 0)
        .group_by(counter.c.dataset_id, counter.c.route)
        .order_by(counter.c.dataset_id, counter.c.route)
    )


def routes_between(connection: Connection, project: Project, start: float, end: float) -> list[RouteCount]:
    """The items that were judged in a time window (start <= at < end), by route; `labelled` and deleted ones are not among them."""
    still_open = func.sum(case((item.c.answer == "resolved", 0), (item.c.dismissed, 0), else_=1))
    query = (
        select(verdict.c.route, func.count(), still_open)
        .join(item, item.c.id == verdict.c.item_id)
        .where(
            verdict.c.project_id == project.id,
            verdict.c.reference_id == project.reference_id,
            verdict.c.at >= start,
            verdict.c.at < end,
            ~item.c.labelled,
            ~item.c.gone,
        )
        .group_by(verdict.c.route)
        .order_by(verdict.c.route)
    )
    return [RouteCount(route, int(count), int(open_)) for route, count, open_ in connection.execute(query)]


def file_items(connection: Connection, project: Project, fields: Mapping[int, Mapping[str, str]], batch: int, now: float) -> None:
    """Put new items into `all`, into their batch (or what they were pushed as) and into one dataset per configured field.

    A task shows the diversity of the first configured field's dataset, else of its batch. fields: by item.
    """
    every = dataset_of(connection, project.id, "all", "all", now)
    rows = [{"dataset_id": id, "item_id": item_id} for item_id in fields for id in (every, batch)]
    named: dict[str, int] = {}
    shown: dict[int, list[int]] = {}
    for item_id, values in fields.items():
        names = [f"{name}={values[name]}"[:LONGEST_NAME] for name in project.options.dataset_fields if values.get(name)]
        for name in names:
            if name not in named:
                named[name] = dataset_of(connection, project.id, "field", name, now)
            rows.append({"dataset_id": named[name], "item_id": item_id})
        shown.setdefault(named[names[0]] if names else batch, []).append(item_id)
    connection.execute(insert(connection, item_dataset).on_conflict_do_nothing(), rows)
    for dataset_id, ids in shown.items():
        for some in chunks(ids):
            connection.execute(update(item).where(item.c.id.in_(some)).values(shown_dataset_id=dataset_id))


def batch_of(connection: Connection, project: Project, now: float) -> int:
    """The batch that tasks which come in now belong to: the latest one if it is younger than a minute, else a new one."""
    latest = connection.execute(_LATEST_BATCH, {"of_project": project.id}).one_or_none()
    if latest is not None and now - latest.last_at < BATCH_GAP:
        return dataset_of(connection, project.id, "batch", latest.name, now)
    return dataset_of(connection, project.id, "batch", time.strftime("import of %Y-%m-%d %H:%M:%S UTC", time.gmtime(now)), now)


_LATEST_BATCH = (
    select(dataset.c.name, dataset.c.last_at)
    .where(dataset.c.project_id == bindparam("of_project"), dataset.c.kind == "batch")
    .order_by(dataset.c.id.desc())
    .limit(1)
)


def dataset_of(connection: Connection, project_id: int, kind: str, name: str, at: float) -> int:
    """The dataset of that kind and name, made if there is none; its last time is set to `at`."""
    values = {"project_id": project_id, "kind": kind, "name": name[:LONGEST_NAME], "first_at": at, "last_at": at}
    return int(connection.execute(_adding(connection.dialect.name), values).scalar_one())


@lru_cache(2)
def _adding(dialect: str) -> Any:
    add = insert_on(dialect, dataset)
    later = case((dataset.c.last_at < add.excluded.last_at, add.excluded.last_at), else_=dataset.c.last_at)
    return add.on_conflict_do_update(index_elements=["project_id", "kind", "name"], set_={"last_at": later}).returning(dataset.c.id)
