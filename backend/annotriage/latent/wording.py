"""Figures for people: the one place where numbers become words in sentences of `gate`, `diversity` and `advice`."""

from __future__ import annotations

import math


def percent(share: float) -> str:
    """A share as people read it: 0.124 -> "12.4 %", 0.05 -> "5 %", 0.0004 -> "0.04 %", not a number -> "unknown"."""
    if math.isnan(share):
        return "unknown"
    if 0 < abs(share) < 0.0001:
        return "under 0.01 %"
    digits = 2 if 0 < abs(share) < 0.001 else 1
    text = f"{100 * share:.{digits}f}".rstrip("0").rstrip(".")
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


def count(n: int, noun: str) -> str:
    """A number with its noun: (1, "item") -> "1 item", (1200, "item") -> "1,200 items"."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def about(n: float) -> str:
    """A rough number, rounded up to two digits that count: 1234 -> "about 1,300"."""
    whole = math.ceil(n)
    unit = 10 ** max(0, len(str(whole)) - 2)
    return f"about {math.ceil(whole / unit) * unit:,}"
