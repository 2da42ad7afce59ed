"""What the labeling tool is answered when it asks for predictions itself: all that is needed in one query."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, bindparam, select, update

from annotriage.states import DeliveryState
from annotriage.store.counters import chunks
from annotriage.store.deliveries import ANSWERED_SECONDS, FRESH_SECONDS
from annotriage.store.schema import delivery, item, project, reference, work


@dataclass(frozen=True, slots=True)
class Known:
    """A task that can be answered: its prediction as it was, or will be, delivered. labels: what annotators see, None hides it.

    state, trust: None of a task that people had answered before triage saw it; nothing is delivered for it. fresh: it was marked as taken
    by the tool just now.
    """

    item_id: int
    state: str | None
    labels: Sequence[str] | None
    trust: float | None
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Predictions:
    """What the store has on tasks of one project. by_task: those that are judged, or that people had labelled before."""

    version: str
    reference_id: int
    watch: bool
    by_task: dict[str, Known]


# Built once: putting it together takes longer than running it.
_KNOWN = (
    select(
        reference.c.prediction_version,
        project.c.reference_id,
        project.c.watch,
        item.c.id,
        item.c.external_id,
        item.c.labelled,
        delivery.c.state,
        delivery.c.labels,
        delivery.c.trust,
        delivery.c.owner,
        delivery.c.not_before,
    )
    .select_from(project)
    .join(reference, reference.c.id == project.c.reference_id)
    .outerjoin(item, and_(item.c.project_id == project.c.id, item.c.external_id.in_(bindparam("tasks", expanding=True)), ~item.c.gone))
    .outerjoin(delivery, and_(delivery.c.item_id == item.c.id, delivery.c.reference_id == project.c.reference_id))
    .where(project.c.external_id == bindparam("project"), ~project.c.gone)
)
_VERSION = (
    select(reference.c.prediction_version)
    .join(project, project.c.reference_id == reference.c.id)
    .where(project.c.external_id == bindparam("project"), ~project.c.gone)
)


def known_predictions(connection: Connection, external_id: str, tasks: Sequence[str]) -> Predictions | None:
    """The predictions of these tasks under the project's reference, as annotators see them; None if it is not connected."""
    found: Predictions | None = None
    for some in chunks(tasks):
        for row in connection.execute(_KNOWN, {"project": external_id, "tasks": list(some)}):
            if found is None:
                found = Predictions(row.prediction_version, row.reference_id, row.watch, {})
            if row.id is not None and (row.labelled or row.state is not None):
                marked = row.state == DeliveryState.ANSWERED and row.owner is None
                fresh = marked and abs(row.not_before - ANSWERED_SECONDS - time.time()) < FRESH_SECONDS  # another process's clock
                found.by_task[row.external_id] = Known(row.id, row.state, row.labels, row.trust, fresh)
        if found is None:
            return None
    return found


def version_shown(connection: Connection, external_id: str) -> str | None:
    """The version of the predictions of the project's reference; None if it is not connected."""
    return connection.execute(_VERSION, {"project": external_id}).scalar_one_or_none()


def hurry(connection: Connection, item_ids: Sequence[int]) -> None:
    """Let the work on these items go before all other."""
    for ids in chunks(item_ids):
        connection.execute(update(work).where(work.c.item_id.in_(ids), ~work.c.urgent).values(urgent=True))
