"""New limits on the same held-out items: another max_error, confidence or alpha, other costs, tested anew and more strictly.

Each look at the held-out items is a further attempt, so that trying limits until one passes does not break the guarantee.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from annotriage.advice.guarantee_words import evidence_of
from annotriage.errors import FitError, StateError
from annotriage.service.guarantee.model_choice import refuse_other, refuse_second
from annotriage.service.operations.log import log
from annotriage.service.operations.process import Process
from annotriage.service.operations.references import keep_reference
from annotriage.settings import Settings
from annotriage.states import EventKind
from annotriage.store.events import note
from annotriage.store.previews import CHANGED, Preview, counted
from annotriage.store.projects import Project, change_project

if TYPE_CHECKING:
    from annotriage.engine.reference import Reference


def change_limits(process: Process, project: Project, limits: Mapping[str, Any]) -> Reference:
    """A reference with other limits, kept, and on its way to take over from the current one.

    limits: of CHANGED, those that change; `by`: who wants it. Raises FitError where the reference holds no labelled held-out items,
    StateError while another one is taking over or the alarm stopped `auto`, SettingError for a limit out of range.
    """
    _refuse_alarm(project)
    refuse_second(project)
    present = process.reference(project.reference_id)
    reference = with_limits(present, {name: limits[name] for name in CHANGED if name in limits})
    next_id = keep_reference(process.store, reference)
    with process.store.writing() as connection:
        now = refuse_other(connection, project)
        _refuse_alarm(now)
        if next_id != now.reference_id:
            change_project(connection, project.id, next_reference_id=next_id)
        evidence = dataclasses.asdict(evidence_of(reference.guarantee))
        changes = _changes(present, reference)
        note(connection, project.id, EventKind.LIMITS, changes=changes, by=limits.get("by"), guarantee=evidence)
    log("limits changed", project=project.external_id, auto=reference.guarantee.auto, version=reference.version)
    return reference


def preview_with(process: Process, connection: Connection, project: Project, limits: Mapping[str, Any]) -> Preview:
    """As `store.previews.preview`, also of other costs and limits of classes: looked for on the held-out items, as no grid holds them.

    Raises StateError where there are no labelled held-out items, SettingError for what is out of range or names no class.
    """
    from annotriage.engine.what_if import what_if

    present = process.reference(project.reference_id)
    settings = Settings(**{**present.settings.as_dict(), **limits})
    found = what_if(present, settings)
    if not found:
        raise StateError(f"project {project.external_id}: there are too few labelled held-out items to try these limits on")
    (cell,) = found
    (taus,) = (row["taus"] for row in cell.limits)
    asked = settings.alpha, settings.max_error, settings.confidence
    return counted(connection, project, asked, cell.threshold, taus, cell.names, cell.rest)


def with_limits(present: Reference, limits: Mapping[str, Any]) -> Reference:
    """The reference with other limits, and the guarantee that its held-out items allow under them. Raises FitError, SettingError."""
    from annotriage.engine.calibration import guarantee_of
    from annotriage.guarantee.conformal import flagged_rank, outlier_threshold

    settings = Settings(**{**present.settings.as_dict(), **limits})
    if settings == present.settings:
        return present
    answered, scores = present.answered, present.held_out.scores
    if answered is None or not present.calibrated:
        options = " ".join(f"--{name.replace('_', '-')} {_as_option(value)}" for name, value in limits.items())
        raise FitError(
            "this reference holds no labelled held-out items on which other limits could be shown; fit it again:"
            f" annotriage fit {options} --model ... --train ... --calibration ... --out ..., then annotriage connect"
        )
    if not flagged_rank(len(scores), settings.alpha):
        raise FitError(f"setting alpha: {len(scores)} held-out items are too few for {settings.alpha:g}; choose a larger one")
    attempt = present.held_out.attempts + 1
    reference = dataclasses.replace(
        present,
        settings=settings,
        threshold=outlier_threshold(scores, settings.alpha),
        held_out=dataclasses.replace(present.held_out, attempts=attempt),
    )
    answered = dataclasses.replace(answered, typical=~reference.is_outlier(answered.scores, answered.clusters))
    known = present.guarantee
    guarantee = guarantee_of(answered, present.space, settings, attempt, stricter=known.stricter, times_stricter=known.times_stricter)
    reference = dataclasses.replace(reference, answered=answered, guarantee=guarantee)
    return dataclasses.replace(reference, version=reference.content_hash())


def differ_in_limits_alone(former: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    """Whether a reference is a former one with other limits, tested on the same held-out items. Both: Reference.facts().

    Not where spot checks made the gate stricter: it was set by the answers, so that these say nothing of the labels that are left.
    """
    alike = all(former[part] == facts[part] for part in ("model", "counts", "accuracy", "clusters", "scores"))
    settings = {name: facts["settings"][name] for name in CHANGED if name in facts["settings"]}
    return (
        alike and {**former["settings"], **settings} == facts["settings"] and facts["guarantee"]["attempt"] > former["guarantee"]["attempt"]
    )


def _refuse_alarm(project: Project) -> None:
    if project.alarm is not None:
        raise StateError(
            f"project {project.external_id}: the alarm stopped automatic labels, and other limits on the old held-out items do not"
            f" lift it; annotriage recalibrate --project {project.external_id} does, once the limit is shown again"
        )


def _changes(old: Reference, new: Reference) -> dict[str, list[Any]]:
    """The limits that are not the same, each before and after."""
    before, after = old.settings.as_dict(), new.settings.as_dict()
    return {name: [before[name], after[name]] for name in CHANGED if before[name] != after[name]}


def _as_option(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else '"' + ", ".join(f"{name} = {number:g}" for name, number in value) + '"'
