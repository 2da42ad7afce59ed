"""How foreign a dataset is, in a sentence for people who do not know statistics."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from annotriage.advice.numbers import count, in_hundred, percent, points, points_range

if TYPE_CHECKING:
    from annotriage.guarantee.diversity import Diversity

SURE = 0.05  # p-value from which on an excess is clear
TOO_WIDE = 0.05  # an excess whose upper limit is larger may hide a lot


class Excess(Enum):
    """What a dataset's strange items say, beside those that normal data would show."""

    NEW = auto()  # clearly more
    OPEN = auto()  # not clearly more, but there may be many more
    USUAL = auto()  # as many or fewer
    UNKNOWN = auto()  # nobody knows how many normal data would show


def diversity_sentence(diversity: Diversity) -> str:
    """The share of outliers and what it means, or why that cannot be said."""
    if diversity.n == 0:
        return nothing_scored_sentence(diversity.failed)
    return f"{_reading(diversity) if diversity.calibrated else _uncalibrated(diversity)}{_lost(diversity)}"


def clear_excess(calibrated: bool, excess_low: float | None, p_value: float | None) -> bool:
    """Whether there clearly are more outliers than normal data would show: figures of a `Diversity`, None where they are not known."""
    return bool(calibrated and excess_low is not None and p_value is not None and excess_low > 0 and p_value <= SURE)


def excess_of(calibrated: bool, excess_low: float | None, excess_high: float | None, p_value: float | None) -> Excess:
    """What every sentence on a dataset's strange items follows. Figures of a `Diversity`, None where they are not known."""
    if not calibrated or excess_high is None:
        return Excess.UNKNOWN
    if clear_excess(calibrated, excess_low, p_value):
        return Excess.NEW
    return Excess.OPEN if excess_high > TOO_WIDE else Excess.USUAL


def nothing_scored_sentence(failed: int) -> str:
    """That there is no item of which anything could be said."""
    if failed == 1:
        return "The only item could not be scored."
    return "No items have been scored yet." if not failed else f"None of {count(failed, 'item')} could be scored."


def would_change(threshold: float, excess_low: float, excess_high: float) -> str:
    """What would turn an answer that the excess decided, its limits being clear of the threshold."""
    side = "below" if excess_low > threshold else "above"
    return f"an excess clearly {side} {points(threshold)} (now {points_range(excess_low, excess_high)})"


def _uncalibrated(d: Diversity) -> str:
    few = f"{count(d.held_out, 'held-out item is', 'held-out items are')} too few to say"
    why = few if d.held_out else "without held-out items nobody knows"
    return f"{percent(d.share)} are strange by an uncalibrated threshold: {why} how many normal data would give."


def _reading(d: Diversity) -> str:
    foreign, limits = in_hundred(*(min(1.0, max(0.0, excess / (1 - d.expected))) for excess in (d.excess, d.excess_low, d.excess_high)))
    found = excess_of(d.calibrated, d.excess_low, d.excess_high, d.p_value)
    if found is Excess.NEW:
        reading = f"at least about {foreign} are new (likely {limits}); new kinds of items that look familiar are not counted"
    elif d.excess_high < 0:
        reading = f"{points(-d.excess)} fewer than usual (likely {points_range(-d.excess_high, -d.excess_low)}), so nothing new"
    elif found is Excess.OPEN:
        scarce = "items" if d.high - d.low > d.expected_high - d.expected_low else "held-out items"
        reading = f"not clearly more than usual, but too few {scarce} to be sure (new: likely {limits})"
    else:
        reading = f"nothing unusual among {count(d.n, 'item')}"
    return f"{percent(d.share)} are strange, {percent(d.expected)} expected: {reading}."


def _lost(d: Diversity) -> str:
    total = d.n + d.failed
    return f" {count(d.failed, 'item')} of {total:,} ({percent(d.failed / total)}) could not be scored." if d.failed else ""
