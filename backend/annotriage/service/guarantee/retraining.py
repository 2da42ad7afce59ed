"""Retraining from a project: what people answered is learned, the random sample judges, and no spot check is ever trained on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from annotriage.data import Dataset, Source
from annotriage.errors import StateError
from annotriage.progress import Progress, silent
from annotriage.service.guarantee.recalibrating import answered_items
from annotriage.service.operations.process import Process
from annotriage.store import spot_checks
from annotriage.store.projects import Project

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
