"""Why automatic labels are stopped, in sentences."""

from __future__ import annotations

from annotriage.states import Alarm, Pause


def pause_sentence(pause: Pause) -> str:
    """What a person did."""
    return f"paused by a person: {pause.reason}" if pause.reason else "paused by a person"


def alarm_sentence(alarm: Alarm, project: str) -> str:
    """What the alarm found, and what lifts it. project: its id in the labeling tool."""
    found = (
        f"alarm: {alarm.wrong} of {alarm.answers} automatic labels that people checked blind were wrong ({100 * alarm.low:.1f} to"
        f" {100 * alarm.high:.1f}% in the long run), where {100 * alarm.max_error:g}% are allowed."
    )
    if alarm.unconfirmed:
        return (
            f"{found} {alarm.unconfirmed} of them were contradicted by one person so far; labels are automatic again should second answers"
            " side with the model"
        )
    return (
        f"{found} No label is automatic until the limit is shown anew on the sample's answers: annotriage recalibrate --project {project}"
    )


def why_paused(pause: Pause | None, alarm: Alarm | None, project: str) -> str | None:
    """Why nothing is automatic at the moment; None if nothing stops it. project: its id in the labeling tool."""
    if alarm is None:
        return None if pause is None else pause_sentence(pause)
    stopped = alarm_sentence(alarm, project)
    return stopped if pause is None else f"{stopped} Paused as well: {pause_sentence(pause)}"
