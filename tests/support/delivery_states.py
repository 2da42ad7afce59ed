"""How far deliveries are, for tests to ask and to set."""

from __future__ import annotations

from sqlalchemy import func, select, update

from annotriage.store.schema import delivery


def states(connection, project_id, reference_id):
    """How many deliveries of a project under a reference are in each state."""
    mine = (delivery.c.project_id == project_id, delivery.c.reference_id == reference_id)
    query = select(delivery.c.state, func.count()).where(*mine).group_by(delivery.c.state)
    return {row[0]: row[1] for row in connection.execute(query)}


def set_state(connection, reference_id, item_ids, state, **values):
    """Put deliveries into a state, whatever they are in."""
    mine = (delivery.c.reference_id == reference_id, delivery.c.item_id.in_(item_ids))
    connection.execute(update(delivery).where(*mine).values(state=state, **values))
