"""Why automatic labels are stopped, and what became of them, in sentences."""

from __future__ import annotations

from annotriage.advice.numbers import count, percent, percent_range
from annotriage.states import Alarm, Pause


def pause_sentence(pause: Pause) -> str:
    """What a person did."""
    return f"paused by a person: {pause.reason}" if pause.reason else "paused by a person"


def alarm_sentence(alarm: Alarm, project: str) -> str:
    """What the alarm found, and what lifts it. project: its id in the labeling tool."""
    found = (
        f"alarm: {alarm.wrong} of {alarm.answers} automatic labels that people checked blind were wrong (likely"
        f" {percent_range(alarm.low, alarm.high)} in the long run). {percent(alarm.max_error)} are allowed."
    )
    if alarm.unconfirmed:
        return (
            f"{found} So far {alarm.unconfirmed} of them rest on one person's word: labels are automatic again if second answers agree"
            " with the model"
        )
    return f"{found} Labels are automatic again once a new calibration shows the limit: annotriage recalibrate --project {project}"


def why_paused(pause: Pause | None, alarm: Alarm | None, project: str) -> str | None:
    """Why nothing is automatic at the moment; None if nothing stops it. project: its id in the labeling tool."""
    if alarm is None:
        return None if pause is None else pause_sentence(pause)
    stopped = alarm_sentence(alarm, project)
    return stopped if pause is None else f"{stopped} Paused as well: {pause_sentence(pause)}"


def accepted_sentence(labels: int, left: int) -> str:
    """What came of accepting automatic labels. labels: that became annotations; left: that the labeling tool refused."""
    were = "was" if left == 1 else "were"
    others = f"{left:,} {were} left, as people are at the tasks or have changed them; run it again later."
    if labels:
        became = "became an annotation" if labels == 1 else "became annotations"
        return f"{count(labels, 'automatic label')} {became}.{f' {others}' if left else ''}"
    return f"No automatic label became an annotation: {others}" if left else "No automatic label may become an annotation now."
