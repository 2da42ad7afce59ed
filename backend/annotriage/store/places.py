"""An item's place: the trust by which lists are sorted, along one index.

It is the place that its task has in the labeling tool's queue. Of an open spot check that is a random one; once that is settled, nothing is
hidden any more, and the item stands where its own verdict puts it, though its task keeps the place that was delivered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, exists, func, select, update

from annotriage.states import SETTLED
from annotriage.store.counters import chunks
from annotriage.store.database import among
from annotriage.store.schema import item, project, spot_check, verdict

_SETTLED = exists().where(spot_check.c.item_id == item.c.id, spot_check.c.state.in_(SETTLED)).correlate_except(spot_check)


def place_under(reference_id: Any) -> ColumnElement[float]:
    """An item's place by its verdict under a reference; null without one. For queries and updates on items."""
    of_it = (verdict.c.item_id == item.c.id, verdict.c.reference_id == reference_id)
    place = case((_SETTLED, verdict.c.trust), else_=verdict.c.shown_trust)
    return select(place).where(*of_it).correlate(item).scalar_subquery()


def put_in_place(connection: Connection, item_ids: Sequence[int]) -> None:
    """Put these items where they belong under the reference of their project."""
    for ids in chunks(item_ids):
        connection.execute(_PUT, {"these": ids})


def put_settled_in_place(connection: Connection, item_ids: Sequence[int]) -> None:
    """The same for those of them alone that are settled spot checks."""
    for ids in chunks(item_ids):
        connection.execute(_PUT_SETTLED, {"these": ids})


_CURRENT = select(project.c.reference_id).where(project.c.id == item.c.project_id).correlate(item).scalar_subquery()
_PUT = update(item).where(item.c.id.in_(among("these"))).values(trust=func.coalesce(place_under(_CURRENT), item.c.trust))
_PUT_SETTLED = _PUT.where(_SETTLED)
