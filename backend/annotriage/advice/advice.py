"""Advice on a dataset: whether to train on it, deploy there, keep the augmentation, and let the machine annotate.

It decides on the interval of the excess of outliers, never on the excess alone: where the interval holds the threshold, the answer
is `undecided`, with what would decide it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from annotriage.advice.answer_words import PERSON_FIRST
from annotriage.advice.diversity_words import diversity_sentence
from annotriage.advice.guarantee_words import guarantee_sentence
from annotriage.advice.numbers import about, count, percent, points, points_range
from annotriage.guarantee.audit import Probation
from annotriage.guarantee.binomial import first_size, spent_confidence
from annotriage.guarantee.diversity import Diversity
from annotriage.guarantee.gate import Guarantee

LOOK = "have a person look at the strange and unreadable items, strangest first"
LABEL = "have people label items that the model was not trained on, then fit again with --calibration"
EACH_ITS_OWN = "the probation of each dataset; its own page says how many of its automatic items people still have to check blind"
TITLES = {
    "train": "Train the model further on this data?",
    "deploy": "Deploy the model where this data comes from?",
    "augmentation": "If this is augmented training data: is the augmentation useful?",
    "annotate": "Annotate this data automatically?",
}
MOST_ITEMS = 1_000_000


@dataclass(frozen=True)
class Advice:
    """One of the four pieces of advice.

    question: "train" | "deploy" | "augmentation" | "annotate". title: the question in words.
    answer: "yes" | "no" | "undecided"; for "annotate": "machine" (automatic labels may become annotations), "mixed" (automatic
    labels as suggestions that a person submits, the rest by people) or "people". headline: the answer in a few words.
    reason: a sentence with the figures. would_decide: what would settle an undecided answer, or give a better one ("" otherwise).
    """

    question: str
    title: str
    answer: str
    headline: str
    reason: str
    would_decide: str


@dataclass(frozen=True)
class Thresholds:
    """The thresholds on the excess of outliers, as in the settings of the same names."""

    train_above: float = 0.05
    deploy_below: float = 0.05
    augmentation_above: float = 0.05
    augmentation_below: float = 0.50


def advise(
    diversity: Diversity,
    guarantee: Guarantee | None,
    thresholds: Thresholds | None = None,
    *,
    largest_group_share: float = 0.0,
    probation: Probation | None = None,
    whole: bool = False,
) -> tuple[Advice, ...]:
    """Advice on a dataset: train, deploy, augmentation, annotate, in this order.

    guarantee: None where nothing was calibrated. largest_group_share: of the outliers, those in their largest group.
    probation: of this dataset; None before its first audit answer. whole: the data is all of a project, whose datasets have one each.
    """
    limits = thresholds or Thresholds()
    person = _person_first(diversity, limits, largest_group_share)
    return (
        _train(diversity, limits, person),
        _deploy(diversity, limits, person),
        _augmentation(diversity, limits),
        _annotate(diversity, guarantee, probation, person, whole),
    )


def _train(d: Diversity, limits: Thresholds, person: str) -> Advice:
    side = _side(d, limits.train_above)
    if person:
        return _advice("train", "undecided", PERSON_FIRST, person, LOOK)
    if side > 0:
        return _advice("train", "yes", "yes: it differs enough to learn from", _figures(d, limits.train_above, "above"))
    if side < 0:
        return _advice("train", "no", "no: it repeats what the model knows", _figures(d, limits.train_above, "below"))
    return _undecided("train", d, limits.train_above)


def _deploy(d: Diversity, limits: Thresholds, person: str) -> Advice:
    side = _side(d, limits.deploy_below)
    if side > 0:
        return _advice("deploy", "no", "no: expect lower accuracy here", _figures(d, limits.deploy_below, "above"))
    if person:
        return _advice("deploy", "undecided", PERSON_FIRST, person, LOOK)
    if side < 0:
        return _advice("deploy", "yes", "yes: it looks like the training data", _figures(d, limits.deploy_below, "below"))
    return _undecided("deploy", d, limits.deploy_below)


def _augmentation(d: Diversity, limits: Thresholds) -> Advice:
    low, high = limits.augmentation_above, limits.augmentation_below
    enough, too_much = _side(d, low), _side(d, high)
    if too_much > 0:
        return _advice("augmentation", "no", "no: it damages the data", _figures(d, high, "above"))
    if enough < 0:
        return _advice("augmentation", "no", "no: it adds nothing new", _figures(d, low, "below"))
    if enough > 0 and too_much < 0:
        reason = f"{_figures(d, low, 'above')} It is below {points(high)}, where augmentation would damage the data."
        return _advice("augmentation", "yes", "yes: it fills gaps", reason)
    return _undecided("augmentation", d, low if enough <= 0 else high)


def _annotate(d: Diversity, guarantee: Guarantee | None, probation: Probation | None, person: str, whole: bool) -> Advice:
    if guarantee is None:
        reason = "Without labelled held-out items no error limit can be guaranteed, so people label everything."
        return _advice("annotate", "people", "by people, for now", reason, LABEL)
    if not guarantee.auto:
        more = "a better model, or a larger max_error" if guarantee.stricter is None else "a recalibration, which sets the gate again"
        more = f"{LABEL}: {about(guarantee.needed)} in all" if guarantee.needed else more
        return _advice("annotate", "people", "by people, for now", _capital(guarantee_sentence(guarantee)), more)
    if d.n + d.failed == 0:
        return _advice("annotate", "people", "no items yet", diversity_sentence(d), "items that can be scored")
    if person:
        return _advice("annotate", "people", PERSON_FIRST, person, LOOK)
    kept = (
        f"Of held-out items {percent(guarantee.coverage)} were automatic, {_kept_limit(guarantee)} in the long run."
        f" The rest, strange items included, goes to people. Here {percent(d.share)} are strange."
    )
    if probation is not None and probation.passed:
        reason = f"{kept} This dataset passed its probation: {probation.wrong:,} of {probation.answers:,} checked labels were wrong."
        return _advice("annotate", "machine", "automatically where the model is sure", reason)
    checked = "Spot checks watch it: the page Guarantee says what they found" if whole else "Not yet checked on this dataset"
    if probation is not None and probation.answers:
        checked = f"Not yet shown on this dataset: {probation.wrong:,} of {probation.answers:,} checked labels were wrong so far"
    reason = f"{kept} {checked}. A new kind of item that looks familiar may be labelled too, so a person submits each automatic label."
    headline = "automatic labels where the model is sure, the rest by people"
    return _advice("annotate", "mixed", headline, reason, EACH_ITS_OWN if whole else _blind_check(guarantee, probation))


def _kept_limit(guarantee: Guarantee) -> str:
    """The limit of automatic labels, inside a sentence."""
    if guarantee.dearest is not None:
        highest = max([guarantee.max_error, *(row.max_error for row in guarantee.own_limits)])
        return f"at an expected cost of at most {highest:g} a label"
    return f"with at most {percent(guarantee.error_limit)} of their labels wrong"


def _blind_check(guarantee: Guarantee, probation: Probation | None) -> str:
    """What a person can do to have the guarantee shown on this very dataset."""
    first = first_size(guarantee.error_limit, spent_confidence(guarantee.confidence, 1))
    shown = "the limit is shown here too" if guarantee.most_wrong is None else f"at most {percent(guarantee.most_wrong)} are wrong here too"
    number, known = f"{first:,}", f" (if none of the {first:,} is wrong, {shown})"
    if probation is not None and probation.next_at is not None:
        number, known = f"{probation.next_at - probation.answers:,} more", ""
    return f"have people label {number} of its automatic items blind, without the model's label, and compare{known}"


def _person_first(d: Diversity, limits: Thresholds, largest_group_share: float) -> str:
    """Why a person must look before anything is decided on this data; "" if nothing says so."""
    most = limits.augmentation_below
    if d.calibrated and d.excess_low > most:
        return f"A person should look first: the excess is surely above {points(most)}. {_figures(d, most, 'above')}"
    total, odd = d.n + d.failed, d.outliers + d.failed
    grouped = round(largest_group_share * d.outliers)
    unusual = _side(d, limits.train_above) > 0 or d.failed > limits.train_above * total
    if not unusual or 2 * (d.failed + largest_group_share * d.outliers) <= odd:
        return ""
    if not d.failed:
        return f"A person should look first: {grouped:,} of {count(d.outliers, 'strange item')} are one group."
    if not grouped:
        return f"A person should look first: {d.failed:,} of {count(total, 'item')} could not be scored."
    return (
        f"A person should look first: {count(d.failed, 'unreadable item')} and one group of {count(grouped, 'strange item')} are more than"
        f" half of the {odd:,} items that are strange or unreadable."
    )


def _side(d: Diversity, threshold: float) -> int:
    """+1 if the whole excess interval is above the threshold, -1 if it is below, 0 if that cannot be said."""
    if not d.calibrated or d.n == 0:
        return 0
    return int(d.excess_low > threshold) - int(d.excess_high < threshold)


def _undecided(question: str, d: Diversity, threshold: float) -> Advice:
    if d.n == 0:
        missing = "cannot be said: no item could be scored" if d.failed else "no items yet"
        return _advice(question, "undecided", missing, diversity_sentence(d), "items that can be scored")
    if not d.calibrated:
        return _advice(question, "undecided", "cannot be said: not calibrated", diversity_sentence(d), LABEL)
    return _advice(question, "undecided", "cannot be said yet", _figures(d, threshold, "not clear of"), _what_decides(d, threshold))


def _what_decides(d: Diversity, threshold: float) -> str:
    """How many more items, or held-out ones, would probably move the interval off the threshold if the excess stays as it is.

    The half-widths of share and expectation add in squares and shrink with the root of their numbers. The expectation's is
    looked at first: if it alone reaches the threshold, no number of incoming items can decide.
    """
    distance = abs(d.excess - threshold)
    known = (d.expected_high - d.expected_low) / 2
    seen = (d.high - d.low) / 2
    if distance * math.sqrt(MOST_ITEMS) < known * math.sqrt(d.held_out) or distance * math.sqrt(MOST_ITEMS) < seen * math.sqrt(d.n):
        return f"no number of items: the excess of {points(d.excess)} lies on the threshold; move the threshold, or leave it open"
    if known >= distance:
        wanted = d.held_out * (known / (0.7 * distance)) ** 2
        return f"{about(wanted - d.held_out)} more labelled held-out items ({d.held_out:,} there)"
    wanted = d.n * seen**2 / (distance**2 - known**2)
    if wanted > MOST_ITEMS:
        return f"{about(d.held_out)} more labelled held-out items ({d.held_out:,} there)"
    return f"{about(max(1.0, wanted - d.n))} more incoming items ({d.n:,} there), if they are like these"


def _figures(d: Diversity, threshold: float, where: str) -> str:
    failed = f" {count(d.failed, 'item')} could not be scored." if d.failed else ""
    return (
        f"{percent(d.share)} are strange where {percent(d.expected)} are expected: an excess of {points(d.excess)}"
        f" (likely {points_range(d.excess_low, d.excess_high)}), {where} the threshold of {points(threshold)}.{failed}"
    )


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _advice(question: str, answer: str, headline: str, reason: str, would_decide: str = "") -> Advice:
    return Advice(question, TITLES[question], answer, headline, reason, would_decide)
