"""How guarantees stand: what they rest on, the spot checks that watch them, the labels accepted under them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from annotriage.advice import guarantee_words as words
from annotriage.advice.state_words import why_paused
from annotriage.service.readings.item import texts
from annotriage.service.readings.times import Time, time_or_none, time_text
from annotriage.store import dashboard
from annotriage.store.acceptances import Batch
from annotriage.store.database import AnyRow
from annotriage.store.projects import Project
from annotriage.store.references import get_reference

DAY = 86_400.0


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

    labels: the model's, null until people have answered; answered: people's; state: open, disagreed (a second answer is wanted), right
    or wrong.
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


@dataclass(frozen=True, slots=True)
class GuaranteeState:
    """How automatic labels stand. word: on, off, paused or stopped; headline, what to do next ("" if nothing). there, needed: labelled
    held-out answers, None where no number helps. can_recalibrate: enough of the sample is answered."""

    word: str
    headline: str
    todo: str
    there: int | None = None
    needed: int | None = None
    can_recalibrate: bool = False


def guarantee_state(project: Project, evidence: dict[str, Any], standing: dict[str, Any] | None) -> GuaranteeState:
    """evidence: what the reference's facts say of the guarantee; standing: as it was kept, None if it was not yet."""
    answers, wanted = (standing or {}).get("sample_answers", 0), (standing or {}).get("sample_needed")
    enough = wanted is not None and answers >= wanted
    if project.alarm is not None:
        return GuaranteeState("stopped", words.STOPPED, words.calibrate_anew(answers, wanted), answers, wanted, enough)
    if project.pause is not None:
        return GuaranteeState("paused", words.paused(project.pause.reason), words.RESUME)
    if evidence["auto"]:
        checks = standing or {"wrong": 0, "answers": 0, "level": 0.0}
        said = words.checked(checks["wrong"], checks["answers"], checks["level"])
        return GuaranteeState("on", words.holds(evidence["max_error"]), said, can_recalibrate=enough)
    if evidence["needed"] is None:
        return GuaranteeState("off", words.HOPELESS, words.TRAIN_FURTHER, can_recalibrate=enough)
    labelled, needed = evidence["labelled"], evidence["needed"]
    return GuaranteeState("off", words.not_yet(needed, labelled), words.label_more(answers, wanted), labelled, needed, enough)


def oldest_days(standing: dict[str, Any]) -> float | None:
    """Since how many days the oldest unanswered spot check waits."""
    at = standing.get("oldest_at")
    return None if at is None else max(0.0, time.time() - at) / DAY


def guarantee_now(connection: Connection, project: Project) -> GuaranteeNow:
    """What is guaranteed of a project's automatic labels, and how it stands."""
    evidence = get_reference(connection, project.reference_id).facts["guarantee"]
    standing = dashboard.standing_of(connection, project)
    paused = why_paused(project.pause, project.alarm, project.external_id)
    return GuaranteeNow(evidence["sentence"], project.version, paused, evidence, standing)


def spot_check_line(row: AnyRow) -> SpotCheckLine:
    """A row of `browsing`'s spot checks."""
    labels = (texts(row.model_labels), texts(row.answer_labels))
    return SpotCheckLine(row.external_id, row.kind, row.route, row.state, *labels, time_text(row.drawn_at), time_or_none(row.answered_at))


def batch_lines(batches: Sequence[Batch]) -> tuple[BatchLine, ...]:
    """Rows of `acceptances`' batches."""
    return tuple(BatchLine(batch.id, time_text(batch.at), time_or_none(batch.undone_at), batch.items) for batch in batches)
