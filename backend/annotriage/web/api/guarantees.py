"""The guarantee: what it rests on, the spot checks that watch it, and the labels that were accepted under it."""

from __future__ import annotations

from dataclasses import dataclass

from annotriage.service.delivery import accepting
from annotriage.service.guarantee.model_choice import ask_training
from annotriage.service.operations.process import Process
from annotriage.service.readings.guarantee import GuaranteeNow, guarantee_now
from annotriage.states import SpotCheckState
from annotriage.store import acceptances, jobs
from annotriage.store.acceptances import Batch
from annotriage.store.projects import project_of
from annotriage.store.spot_checks import SpotCheckLine, spot_check_counts, spot_checks_page
from annotriage.web.api.openapi import Asked, Operation, Parameter
from annotriage.web.api.paging import AFTER, LIMIT, next_page, number_after, number_in_path
from annotriage.web.api.projects import Done
from annotriage.web.sessions import visitor_name


@dataclass(frozen=True, slots=True)
class SpotCheckList:
    """Spot checks, the latest items first. counts: of all of them, by kind and state, as "audit right". next: as everywhere."""

    spot_checks: tuple[SpotCheckLine, ...]
    counts: dict[str, int]
    next: str | None


@dataclass(frozen=True, slots=True)
class BatchList:
    """The latest batches of accepted labels, the latest first."""

    batches: tuple[Batch, ...]


def get_guarantee(asked: Asked) -> GuaranteeNow:
    """What is guaranteed, and how it stands."""
    return guarantee_now(asked.connection, asked.project)


def list_spot_checks(asked: Asked, state: str | None, after: str | None, limit: int) -> SpotCheckList:
    """Tasks that people answer blind."""
    rows = spot_checks_page(asked.connection, asked.project, state=state, after=number_after(after), limit=limit)
    counts = spot_check_counts(asked.connection, asked.project)
    named = {f"{count.kind} {count.state}": count.n for count in counts}
    return SpotCheckList(tuple(rows), named, next_page(rows, limit, lambda row: row.item_id))


def list_batches(asked: Asked) -> BatchList:
    """The batches of automatic labels that became annotations."""
    return BatchList(tuple(acceptances.batches(asked.connection, asked.project.id)))


def undo_batch(process: Process, project: str, batch: str) -> Done:
    """Take a batch of accepted labels back, but for what people have changed since."""
    with process.store.reading() as connection:
        found = project_of(connection, project)
    count = accepting.undo(process, found, number_in_path(batch, "batch"))
    return Done(f"{count:,} annotations of batch {batch} were deleted; their tasks are open again.")


def train(process: Process, project: str) -> Done:
    """Train a new model from what people answered. Nothing uses it before somebody lets it take over."""
    with process.store.writing() as connection:
        ask_training(connection, project_of(connection, project), visitor_name())
    return Done("A training is queued; the project's events will show the result.")


def recalibrate(process: Process, project: str) -> Done:
    """Renew the guarantee from the sample."""
    with process.store.writing() as connection:
        jobs.queue(connection, project_of(connection, project).id, "recalibrate")
    return Done("A recalibration is queued; the project's events will show the result.")


STATE = Parameter("state", str, "Only spot checks in this state.", choices=tuple(SpotCheckState))
TOOL = ((502, "The labeling tool refused."), (503, "The labeling tool, or the database, does not answer."))

NO_DATA = ((409, "Nobody has said where the training data is."),)
OPERATIONS = (
    Operation("GET", "/projects/{project}/guarantee", get_guarantee, GuaranteeNow),
    Operation("GET", "/projects/{project}/spot-checks", list_spot_checks, SpotCheckList, (STATE, AFTER, LIMIT)),
    Operation("GET", "/projects/{project}/batches", list_batches, BatchList),
    Operation(
        "POST",
        "/projects/{project}/batches/{batch}/undo",
        undo_batch,
        Done,
        statuses=TOOL,
    ),
    Operation("POST", "/projects/{project}/recalibrate", recalibrate, Done, status=202),
    Operation("POST", "/projects/{project}/train", train, Done, status=202, statuses=NO_DATA),
)
