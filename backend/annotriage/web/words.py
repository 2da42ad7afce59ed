"""Words of the pages: routes, moments and ages as people say them."""

from __future__ import annotations

import time
from datetime import UTC, datetime

ROUTES = ("auto", "uncertain", "outlier", "failed")
ROUTE_WORDS = {
    "auto": "labelled by the model",
    "uncertain": "familiar, but the model is unsure",
    "outlier": "unlike the training data",
    "failed": "could not be judged",
}


def moment(at: float | None) -> str:
    """A moment: "26 Nov 2026, 17:05 UTC"."""
    if at is None:
        return "never"
    there = datetime.fromtimestamp(at, UTC)
    return f"{there.day} {there:%b %Y, %H:%M} UTC"


def ago(at: float | None) -> str:
    """How long ago a moment was, roughly: "3 minutes ago"."""
    return "never" if at is None else f"{span(max(0.0, time.time() - at))} ago"


def span(seconds: float) -> str:
    """A stretch of time, roughly: "3 minutes", "2 days"."""
    for size, name in ((86_400.0, "day"), (3_600.0, "hour"), (60.0, "minute")):
        if seconds >= size:
            n = round(seconds / size)
            return f"{n:,} {name if n == 1 else name + 's'}"
    return "less than a minute" if seconds >= 10 else "some seconds"


def number(value: float | None, digits: int = 3) -> str:
    """A figure with so many digits that count, or "not known"."""
    if value is None:
        return "not known"
    return f"{value:,}" if isinstance(value, int) else f"{value:.{digits}g}"
