"""New limits on the same held-out items: another max_error, confidence or alpha, tested anew and more strictly.

Each look at the held-out items is a further attempt, so that trying limits until one passes does not break the guarantee.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from annotriage.advice.guarantee_words import evidence_of
from annotriage.errors import FitError, StateError
from annotriage.service.guarantee.model_choice import refuse_other, refuse_second
from annotriage.service.operations.log import log
from annotriage.service.operations.process import Process
from annotriage.service.operations.references import keep_reference
from annotriage.settings import Settings
from annotriage.states import EventKind
from annotriage.store.events import note
from annotriage.store.previews import LIMITS
from annotriage.store.projects import Project, change_project

if TYPE_CHECKING:
    from annotriage.engine.reference import Reference


def change_limits(process: Process, project: Project, limits: Mapping[str, Any]) -> Reference:
    """A reference with other limits, kept, and on its way to take over from the present one.

    limits: of LIMITS, those that change; `by`: who wants it. Raises FitError where the reference holds no labelled held-out items,
    StateError while another one is taking over or the alarm stopped `auto`, SettingError for a limit out of range.
    """
    _refuse_alarm(project)
    refuse_second(project)
    present = process.reference(project.reference_id)
    reference = with_limits(present, {name: limits[name] for name in LIMITS if name in limits})
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


def with_limits(present: Reference, limits: Mapping[str, float]) -> Reference:
    """The reference with other limits, and the guarantee that its held-out items allow under them. Raises FitError, SettingError."""
    from annotriage.engine.calibration import guarantee_of
    from annotriage.guarantee.conformal import flagged_rank, outlier_threshold

    settings = Settings(**{**present.settings.as_dict(), **limits})
    if settings == present.settings:
        return present
    answered, scores = present.answered, present.held_out.scores
    if answered is None or not present.calibrated:
        options = " ".join(f"--{name.replace('_', '-')} {value:g}" for name, value in limits.items())
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
    settings = {name: facts["settings"][name] for name in LIMITS}
    return (
        alike and {**former["settings"], **settings} == facts["settings"] and facts["guarantee"]["attempt"] > former["guarantee"]["attempt"]
    )


def _refuse_alarm(project: Project) -> None:
    if project.alarm is not None:
        raise StateError(
            f"project {project.external_id}: the alarm stopped automatic labels, and other limits on the old held-out items do not"
            f" lift it; annotriage recalibrate --project {project.external_id} does, once the limit is shown anew"
        )


def _changes(old: Reference, new: Reference) -> dict[str, list[Any]]:
    """The limits that are not the same, each before and after."""
    before, after = old.settings.as_dict(), new.settings.as_dict()
    return {name: [before[name], after[name]] for name in LIMITS if before[name] != after[name]}
