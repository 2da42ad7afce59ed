"""An item's place: the trust by which lists are sorted, along one index.

It is the place that its task has in the labeling tool's queue. Of an open spot check that is a random one; once that is settled, nothing is
hidden any more, and the item stands where its own verdict puts it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, exists, func, select, update

from annotriage.states import SETTLED
from annotriage.store.counters import chunks
from annotriage.store.schema import item, project, spot_check, verdict


def place_under(reference_id: Any) -> ColumnElement[float]:
    """An item's place by its verdict under a reference; null without one. For queries and updates on items."""
    of_it = (verdict.c.item_id == item.c.id, verdict.c.reference_id == reference_id)
    place = case((is_settled(), verdict.c.trust), else_=verdict.c.shown_trust)
    return select(place).where(*of_it).correlate(item).scalar_subquery()


def is_settled() -> ColumnElement[bool]:
    """Whether an item is a spot check that people have settled."""
    settled = exists().where(spot_check.c.item_id == item.c.id, spot_check.c.state.in_(SETTLED))
    return settled.correlate_except(spot_check)


def put_in_place(connection: Connection, item_ids: Sequence[int], *which: ColumnElement[bool]) -> None:
    """Put these items, those of them that meet the conditions, where they belong under the reference of their project."""
    current = select(project.c.reference_id).where(project.c.id == item.c.project_id).correlate(item).scalar_subquery()
    place = func.coalesce(place_under(current), item.c.trust)
    for ids in chunks(item_ids):
        connection.execute(update(item).where(item.c.id.in_(ids), *which).values(trust=place))
