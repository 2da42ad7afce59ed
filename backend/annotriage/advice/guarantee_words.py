"""The guarantee in sentences: what holds, whether labels are automatic at the moment, why not, and what to do about it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from annotriage.advice.numbers import about, certainty, count, limit, percent

if TYPE_CHECKING:
    from annotriage.guarantee.gate import Guarantee

STOPPED = "The alarm stopped automatic labels: too many of those checked were wrong."
RESUME = "Resume when the reason is gone."
HOPELESS = "No label is automatic: the model is wrong too often for the limit."
TRAIN_FURTHER = "More labels alone will not help: train the model further, or allow a larger error in the settings."
UNCHECKED = "No person has checked any of them yet. Some, chosen at random, wait in the tab Spot checks."


@dataclass(frozen=True, slots=True)
class Evidence:
    """The figures that the sentence of a guarantee takes: those of `Guarantee`, and some that are counted from it.

    classes: how many there are; able: how many of them may be automatic. least: labelled held-out items without which nothing is shown.
    """

    auto: bool
    max_error: float
    max_error_per: str
    confidence: float
    labelled: int
    n: int
    errors: int
    needed: int | None
    classes: int
    able: int
    least: int


def guarantee_sentence(guarantee: Guarantee) -> str:
    """The guarantee, or why there is none."""
    return evidence_sentence(evidence_of(guarantee))


def evidence_of(guarantee: Guarantee) -> Evidence:
    """The figures of a guarantee that its sentence takes."""
    from annotriage.guarantee.binomial import first_size

    return Evidence(
        auto=guarantee.auto,
        max_error=guarantee.max_error,
        max_error_per=guarantee.max_error_per,
        confidence=guarantee.confidence,
        labelled=guarantee.labelled,
        n=guarantee.n,
        errors=guarantee.errors,
        needed=guarantee.needed,
        classes=len(guarantee.classes) // 2,
        able=sum(row.tau < math.inf for row in guarantee.classes if row.side == "predicted"),
        least=first_size(guarantee.max_error, guarantee.tested_confidence),
    )


def evidence_sentence(guarantee: Evidence) -> str:
    """As `guarantee_sentence`, where only the figures are at hand."""
    if guarantee.auto:
        return given_sentence(guarantee)
    return hopeless_sentence(guarantee) if guarantee.needed is None else shortage_sentence(guarantee, guarantee.needed)


def given_sentence(guarantee: Evidence) -> str:
    """The error limit of automatic labels, and what it rests on."""
    scope, which = "automatic labels", "this limit"
    if guarantee.max_error_per == "class":
        scope = f"automatic labels of each of {guarantee.able:,} (out of {guarantee.classes:,}) classes"
        which = "the limit of each class by itself"
    return (
        f"At most {limit(guarantee.max_error)} {scope} are wrong in the long run, for items like the held-out ones."
        f" We are {certainty(guarantee.confidence)} confident of {which}: of {guarantee.labelled:,} labelled held-out items"
        f" {guarantee.n:,} would be automatic, {guarantee.errors:,} of them wrong. People's labels are taken as truth."
    )


def shortage_sentence(guarantee: Evidence, needed: int) -> str:
    """Why nothing is automatic yet, and how many labelled held-out items are likely to change that."""
    if guarantee.labelled < guarantee.least:
        shortage = f"{count(guarantee.least, 'labelled held-out item')} needed at least, {guarantee.labelled:,} there"
    else:
        shortage = (
            f"{count(guarantee.labelled, 'labelled held-out item')} do not show that at most {percent(guarantee.max_error)} of automatic"
            " labels would be wrong"
        )
    return f"No label is automatic: {shortage}; {about(needed)} in all are likely to be enough."


def hopeless_sentence(guarantee: Evidence) -> str:
    """Why nothing is automatic, where more labels would not help."""
    return (
        f"No label is automatic: the model is wrong too often for a limit of {percent(guarantee.max_error)}. More labels alone will not"
        " help: train it further, or raise max_error."
    )


def paused(reason: str) -> str:
    """That a person paused automatic labels."""
    return f"A person paused automatic labels{f': {reason}' if reason else '.'}"


def holds(max_error: float) -> str:
    """What is guaranteed."""
    return f"At most {limit(max_error)} automatic labels are wrong in the long run."


def not_yet(needed: int, labelled: int) -> str:
    """That too few labels are there to guarantee anything."""
    return f"No label is automatic yet: {needed:,} labelled held-out items needed, {labelled:,} there."


def label_more(answers: int, wanted: int | None) -> str:
    """What makes labels automatic. answers: to the sample, of the wanted ones; None where no sample is drawn."""
    if not wanted:
        return "Label items that the model was not trained on, and fit again with --calibration."
    return f"Label items that the model was not trained on.{_sample(answers, wanted)}"


def calibrate_anew(answers: int, wanted: int | None) -> str:
    """What lifts the alarm; as `label_more`."""
    return f"Automatic labels go on after a new calibration on what people answered.{_sample(answers, wanted)}"


def checked(wrong: int, answers: int, contradicted: int, until_alarm: int | None) -> str:
    """What blind answers say of automatic labels. contradicted: of the wrong ones, by one person so far; until_alarm: as `until_stop`."""
    if not answers:
        return UNCHECKED
    found = f"{wrong:,} of {count(answers, 'automatic label')} that people checked blind were wrong ({percent(wrong / answers)})"
    return " ".join(filter(None, (f"{found}{awaited(contradicted)}.", until_stop(until_alarm))))


def strangers_pass(seen: str = "") -> str:
    """That the limit does not speak of strangers, for data with more outliers than usual. seen: what checks or labels say of them."""
    known = seen or "How many is not known before people have checked some"
    return (
        f"But this data differs from the held-out items, and strangers that look familiar pass. {known}."
        " Have people check automatic labels of this source before you rely on them (spot checks; annotriage certify counts them)."
    )


def seen_in_checks(wrong: int, answers: int) -> str:
    """What spot checks found among automatic labels; "" if none is answered."""
    return f"In spot checks {wrong:,} of {count(answers, 'automatic label')} were wrong" if answers else ""


def second_answers(unconfirmed: int) -> str:
    """What lifts an alarm that rests on one person's word."""
    rest = f"{count(unconfirmed, 'contradiction rests', 'contradictions rest')} on one person's word"
    return f"{rest}. If second answers agree with the model, labels are automatic again. They wait in the tab Spot checks."


def awaited(contradicted: int) -> str:
    """How many of the wrong ones rest on one person's word; "" if none does."""
    return f"; {contradicted:,} contradicted, second answer awaited" if contradicted else ""


def until_stop(until_alarm: int | None) -> str:
    """How far the alarm is from stopping automatic labels, in wrong answers; "" if nobody knows, or it rings."""
    return f"The alarm would stop automatic labels after {count(until_alarm, 'more wrong one')} in a row." if until_alarm else ""


def days_until(missing: float, per_day: float | None) -> str:
    """How long so many answers take at the present rate."""
    if missing <= 0:
        return "now"
    if per_day is None:
        return "known after a day of answers"
    if per_day <= 0:
        return "not known, as none was answered lately"
    return f"in about {count(max(1, math.ceil(missing / per_day)), 'day')} at the present rate"


def _sample(answers: int, wanted: int | None) -> str:
    there = f" People answer a random part of all items blind: {answers:,} of {wanted:,} answers are there." if wanted else ""
    enough = wanted is not None and answers >= wanted
    return there + (" Recalibrate now." if enough else " They wait in the tab Spot checks.")
