"""Retraining from a project: what people answered is learned, the random sample judges, and no spot check is ever trained on.

A new model changes nothing by itself: it waits until a person lets it take over, or the setting take_over does once it is shown to be
better.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annotriage.data import Dataset, Source
from annotriage.errors import StateError
from annotriage.progress import Progress, silent
from annotriage.service.guarantee.model_choice import let_take_over, no_training_data, refuse_second, work_folder
from annotriage.service.guarantee.recalibrating import answered_items
from annotriage.service.operations.log import log
from annotriage.service.operations.process import Process
from annotriage.service.operations.references import keep_reference
from annotriage.states import EventKind
from annotriage.store import spot_checks, trainings
from annotriage.store.events import note
from annotriage.store.projects import Project, get_project

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
    """A new model from the project's present one, as files in `out`; nothing in the project changes.

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
        replace_existing=replace_existing,
        progress=progress,
    )


def train_asked(process: Process, project: Project, asked: Mapping[str, Any], progress: Progress = silent) -> str:
    """Train the model that a person asked for and keep it, with its report: a sentence on what came of it.

    asked: fields of a Plan, and `by`. A run that was killed goes on where it was. Raises StateError if the training data is not known,
    or another reference is taking over; and what `retrain_project` raises.
    """
    from annotriage.report.output import REPORT, json_text
    from annotriage.report.training_output import training_facts
    from annotriage.training.plan import Plan

    id, by = project.external_id, str(asked.get("by", ""))
    if not project.options.training_data:
        raise StateError(no_training_data(project))
    refuse_second(project)
    present = process.reference(project.reference_id)
    plan = Plan(**{name: value for name, value in asked.items() if name != "by"})
    folder = work_folder(process, project)
    out = folder / _next_name(present.name)
    found = retrain_project(process, project, project.options.training_data, out, plan=plan, replace_existing=True, progress=progress)
    facts = json.loads(json_text(training_facts(found)))
    reference, comparison = found.reference, facts["comparison"]
    with progress("keeping the model", None):
        reference_id = keep_reference(process.store, reference)
    with process.store.writing() as connection:
        present_project = get_project(connection, project.id)
        if present_project.reference_id != project.reference_id:
            raise StateError(f"project {id}: another reference took over while this model was trained; train again from that one")
        trained_id = trainings.keep_trained(connection, project, reference_id, facts, out / REPORT, by)
        takes_over = None if comparison is None else comparison["takes_over"]
        note(connection, project.id, EventKind.TRAINED, version=reference.prediction_version, by=by, takes_over=takes_over)
    shutil.rmtree(folder, ignore_errors=True)
    log("trained", project=id, version=reference.prediction_version, items=facts["trained_on"])
    if project.options.take_over == "better" and takes_over == "yes":
        let_take_over(process, project, trained_id, by="the setting take_over")
    return str(facts["sentences"][0])


def _next_name(name: str) -> str:
    """The name after a reference's: digits, digits-2, digits-3."""
    number = re.search(r"-(\d{1,6})$", name)
    stem = re.sub(r"[^\w.-]+", "-", name[: number.start()] if number else name).strip(".-")
    return f"{stem or 'model'}-{int(number[1]) + 1 if number else 2}"
