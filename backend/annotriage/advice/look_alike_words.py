"""What there is to answer before a group may be labelled at once, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from annotriage.advice.numbers import certainty, count, limit

if TYPE_CHECKING:
    from annotriage.guarantee.look_alikes import Look, Standing


def asking_sentence(members: int, first: Look, confidence: float) -> str:
    """How many must be answered, and what that shows."""
    return (
        f"{count(members, 'item')}: answer {first.size} of them, drawn at random. If all get the same label, the other"
        f" {members - first.size} may get it, too: at most {first.rest_wrong} of them are wrong, {certainty(confidence)} sure."
    )


def standing_sentence(label: str | None, standing: Standing, group_error: float, confidence: float) -> str:
    """What the answers so far allow, and how many more it takes. group_error, confidence: of the statement about the rest."""
    if standing.shown and standing.at is not None:
        rest = standing.members - standing.answers
        return (
            f"{count(rest, 'item')} may be labelled {label} at once: of those without an answer after {standing.at.size} at most"
            f" {standing.at.rest_wrong} have another label (allowed: {limit(group_error)}), {certainty(confidence)} sure."
        )
    said = f"{count(standing.answers, 'answer')}, {standing.disagreements} of them not {label}" if label else "No answers yet"
    if standing.next_at is not None:
        return f"{said}: {count(standing.missing, 'more answer')} until the next look."
    return f"{said}: these items are too mixed to be labelled at once. Split the group in two, or answer the rest one by one."
