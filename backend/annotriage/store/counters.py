"""Counts per dataset, reference, route and cluster, kept up to date by whoever changes an item."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, ScalarSelect, case, func, select

from annotriage.states import AnswerState
from annotriage.store.database import columns_of, insert
from annotriage.store.schema import counter, item, item_dataset, verdict

AT_ONCE = 500  # ids in one statement
KEYS = ("dataset_id", "reference_id", "route", "cluster")


@dataclass(frozen=True, slots=True)
class Count:
    """How many items of a route and cluster a dataset has, and how many of them are not answered yet."""

    route: str
    cluster: str
    n: int
    open: int


@contextlib.contextmanager
def recounted(connection: Connection, item_ids: Sequence[int]) -> Iterator[None]:
    """A block that changes verdicts, datasets or answers of these items: what it changes of their counts is written after it.

    The items are locked before they are counted, in the order of their ids: two workers that change the same one would else both count
    out what only one of them found. The counters are locked at the end, in one order for all.
    """
    ids = sorted(set(item_ids))
    if connection.dialect.name != "sqlite":  # there a writing transaction is alone
        for some in chunks(ids):
            connection.execute(select(item.c.id).where(item.c.id.in_(some)).order_by(item.c.id).with_for_update(key_share=True))
    before = _counted(connection, ids)
    yield
    after = _counted(connection, ids)
    changed = {key: (after[key, "n"] - before[key, "n"], after[key, "open"] - before[key, "open"]) for key, _ in sorted({*before, *after})}
    rows = [dict(zip(KEYS, key, strict=True)) | {"n": n, "open": still_open} for key, (n, still_open) in changed.items() if n or still_open]
    if rows:
        add = insert(connection, counter)
        sums = {"n": counter.c.n + add.excluded.n, "open": counter.c.open + add.excluded.open}
        connection.execute(add.on_conflict_do_update(index_elements=KEYS, set_=sums), rows)


def _counted(connection: Connection, ids: Sequence[int]) -> Counter[tuple[tuple[Any, ...], str]]:
    """How many of these items each counter holds ("n"), and how many of them are open: by (key of the counter, which)."""
    keys = (item_dataset.c.dataset_id, verdict.c.reference_id, verdict.c.route, func.coalesce(verdict.c.cluster, ""))
    still_open: ColumnElement[int] = case((item.c.answer == AnswerState.RESOLVED, 0), (item.c.dismissed, 0), else_=1)
    found: Counter[tuple[tuple[Any, ...], str]] = Counter()
    for some in chunks(ids):
        query = (
            select(*keys, func.count(), func.sum(still_open))
            .select_from(verdict)
            .join(item_dataset, item_dataset.c.item_id == verdict.c.item_id)
            .join(item, item.c.id == verdict.c.item_id)
            .where(verdict.c.item_id.in_(some), ~item.c.labelled, ~item.c.gone)
            .group_by(*keys)
        )
        for *key, n, open_ in connection.execute(query):
            found[tuple(key), "n"] += n
            found[tuple(key), "open"] += open_
    return found


def counts_of(connection: Connection, dataset_id: int | ScalarSelect[int], reference_id: int) -> list[Count]:
    """What is counted of a dataset under a reference."""
    mine = (counter.c.dataset_id == dataset_id, counter.c.reference_id == reference_id, counter.c.n > 0)
    return [Count(*row) for row in connection.execute(select(*columns_of(counter, Count)).where(*mine))]


def chunks(ids: Sequence[Any], size: int = AT_ONCE) -> Iterator[Sequence[Any]]:
    """The ids in pieces that fit into one statement."""
    return (ids[start : start + size] for start in range(0, len(ids), size))
