"""Counts per dataset, reference, route and cluster, kept up to date by whoever changes an item."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Insert, Table, and_, case, func, select

from annotriage.states import UNSETTLED, AnswerState
from annotriage.store.database import at_the_end, insert_on
from annotriage.store.locks import lock_items
from annotriage.store.schema import counter, item, item_dataset, spot_check, verdict

AT_ONCE = 500  # ids in one statement
KEYS = ("dataset_id", "reference_id", "route", "cluster")
COUNTS = ("n", "open", "checks", "open_checks")

_Counts = Counter[tuple[tuple[Any, ...], str]]  # by (key of the counter, which of COUNTS)


@contextlib.contextmanager
def recounted(connection: Connection, item_ids: Sequence[int]) -> Iterator[None]:
    """A block that changes verdicts, datasets, answers or spot checks of these items: what it changes of their counts is written as the
    transaction ends, with what other blocks of it change. No such block stands within another.

    The items are locked before they are counted: two workers that change the same one would else both count out what only one of them
    found.
    """
    ids = sorted(set(item_ids))
    if not ids:
        yield
        return
    lock_items(connection, ids)
    before = _counted(connection, ids)
    yield
    after = _counted(connection, ids)
    after.subtract(before)
    if any(after.values()):
        at_the_end(connection, _write, after)


def _write(connection: Connection, changes: list[_Counts]) -> None:
    """Write down what the blocks of a transaction changed, in the order of the counters' keys."""
    sums = _Counts()
    for change in changes:
        sums.update(change)
    keys = sorted({key for key, which in sums if sums[key, which]})
    rows = [dict(zip(KEYS, key, strict=True)) | {which: sums[key, which] for which in COUNTS} for key in keys]
    if rows:
        connection.execute(_adding(connection.dialect.name), rows)


@lru_cache(2)
def _adding(dialect: str) -> Insert:
    add = insert_on(dialect, counter)
    added = {which: counter.c[which] + add.excluded[which] for which in COUNTS}
    written: Insert = add.on_conflict_do_update(index_elements=KEYS, set_=added)
    return written


def _counted(connection: Connection, ids: Sequence[int]) -> _Counts:
    """How many of these items each counter holds, of each of COUNTS."""
    found = _Counts()
    for some in one_of(connection, verdict.c.item_id, ids):
        for row in connection.execute(_COUNTED.where(some)):
            for which, number in zip(COUNTS, row[len(KEYS) :], strict=True):
                found[tuple(row[: len(KEYS)]), which] += number
    return found


_OF_COUNTER = (item_dataset.c.dataset_id, verdict.c.reference_id, verdict.c.route, func.coalesce(verdict.c.cluster, ""))
_IS_OPEN: ColumnElement[int] = case((item.c.answer == AnswerState.RESOLVED, 0), (item.c.dismissed, 0), else_=1)
_IS_BLIND: ColumnElement[int] = case((spot_check.c.item_id.is_not(None), 1), else_=0)
_COUNTED = (
    select(*_OF_COUNTER, func.count(), func.sum(_IS_OPEN), func.sum(_IS_BLIND), func.sum(_IS_BLIND * _IS_OPEN))
    .select_from(verdict)
    .join(item_dataset, item_dataset.c.item_id == verdict.c.item_id)
    .join(item, item.c.id == verdict.c.item_id)
    .outerjoin(spot_check, and_(spot_check.c.item_id == verdict.c.item_id, spot_check.c.state.in_(UNSETTLED)))
    .where(~item.c.labelled, ~item.c.gone)
    .group_by(*_OF_COUNTER)
)


def one_of(connection: Connection, column: ColumnElement[int], ids: Sequence[int]) -> Iterator[ColumnElement[bool]]:
    """Conditions that a column holds one of the ids, each for as many as fit into a statement: on SQLite, which reads them out of a list
    in JSON, all of them, where the names of so many parameters take longer than the query."""
    if connection.dialect.name == "sqlite":
        listed = func.json_each(json.dumps(list(ids))).table_valued("value")
        yield column.in_(select(listed.c.value))
    else:
        yield from (column.in_(some) for some in chunks(ids))


def chunks(ids: Sequence[Any], size: int = AT_ONCE) -> Iterator[Sequence[Any]]:
    """The ids in pieces that fit into one statement."""
    return (ids[start : start + size] for start in range(0, len(ids), size))


def drop_past_latest(connection: Connection, table: Table, which: ColumnElement[bool], kept: int, most: int) -> int:
    """Delete rows of a table that has projects and kinds, but for the latest `kept` of each, `most` of them at most: how many.

    which: of those rows that are counted and may go.
    """
    age = func.row_number().over(partition_by=(table.c.project_id, table.c.kind), order_by=table.c.id.desc())
    rows = select(table.c.id, age.label("age")).where(which).subquery()
    ids = connection.execute(select(rows.c.id).where(rows.c.age > kept).limit(most)).scalars().all()
    for some in chunks(ids):
        connection.execute(table.delete().where(table.c.id.in_(some)))
    return len(ids)
