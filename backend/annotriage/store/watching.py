"""A project that was only watched so far starts to be delivered: predictions for all that is judged already."""

from __future__ import annotations

from sqlalchemy import Connection, exists, select

from annotriage.store import deliveries
from annotriage.store.projects import Project
from annotriage.store.schema import delivery, item, spot_check, verdict

HIDDEN = ("outlier", "failed")  # routes whose answer annotators do not see, unless a person took the item out of the queue


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
            item.c.dismissed,
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
            "labels": None if row.kind is not None or (row.route in HIDDEN and not row.dismissed) else row.labels,
            "trust": row.shown_trust,
        }
        for row in rows
    ]
    deliveries.enqueue(connection, shown)
    return len(rows)
