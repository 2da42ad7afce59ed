"""The guarantee: what it rests on, the spot checks that watch it, and the labels that were accepted under it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from annotriage.advice.state_words import why_paused
from annotriage.service.delivery import accepting
from annotriage.service.operations.process import Process
from annotriage.states import SpotCheckState
from annotriage.store import acceptances, browsing, dashboard, jobs
from annotriage.store.database import AnyRow
from annotriage.store.projects import project_of
from annotriage.store.references import get_reference
from annotriage.web.api.items import texts
from annotriage.web.api.openapi import Operation, Parameter, Time, time_text
from annotriage.web.api.paging import AFTER, LIMIT, next_page, number_after, number_in_path
from annotriage.web.api.projects import Done


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
class SpotCheckPage:
    """Spot checks, the latest items first. counts: of all of them, by kind and state, as "audit right". next: as everywhere."""

    spot_checks: tuple[SpotCheckLine, ...]
    counts: dict[str, int]
    next: str | None


@dataclass(frozen=True, slots=True)
class BatchLine:
    """Automatic labels that became annotations at once. undone_at: when they were taken back; null if they were not."""

    batch: int
    at: Time
    undone_at: Time | None
    items: int


@dataclass(frozen=True, slots=True)
class BatchList:
    """The latest batches of accepted labels, the latest first."""

    batches: tuple[BatchLine, ...]


def get_guarantee(process: Process, project: str) -> GuaranteeNow:
    """What is guaranteed, and how it stands."""
    with process.store.reading() as connection:
        found = project_of(connection, project)
        evidence = get_reference(connection, found.reference_id).facts["guarantee"]
        now = dashboard.standing_of(connection, found)
    paused = why_paused(found.pause, found.alarm, found.external_id)
    return GuaranteeNow(evidence["sentence"], found.version, paused, evidence, now)


def list_spot_checks(process: Process, project: str, state: str | None, after: str | None, limit: int) -> SpotCheckPage:
    """Tasks that people answer blind."""
    with process.store.reading() as connection:
        found = project_of(connection, project)
        rows = browsing.spot_checks_page(connection, found, state=state, after=number_after(after), limit=limit)
        counts = browsing.spot_check_states(connection, found)
    lines = tuple(spot_check_line(row) for row in rows)
    named = {f"{kind} {state}": count for (kind, state), count in sorted(counts.items())}
    return SpotCheckPage(lines, named, next_page(rows, limit, lambda row: row.item_id))


def list_batches(process: Process, project: str) -> BatchList:
    """The batches of automatic labels that became annotations."""
    with process.store.reading() as connection:
        rows = acceptances.batches(connection, project_of(connection, project).id)
    times = [(row, None if row.undone_at is None else time_text(row.undone_at)) for row in rows]
    return BatchList(tuple(BatchLine(row.id, time_text(row.at), undone, row.items) for row, undone in times))


def undo_batch(process: Process, project: str, batch: str) -> Done:
    """Take a batch of accepted labels back, but for what people have changed since."""
    with process.store.reading() as connection:
        found = project_of(connection, project)
    count = accepting.undo(process, found, number_in_path(batch, "batch"))
    return Done(f"{count:,} annotations of batch {batch} were deleted; their tasks are open again.")


def recalibrate(process: Process, project: str) -> Done:
    """Renew the guarantee from the sample."""
    with process.store.writing() as connection:
        jobs.queue(connection, project_of(connection, project).id, "recalibrate")
    return Done("A recalibration is queued; the project's events will say what came of it.")


def spot_check_line(row: AnyRow) -> SpotCheckLine:
    """A row of `browsing`'s spot checks."""
    times = (time_text(row.drawn_at), None if row.answered_at is None else time_text(row.answered_at))
    return SpotCheckLine(row.external_id, row.kind, row.route, row.state, texts(row.labels), texts(row.answer_labels), *times)


STATE = Parameter("state", str, "Only spot checks in this state.", choices=tuple(SpotCheckState))
TOOL = ((502, "The labeling tool refused."), (503, "The labeling tool, or the database, does not answer."))

OPERATIONS = (
    Operation("GET", "/projects/{project}/guarantee", get_guarantee, GuaranteeNow),
    Operation("GET", "/projects/{project}/spot-checks", list_spot_checks, SpotCheckPage, (STATE, AFTER, LIMIT)),
    Operation("GET", "/projects/{project}/batches", list_batches, BatchList),
    Operation(
        "POST",
        "/projects/{project}/batches/{batch}/undo",
        undo_batch,
        Done,
        statuses=TOOL,
    ),
    Operation("POST", "/projects/{project}/recalibrate", recalibrate, Done, status=202),
)
