"""Two references on the same items, drawn at random: what is stored of either is taken, what is not is judged now. Nothing else changes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from annotriage.advice.version_words import compared_sentence
from annotriage.errors import SettingError, StateError
from annotriage.progress import Progress, silent
from annotriage.service.operations.log import log
from annotriage.service.operations.process import Process
from annotriage.states import Route
from annotriage.store import jobs, versions
from annotriage.store.items import AnsweredItem
from annotriage.store.projects import Project
from annotriage.store.versions import Said

if TYPE_CHECKING:
    from annotriage.store.jobs import Job

FEWEST, ITEMS, MOST = 50, 1_000, 5_000  # items of a comparison: with 1,000 each share is known within 3 points


def ask_comparison(connection: Connection, project: Project, before_id: int, after_id: int, by: str, items: int = ITEMS) -> None:
    """A person wants to know where two references differ: the jobs process finds out.

    Raises UnknownError for a reference that the project does not know, SettingError for one against itself, or for another number of
    items than can be compared; StateError while another two are compared.
    """
    if before_id == after_id:
        raise SettingError("choose two different versions")
    if not FEWEST <= items <= MOST:
        raise SettingError(f"items: {items:,} is out of range; choose between {FEWEST} and {MOST:,}")
    for id in (before_id, after_id):
        versions.version_of_project(connection, project, id)
    asked = {"before": before_id, "after": after_id, "items": items, "by": by}
    waiting = jobs.latest_job(connection, project.id, jobs.VERSIONS)
    if waiting is not None and waiting.open and (waiting.payload["before"], waiting.payload["after"]) != (before_id, after_id):
        raise StateError("two other versions are being compared at this moment; ask again once that is done, or cancel it")
    jobs.queue(connection, project.id, jobs.VERSIONS, asked)


def cancel_comparison(connection: Connection, project: Project) -> bool:
    """A person wants it no more: whether it waited or ran. Whoever runs it stops at its next step."""
    return jobs.cancel(connection, project.id, jobs.VERSIONS)


def compare_asked(process: Process, project: Project, job: Job, progress: Progress = silent) -> str:
    """Compare the two references that somebody asked for, and keep what each makes of the items: a sentence on what came of it.

    The same two draw the same items as long as none comes in, whatever their verdicts: nobody can ask again until the draw is agreeable.
    Raises StateError before there are items, and what reading their media raises.
    """
    before_id, after_id = int(job.payload["before"]), int(job.payload["after"])
    with process.store.reading() as connection:
        every = versions.comparable_items(connection, project)
    if not every:
        raise StateError("there are no items yet on which to compare versions")
    ids = sorted(random.Random(f"{project.id}").sample(every, min(int(job.payload["items"]), len(every))))
    sides = [_said(process, project, reference_id, ids, progress) for reference_id in (before_id, after_id)]
    said = {id: (sides[0][id], sides[1][id]) for id in ids if id in sides[0] and id in sides[1]}
    with process.store.writing() as connection:
        versions.keep_comparison(connection, project, before_id, after_id, said, len(every), str(job.payload.get("by", "")))
    log("versions compared", project=project.external_id, items=len(said))
    return compared_sentence(len(said))


def _said(process: Process, project: Project, reference_id: int, ids: Sequence[int], progress: Progress) -> dict[int, Said]:
    """What a reference makes of items: as stored, and of the rest as it judges now."""
    with process.store.reading() as connection:
        found = versions.said_by(connection, reference_id, ids)
        rows = versions.items_to_judge(connection, [id for id in ids if id not in found])
    return found | _judged(process, project, reference_id, rows, progress) if rows else found


def _judged(process: Process, project: Project, reference_id: int, rows: Sequence[AnsweredItem], progress: Progress) -> dict[int, Said]:
    from annotriage.engine.verdict import verdicts_of
    from annotriage.model.stream import stream
    from annotriage.service.guarantee.recalibrating import answered_items
    from annotriage.service.judging.kept_model import load_kept_model

    reference = process.reference(reference_id)
    settings = process.run_settings(reference)
    model = load_kept_model(reference, settings)
    found: dict[int, Said] = {}
    with progress(f"judging under {reference.prediction_version}", len(rows)) as advance:
        for batch in stream(model, answered_items(process, project, rows), settings):
            found |= {
                int(item.id): Said(Route.FAILED, ())
                for item, problem in zip(batch.items, batch.problems, strict=True)
                if problem is not None
            }
            if batch.outputs is not None:
                scored = [batch.items[row] for row in batch.rows]
                for verdict in verdicts_of(reference, scored, reference.judge(batch.outputs), batch.seconds):
                    found[int(verdict.id)] = Said(verdict.route, verdict.labels)
            advance(len(batch.items))
    return found
