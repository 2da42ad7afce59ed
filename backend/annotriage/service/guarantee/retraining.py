"""Retraining from a project: what people answered is learned, the random sample judges, and no spot check is ever trained on.

A new model changes nothing by itself: it waits until a person lets it take over, or the setting take_over does once it is shown to be
better.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from annotriage.data import Dataset, Source
from annotriage.errors import AnnotriageError, StateError
from annotriage.progress import Progress, silent
from annotriage.service.guarantee.model_choice import (
    drop_work,
    let_take_over,
    no_training_data,
    refuse_second,
    work_folder,
)
from annotriage.service.guarantee.recalibrating import answered_items
from annotriage.service.operations.log import log
from annotriage.service.operations.process import Process
from annotriage.service.operations.references import keep_reference
from annotriage.states import EventKind
from annotriage.store import jobs, spot_checks, trainings
from annotriage.store.events import note
from annotriage.store.jobs import Cancelled, Job
from annotriage.store.projects import Project, hold_project
from annotriage.store.references import get_reference

if TYPE_CHECKING:
    from annotriage.training.plan import Plan
    from annotriage.training.retraining import Training, Wishes


def retrain_project(
    process: Process,
    project: Project,
    train: Source,
    out: Path,
    *,
    plan: Plan | None = None,
    wishes: Wishes | None = None,
    new_classes: Sequence[str] | None = None,
    replace_existing: bool = False,
    progress: Progress = silent,
) -> Training:
    """A new model from the project's current one, as files in `out`; nothing in the project changes.

    train: what the present model was trained on. Learned are the items that people answered and that nobody drew at random; the answered
    sample calibrates and compares; all spot checks and their near twins stay out, whether or not their tasks say what they are.
    Raises StateError if people have answered nothing that may be learned, and what `annotriage.train` raises.
    """
    from annotriage.report.training_output import train as run

    with process.store.reading() as connection:
        learned, sample, drawn = (
            find(connection, project.id) for find in (spot_checks.other_answers, spot_checks.sample_answers, spot_checks.all_drawn)
        )
    if not learned:
        raise StateError(
            f"project {project.external_id}: people have answered no task but spot checks, and those are never trained on; answer some"
            " of the tab Manual review first"
        )
    read = partial(answered_items, process, project)
    return run(
        process.reference(project.reference_id),
        train,
        out,
        reviewed=Dataset("answered tasks", len(learned), lambda: read(learned)),
        calibration=Dataset("the answered sample", len(sample), lambda: read(sample)) if sample else None,
        keep_out=Dataset("spot checks", len(drawn), lambda: read(drawn)) if drawn else None,
        plan=plan,
        wishes=wishes,
        new_classes=new_classes,
        settings=process.run_settings(process.reference(project.reference_id)),
        server=process.settings,
        replace_existing=replace_existing,
        progress=progress,
    )


def train_asked(process: Process, project: Project, job: Job, progress: Progress = silent) -> str:
    """Train the model that a person asked for and keep it, with its report: a sentence on what came of it.

    job: its payload are fields of a Plan, and `by`; it ends as the model is kept, so that neither comes without the other. A run that was
    killed goes on where it was. Raises StateError if the training data is not known, or another reference is taking over; Cancelled if
    the job ended meanwhile; and what `retrain_project` raises.
    """
    from annotriage.report.output import REPORT, json_text
    from annotriage.report.training_output import training_facts
    from annotriage.training.plan import Plan

    id, by, asked = project.external_id, str(job.payload.get("by", "")), job.payload
    if not project.options.training_data:
        raise StateError(no_training_data(project))
    refuse_second(project)
    present = process.reference(project.reference_id)
    plan = Plan(**{name: value for name, value in asked.items() if name != "by"})
    folder = work_folder(process, project)
    out = folder / _next_name(present.name)
    found = retrain_project(process, project, project.options.training_data, out, plan=plan, replace_existing=True, progress=progress)
    facts = json.loads(json_text(training_facts(found)))
    reference, comparison, said = found.reference, facts["comparison"], str(facts["sentences"][0])
    with progress("keeping the model", None):
        reference_id = keep_reference(process.store, reference)
    with process.store.writing() as connection:
        now = hold_project(connection, project.id)
        former, model = (get_reference(connection, used).facts["model"]["hash"] for used in (project.reference_id, now.reference_id))
        if model != former:  # the same one with another guarantee is as good to compare with
            raise StateError(f"project {id}: another model took over while this one was trained; train again from that one")
        trained_id = trainings.keep_trained(connection, now, reference_id, facts, out / REPORT, by)
        takes_over = None if comparison is None else comparison["takes_over"]
        note(connection, project.id, EventKind.TRAINED, version=reference.prediction_version, by=by, takes_over=takes_over)
        if not jobs.finish(connection, job.id, said):
            raise Cancelled
    drop_work(process, project)
    log("trained", project=id, version=reference.prediction_version, items=facts["trained_on"])
    if project.options.take_over == "better" and takes_over == "yes":
        _take_over_by_itself(process, project, trained_id, reference.prediction_version)
    return said


def _take_over_by_itself(process: Process, project: Project, trained_id: int, version: str) -> None:
    """What keeps the model from it is told; it waits on the page Training."""
    try:
        let_take_over(process, project, trained_id, by="the setting take_over")
    except AnnotriageError as error:
        log("model not taken over", level=logging.WARNING, project=project.external_id, error=error)
        with process.store.writing() as connection:
            note(connection, project.id, EventKind.NOT_TAKEN_OVER, version=version, error=str(error))


def _next_name(name: str) -> str:
    """The name after a reference's: digits, digits-2, digits-3."""
    number = re.search(r"-(\d{1,6})$", name)
    stem = re.sub(r"[^\w.-]+", "-", name[: number.start()] if number else name).strip(".-")
    return f"{stem or 'model'}-{int(number[1]) + 1 if number else 2}"
