"""What a training run brought, in sentences: which model is better, whether the new one may take over, what it cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from annotriage.advice.numbers import about, count, p_figure, percent, points, points_range

if TYPE_CHECKING:
    from annotriage.guarantee.paired import Paired


def comparison_sentence(pair: Paired, what: str = "the same held-out items") -> str:
    """Both accuracies on the same items, their difference with its interval, and the test."""
    if not pair.n:
        return f"There are no {what}."
    return (
        f"Right on {what}: {percent(pair.new / pair.n)} with the new model, {percent(pair.old / pair.n)} with the old one."
        f" Difference {points(pair.difference)} (likely {points_range(pair.low, pair.high)}): {count(pair.gained, 'item')} won,"
        f" {pair.lost:,} lost (exact McNemar test, {p_figure(pair.p_different)})."
    )


def takeover_sentence(takes_over: str, kept: Paired | None, gained: Paired | None, margin: float) -> str:
    """Whether the new model should take over, and what would decide it. kept: on the old classes; gained: on fresh random items."""
    if kept is None or gained is None:
        return "There was no model before: this is the first."
    if takes_over == "no":
        return f"The old model stays: on its own classes the new one is {points(-kept.difference)} worse (at least {points(-kept.high)})."
    if takes_over == "yes":
        return (
            f"The new model may take over: better on {count(gained.n, 'fresh random item')} ({p_figure(gained.p_better)}), and on the old"
            f" classes not worse by more than {points(margin)}."
        )
    reasons = ["Undecided, so the old model stays for now."]
    if kept.low < -margin:
        more = _more_items(kept, margin)
        how = f"; {about(more)} held-out items of these classes would decide that, {kept.n:,} are there" if more else ""
        reasons.append(f"On the old classes the new one may be worse by up to {points(-kept.low)}{how}.")
    if not gained.n:
        reasons.append("All held-out items were looked at before: fresh random ones are needed.")
    elif gained.p_better > 0.05:
        reasons.append(f"On {count(gained.n, 'fresh random item')} it is not shown to be better ({p_figure(gained.p_better)}).")
    return " ".join(reasons)


def model_headline(takes_over: str | None) -> str:
    """Where the latest model stands, in one sentence without figures. takes_over: as the comparison says; None where there is none."""
    if takes_over == "yes":
        return "The new model is better: let it take over."
    if takes_over == "no":
        return "The new model is worse: the old one stays in force."
    return "The new model is not shown to be better: the old one stays in force."


def what_decides(takes_over: str | None, judging: int) -> str:
    """What to do where a new model does not take over; "" where it may. judging: answers of the random sample that are there."""
    if takes_over == "yes":
        return ""
    if takes_over == "no":
        return "Have people answer more of what is strange or unsure, then train again."
    so_far = f"So far {count(judging, 'random answer judges', 'random answers judge')} both models."
    return f"More answers decide it: have people answer spot checks, then train again. {so_far}"


def at_first(labelled: int, needed: int | None) -> str:
    """That under the new model no label would be automatic. labelled, needed: held-out items there, and enough; None: hopeless."""
    if needed is None:
        return "If the new model took over now, no label would be automatic: it is wrong too often for the limit."
    return (
        f"If the new model took over now, no label would be automatic at first: {labelled:,} labelled held-out items are there,"
        f" {about(needed)} are likely to be enough."
    )


def visits_sentence(visits: int, samples: int, epochs: int, perplexity: str, below: float, above: float) -> str:
    """What the training cost in samples trained on, and by which thresholds samples were left out."""
    whole = samples * epochs
    cost = f"{count(epochs, 'epoch')} of {count(samples, 'sample')}: {visits:,} sample visits"
    if perplexity == "off":
        return f"{cost}."
    noise = f", and those above {above:.3g} as noise" if math.isfinite(above) else ""
    return (
        f"{cost}, {percent(visits / whole)} of a training on all. Samples whose perplexity ({perplexity}) fell below {below:.3g} nats sat"
        f" out{noise}."
    )


def gain_sentence(gain: float, low: float, high: float, more: int) -> str:
    """What so many more labels would gain."""
    limits = points_range(max(low, 0.0), max(high, 0.0))
    return f"{more} more labels would take about {points(max(gain, 0.0))} off the error (likely {limits})."


def pruning_sentence(share: float, rows: Sequence[tuple[float, float, float]], whole: float) -> str:
    """Which part of the training set can go. rows: share left out, accuracy without those of lowest score, without as many at random."""
    if not share:
        return "No part of the training set can go: leaving out even the least would cost more than half a point."
    pruned, at_random = next((pruned, at_random) for left, pruned, at_random in rows if left == share)
    return (
        f"{percent(share, 0)} of the training set can go: {percent(pruned)} right without it, {percent(whole)} with all,"
        f" {percent(at_random)} where as many were left out at random."
    )


def strange_sentence(strange: int, added: int, compared: Paired | None, random: float | None) -> str:
    """What the strange ones among the added items bring. compared, random: None where there is nothing to compare."""
    if not added:
        return "No items were added, so none is strange to the old model."
    if compared is None or random is None:
        which = f"All {count(added, 'added item')} are" if strange else f"None of the {count(added, 'added item')} is"
        if added == 1:
            which = f"The only added item is{'' if strange else ' not'}"
        return f"{which} strange to the old model, so what strange items bring cannot be compared."
    them = "it" if strange == 1 else "them"
    limits = points_range(compared.low, compared.high)
    return (
        f"{strange:,} of {count(added, 'added item')} {'is' if strange == 1 else 'are'} strange to the old model. A head trained with"
        f" {them} is right on {percent(compared.new / compared.n)} of the held-out items, one without"
        f" {them} on {percent(compared.old / compared.n)} (difference {points(compared.difference)}, likely"
        f" {limits}), one without as many others on {percent(random)} (mean of three)."
    )


def never_auto_sentence(classes: Sequence[str]) -> str:
    """Which new classes stay with people, and until when."""
    return f"{', '.join(classes)}: never automatic, until there are random held-out items of {'it' if len(classes) == 1 else 'them'}."


def new_class_limits_sentence(classes: Sequence[str], max_error: float, least: int) -> str:
    """That the limit does not hold for new classes by themselves, and what gives them one. least: items that show it at best."""
    which = f"its label {classes[0]}" if len(classes) == 1 else f"the labels {', '.join(classes[:-1])} and {classes[-1]}"
    new = "A new class often does" if len(classes) == 1 else "New classes often do"
    them, their = ("it", "its") if len(classes) == 1 else ("them", "their")
    return (
        f"The error limit of {percent(max_error)} holds over all automatic labels together. {new} worse than the rest: among {which} more"
        f" may be wrong. To give {them} a limit of {their} own, set class_limits, for example {' | '.join(classes)} = {max_error:g};"
        f" showing that takes at least {least:,} held-out items labelled so."
    )


def _more_items(kept: Paired, margin: float) -> float:
    """How many items would narrow the interval enough, if the difference stays as it is; 0 if it is itself beyond the margin."""
    room = kept.difference + margin
    reach = kept.difference - kept.low
    return kept.n * (reach / room) ** 2 if room > 0 else 0
