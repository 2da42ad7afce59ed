"""Queued jobs, each run by what it is for: recalibration, limits, report, atlas, audit, erasure, training, comparing versions, a look into
the model."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from annotriage.advice.guarantee_words import guarantee_sentence
from annotriage.errors import AnnotriageError, MismatchError, ModelError
from annotriage.progress import Advance, Progress
from annotriage.service.guarantee.model_choice import drop_work
from annotriage.service.operations.log import log
from annotriage.service.operations.loops import BACK_OFF
from annotriage.service.operations.process import Process
from annotriage.states import EventKind
from annotriage.store import DATABASE_TROUBLE, jobs, reports
from annotriage.store import erasing as erasures
from annotriage.store.events import note
from annotriage.store.insights import JOB_KINDS
from annotriage.store.jobs import Cancelled, Job
from annotriage.store.projects import Project, get_project

TELL_SECONDS = 1.0  # between two times that the store is told how far a job is
FAILURES = {  # kinds of jobs whose failure is an event of the project
    "recalibrate": EventKind.RECALIBRATION_FAILED,
    jobs.LIMITS: EventKind.LIMITS_FAILED,
    jobs.TRAINING: EventKind.TRAINING_FAILED,
    jobs.ERASURE: EventKind.ERASURE_FAILED,
}
FORGOTTEN = (*JOB_KINDS, jobs.ERASURE)  # what these were asked for may be a large file, or names, and nobody reads it again


def run_job(process: Process, job: Job) -> bool:
    """Run a queued job: what came of it, or why nothing did, stands in the job. False if it was left to another replica, as the model
    does not run here."""
    with process.store.reading() as connection:
        project = get_project(connection, job.project_id)
    try:
        text = _run(process, project, job, progress_of(process, job))
    except Cancelled:
        _leave(process, project, job)
        return True
    except AnnotriageError as error:
        if _left_to_others(process, project, job, error):
            return False
        log("job failed", kind=job.kind, level=logging.WARNING, project=project.external_id, error=error)
        if not fail(process, job, str(error)):
            _leave(process, project, job)
        return True
    with process.store.writing() as connection:
        jobs.finish(connection, job.id, text, forget=job.kind in FORGOTTEN)
    return True


def fail(process: Process, job: Job, text: str) -> bool:
    """A job came to nothing; False if it ran here no more. What must be done in any case waits, and is tried again."""
    with process.store.writing() as connection:
        if job.kind == jobs.ERASURE:
            text, pause = f"{text.rstrip('.')}. It is tried again by itself.", BACK_OFF[min(job.attempts, len(BACK_OFF)) - 1]
            ended, told = erasures.put_off(connection, job, process.owner, text, time.time() + pause), bool(job.text)
        else:
            ended, told = jobs.finish(connection, job.id, text, failed=True, forget=job.kind in FORGOTTEN), False
        if ended and not told and job.kind in FAILURES:
            note(connection, job.project_id, FAILURES[job.kind], error=text)
    return ended


def _left_to_others(process: Process, project: Project, job: Job, error: AnnotriageError) -> bool:
    """Give a job back whose model does not run here, as long as a replica is left that has not tried it; whether that was done."""
    if not isinstance(error, (ModelError, MismatchError)) or job.attempts > len(process.others(process.role)):
        return False
    from annotriage.service.judging.kept_model import load_kept_model

    try:
        reference = process.reference(project.reference_id)
        load_kept_model(reference, process.run_settings(reference))
    except (ModelError, MismatchError):
        log("job left to other replicas", kind=job.kind, level=logging.WARNING, project=project.external_id, error=error)
        with process.store.writing() as connection:
            return jobs.leave(connection, job.id, process.owner)
    return False  # it is the job that fails, and would everywhere


def _leave(process: Process, project: Project, job: Job) -> None:
    """Let go of a job that is to be done here no more. What a training has written stays where another process goes on with it."""
    with process.store.reading() as connection:
        wanted = jobs.is_wanted(connection, job.id)
    if job.kind == jobs.TRAINING and not wanted:
        drop_work(process, project)
    log("job left to another process" if wanted else "job cancelled", kind=job.kind, project=project.external_id)


def _run(process: Process, project: Project, job: Job, progress: Progress) -> str:
    """Do what a job asks for: a sentence on what came of it. Raises AnnotriageError, Cancelled."""
    from annotriage.service.guarantee.changing_limits import change_limits
    from annotriage.service.guarantee.recalibrating import recalibrate
    from annotriage.service.guarantee.retraining import train_asked
    from annotriage.service.inside.looking import look_asked
    from annotriage.service.judging.versions import compare_asked
    from annotriage.service.operations import erasing
    from annotriage.service.quality.auditing import audit_project
    from annotriage.service.readings.atlas_making import make_atlas
    from annotriage.service.readings.reporting import make_report

    if job.kind in JOB_KINDS:
        return look_asked(process, project, job, progress)
    if job.kind == jobs.LABEL_AUDIT:
        return audit_project(process, project, progress)
    if job.kind == jobs.TRAINING:
        return train_asked(process, project, job, progress)
    if job.kind == jobs.VERSIONS:
        return compare_asked(process, project, job, progress)
    if job.kind == jobs.ERASURE:
        return erasing.erase_asked(process, project, job.payload["names"], job.payload["by"])
    if job.kind in (reports.REPORT, reports.ATLAS):
        make = make_report if job.kind == reports.REPORT else make_atlas
        return make(process, project, job.payload["dataset"], progress)
    reference = change_limits(process, project, job.payload) if job.kind == jobs.LIMITS else recalibrate(process, project, progress)
    return guarantee_sentence(reference.guarantee)


def progress_of(process: Process, job: Job) -> Progress:
    """Progress that stands in the job, for pages to show. Its steps raise Cancelled once the job is to be done here no more.

    What the database does not take now is left out: hours of work are worth more.
    """

    @contextmanager
    def step(label: str, total: int | None) -> Iterator[Advance]:
        with suppress(*DATABASE_TROUBLE), process.store.writing() as connection:
            if not jobs.begin_step(connection, job.id, process.owner, label, total):
                raise Cancelled
        done, told_at = 0, time.monotonic()

        def advance(count: int) -> None:
            nonlocal done, told_at
            done += count
            if time.monotonic() - told_at < TELL_SECONDS:
                return
            told_at = time.monotonic()
            with suppress(*DATABASE_TROUBLE), process.store.writing() as connection:
                if not jobs.advance(connection, job.id, process.owner, done):
                    raise Cancelled

        yield advance

    return step
