"""What the queue can be narrowed to, and how much of it each choice leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from annotriage.service.readings.dataset import snapshot_of
from annotriage.states import SPOT_CHECK, Route
from annotriage.store.datasets import Dataset, dataset_of_all
from annotriage.store.projects import Project
from annotriage.store.queue import Waiting, waiting_by_kind, waiting_in_datasets, waiting_in_groups

MOST = 12  # choices of one kind that are listed


@dataclass(frozen=True, slots=True)
class Choice:
    """Something to narrow the queue to. value: as the address has it; n: items that it leaves, null where nobody counts them."""

    value: str
    name: str
    n: int | None


@dataclass(frozen=True, slots=True)
class Facets:
    """The choices of each kind, the largest first. Classes are not counted: what the model says of a strange item is hidden."""

    routes: Sequence[Choice]
    datasets: Sequence[Choice]
    groups: Sequence[Choice]


def queue_facets(connection: Connection, project: Project, datasets: Sequence[Dataset], chosen: Dataset | None) -> Facets:
    """The choices for the queue of a project, or of a chosen dataset. datasets: that are offered."""
    kinds = waiting_by_kind(connection, project, None if chosen is None else chosen.id)
    snapshot = snapshot_of(connection, project, chosen or dataset_of_all(connection, project))
    numbers = [] if snapshot is None else [group["number"] for group in snapshot.facts["groups"][:MOST]]
    waits = waiting_in_groups(connection, project, numbers, None if chosen is None else chosen.id)
    return Facets(
        routes=[Choice(value, value, n) for value, n in _routes(kinds).items() if n],
        datasets=_datasets(connection, project, datasets, chosen),
        groups=[Choice(str(number), f"Group {number}", waits.get(number, 0)) for number in numbers],
    )


def _routes(kinds: Waiting) -> dict[str, int]:
    return {
        Route.OUTLIER: kinds.strange,
        Route.UNCERTAIN: kinds.unsure + kinds.sent,
        Route.FAILED: kinds.unreadable,
        SPOT_CHECK: kinds.spot_checks,
    }


def _datasets(connection: Connection, project: Project, datasets: Sequence[Dataset], chosen: Dataset | None) -> list[Choice]:
    offered = [row for row in datasets if row.kind != "all"]
    waits = waiting_in_datasets(connection, project, [row.id for row in offered])
    ordered = sorted((row for row in offered if waits.get(row.id) or row == chosen), key=lambda row: -waits.get(row.id, 0))
    listed = ordered[:MOST] + [row for row in ordered[MOST:] if row == chosen]
    return [Choice(str(row.id), row.name, waits.get(row.id, 0)) for row in listed]
