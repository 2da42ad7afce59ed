"""What there is to answer before a group may be labelled at once, in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from annotriage.advice.numbers import certainty, count, limit
from annotriage.states import ProposalState

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


def too_few_sentence(reason: str, chosen: int, free: int, enough: int | None) -> str:
    """Why a group is not offered. chosen: items; free: of them those that may be asked about; enough: from how many on it is worth it."""
    left = f" {count(free, 'item')} of {chosen:,}" if free != chosen else f" {count(free, 'item')}"
    why = " (the others are answered, automatic, spot checks, or in another group)" if free != chosen else ""
    fix = f"it takes {enough:,} like these: take several groups of one kind together" if enough else "allow a larger group_error"
    return (
        f"{reason}:{left}{why} are too few to label at once, for more than half of them would have to be answered; {fix}, or answer these"
        " one by one"
    )


def proposal_sentence(
    state: ProposalState, label: str | None, standing: Standing, first: Look, waiting: int, rest: int, group_error: float, confidence: float
) -> str:
    """How a group of look-alikes stands. label: what most people said; waiting: members that are asked and not answered; rest: that nobody
    answered and that may get the label, or have it."""
    if state == ProposalState.OFFERED:
        return asking_sentence(standing.members, first, confidence)
    if state == ProposalState.SHOWN:
        at_most = (
            "" if standing.at is None else f": at most {standing.at.rest_wrong} of them have another label, {certainty(confidence)} sure"
        )
        return f"{count(rest, 'item')} may be labelled {label} at once{at_most} (allowed: {limit(group_error)})."
    if state == ProposalState.ASKING:
        said = f"{count(standing.answers, 'answer')}, {standing.disagreements} of them not {label}" if label else "No answers yet"
        return f"{said}: {count(waiting, 'more answer')} until the next look."
    return {
        ProposalState.MIXED: (
            f"{standing.disagreements} of {count(standing.answers, 'answer')} are not {label}: too mixed to be labelled at once. Split the"
            " group in two, or answer the rest one by one."
        ),
        ProposalState.SPLITTING: "It is being split in two by where its items lie; that takes a few seconds.",
        ProposalState.SPLIT: "It was split in two; each half gets answers of its own.",
        ProposalState.LABELLING: f"{count(rest, 'item')} are being labelled {label}; that takes a few seconds.",
        ProposalState.LABELLED: f"{count(rest, 'item')} {'was' if rest == 1 else 'were'} labelled {label} at once.",
        ProposalState.UNDOING: "What was labelled at once is being taken back; that takes a few seconds.",
        ProposalState.UNDONE: "What was labelled at once was taken back; its items wait again.",
        ProposalState.CLOSED: "It was closed; its items wait for answers one by one.",
    }[state]


def step_sentence(
    proposal: int,
    reason: str,
    step: str,
    by: str = "",
    items: int = 0,
    answers: int = 0,
    disagreements: int = 0,
    labels: Sequence[str] = (),
) -> str:
    """That a group of look-alikes went a step further, for the history."""
    label = " + ".join(labels) or "none of the classes"
    said = {
        "asked": f"{by} asks for {count(answers, 'answer')}",
        "shown": f"people's answers are enough: {count(items, 'more item')} may be labelled {label}",
        "mixed": f"{disagreements:,} of {count(answers, 'answer')} disagree: too mixed to be labelled at once",
        "split": f"{by} split it in two",
        "labelled": f"{by} let {count(items, 'item')} be labelled {label} at once",
        "undone": f"{by} took the labels given at once back",
        "closed": f"{by} closed it",
    }[step]
    return f"look-alikes {proposal}, {reason}: {said}"
