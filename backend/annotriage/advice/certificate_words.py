"""A certificate in sentences: what is certified, what it rests on, how it follows, and what more answers would show."""

from __future__ import annotations

from annotriage.advice.numbers import count, percent

FIXED = (
    "The labels and the checks were fixed before anybody could choose them by the answers, so the limit is the exact one of drawing without"
    " replacement (hypergeometric, one-sided). Answers that are still open count as wrong: it may be looked at as often as one likes."
)
ANY_TIME = (
    "Checks were added after answers were known, so the limit is one that holds however often one looks and draws more (time-uniform,"
    " without replacement: Waudby-Smith and Ramdas, 2020). Answers that are still open count as wrong."
)
STAYS = "Its labels and checks stay as they are, whatever comes in; --anew fixes new ones."
DRAWN = (
    "The checks were drawn at random and answered by people who did not see the model's label. Parts of the dataset that were checked"
    " completely are counted as they are. People's labels are taken as truth; one person's contradiction counts as wrong, and so does what"
    " one person decided alone."
)

ALIKE = (
    "Every wrong label counts as one, whatever it costs: the limit of the expected cost, and limits of single classes, are not certified."
)


def certified(most: int, labels: int, confidence: float, checked: int, wrong: int, still_open: int, lost: int = 0) -> str:
    """What is certified. checked: labels in the checks, wrong: of them found wrong, still_open: of them not answered
    yet, lost: nor ever, as people saw the label or the task is deleted."""
    if still_open + lost == checked:
        return f"Nothing can be said of {these(labels)} yet: {_waiting(still_open, lost)}."
    answered = checked - still_open - lost
    bad = f"{wrong:,} were wrong" if wrong > 1 else "one was wrong" if wrong else "none was wrong"
    found = f"of {count(answered, 'label')} that people checked blind {bad}"
    rest = f"; {still_open:,} more {'is' if still_open == 1 else 'are'} not answered yet, and counted as wrong" if still_open else ""
    never = f"; {lost:,} more can be checked blind no longer, and {'counts' if lost == 1 else 'count'} as wrong" if lost else ""
    return f"At most {most:,} of {these(labels)} are wrong ({percent(confidence, 0)} sure), strange items included: {found}{rest}{never}."


def these(labels: int) -> str:
    """The labels that it is about."""
    return "this one automatic label" if labels == 1 else f"these {labels:,} automatic labels"


def method(fixed: bool, *, alike: bool = True) -> str:
    """How the limit follows from the checks. alike: the guarantee, too, counts all errors of all classes alike."""
    said = FIXED if fixed else ANY_TIME
    return said if alike else f"{said} {ALIKE}"


def step(most: int, checks: int, still_open: int) -> str:
    """What further right answers would show. checks: how many, still_open: of them asked for already."""
    more = checks - still_open
    asked = f", {count(more, 'further check')} among them" if more > 0 and still_open else ""
    return f"{count(checks, 'more right answer')}{asked}: at most {most:,} wrong."


def gone(labels: int) -> str:
    """What of the labels is deleted; "" if none is."""
    return f"{count(labels, 'task')} of them {'is' if labels == 1 else 'are'} deleted by now; they count all the same." if labels else ""


def _waiting(still_open: int, lost: int) -> str:
    if not still_open and lost:
        checks = "the one check" if lost == 1 else f"all {lost:,} checks"
        return f"{checks} can be answered blind no longer. Certify the next dataset earlier"
    if not still_open:
        return "none of them was drawn to be checked. Ask for a certificate with a number of wrong labels that you can allow"
    return f"{count(still_open, 'spot check waits', 'spot checks wait')} for people in the tab Spot checks"
