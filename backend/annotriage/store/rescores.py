"""A change of reference in the store: what is still to be judged and delivered under the next one, and the switch itself."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, func, or_, select, update

from annotriage.states import DeliveryState
from annotriage.store.counters import chunks
from annotriage.store.database import insert
from annotriage.store.places import place_under
from annotriage.store.projects import Project
from annotriage.store.schema import delivery, item, verdict, work
from annotriage.store.schema import project as projects

DONE = (DeliveryState.CONFIRMED, DeliveryState.REFUSED)
IN_FLIGHT = (DeliveryState.SENDING, DeliveryState.UNKNOWN, DeliveryState.ANSWERED)


def unjudged(connection: Connection, project: Project, reference_id: int, most: int) -> list[int]:
    """Items that a reference has still to judge and that nothing waits to judge under it, `most` of them.

    Those, too, that it judged when it was the current one before: what it had delivered is deleted.
    """
    waits = exists(select(work.c.id).where(work.c.item_id == item.c.id, work.c.reference_id == reference_id))
    lacking = ~_judged(reference_id)
    if not project.watch:
        lacking = or_(lacking, ~_delivered(reference_id))
    query = select(item.c.id).where(_takes_part(project), lacking, ~waits).order_by(item.c.id).limit(most)
    return list(connection.execute(query).scalars())


def enqueue(connection: Connection, project: Project, reference_id: int, item_ids: Sequence[int]) -> None:
    """Let items be judged under one reference."""
    rows = [{"item_id": id, "reference_id": reference_id, "project_id": project.id} for id in item_ids]
    connection.execute(insert(connection, work).on_conflict_do_nothing(index_elements=["item_id", "reference_id"]), rows)


def unready(connection: Connection, project: Project, reference_id: int) -> bool:
    """Whether the switch to a reference would take something away from annotators.

    Every item that is judged under the current reference must be judged under it, too; and where a prediction of the current one is
    in the labeling tool, there must be one of it. What came in just now has neither, and does not hold the switch up.
    """
    lacking: ColumnElement[bool] = _judged(project.reference_id) & ~_judged(reference_id)
    if not project.watch:
        lacking = or_(lacking, _delivered(project.reference_id, DeliveryState.CONFIRMED) & ~_delivered(reference_id, *DONE))
    return connection.execute(select(item.c.id).where(_takes_part(project), lacking).limit(1)).scalar_one_or_none() is not None


def confirmed(connection: Connection, project: Project, reference_id: int) -> int:
    """How many predictions under a reference are in the labeling tool, as far as is known."""
    mine = (delivery.c.project_id == project.id, delivery.c.reference_id == reference_id, delivery.c.state == DeliveryState.CONFIRMED)
    return int(connection.execute(select(func.count()).select_from(delivery).where(*mine)).scalar_one())


def confirmed_tasks(connection: Connection, project: Project, reference_id: int, after: int, limit: int) -> dict[str, int]:
    """Items of which that is so, the first with larger ids than `after`: item ids by task id."""
    mine = (delivery.c.item_id == item.c.id, delivery.c.reference_id == reference_id, delivery.c.state == DeliveryState.CONFIRMED)
    query = select(item.c.id, item.c.external_id).where(_takes_part(project), item.c.external_id.is_not(None), item.c.id > after)
    rows = connection.execute(query.where(exists(select(delivery.c.item_id).where(*mine))).order_by(item.c.id).limit(limit))
    return {row.external_id: row.id for row in rows}


def switch(connection: Connection, project: Project, reference_id: int, version: str) -> bool:
    """The next reference takes over, if it is still to: whether it did.

    Nothing is judged or sent under the former one any more, which is to be cleared away.
    """
    former = project.reference_id
    values: dict[str, Any] = {"reference_id": reference_id, "next_reference_id": None, "old_reference_id": former}
    if not project.watch:
        values["shown_version"] = version
    due = (projects.c.id == project.id, projects.c.reference_id == former, projects.c.next_reference_id == reference_id)
    if not connection.execute(update(projects).where(*due).values(values)).rowcount:
        return False
    connection.execute(work.delete().where(work.c.project_id == project.id, work.c.reference_id == former))
    return True


def cleared(connection: Connection, project: Project, former_id: int) -> bool:
    """Nothing of a former reference is left, if it was to be cleared away: whether it was."""
    due = (projects.c.id == project.id, projects.c.old_reference_id == former_id)
    return connection.execute(update(projects).where(*due).values(old_reference_id=None)).rowcount > 0


def behind(connection: Connection, project: Project, after: int, limit: int) -> list[int]:
    """Items with larger ids than `after` whose place in the queue is not that of their verdict under the current reference."""
    judged = (verdict.c.item_id == item.c.id) & (verdict.c.reference_id == project.reference_id)
    place = place_under(project.reference_id)
    differs = item.c.route.is_distinct_from(verdict.c.route) | item.c.trust.is_distinct_from(place)
    query = (
        select(item.c.id).outerjoin(verdict, judged).where(item.c.project_id == project.id, ~item.c.labelled, item.c.id > after, differs)
    )
    return list(connection.execute(query.order_by(item.c.id).limit(limit)).scalars())


def catch_up(connection: Connection, project: Project, item_ids: Sequence[int]) -> None:
    """Give these items the place in the queue of their verdict under the current reference."""
    mine = (verdict.c.item_id == item.c.id, verdict.c.reference_id == project.reference_id)
    route, place = select(verdict.c.route).where(*mine).scalar_subquery(), place_under(project.reference_id)
    for ids in chunks(item_ids):
        connection.execute(update(item).where(item.c.id.in_(ids)).values(route=route, trust=place))


def forget_deliveries(connection: Connection, project: Project, reference_id: int) -> bool:
    """Forget the deliveries under a former reference that are not under way; whether there are no others."""
    mine = (delivery.c.project_id == project.id, delivery.c.reference_id == reference_id)
    late = and_(delivery.c.state == DeliveryState.STALE, delivery.c.not_before > time.time())  # what was sent before may still arrive
    never_due = and_(delivery.c.state == DeliveryState.UNKNOWN, delivery.c.not_before == math.inf)  # as of `deliveries.expect_former`
    under_way = or_(and_(delivery.c.state.in_(IN_FLIGHT), ~never_due), delivery.c.owner.is_not(None), late)
    connection.execute(delivery.delete().where(*mine, ~under_way))
    return connection.execute(select(delivery.c.item_id).where(*mine).limit(1)).scalar_one_or_none() is None


def _takes_part(project: Project) -> ColumnElement[bool]:
    return and_(item.c.project_id == project.id, ~item.c.labelled, ~item.c.gone)


def _judged(reference_id: int) -> ColumnElement[bool]:
    return exists(select(verdict.c.item_id).where(verdict.c.item_id == item.c.id, verdict.c.reference_id == reference_id))


def _delivered(reference_id: int, *states: str) -> ColumnElement[bool]:
    """Whether an item has a delivery under a reference, in one of these states (none: any)."""
    query = select(delivery.c.item_id).where(delivery.c.item_id == item.c.id, delivery.c.reference_id == reference_id)
    return exists(query.where(delivery.c.state.in_(states)) if states else query)
