"""How guarantees stand: what they rest on, the spot checks that watch them, the labels accepted under them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from annotriage.service.readings.item import texts
from annotriage.service.readings.times import Time, time_or_none, time_text
from annotriage.store import dashboard
from annotriage.store.database import AnyRow
from annotriage.store.projects import Project
from annotriage.store.references import get_reference


@dataclass(frozen=True, slots=True)
class GuaranteeNow:
    """What is guaranteed of automatic labels, and how it stands. evidence: what it rests on; standing: what blind answers
    say since, null until it was found."""

    sentence: str
    version: str
    paused: str | None
    evidence: dict[str, Any]
    standing: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class SpotCheckLine:
    """A task that people answer blind. kind: sample (drawn of all) or audit (of automatic ones); route: the true one.

    labels: the model's; answered: people's; state: open, disagreed (a second answer is wanted), right or wrong.
    """

    task: str | None
    kind: str
    route: str
    state: str
    labels: tuple[str, ...] | None
    answered: tuple[str, ...] | None
    drawn_at: Time
    answered_at: Time | None


@dataclass(frozen=True, slots=True)
class BatchLine:
    """Automatic labels that became annotations at once. undone_at: when they were taken back; null if they were not."""

    batch: int
    at: Time
    undone_at: Time | None
    items: int


def guarantee_now(connection: Connection, project: Project) -> GuaranteeNow:
    """What is guaranteed of a project's automatic labels, and how it stands."""
    evidence = get_reference(connection, project.reference_id).facts["guarantee"]
    standing = dashboard.standing_of(connection, project)
    return GuaranteeNow(evidence["sentence"], project.version, project.paused, evidence, standing)


def spot_check_line(row: AnyRow) -> SpotCheckLine:
    """A row of `browsing`'s spot checks."""
    labels = (texts(row.labels), texts(row.answer_labels))
    return SpotCheckLine(row.external_id, row.kind, row.route, row.state, *labels, time_text(row.drawn_at), time_or_none(row.answered_at))


def batch_lines(rows: Sequence[AnyRow]) -> tuple[BatchLine, ...]:
    """Rows of `acceptances`' batches."""
    return tuple(BatchLine(row.id, time_text(row.at), time_or_none(row.undone_at), row.items) for row in rows)
