"""Figures for people: the one place where numbers become words, for sentences, report and charts."""

from __future__ import annotations

import math
from datetime import datetime


def percent(share: float | None, digits: int | None = None) -> str:
    """A share as people read it: 0.124 -> "12.4 %", 0.05 -> "5 %", 0.0004 -> "0.04 %", None or not a number -> "not known".

    digits: decimals at most, by default one, or two below 0.1 %.
    """
    if share is None or not math.isfinite(share):
        return "not known"
    if digits is None:
        digits = 2 if 0 < abs(share) < 0.001 else 1
    smallest = 10.0 ** -(digits + 2)
    if 0 < abs(share) < smallest:
        return f"under {100 * smallest:.{digits}f} %"
    text = f"{100 * share:.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return f"{'0' if text == '-0' else text} %"


def in_hundred(share: float) -> str:
    """A share as a count, rounded down: 0.0779 -> "7 in 100", 0.0042 -> "4 in 1,000", 0.005 -> "5 in 1,000"."""
    if abs(100 * share - round(100 * share)) < 1e-9 or 100 * share >= 1:
        return f"{math.floor(100 * share + 1e-9)} in 100"
    base = 1_000 if 1_000 * share >= 1 else 10_000
    return f"{math.floor(base * share + 1e-9)} in {base:,}"


def limit(share: float) -> str:
    """A limit that must not be rounded: 0.02 -> "2 in 100", 0.025 -> "25 in 1,000", 1/3 -> "33.3 %"."""
    for base in (100, 1_000, 10_000):
        if abs(base * share - round(base * share)) < 1e-9:
            return f"{round(base * share)} in {base:,}"
    return percent(share)


def one_in(share: float, noun: str) -> str:
    """A small chance: (0.05, "project") -> "1 project in 20"."""
    return f"1 {noun} in {round(1 / share):,}"


def count(number: int, one: str, many: str = "") -> str:
    """A number with its noun: 1 -> "1 item", 1,200 -> "1,200 items"; `many` where the plural is not formed with -s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def about(n: float) -> str:
    """A rough number, rounded up to two digits that count: 1234 -> "about 1,300"."""
    whole = math.ceil(n)
    unit = 10 ** max(0, len(str(whole)) - 2)
    return f"about {math.ceil(whole / unit) * unit:,}"


def percent_range(low: float | None, high: float | None) -> str:
    """An interval of shares: (0.104, 0.146) -> "10.4 to 14.6 %"."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return "not known"
    return f"{100 * low:.1f} to {100 * high:.1f} %"


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
