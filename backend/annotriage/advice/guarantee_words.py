"""The guarantee in sentences: what holds, whether labels are automatic at the moment, why not, and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from annotriage.advice.numbers import about, amount, certainty, count, limit, percent

if TYPE_CHECKING:
    from annotriage.guarantee.gate import Guarantee

STOPPED = "The alarm stopped automatic labels: too many of those checked were wrong."
RESUME = "Resume when the reason is gone."
GO_ON = "A person should look at this data first: labels stay automatic meanwhile, unless you pause them."
HOPELESS = "No label is automatic: the model is wrong too often for the limit."
TRAIN_FURTHER = "More labels alone will not help: train the model further, or allow a larger error in the settings."
STRICTER = " Spot checks have made the gate stricter since; a recalibration sets it again."
TOO_STRICT = "No label is automatic: spot checks ask for surer labels than those on which the limit is shown."
ANSWER_CHECKS = "Spot checks show how often: have people answer those that wait."
CHECK_BLIND = "Have people check some automatic labels blind before you rely on them."
NAMED = 5  # limits in a sentence
UNCHECKED = "Nobody has checked any of them yet. Some, chosen at random, wait in the tab Spot checks."


@dataclass(frozen=True, slots=True)
class Evidence:
    """The figures that the sentence of a guarantee takes: those of `Guarantee`, and some that are counted from it.

    classes: how many there are; able: how many of them may be automatic. least: labelled held-out items without which nothing is shown.
    cost, dearest: where errors cost unlike amounts, what an automatic label costs on average and the most that one can; max_error is then
    of the expected cost. own_limits: classes with limits of their own, and these. stricter: spot checks moved the gate since.
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
    cost: float | None = None
    dearest: float | None = None
    own_limits: Sequence[Sequence[Any]] = ()
    stricter: bool = False


def guarantee_sentence(guarantee: Guarantee) -> str:
    """The guarantee, or why there is none."""
    return evidence_sentence(evidence_of(guarantee))


def evidence_of(guarantee: Guarantee) -> Evidence:
    """The figures of a guarantee that its sentence takes."""
    from annotriage.guarantee.ranking import least_items

    highest = max([guarantee.max_error, *(row.max_error for row in guarantee.own_limits)])
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
        least=least_items(highest, guarantee.dearest, guarantee.tested_confidence),
        cost=guarantee.cost,
        dearest=guarantee.dearest,
        own_limits=tuple((row.name, row.max_error) for row in guarantee.own_limits),
        stricter=guarantee.stricter is not None,
    )


def evidence_sentence(guarantee: Evidence) -> str:
    """As `guarantee_sentence`, where only the figures are at hand."""
    if guarantee.auto:
        return given_sentence(guarantee)
    if guarantee.stricter and guarantee.needed is None:
        return f"{TOO_STRICT} A recalibration sets the gate again."
    return hopeless_sentence(guarantee) if guarantee.needed is None else shortage_sentence(guarantee, guarantee.needed)


def given_sentence(guarantee: Evidence) -> str:
    """The error limit of automatic labels, and what it rests on."""
    scope, which = "", "this limit"
    if guarantee.max_error_per == "class":
        scope = f" of each of {guarantee.able:,} (out of {guarantee.classes:,}) classes"
        scope = " of each of the other classes" if guarantee.own_limits else scope
        which = "the limit of each class by itself"
    elif guarantee.own_limits:
        scope, which = " of the other classes", "each of these limits by itself"
    spent = "" if guarantee.cost is None else f", at {amount(guarantee.cost)} a label"
    return (
        f"{_limited(guarantee.max_error, guarantee.dearest, scope)} in the long run, for items like the held-out ones."
        f"{own_limits(guarantee.own_limits, guarantee.dearest)}"
        f" We are {certainty(guarantee.confidence)} confident of {which}: of {guarantee.labelled:,} labelled held-out items"
        f" {guarantee.n:,} would be automatic, {guarantee.errors:,} of them wrong{spent}. People's labels are taken as truth."
        f"{STRICTER if guarantee.stricter else ''}"
    )


def own_limits(limits: Sequence[Sequence[Any]], dearest: float | None) -> str:
    """The limits that classes have by themselves, as further words of a sentence; "" if none has one. limits: (classes, limit) each."""
    if not limits:
        return ""
    unit = "wrong" if dearest is None else "a label"
    said = ", ".join(f"{name[:60]} (at most {limit(most) if dearest is None else f'{most:g}'} {unit})" for name, most in limits[:NAMED])
    return f" With limits of their own: {said}{', ...' if len(limits) > NAMED else ''}."


def _limited(max_error: float, dearest: float | None, scope: str = "") -> str:
    """What is limited, and how far."""
    if dearest is None:
        return f"At most {limit(max_error)} automatic labels{scope} are wrong"
    return (
        f"The expected cost of automatic labels{scope} is at most {max_error:g} per item (a usual error costs 1, the dearest {dearest:g})"
    )


def shortage_sentence(guarantee: Evidence, needed: int) -> str:
    """Why nothing is automatic yet, and how many labelled held-out items are likely to change that."""
    there = count(guarantee.labelled, "labelled held-out item")
    if guarantee.labelled < guarantee.least:
        shortage = f"{count(guarantee.least, 'labelled held-out item')} needed at least, {guarantee.labelled:,} there"
    elif guarantee.dearest is None:
        shortage = f"{there} do not show that at most {percent(guarantee.max_error)} of automatic labels would be wrong"
    else:
        shortage = f"{there} do not show that automatic labels would cost at most {guarantee.max_error:g} per item"
    return f"No label is automatic: {shortage}; {about(needed)} in all are likely to be enough."


def hopeless_sentence(guarantee: Evidence) -> str:
    """Why nothing is automatic, where more labels would not help."""
    why = f"the model is wrong too often for a limit of {percent(guarantee.max_error)}"
    if guarantee.dearest is not None:
        why = f"the model's errors cost too much for a limit of {guarantee.max_error:g} per item"
    return f"No label is automatic: {why}. More labels alone will not help: train it further, or raise max_error."


def paused(reason: str) -> str:
    """That a person paused automatic labels."""
    return f"A person paused automatic labels{f': {reason}' if reason else '.'}"


def holds(guarantee: Mapping[str, Any]) -> str:
    """What is guaranteed. guarantee: of the reference's facts."""
    dearest = guarantee.get("dearest")
    own = [(row["name"], row["max_error"]) for row in guarantee.get("own_limits") or ()]
    scope = " of the other classes" if own else ""
    if guarantee["max_error_per"] == "class":
        scope = " of each of the other classes" if own else " of each class"
    return f"{_limited(guarantee['max_error'], dearest, scope)} in the long run.{own_limits(own, dearest)}"


def meaning_of_limits(guarantee: Mapping[str, Any]) -> str:
    """What costs and limits of classes mean for whoever changes the limits; "" without any. guarantee: of the reference's facts."""
    dearest, own = guarantee.get("dearest"), [(row["name"], row["max_error"]) for row in guarantee.get("own_limits") or ()]
    costs = ""
    if dearest is not None:
        share, most = percent(guarantee["max_error"]), guarantee["max_error"]
        costs = (
            f"Errors cost unlike amounts here (a usual one 1, the dearest {dearest:g}): the limit is of the expected cost of automatic"
            f" labels, and {share} stands for {most:g} per item."
        )
    return " ".join(filter(None, (costs, own_limits(own, dearest).strip())))


def watched(guarantee: Mapping[str, Any]) -> str:
    """What the spot checks are held against, where that is not max_error; "" if it is. guarantee: of the reference's facts."""
    most = guarantee.get("most_wrong")
    if most is None:
        return ""
    why = "where the limit of the expected cost is kept" if guarantee.get("dearest") is not None else "where every limit is kept"
    return f"Spot checks count all wrong labels alike: at most {percent(most)} can be {why}."


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
    were = "was" if wrong == 1 else "were"
    found = f"{wrong:,} of {count(answers, 'automatic label')} that people checked blind {were} wrong ({percent(wrong / answers)})"
    return " ".join(filter(None, (f"{found}{awaited(contradicted, wrong)}.", until_stop(until_alarm))))


def strangers_pass(action: str, seen: str = "") -> str:
    """That the limit does not speak of strangers, for data with more outliers than usual.

    action: `CHECK_BLIND`, or `ANSWER_CHECKS` where a service draws spot checks. seen: what checks or labels say of them.
    """
    return (
        "But this data differs from the held-out items, and new kinds of items that look familiar may be labelled wrongly."
        f"{f' {seen}.' if seen else ''} {action}"
    )


def seen_in_checks(wrong: int, answers: int) -> str:
    """What spot checks found among automatic labels; "" if none is answered."""
    return f"In spot checks {wrong:,} of {count(answers, 'automatic label')} were wrong" if answers else ""


def second_answers(unconfirmed: int) -> str:
    """What lifts an alarm that rests on one person's word."""
    rest = f"{count(unconfirmed, 'contradiction rests', 'contradictions rest')} on one person's word"
    return f"{rest}. If second answers agree with the model, labels are automatic again. They wait in the tab Spot checks."


def awaited(contradicted: int, wrong: int) -> str:
    """How many of the wrong ones rest on one person's word; "" if none does."""
    if not contradicted:
        return ""
    which = f"{contradicted:,} of the {wrong:,} wrong" if contradicted < wrong else "the 1 wrong" if wrong == 1 else f"all {wrong:,} wrong"
    return f"; {which} {'waits' if contradicted == 1 else 'wait'} for a second answer"


def past_the_limit(answers: int, labelled: int) -> str:
    """Why the likely range of what spot checks found reaches past what is allowed."""
    return (
        f"The range reaches past that because it rests on {count(answers, 'answer')} alone; the guarantee rests on"
        f" {count(labelled, 'held-out item')}."
    )


def until_stop(until_alarm: int | None) -> str:
    """How far the alarm is from stopping automatic labels, in wrong answers; "" if nobody knows, or it rings."""
    return f"The alarm would stop automatic labels after {count(until_alarm, 'more wrong one')} in a row." if until_alarm else ""


def days_until(missing: float, per_day: float | None) -> str:
    """How long so many answers take at the current rate."""
    if missing <= 0:
        return "now"
    if per_day is None:
        return "known after a day of answers"
    if per_day <= 0:
        return "not known, as none was answered recently"
    return f"in about {count(max(1, math.ceil(missing / per_day)), 'day')} at the current rate"


def _sample(answers: int, wanted: int | None) -> str:
    there = f" People answer a random part of all items blind: {answers:,} of {wanted:,} answers are there." if wanted else ""
    enough = wanted is not None and answers >= wanted
    return there + (" Recalibrate now." if enough else " They wait in the tab Spot checks.")
