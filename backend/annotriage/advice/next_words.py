"""The most useful next thing to do in a project, as a sentence and the words on its button."""

from __future__ import annotations

from annotriage.advice.numbers import count, percent

LEAST_GROUP = 5  # members that wait, from which on a group is worth a look of its own

Words = tuple[str, str]  # the sentence, and what its button says


def import_tasks() -> Words:
    """Nothing came in yet."""
    return "No item was judged yet. Import tasks, and the first verdicts follow within seconds.", "Open the project"


def judging(waiting: int) -> Words:
    """Items came in and the first are being judged."""
    return f"{count(waiting, 'item is', 'items are')} being judged. The first verdicts follow within seconds.", "See the system"


def recalibrate(answers: int) -> Words:
    """Enough blind answers are there for a new guarantee."""
    return f"{count(answers, 'blind answer is', 'blind answers are')} there, enough for a new guarantee.", "Recalibrate"


def calibrate(missing: int, answers: int) -> Words:
    """Labels are not automatic, and blind answers are what is missing."""
    got = f" ({answers:,} there)" if answers else ""
    return f"No label is automatic: {count(missing, 'more blind answer is', 'more blind answers are')} needed{got}.", "Help calibrate"


def confirm(contradicted: int) -> Words:
    """The alarm stopped labels on one person's word."""
    said = count(contradicted, "wrong answer needs", "wrong answers need")
    return f"Automatic labels are stopped: {said} a second opinion.", "Give a second opinion"


def decide(checks: int) -> Words:
    """One person alone answers, so whoever manages settles contradictions."""
    return f"{count(checks, 'spot check waits', 'spot checks wait')} for your decision: one person alone answers here.", "Decide"


def look_alikes(alike: int, strange: int) -> Words:
    """Many of the strange items that wait look alike."""
    return f"{alike:,} of the {strange:,} strange items that wait look alike: a new class, or a broken source?", f"See the {alike:,}"


def listed(waiting: int, strange: int, unreadable: int) -> Words:
    """The list of a report: unreadable items are at its top, and strange ones next."""
    see = "See it" if waiting == 1 else "See them"
    waits = f"{count(waiting, 'item waits', 'items wait')} for people"
    if unreadable == waiting:
        return f"{waits}: {'it is' if waiting == 1 else 'all are'} unreadable.", see
    if unreadable:
        then = f", then {'1 strange one' if strange == 1 else f'{strange:,} strange ones'}" if strange else ""
        return f"{waits}: {unreadable:,} unreadable first{then}.", see
    if strange > 1:
        return f"{waits}. Begin with the strangest.", see
    return f"{waits}{'. Begin with the strange one' if strange and waiting > 1 else ''}.", see


def differing(stranger: str, share: float, other: str, other_share: float) -> Words:
    """Two values of one data field bring very different shares of outliers."""
    return (
        f"{stranger} brings {percent(share, 0)} strange items, {other} only {percent(other_share, 0)}: what is different?",
        "Compare them",
    )


def answer_checks(outstanding: int, most: int) -> Words:
    """Accepting automatic labels waits for spot checks to be answered."""
    return (
        f"{count(outstanding, 'spot check waits', 'spot checks wait')}; above {most:,} no label becomes an annotation.",
        "Answer spot checks",
    )


def work_off(waits: str) -> Words:
    """Nothing special: the queue. waits: how much waits and why, the sentence of every page."""
    return f"{waits}.", "Open the queue"


def spot_checks_left(checks: int) -> Words:
    """Nothing but spot checks waits."""
    return f"Only {count(checks, 'spot check waits', 'spot checks wait')} to be answered blind.", "Answer spot checks"


def nothing() -> Words:
    """All is done."""
    return "Nothing waits for people.", "See how the data changes"
