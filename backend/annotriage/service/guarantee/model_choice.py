"""What people decide about models: that one is to be trained, or not any more, that it takes over, or that the former one comes back.

Every item is judged again under the model that takes over, and the labeling tool switched in one go, as with any new reference.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection

from annotriage.errors import MismatchError, OutputError, StateError
from annotriage.service.operations.process import Process
from annotriage.settings import SQLITE
from annotriage.states import EventKind, TrainedState
from annotriage.store import jobs, trainings
from annotriage.store.events import note
from annotriage.store.projects import Project, change_project, hold_project
from annotriage.store.references import get_reference
from annotriage.training.plan import PERPLEXITIES, Plan

MEASURES = PERPLEXITIES  # of perplexity, by which samples may sit out
EPOCHS = Plan.epochs  # passes over the items, unless somebody wants others


def ask_training(
    connection: Connection, project: Project, by: str, *, epochs: int = EPOCHS, perplexity: str = "off", whole: bool = False
) -> None:
    """A person wants a new model: the jobs process trains it.

    epochs, perplexity, whole: as in a Plan. Raises SettingError if they cannot work, StateError if nobody has said where the training
    data is.
    """
    plan = Plan(epochs=epochs, perplexity=perplexity, whole=whole)
    if not project.options.training_data:
        raise StateError(no_training_data(project))
    asked = {"epochs": plan.epochs, "perplexity": plan.perplexity, "whole": plan.whole, "by": by}
    jobs.queue(connection, project.id, jobs.TRAINING, asked)


def no_training_data(project: Project) -> str:
    """Why no model can be trained here, and what to do."""
    return (
        f"project {project.external_id}: nobody has said where the training data is; set training_data, then annotriage connect --project"
        f" {project.external_id} again with its reference"
    )


def cancel_training(process: Process, project: Project) -> bool:
    """A person wants the training no more: whether one waited or ran. Whoever runs it stops at its next step."""
    with process.store.writing() as connection:
        return jobs.cancel(connection, project.id, jobs.TRAINING)


def refuse_second(project: Project) -> None:
    """Raise StateError while another reference is taking over."""
    if project.next_reference_id is not None or project.old_reference_id is not None:
        raise StateError(
            f"project {project.external_id}: a new reference is taking over at the moment; try again once it has"
            f" (annotriage status --project {project.external_id} shows how far it is)"
        )


def refuse_other(connection: Connection, project: Project) -> Project:
    """The project as it is now, and stays until the transaction ends: for whoever made a reference from its current one.

    Raises StateError while another reference is taking over, or if one has since the project was read.
    """
    now = hold_project(connection, project.id)
    refuse_second(now)
    if now.reference_id != project.reference_id:
        raise StateError(f"project {project.external_id}: another reference took over meanwhile; ask for this again, from that one")
    return now


def let_take_over(process: Process, project: Project, trained_id: int, by: str) -> None:
    """Let a trained model take over: every item is judged again under it before anybody sees it.

    Raises StateError if another reference is taking over, or somebody decided already; MismatchError if the labeling config has no place
    for one of its classes; ToolError if that cannot be looked up.
    """
    with process.store.reading() as connection:
        trained = trainings.trained_of(connection, project, trained_id)
        classes = tuple(get_reference(connection, trained.reference_id).facts["model"]["spec"]["model"]["classes"])
    problem = process.server.project(project.external_id, classes).facts().problem
    if problem is not None:
        raise MismatchError(f"project {project.external_id}: {problem}")
    _choose(process, project, trained_id, trained.reference_id, (TrainedState.OFFERED, TrainedState.RETURNED), TrainedState.TAKEN, by)


def go_back(process: Process, project: Project, trained_id: int, by: str) -> None:
    """Let the model that was there before a trained one take over again. Raises StateError as `let_take_over`."""
    with process.store.reading() as connection:
        former_id = trainings.trained_of(connection, project, trained_id).former_id
    _choose(process, project, trained_id, former_id, (TrainedState.TAKEN,), TrainedState.RETURNED, by)


def _choose(
    process: Process,
    project: Project,
    trained_id: int,
    reference_id: int,
    from_: Sequence[TrainedState],
    to: TrainedState,
    by: str,
) -> None:
    with process.store.writing() as connection:
        present = hold_project(connection, project.id)
        refuse_second(present)
        trainings.move(connection, project, trained_id, from_, to)
        if present.reference_id == reference_id:
            raise StateError(f"project {project.external_id}: this model is in use already; load the page again")
        change_project(connection, project.id, next_reference_id=reference_id)
        version = get_reference(connection, reference_id).prediction_version
        note(connection, project.id, EventKind.CHOSEN, version=version, by=by, back=to == TrainedState.RETURNED)


def work_folder(process: Process, project: Project) -> Path:
    """Where a training of a project works: beside the database if that is a file, or else where this machine keeps what may go.

    The same for every attempt, so that a killed one goes on. Raises OutputError if it cannot be made, or belongs to somebody else.
    """
    base = _work_base(process)
    folder = base / str(project.id)
    try:
        base.mkdir(mode=0o700, exist_ok=True)
        if base.is_symlink() or base.stat().st_uid != os.getuid():
            raise OutputError(f"{base} belongs to somebody else; remove it, and train again")
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made ({error.strerror}), and a training works there; make its parent writable") from error
    return folder


def drop_work(process: Process, project: Project) -> None:
    """Remove what trainings of a project have written on this machine, if anything."""
    shutil.rmtree(_work_base(process) / str(project.id), ignore_errors=True)


def _work_base(process: Process) -> Path:
    """Where trainings work, each project's in a folder of its own."""
    database = process.settings.database
    if database.startswith(SQLITE) and database != f"{SQLITE}:memory:":
        file = Path(database.removeprefix(SQLITE)).absolute()
        return file.with_name(f"{file.name}.training")
    return Path(tempfile.gettempdir()) / f"annotriage-training-{hashlib.sha256(database.encode()).hexdigest()[:12]}"
