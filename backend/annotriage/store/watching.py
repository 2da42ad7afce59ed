"""A project that was only watched so far starts to be delivered: predictions for all that is judged already."""

from __future__ import annotations

from sqlalchemy import Connection, exists, select

from annotriage.states import SHOWN
from annotriage.store import deliveries
from annotriage.store.projects import Project
from annotriage.store.schema import delivery, item, spot_check, verdict


def enqueue_watched(connection: Connection, project: Project, most: int) -> int:
    """Let up to `most` predictions be delivered of which no delivery was made, under each of the project's references; how many."""
    made = (delivery.c.item_id == verdict.c.item_id, delivery.c.reference_id == verdict.c.reference_id)
    query = (
        select(
            verdict.c.item_id,
            verdict.c.reference_id,
            verdict.c.route,
            verdict.c.labels,
            verdict.c.shown_trust,
            spot_check.c.kind,
        )
        .join(item, item.c.id == verdict.c.item_id)
        .outerjoin(spot_check, spot_check.c.item_id == verdict.c.item_id)
        .where(verdict.c.project_id == project.id, verdict.c.reference_id.in_(project.references))
        .where(~item.c.gone, ~item.c.labelled, ~exists(select(delivery.c.item_id).where(*made)))
        .order_by(verdict.c.item_id)
        .limit(most)
    )
    rows = connection.execute(query).all()
    shown = [
        {
            "item_id": row.item_id,
            "reference_id": row.reference_id,
            "project_id": project.id,
            "labels": row.labels if row.kind is None and row.route in SHOWN else None,
            "trust": row.shown_trust,
        }
        for row in rows
    ]
    deliveries.enqueue(connection, shown)
    return len(rows)
