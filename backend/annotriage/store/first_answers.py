"""People's first answer on an item beside each verdict on it, kept in a row: written anew by whoever changes answers or verdicts.

The page of people reads thousands of them each time. Put together anew, each would be looked up in six tables.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, case, select

from annotriage.store.counters import chunks
from annotriage.store.database import among, stored
from annotriage.store.locks import lock_items
from annotriage.store.schema import first_answer, item, review, verdict

JSON_NULL = "null"  # as it is stored: no labels
SKEW_SECONDS = 5.0  # that the labeling tool's clock may be behind


def keep_first_answers(connection: Connection, item_ids: Sequence[int]) -> None:
    """Write anew what is kept of these items. It locks them: what somebody else has changed at this moment is seen."""
    lock_items(connection, item_ids)
    for these in chunks(sorted(set(item_ids))):
        connection.execute(_FORGET, {"these": these})
        connection.execute(_KEEP, {"these": these})


def keep_those_answered(connection: Connection, item_ids: Sequence[int]) -> None:
    """The same for items that were judged, most of which nobody has answered."""
    if not item_ids or connection.execute(_ANY, {"first": min(item_ids), "last": max(item_ids)}).first() is None:
        return
    for these in chunks(item_ids):
        keep_first_answers(connection, connection.execute(_ANSWERED, {"these": these}).scalars().all())


# Made once: the worker asks with each batch.
_ANY = select(review.c.id).where(review.c.item_id.between(bindparam("first"), bindparam("last"))).limit(1)
_ANSWERED = select(review.c.item_id).where(review.c.item_id.in_(among("these"))).distinct()
_FORGET = first_answer.delete().where(first_answer.c.item_id.in_(among("these")))
_GIVEN = review.alias("given")
_FIRST = (
    select(_GIVEN.c.id)
    .where(_GIVEN.c.item_id == verdict.c.item_id, ~_GIVEN.c.machine, stored(_GIVEN.c.labels) != JSON_NULL)
    .order_by(_GIVEN.c.updated_at, _GIVEN.c.id)
    .limit(1)
    .correlate(verdict)
    .scalar_subquery()
)
_KEPT = (
    select(
        verdict.c.project_id,
        verdict.c.reference_id,
        verdict.c.item_id,
        verdict.c.judged,
        stored(verdict.c.labels),
        case((review.c.updated_at >= verdict.c.at - SKEW_SECONDS, stored(review.c.labels))),
    )
    .select_from(verdict)
    .join(item, item.c.id == verdict.c.item_id)
    .join(review, review.c.id == _FIRST)
    .where(~item.c.labelled, verdict.c.item_id.in_(among("these")))
)
_KEEP = first_answer.insert().from_select([column.name for column in first_answer.c], _KEPT)
