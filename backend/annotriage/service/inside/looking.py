"""The jobs that look into the model of a project: which finds what."""

from __future__ import annotations

from collections.abc import Callable

from annotriage.progress import Progress, silent
from annotriage.service.inside.atlas_laying import lay_out
from annotriage.service.inside.channels import dissect_units, draw_graph, draw_layers
from annotriage.service.inside.choosing import choose_items
from annotriage.service.inside.diagnosing import diagnose_project
from annotriage.service.inside.imaging import look_at_item
from annotriage.service.inside.inverting import make_faces
from annotriage.service.operations.process import Process
from annotriage.states import InsightKind
from annotriage.store.insights import job_kind
from annotriage.store.jobs import Job
from annotriage.store.projects import Project

Maker = Callable[[Process, Project, Job, Progress], str]

MAKERS: dict[InsightKind, Maker] = {
    InsightKind.DIAGNOSIS: diagnose_project,
    InsightKind.ATLAS: lay_out,
    InsightKind.FACES: make_faces,
    InsightKind.IMAGE: look_at_item,
    InsightKind.GRAPH: draw_graph,
    InsightKind.UNITS: dissect_units,
    InsightKind.LAYERS: draw_layers,
    InsightKind.SAMPLE: choose_items,
}


def look_asked(process: Process, project: Project, job: Job, progress: Progress = silent) -> str:
    """Find what a job asks for and keep it: a sentence on what came of it. Raises what its maker raises."""
    kind = next(kind for kind in InsightKind if job_kind(kind) == job.kind)
    return MAKERS[kind](process, project, job, progress)
