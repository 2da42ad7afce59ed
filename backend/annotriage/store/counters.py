"""Counts per dataset, reference, route and cluster, kept up to date by whoever changes an item."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, func, select

from annotriage.store.database import AnyRow, insert
from annotriage.store.schema import counter, dataset, item, item_dataset, verdict

AT_ONCE = 500  # ids in one statement


@contextlib.contextmanager
def recounted(connection: Connection, item_ids: Sequence[int]) -> Iterator[None]:
    """A block that changes verdicts, datasets or answers of these items: they are counted out before it and in after it."""
    _count(connection, item_ids, -1)
    yield
    _count(connection, item_ids, +1)


def _count(connection: Connection, item_ids: Sequence[int], sign: int) -> None:
    keys = (item_dataset.c.dataset_id, verdict.c.reference_id, verdict.c.route, func.coalesce(verdict.c.cluster, ""))
    still_open: ColumnElement[int] = case((item.c.answer == "resolved", 0), (item.c.dismissed, 0), else_=1)
    for ids in chunks(item_ids):
        rows = (
            select(*keys, sign * func.count(), sign * func.sum(still_open))
            .select_from(verdict)
            .join(item_dataset, item_dataset.c.item_id == verdict.c.item_id)
            .join(item, item.c.id == verdict.c.item_id)
            .where(verdict.c.item_id.in_(ids), ~item.c.labelled, ~item.c.gone)
            .group_by(*keys)
            .order_by(*keys)  # one order of locks for all
        )
        added = insert(connection, counter).from_select(["dataset_id", "reference_id", "route", "cluster", "n", "open"], rows)
        sums = {"n": counter.c.n + added.excluded.n, "open": counter.c.open + added.excluded.open}
        connection.execute(added.on_conflict_do_update(index_elements=["dataset_id", "reference_id", "route", "cluster"], set_=sums))


def counts_of(connection: Connection, dataset_id: int, reference_id: int) -> Sequence[AnyRow]:
    """Rows (route, cluster, n, open) of a dataset under a reference."""
    query = select(counter.c.route, counter.c.cluster, counter.c.n, counter.c.open)
    return connection.execute(
        query.where(counter.c.dataset_id == dataset_id, counter.c.reference_id == reference_id, counter.c.n > 0)
    ).all()


def counts_by_route(connection: Connection, project_id: int, reference_id: int) -> Sequence[AnyRow]:
    """Rows (dataset_id, kind, name, route, n, open), one per dataset and route of a project."""
    query = (
        select(dataset.c.id, dataset.c.kind, dataset.c.name, counter.c.route, func.sum(counter.c.n), func.sum(counter.c.open))
        .join(counter, counter.c.dataset_id == dataset.c.id)
        .where(dataset.c.project_id == project_id, counter.c.reference_id == reference_id)
        .group_by(dataset.c.id, dataset.c.kind, dataset.c.name, counter.c.route)
        .order_by(dataset.c.id)
    )
    return connection.execute(query).all()


def chunks(ids: Sequence[Any], size: int = AT_ONCE) -> Iterator[Sequence[Any]]:
    """The ids in pieces that fit into one statement."""
    return (ids[start : start + size] for start in range(0, len(ids), size))
