"""Figures in plain words, for report, dashboard and command line: shares, counts, p-values, times; what is unknown says so."""

from __future__ import annotations

import math
from datetime import datetime


def percent(share: float | None, digits: int = 1) -> str:
    """A share in words: 0.124 -> "12.4 %"; very small ones keep their sign of life, unknown ones say so."""
    if share is None or not math.isfinite(share):
        return "not known"
    smallest = 10.0 ** -(digits + 2)
    if 0 < abs(share) < smallest:
        return f"< {100 * smallest:.{digits}f} %"
    return f"{100 * share:.{digits}f} %"


def percent_range(low: float | None, high: float | None) -> str:
    """An interval of shares: (0.104, 0.146) -> "10.4 to 14.6 %"."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return "not known"
    return f"{100 * low:.1f} to {100 * high:.1f} %"


def count(number: int, one: str, many: str = "") -> str:
    """A number with its noun: 1 -> "1 item", 1,200 -> "1,200 items"; `many` where the plural is not formed with -s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


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
