"""How training stands in a project, as people and programs read it: what a new model could learn, and the latest one."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from annotriage.store import jobs, spot_checks, trainings
from annotriage.store.jobs import Job
from annotriage.store.projects import Project, standing_of
from annotriage.store.references import get_reference
from annotriage.store.trainings import Trained

MOST_COUNTED = 10_000


@dataclass(frozen=True, slots=True)
class TrainingState:
    """What a training would work with, and the latest model.

    data: where the training set is, "" if nobody has said. learnable: answered items that nobody drew at random, counted up to 10,000.
    judging: answered items of the random sample, which compare both models. whole: whether all weights can be trained and not the head
    alone. job: the latest training that was asked for. trained: the latest model; in_use: whether the project judges by it now; coming:
    whether another reference is taking over.
    """

    data: str
    learnable: int
    judging: int
    whole: bool
    job: Job | None
    trained: Trained | None
    in_use: bool
    coming: bool


def training_state(connection: Connection, project: Project) -> TrainingState:
    """How training stands in a project."""
    asked = jobs.jobs_of(connection, project.id, kinds=(jobs.TRAINING,))
    trained = trainings.latest_trained(connection, project.id)
    return TrainingState(
        project.options.training_data,
        spot_checks.learnable(connection, project.id, MOST_COUNTED),
        int((standing_of(connection, project) or {}).get("sample_answers", 0)),
        bool(get_reference(connection, project.reference_id).facts["model"]["spec"]["model"].get("factory")),
        asked[0] if asked else None,
        trained,
        trained is not None and project.reference_id == trained.reference_id,
        project.next_reference_id is not None or project.old_reference_id is not None,
    )
