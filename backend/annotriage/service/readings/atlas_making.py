"""atlas.html of a dataset in the store: the training items as the reference keeps them, with the dataset's outliers where they fall."""

from __future__ import annotations

from functools import partial

import numpy as np

from annotriage.engine.diagnosis.atlas import Fallen, training_atlas
from annotriage.progress import Progress, silent
from annotriage.report.atlas_page import write_atlas
from annotriage.service.operations.process import Process
from annotriage.service.readings.reporting import keep_page
from annotriage.store import reports
from annotriage.store.datasets import dataset_of_project
from annotriage.store.projects import Project
from annotriage.store.reports import Full

DRAWN = 1_000  # outliers at most, the strangest first


def make_atlas(process: Process, project: Project, dataset_id: int, progress: Progress = silent) -> str:
    """Make the atlas of one of the project's datasets and keep it: a sentence on it. Raises UnknownError, MismatchError, DataError."""
    reference = process.reference(project.reference_id)
    with process.store.reading() as connection:
        dataset = dataset_of_project(connection, project, dataset_id)
        waiting = reports.waiting_in(connection, project, dataset_id, DRAWN)
        rows = reports.items_in_full(connection, project.reference_id, waiting)
    name = f"all items of {project.title}" if dataset.kind == "all" else f"{dataset.name} of {project.title}"
    strange = [_fallen(rows[id]) for id in waiting if id in rows and rows[id].route == "outlier" and rows[id].compressed is not None]
    with progress("drawing the atlas", None):
        found = training_atlas(reference, name, strange, process.run_settings(reference))
    return keep_page(process, project, dataset_id, reports.ATLAS, name, partial(write_atlas, found))


def _fallen(row: Full) -> Fallen:
    point = np.frombuffer(row.compressed or b"", np.float16).astype(np.float32)
    return Fallen(row.name, point, row.picture or b"")
