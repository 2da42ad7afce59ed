"""Deliveries: an outbox of predictions, each exactly once.

pending -> sending -> confirmed. An unknown outcome (a call that broke off, a process that died) is read back before anything
is sent again; `answered` (the labeling tool took the prediction from us itself) is read back, too. `stale`: another verdict has
replaced the one that was delivered, which is withdrawn first. `refused`: the tool did not take it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, case, func, select, update

from annotriage.store.counters import chunks
from annotriage.store.database import AnyRow, insert
from annotriage.store.projects import Project
from annotriage.store.schema import delivery, item, reference

ANSWERED_SECONDS = 10.0  # until a prediction that the tool took itself can be read back,
ANSWERED_EACH = 0.3  # and more for each further one of the same request: it stores them one after the other


def enqueue(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Let predictions be delivered; one that was sent already becomes stale.

    rows: columns item_id, reference_id, project_id, labels, trust.
    """
    if not rows:
        return
    now = time.time()
    add = insert(connection, delivery)
    state = case((delivery.c.state == "pending", "pending"), else_="stale")
    values = {name: add.excluded[name] for name in ("labels", "trust", "at")} | {
        "state": state,
        "attempts": 0,
        "not_before": 0.0,
        "error": None,
    }
    add = add.on_conflict_do_update(index_elements=["item_id", "reference_id"], set_=values)
    connection.execute(add, [{"state": "pending", "attempts": 0, "not_before": 0.0, "at": now, **row} for row in rows])


def due(connection: Connection, project_id: int, states: Sequence[str]) -> tuple[int, float]:
    """How many deliveries of a project are due in these states, and since when the oldest waits."""
    query = select(func.count(), func.min(delivery.c.at)).where(
        delivery.c.project_id == project_id, delivery.c.state.in_(states), delivery.c.not_before <= time.time()
    )
    count, oldest = connection.execute(query).one()
    return int(count), float(oldest or 0.0)


def take(connection: Connection, project_id: int, state: str, owner: str, most: int) -> Sequence[AnyRow]:
    """Take deliveries that are due, of one reference: rows (item_id, external_id, reference_id, version, labels, trust, attempts).

    Pending ones are `sending` from now on; of other states they are held back for a while, so that no other process takes them.
    """
    now = time.time()
    mine = (delivery.c.project_id == project_id, delivery.c.state == state, delivery.c.not_before <= now)
    first = connection.execute(select(delivery.c.reference_id).where(*mine).order_by(delivery.c.reference_id).limit(1)).scalar_one_or_none()
    if first is None:
        return []
    query = (
        _rows()
        .where(*mine, delivery.c.reference_id == first, item.c.external_id.is_not(None))
        .order_by(delivery.c.item_id)
        .limit(most)
        .with_for_update(skip_locked=True, of=delivery)
    )
    rows = connection.execute(query).all()
    values = {"owner": owner, "at": now} | ({"state": "sending"} if state == "pending" else {"not_before": now + 60.0})
    set_state(connection, first, [row.item_id for row in rows], **values)
    return rows


def unknown(connection: Connection, project_id: int, most: int, *, created: bool) -> Sequence[AnyRow]:
    """Deliveries of one reference whose outcome is unknown: rows as of `take`. created: those whose task was to be created, too."""
    mine = (
        delivery.c.project_id == project_id,
        delivery.c.state == "unknown",
        item.c.external_id.is_(None) if created else item.c.external_id.is_not(None),
    )
    rows = connection.execute(_rows().where(*mine).order_by(delivery.c.reference_id, delivery.c.item_id).limit(most)).all()
    return [row for row in rows if row.reference_id == rows[0].reference_id]


def take_uncreated(connection: Connection, project: Project, owner: str, most: int, most_bytes: int) -> Sequence[AnyRow]:
    """Take pushed items that are judged under the project's reference and have no task yet: rows as of `take`, and media and data."""
    now = time.time()
    mine = (
        delivery.c.project_id == project.id,
        delivery.c.reference_id == project.reference_id,
        delivery.c.state == "pending",
        delivery.c.not_before <= now,
        item.c.external_id.is_(None),
    )
    query = _rows().add_columns(item.c.media, item.c.data).where(*mine).order_by(delivery.c.item_id).limit(most)
    rows: list[AnyRow] = []
    size = 0
    for row in connection.execute(query.with_for_update(skip_locked=True, of=delivery)):
        size += len(row.media)
        if rows and size > most_bytes:
            break
        rows.append(row)
    set_state(connection, project.reference_id, [row.item_id for row in rows], state="sending", owner=owner, at=now)
    return rows


def set_state(connection: Connection, reference_id: int, item_ids: Sequence[int], **values: Any) -> None:
    """Set columns of deliveries under one reference."""
    for ids in chunks(item_ids):
        query = update(delivery).where(delivery.c.reference_id == reference_id, delivery.c.item_id.in_(ids))
        connection.execute(query.values(values))


def answered(connection: Connection, reference_id: int, item_ids: Sequence[int]) -> list[int]:
    """The labeling tool takes these predictions from us at this moment: the ids of those that it may take.

    Those that are being sent, or whose outcome is unknown, are not among them.
    """
    taken: list[int] = []
    for ids in chunks(item_ids):
        query = update(delivery).where(
            delivery.c.reference_id == reference_id, delivery.c.item_id.in_(ids), delivery.c.state.in_(("pending", "answered"))
        )
        values = {"state": "answered", "not_before": time.time() + ANSWERED_SECONDS + ANSWERED_EACH * len(item_ids)}
        taken += connection.execute(query.values(values).returning(delivery.c.item_id)).scalars()
        done = select(delivery.c.item_id).where(
            delivery.c.reference_id == reference_id, delivery.c.item_id.in_(ids), delivery.c.state.in_(("confirmed", "refused"))
        )
        taken += connection.execute(done).scalars()
    return taken


def states(connection: Connection, project_id: int, reference_id: int) -> dict[str, int]:
    """How many deliveries of a project under a reference are in each state."""
    query = (
        select(delivery.c.state, func.count())
        .where(delivery.c.project_id == project_id, delivery.c.reference_id == reference_id)
        .group_by(delivery.c.state)
    )
    return {row[0]: int(row[1]) for row in connection.execute(query)}


def any_confirmed(connection: Connection, project_id: int, reference_id: int) -> bool:
    """Whether any prediction under a reference is known to have arrived."""
    query = select(delivery.c.item_id).where(
        delivery.c.project_id == project_id, delivery.c.state == "confirmed", delivery.c.reference_id == reference_id
    )
    return connection.execute(query.limit(1)).scalar_one_or_none() is not None


def troubles(connection: Connection, project_id: int, limit: int = 20) -> Sequence[AnyRow]:
    """The latest deliveries that met an error: external_id, state, error, at."""
    query = (
        select(item.c.external_id, delivery.c.state, delivery.c.error, delivery.c.at)
        .join(item, item.c.id == delivery.c.item_id)
        .where(delivery.c.project_id == project_id, delivery.c.error.is_not(None))
        .order_by(delivery.c.at.desc())
        .limit(limit)
    )
    return connection.execute(query).all()


def _rows() -> Select[*tuple[Any, ...]]:
    """Deliveries with what sending them takes."""
    return (
        select(
            delivery.c.item_id,
            item.c.external_id,
            item.c.marker,
            delivery.c.reference_id,
            reference.c.prediction_version.label("version"),
            delivery.c.labels,
            delivery.c.trust,
            delivery.c.attempts,
        )
        .join(item, item.c.id == delivery.c.item_id)
        .join(reference, reference.c.id == delivery.c.reference_id)
    )
