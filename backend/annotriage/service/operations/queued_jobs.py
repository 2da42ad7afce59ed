"""Queued jobs, each run by what it is for: a recalibration, a change of limits, a report, an atlas, a label audit, an erasure."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from annotriage.advice.guarantee_words import guarantee_sentence
from annotriage.errors import AnnotriageError
from annotriage.progress import Advance
from annotriage.service.operations.log import log
from annotriage.service.operations.process import Process
from annotriage.states import EventKind
from annotriage.store import erasing as erasures
from annotriage.store import jobs, reports
from annotriage.store.events import note
from annotriage.store.jobs import Job
from annotriage.store.projects import get_project


def run_job(process: Process, job: Job) -> None:
    """Run a queued job: what came of it, or why nothing did, stands in the job."""
    from annotriage.service.guarantee.changing_limits import change_limits
    from annotriage.service.guarantee.recalibrating import recalibrate
    from annotriage.service.operations import erasing
    from annotriage.service.quality.auditing import audit_project
    from annotriage.service.readings.atlas_making import make_atlas
    from annotriage.service.readings.reporting import make_report

    with process.store.reading() as connection:
        project = get_project(connection, job.project_id)

    @contextmanager
    def told(label: str, total: int | None) -> Iterator[Advance]:
        with process.store.writing() as connection:
            jobs.progress(connection, job.id, label if total is None else f"{label} ({total:,})")
        yield lambda count: None

    failed = False
    try:
        if job.kind == jobs.LABEL_AUDIT:
            text = audit_project(process, project, told)
        elif job.kind == erasures.KIND:
            text = erasing.erase_asked(process, job)
        elif job.kind in (reports.REPORT, reports.ATLAS):
            make = make_report if job.kind == reports.REPORT else make_atlas
            text = make(process, project, job.payload["dataset"], told)
        else:
            reference = change_limits(process, project, job.payload) if job.kind == jobs.LIMITS else recalibrate(process, project, told)
            text = guarantee_sentence(reference.guarantee)
    except AnnotriageError as error:
        text, failed = str(error), True
        log("job failed", kind=job.kind, level=logging.WARNING, project=project.external_id, error=error)
    with process.store.writing() as connection:
        jobs.finish(connection, job.id, text, failed=failed)
        if failed and job.kind not in (reports.REPORT, reports.ATLAS, jobs.LABEL_AUDIT, erasures.KIND):
            limits = job.kind == jobs.LIMITS
            note(connection, project.id, EventKind.LIMITS_FAILED if limits else EventKind.RECALIBRATION_FAILED, error=text)
