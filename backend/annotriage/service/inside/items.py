"""The labelled items that a look into the model may use: what people have answered, or the training set. Never a blind one."""

from __future__ import annotations

from enum import StrEnum

from annotriage.data import Dataset, Source
from annotriage.errors import DataError, StateError
from annotriage.service.guarantee.recalibrating import answered_items
from annotriage.service.operations.process import Process
from annotriage.store import spot_checks
from annotriage.store.projects import Project

MOST_ITEMS = 20_000


class Which(StrEnum):
    """Which items to look at."""

    ANSWERS = "answers"
    TRAINING = "training"


def labelled_items(process: Process, project: Project, which: Which) -> Source:
    """The items; the id of an answered one is its row's. Raises DataError if nobody has answered any, StateError if nobody has said where
    the training data is."""
    if which is Which.TRAINING:
        if not project.options.training_data:
            raise StateError(
                f"project {project.external_id}: nobody has said where the training data is; set training_data, then annotriage connect"
                f" --project {project.external_id} again with its reference, or look at the answered items"
            )
        return project.options.training_data
    with process.store.reading() as connection:
        rows = [*spot_checks.other_answers(connection, project.id), *spot_checks.sample_answers(connection, project.id)]
    if not rows:
        raise DataError(f"project {project.external_id}: people have answered no items yet; look again once they have")
    rows = sorted(rows, key=lambda row: row.id)[-MOST_ITEMS:]
    return Dataset(f"answers of {project.title}", len(rows), lambda: answered_items(process, project, rows))
