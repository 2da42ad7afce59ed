"""Figures for people: the one place where numbers become words, for sentences, report and charts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime


def percent(share: float | None, digits: int | None = None) -> str:
    """A share as people read it: 0.124 -> "12.4%", 0.05 -> "5%", 0.0004 -> "0.04%", None or not a number -> "not known".

    Only a whole reads as 100%: 0.9998 -> "over 99.9%". digits: decimals at most, by default one, or two below 0.1%.
    """
    if share is None or not math.isfinite(share):
        return "not known"
    if digits is None and 0.001 <= share <= 0.9995:  # most shares by far, and there are two in each verdict
        return f"{100 * share:.1f}%".replace(".0%", "%")
    if digits is None:
        digits = 2 if 0 < abs(share) < 0.001 else 1
    smallest = 10.0 ** -(digits + 2)
    if 0 < abs(share) < smallest:
        return f"under {100 * smallest:.{digits}f}%"
    if 1 - smallest / 2 < share < 1:
        return f"over {100 * (1 - smallest):.{digits}f}%"
    text = f"{100 * share:.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return f"{'0' if text == '-0' else text}%"


def probability(share: float) -> str:
    """What a model gives its own answer; it never reads as certain: 0.71 -> "71%", 0.99995 or 1 -> "over 99.9%"."""
    return percent(min(share, 0.9999))


def certainty(confidence: float) -> str:
    """A confidence that never reads as certain: 0.96 -> "96%", 0.99848 -> "99.85%", 0.999996 -> "99.9996%"."""
    return percent(confidence, max(1, 1 - math.floor(math.log10(100 * (1 - confidence)))))


def points(difference: float) -> str:
    """A difference of two shares: 0.2334 -> "23.3 points", 0.01 -> "1 point", not a number -> "not known"."""
    figure = percent(difference).removesuffix("%")
    return figure if figure == "not known" else f"{figure} {'point' if figure in ('1', '-1') else 'points'}"


def points_range(low: float, high: float) -> str:
    """An interval of differences: (0.187, 0.28) -> "18.7 to 28 points"."""
    return f"{percent(low).removesuffix('%')} to {points(high)}"


def in_hundred(share: float, low: float, high: float) -> tuple[str, str]:
    """A share and its limits as counts: (0.244, 0.196, 0.294) -> ("24 in 100", "19 to 30 in 100"); the limits are rounded outwards.

    In 1,000 or 10,000 where the lower limit would be 0 otherwise.
    """
    base = next((base for base in (100, 1_000) if base * low >= 1), 10_000) if low > 0 else 100
    return f"{round(base * share):,} in {base:,}", f"{math.floor(base * low + 1e-9):,} to {math.ceil(base * high - 1e-9):,} in {base:,}"


def amount(cost: float) -> str:
    """A cost: 0.0214 -> "0.021"; a usual error costs 1."""
    return f"{cost:.2g}" if cost < 100 else f"{cost:,.0f}"


def limit(share: float) -> str:
    """A limit that must not be rounded: 0.02 -> "2 in 100", 0.025 -> "25 in 1,000", 1/3 -> "33.3%"."""
    for base in (100, 1_000, 10_000):
        if abs(base * share - round(base * share)) < 1e-9:
            return f"{round(base * share)} in {base:,}"
    return percent(share)


def count(number: int, one: str, many: str = "") -> str:
    """A number with its noun: 1 -> "1 item", 1,200 -> "1,200 items"; `many` where the plural is not formed with -s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def rough(n: float) -> int:
    """A number rounded up to two digits that count: 1234 -> 1300."""
    whole = math.ceil(n)
    unit: int = 10 ** max(0, len(str(whole)) - 2)
    return math.ceil(whole / unit) * unit


def about(n: float) -> str:
    """A rough number in words: 1234 -> "about 1,300"."""
    return f"about {rough(n):,}"


def percent_range(low: float | None, high: float | None) -> str:
    """An interval of shares: (0.104, 0.146) -> "10.4 to 14.6%"."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return "not known"
    return f"{100 * low:.1f} to {100 * high:.1f}%"


def chance(p: float | None) -> str:
    """A p-value in words: how often normal data would look like this."""
    if p is None or not math.isfinite(p):
        return "not known"
    if p < 0.0001:
        return "less than once in 10,000 times"
    return f"about once in {round(1 / p):,} times" if p < 0.4 else "often"


def p_figure(p: float) -> str:
    """A p-value as a figure: "p = 0.0312", "p < 0.0001"."""
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.{4 if p < 0.1 else 2}f}"


def plain_time(moment: datetime) -> str:
    """A moment for people: "22 November 2026, 06:20 UTC"."""
    return f"{moment.day} {moment:%B %Y, %H:%M} {moment.tzname() or ''}".strip()


def finite(value: float | None) -> bool:
    """Whether a figure is known: neither None nor nan nor infinite."""
    return value is not None and math.isfinite(value)


def listed(parts: Sequence[str]) -> str:
    """Parts of a sentence in a row: "61 strange, 1 unreadable and 48 spot checks"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""
