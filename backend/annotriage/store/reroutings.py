"""What people sent to review, or back, many items at once: the routes that follow, and what was done."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, and_, case, select, update

from annotriage.errors import UnknownError
from annotriage.states import OUT_FROM, SHOWN, THIRD, HeldBack, SpotCheckState, Time
from annotriage.store import deliveries, field_writes
from annotriage.store.blindness import is_blind
from annotriage.store.counters import chunks, recounted
from annotriage.store.gold import is_open_copy
from annotriage.store.locks import lock_items
from annotriage.store.places import place_under
from annotriage.store.projects import Project, get_project
from annotriage.store.schema import item, rerouting, spot_check, verdict
from annotriage.store.schema import project as project_rows


@dataclass(frozen=True, slots=True)
class Rerouting:
    """What somebody said. to: review | back. n: items that it changed. reason: why they were set aside, null where that was not asked."""

    id: int
    to: str
    by: str
    n: int
    at: Time
    undone_at: Time | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class HeldItem:
    """How an item is under the project's reference. spot_check: the state of its spot check; a gold task has that of an open one, for
    nothing may tell them apart. rerouting_id: what changed it last."""

    id: int
    route: str | None
    judged: str | None
    answer: str
    labelled: bool
    gone: bool
    sent_by: str | None
    dismissed: bool
    rerouting_id: int | None
    spot_check: str | None


_COLUMNS = (rerouting.c.id, rerouting.c.to, rerouting.c.by, rerouting.c.n, rerouting.c.at, rerouting.c.undone_at, rerouting.c.reason)


def begin(connection: Connection, project_id: int, to: str, by: str, reason: str | None = None) -> int:
    """Somebody says something on many items: its id."""
    add = rerouting.insert().values(project_id=project_id, to=to, by=by, reason=reason, at=time.time())
    return int(connection.execute(add.returning(rerouting.c.id)).scalar_one())


def grow(connection: Connection, id: int, n: int) -> None:
    """It has changed n more items; written down with their change, so that it can be undone wherever it broke off."""
    connection.execute(update(rerouting).where(rerouting.c.id == id).values(n=rerouting.c.n + n))


def mark_undone(connection: Connection, id: int) -> bool:
    """It is undone, if it was not before: whether that is new."""
    mine = (rerouting.c.id == id, rerouting.c.undone_at.is_(None))
    return connection.execute(update(rerouting).where(*mine).values(undone_at=time.time())).rowcount > 0


def rerouting_of(connection: Connection, project: Project, id: int) -> Rerouting:
    """What was said. Raises UnknownError."""
    row = connection.execute(select(*_COLUMNS).where(rerouting.c.project_id == project.id, rerouting.c.id == id)).one_or_none()
    if row is None:
        raise UnknownError(f"project {project.external_id} knows nothing that was sent to review or back under the number {id}")
    return Rerouting(*row)


def set_aside(connection: Connection, project: Project, limit: int) -> list[Rerouting]:
    """What was set aside for a reason and still is, the latest first."""
    mine = (rerouting.c.project_id == project.id, rerouting.c.reason.is_not(None), rerouting.c.undone_at.is_(None), rerouting.c.n > 0)
    query = select(*_COLUMNS).where(*mine).order_by(rerouting.c.id.desc()).limit(limit)
    return [Rerouting(*row) for row in connection.execute(query)]


def items_of(connection: Connection, id: int) -> list[int]:
    """The items that were changed by it, and by nothing later."""
    return list(connection.execute(select(item.c.id).where(item.c.rerouting_id == id).order_by(item.c.id)).scalars())


def hold(connection: Connection, project_id: int, item_ids: Sequence[int]) -> tuple[Project, list[HeldItem]]:
    """The project and how these items are at present, which nobody else changes until the transaction ends."""
    lock_items(connection, item_ids)
    connection.execute(select(project_rows.c.id).where(project_rows.c.id == project_id).with_for_update(read=True))
    project = get_project(connection, project_id)
    judged = and_(verdict.c.item_id == item.c.id, verdict.c.reference_id == project.reference_id)
    of_item: tuple[Any, ...] = (item.c.answer, item.c.labelled, item.c.gone, item.c.sent_by, item.c.dismissed, item.c.rerouting_id)
    check = case((is_open_copy(item.c.id), SpotCheckState.OPEN.value), else_=spot_check.c.state)
    columns: tuple[Any, ...] = (item.c.id, verdict.c.route, verdict.c.judged, *of_item, check)
    query: Select[*tuple[Any, ...]] = (
        select(*columns)
        .outerjoin(verdict, judged)
        .outerjoin(spot_check, spot_check.c.item_id == item.c.id)
        .where(item.c.project_id == project.id, item.c.id.in_(item_ids))
        .order_by(item.c.id)
    )
    return project, [HeldItem(*row) for row in connection.execute(query)]


def any_automatic(connection: Connection, project: Project, item_ids: Sequence[int]) -> bool:
    """Whether the model judged any of these items automatic; of open spot checks that is not told."""
    told = ~is_blind(verdict.c.item_id)
    mine = (verdict.c.project_id == project.id, verdict.c.reference_id == project.reference_id, verdict.c.judged == "auto", told)
    return any(
        connection.execute(select(verdict.c.item_id).where(*mine, verdict.c.item_id.in_(ids)).limit(1)).first() is not None
        for ids in chunks(item_ids)
    )


def dismiss(connection: Connection, project: Project, rerouting_id: int, item_ids: Sequence[int], *, dismissed: bool) -> None:
    """Items that the model sent to people are out of the queue, or in it again; they keep their routes, and count as before."""
    trust = trust_out_of_queue(verdict.c.trust) if dismissed else verdict.c.trust
    mine = (verdict.c.item_id.in_(item_ids), verdict.c.reference_id.in_(project.references))
    with recounted(connection, item_ids):
        connection.execute(update(verdict).where(*mine).values(shown_trust=trust))
        _items(connection, project, item_ids, dismissed=dismissed, rerouting_id=rerouting_id)
    _deliver(connection, project, item_ids)


def trust_out_of_queue(trust: Any) -> Any:
    """What is shown of a trust, or of a column of it, once its item is out of the queue: behind all that is automatic, in its order."""
    return OUT_FROM + (1 - OUT_FROM) / 2 * trust


def send(connection: Connection, project: Project, rerouting_id: int, item_ids: Sequence[int], by: str) -> None:
    """Automatic items go to people: the surest of the uncertain ones."""
    with recounted(connection, item_ids):
        _verdicts(
            connection,
            project,
            item_ids,
            "auto",
            {
                "route": "uncertain",
                "trust": verdict.c.trust - THIRD,
                "shown_trust": verdict.c.shown_trust - THIRD,
                "held_back": HeldBack.PERSON,
            },
        )
        _items(connection, project, item_ids, sent_by=by, rerouting_id=rerouting_id)
    _deliver(connection, project, item_ids)


def restore(connection: Connection, project: Project, rerouting_id: int, item_ids: Sequence[int]) -> None:
    """Items that the model judged automatic are so again."""
    with recounted(connection, item_ids):
        _verdicts(
            connection,
            project,
            item_ids,
            "uncertain",
            {"route": "auto", "trust": verdict.c.trust + THIRD, "shown_trust": verdict.c.shown_trust + THIRD, "held_back": None},
        )
        _items(connection, project, item_ids, sent_by=None, rerouting_id=rerouting_id)
    _deliver(connection, project, item_ids)


def _verdicts(connection: Connection, project: Project, item_ids: Sequence[int], route: str, values: dict[str, Any]) -> None:
    mine = (verdict.c.item_id.in_(item_ids), verdict.c.reference_id.in_(project.references))
    connection.execute(update(verdict).where(*mine, verdict.c.route == route, verdict.c.judged == "auto").values(values))


def _items(connection: Connection, project: Project, item_ids: Sequence[int], **values: Any) -> None:
    of_it = (verdict.c.item_id == item.c.id, verdict.c.reference_id == project.reference_id)
    route, place = select(verdict.c.route).where(*of_it).scalar_subquery(), place_under(project.reference_id)
    connection.execute(update(item).where(item.c.id.in_(item_ids)).values(route=route, trust=place, **values))


def routed(connection: Connection, project: Project, item_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Deliveries of what annotators shall see of these items by their routes: rows for `deliveries.enqueue`."""
    return [
        {
            "item_id": row.item_id,
            "reference_id": row.reference_id,
            "project_id": row.project_id,
            "labels": row.labels if row.route in SHOWN else None,
            "trust": row.shown_trust,
        }
        for row in _judged(connection, project, item_ids)
    ]


def _deliver(connection: Connection, project: Project, item_ids: Sequence[int]) -> None:
    """The labeling tool gets the new trust, by which its tabs and its queue sort, and the new fields."""
    if project.watch:
        return
    deliveries.enqueue(connection, routed(connection, project, item_ids))
    if project.options.item_fields:
        present = [row for row in _judged(connection, project, item_ids) if row.reference_id == project.reference_id]
        for_people = {row.item_id: row.shown_trust for row in present if row.route != "auto" and not row.dismissed}
        field_writes.queue(connection, project.id, for_people, [row.item_id for row in present if row.item_id not in for_people])


def _judged(connection: Connection, project: Project, item_ids: Sequence[int]) -> Sequence[Any]:
    query = select(
        verdict.c.item_id,
        verdict.c.reference_id,
        verdict.c.project_id,
        verdict.c.labels,
        verdict.c.shown_trust,
        verdict.c.route,
        item.c.dismissed,
    ).join(item, item.c.id == verdict.c.item_id)
    query = query.where(verdict.c.reference_id.in_(project.references))
    return [row for ids in chunks(item_ids) for row in connection.execute(query.where(verdict.c.item_id.in_(ids)))]
