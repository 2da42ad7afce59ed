"""Recalibration: what people answered on the sample becomes held-out data, and the guarantee is made anew on it.

The sample alone: it was drawn before any item was judged, so that it is like what comes in, strangers included. The media are fetched
again and pass through data -> model -> latent; the reference that follows takes over as `rescoring` says.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from annotriage.advice.guarantee_words import evidence_of
from annotriage.data import Dataset, Item, Problem
from annotriage.errors import FitError, MediaUnavailable, ToolUnavailable
from annotriage.guarantee.ranking import least_items
from annotriage.progress import Progress, silent
from annotriage.service.guarantee.model_choice import refuse_other, refuse_second
from annotriage.service.guarantee.spot_checks import sample_needed
from annotriage.service.judging.media import MediaReader
from annotriage.service.operations.log import log
from annotriage.service.operations.process import Process
from annotriage.service.operations.references import keep_reference
from annotriage.states import EventKind
from annotriage.store import columns, spot_checks
from annotriage.store.events import note
from annotriage.store.items import AnsweredItem
from annotriage.store.projects import Project, change_project

if TYPE_CHECKING:
    from annotriage.engine.collecting import Collected
    from annotriage.engine.reference import Reference
    from annotriage.latent.density_ratio import Array

MOST_MISSING = 0.2  # share of the answered sample whose media cannot be had at the moment, with which it is put off
MOST_COMPARED = 5_000  # incoming items; more would not make the comparison surer than the sample's answers do
FRESH_ENOUGH = 2.5  # times the least number of items, from which on new answers do without the old ones


def recalibrate(process: Process, project: Project, progress: Progress = silent) -> Reference:
    """A reference with threshold and guarantee from the sample's answers, kept, and on its way to take over from the current one.

    The model and what was learned of its training set stay. Raises FitError if there are too few answers, saying how many it takes;
    StateError if another reference is taking over; ToolUnavailable if too many media cannot be had at the moment.
    """
    from annotriage.engine.calibration import calibrate, looks_seen
    from annotriage.engine.collecting import collect
    from annotriage.service.judging.kept_model import load_kept_model

    refuse_second(project)
    present = process.reference(project.reference_id)
    with process.store.reading() as connection:
        rows = spot_checks.sample_answers(connection, project.id)
    _refuse_few(project, present, len({row.group or row.media_hash for row in rows}))
    settings = process.run_settings(present)
    model = load_kept_model(present, settings)
    dataset = Dataset("the sample", len(rows), lambda: answered_items(process, project, rows))
    answered = collect(model, dataset, present.space, settings, progress, "answered items", present.space.known_or_foreign)
    with progress("calibrating", None):
        answered = _fresh(answered, present)
        incoming = _incoming(process, project) if project.options.compare_incoming else None
        reference = calibrate(dataclasses.replace(present, held_out_notes=()), answered, previous=present.held_out, incoming=incoming)
        notes = (*reference.held_out_notes, *looks_seen(reference, model, answered))
        reference = dataclasses.replace(reference, held_out_notes=notes)
        reference = dataclasses.replace(reference, version=reference.content_hash())
        next_id = keep_reference(process.store, reference)
    with process.store.writing() as connection:
        refuse_other(connection, project)
        change_project(connection, project.id, next_reference_id=next_id)
        evidence = dataclasses.asdict(evidence_of(reference.guarantee))
        note(connection, project.id, EventKind.RECALIBRATED, answers=len(answered.ids), guarantee=evidence)
    log("recalibrated", project=project.external_id, answers=len(answered.ids), auto=reference.guarantee.auto, version=reference.version)
    return reference


def _incoming(process: Process, project: Project) -> Array:
    """Compressed points of what came in lately and is not in the sample: (N, n)."""
    with process.store.reading() as connection:
        points = columns.recent_points(connection, project, MOST_COMPARED)
    return np.array([np.frombuffer(point, dtype=np.float16) for point in points], dtype=np.float32)


def _refuse_few(project: Project, present: Reference, answers: int) -> None:
    """Ask for so many answers that the limit can be shown at all: an attempt with fewer would spend confidence in vain."""
    needed = sample_needed(dataclasses.asdict(present.guarantee))
    if answers < needed:
        most = present.settings.max_error
        limit = f"a limit of {100 * most:g}%" if present.guarantee.dearest is None else f"an expected cost of {most:g} per item"
        raise FitError(
            f"project {project.external_id}: {answers:,} items of the sample are answered, {needed:,} are needed for {limit};"
            " they wait in the tab Spot checks, and a larger sample_share makes more of them"
        )


def _fresh(answered: Collected, present: Reference) -> Collected:
    """The answers that no calibration has looked at, if they are enough by themselves: a first attempt, at what comes in now. Else all."""
    least = least_items(present.settings.max_error, present.guarantee.dearest, present.settings.confidence)
    fresh = np.flatnonzero(~np.isin(answered.hashes, present.held_out.hashes))
    return answered.rows(fresh) if len(answered.ids) > len(fresh) >= FRESH_ENOUGH * least else answered


def answered_items(process: Process, project: Project, rows: Sequence[AnsweredItem]) -> Iterator[Item]:
    """Items with people's labels, their media fetched again. Raises ToolUnavailable if too many cannot be had now."""
    reader = MediaReader(process.settings, process.server)
    missing = 0
    try:
        for row, item in reader.read(process.tool_project(project), rows):
            if isinstance(item, MediaUnavailable):
                missing += 1
                if missing > MOST_MISSING * len(rows):
                    raise ToolUnavailable(
                        f"project {project.external_id}: the media of too many answered items cannot be fetched now: {item}"
                    )
                item = Item(str(row.id), None, group=row.group, problem=Problem(item.failure, str(item)))
            yield dataclasses.replace(item, labels=row.given)
    finally:
        reader.close()
