"""Spot checks make the gate stricter: where people's answers show that the limit is broken, fewer labels are automatic from then on.

They may only tighten it; a recalibration alone sets it anew. Where no stricter place would do, the alarm is what is left.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from annotriage.advice.guarantee_words import evidence_of
from annotriage.service.guarantee.spot_checks import error_limit
from annotriage.service.operations.log import log
from annotriage.service.operations.process import Process
from annotriage.service.operations.references import keep_reference
from annotriage.states import EventKind
from annotriage.store import DATABASE_TROUBLE, spot_checks
from annotriage.store.events import note
from annotriage.store.projects import Project, change_project, hold_project
from annotriage.store.references import get_reference

if TYPE_CHECKING:
    from annotriage.engine.reference import Reference


class Tightening:
    """Looks at each project's answers, and at no answers twice."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._seen: dict[int, tuple[object, ...]] = {}

    def step(self, project: Project) -> bool:
        """Let a reference with a stricter gate take over, if the answers ask for one; whether they did."""
        if _is_busy(project):
            return False
        with self._process.store.reading() as connection:
            answers = spot_checks.settled_sureness(connection, project.id, project.reference_id)
            seen = (project.reference_id, len(answers), sum(wrong for _, wrong in answers))
            if self._seen.get(project.id) == seen:
                return False
            facts = get_reference(connection, project.reference_id).facts["guarantee"]
        self._seen[project.id] = seen
        try:
            return self._tighten(project, answers, facts)
        except DATABASE_TROUBLE:
            del self._seen[project.id]  # nothing is decided: they are looked at again
            raise

    def _tighten(self, project: Project, answers: Sequence[tuple[float, bool]], facts: dict[str, Any]) -> bool:
        if not facts["auto"] or not answers:
            return False
        from annotriage.guarantee.tightening import stricter_tau

        sureness, wrong = (np.array(column) for column in zip(*answers, strict=True))
        before = int(facts.get("times_stricter", 0))
        least = stricter_tau(sureness, wrong.astype(bool), error_limit(facts), before)
        reference = None if least is None else with_stricter_gate(self._process.reference(project.reference_id), least)
        return reference is not None and self._take_over(project, reference, int(wrong.sum()), len(answers))

    def _take_over(self, project: Project, reference: Reference, wrong: int, answers: int) -> bool:
        next_id = keep_reference(self._process.store, reference)
        with self._process.store.writing() as connection:
            now = hold_project(connection, project.id)
            if _is_busy(now) or now.reference_id != project.reference_id:
                return False
            change_project(connection, project.id, next_reference_id=next_id)
            evidence = dataclasses.asdict(evidence_of(reference.guarantee))
            note(connection, project.id, EventKind.STRICTER, wrong=wrong, answers=answers, guarantee=evidence)
        log("stricter gate", project=project.external_id, wrong=wrong, answers=answers, version=reference.version)
        return True


def with_stricter_gate(present: Reference, least: float) -> Reference | None:
    """The reference with automatic labels at that sureness or above alone; None if the held-out items show nothing so far up."""
    from annotriage.engine.calibration import guarantee_of

    if present.answered is None:
        return None
    known = present.guarantee
    guarantee = guarantee_of(
        present.answered, present.space, present.settings, known.attempt, stricter=least, times_stricter=known.times_stricter + 1
    )
    if not guarantee.auto or guarantee.n >= known.n:
        return None
    reference = dataclasses.replace(present, guarantee=guarantee)
    return dataclasses.replace(reference, version=reference.content_hash())


def _is_busy(project: Project) -> bool:
    """Whether another reference takes over, or labels are stopped: then nothing is to be made stricter."""
    return project.next_reference_id is not None or project.old_reference_id is not None or project.alarm is not None
