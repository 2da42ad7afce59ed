"""The guarantee as the pages say it: whether labels are automatic, why not, and what to do about it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

from annotriage.advice.numbers import count, limit, percent
from annotriage.advice.page_words import span
from annotriage.service.operations.doctor import LATE_SECONDS
from annotriage.store.projects import Project

DAY = 86_400.0


@dataclass(frozen=True)
class GuaranteeState:
    """How automatic labels stand. word: on, off, paused or stopped; headline, what to do next ("" if nothing). there, needed: labelled
    held-out answers, None where no number helps. can_recalibrate: enough of the sample is answered."""

    word: str
    headline: str
    todo: str
    there: int | None = None
    needed: int | None = None
    can_recalibrate: bool = False


def guarantee_state(project: Project, guarantee: dict[str, Any], standing: dict[str, Any] | None) -> GuaranteeState:
    """guarantee: of the reference's facts; standing: as it was kept, None if it was not yet."""
    answers, wanted = (standing or {}).get("sample_answers", 0), (standing or {}).get("sample_needed")
    enough = wanted is not None and answers >= wanted
    sample = (
        f" People answer a random part of all items blind: {answers:,} of the {wanted:,} answers that a new calibration takes are there."
        if wanted
        else ""
    )
    again = " Recalibrate now." if enough else " They come first in the queue; answer what waits there."
    if project.alarm is not None:
        todo = f"Only a new calibration on what people answered lets it go on.{sample}{again}"
        return GuaranteeState(
            "stopped", "The alarm stopped automatic labels: too many of those checked were wrong.", todo, answers, wanted, enough
        )
    if project.pause is not None:
        reason = f": {project.pause.reason}" if project.pause.reason else "."
        return GuaranteeState("paused", f"A person paused automatic labels{reason}", "Resume when the reason is gone.")
    if guarantee["auto"]:
        headline = f"At most {limit(guarantee['max_error'])} automatic labels are wrong in the long run."
        return GuaranteeState("on", headline, _alarm_words(standing), can_recalibrate=enough)
    if guarantee["needed"] is None:
        todo = "More labels alone will not help: train the model further, or allow a larger error in the settings."
        return GuaranteeState("off", "No label is automatic: the model is wrong too often for the limit.", todo, can_recalibrate=enough)
    headline = f"No label is automatic yet: {guarantee['needed']:,} labelled held-out items needed, {guarantee['labelled']:,} there."
    todo = (
        f"Label items that the model was not trained on.{sample}{again}"
        if sample
        else "Label items that the model was not trained on, and fit again with --calibration."
    )
    return GuaranteeState("off", headline, todo, guarantee["labelled"], guarantee["needed"], enough)


def unread_for(project: Project) -> str:
    """How long the labeling tool has not been read, if that is longer than it should be; "" if all is well."""
    late = time.time() - project.read_until
    return span(late) if project.read_until and late > LATE_SECONDS and not project.gone else ""


def days_until(missing: float, per_day: float) -> str:
    """How long so many answers take at the present rate."""
    if missing <= 0:
        return "now"
    if per_day <= 0:
        return "not known, as none was answered lately"
    return f"in about {count(max(1, math.ceil(missing / per_day)), 'day')}"


def oldest_days(standing: dict[str, Any]) -> float | None:
    """Since how many days the oldest unanswered spot check waits."""
    at = standing.get("oldest_at")
    return None if at is None else max(0.0, time.time() - at) / DAY


def _alarm_words(standing: dict[str, Any] | None) -> str:
    if standing is None or not standing["answers"]:
        return "None of them has been checked by a person yet; some are chosen at random and come first in the queue."
    found = f"{standing['wrong']:,} of {count(standing['answers'], 'automatic label')} that people checked blind were wrong"
    level = percent(min(standing["level"], 1.0), 0)
    return f"{found} ({percent(standing['wrong'] / standing['answers'])}); the alarm is at {level} of its level."
