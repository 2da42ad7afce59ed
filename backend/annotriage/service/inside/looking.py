"""The jobs that look into the model of a project: which finds what."""

from __future__ import annotations

from collections.abc import Callable

from annotriage.progress import Progress, silent
from annotriage.service.inside.diagnosing import diagnose_project
from annotriage.service.operations.process import Process
from annotriage.states import InsightKind
from annotriage.store.insights import job_kind
from annotriage.store.jobs import Job
from annotriage.store.projects import Project

Maker = Callable[[Process, Project, Job, Progress], str]

MAKERS: dict[InsightKind, Maker] = {InsightKind.DIAGNOSIS: diagnose_project}


def look_asked(process: Process, project: Project, job: Job, progress: Progress = silent) -> str:
    """Find what a job asks for and keep it: a sentence on what came of it. Raises what its maker raises."""
    kind = next(kind for kind in InsightKind if job_kind(kind) == job.kind)
    return MAKERS[kind](process, project, job, progress)
