"""Moments as programs read them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NewType

Time = NewType("Time", str)  # ISO 8601, UTC


def time_text(seconds: float) -> Time:
    """Seconds since 1970 in ISO 8601: 2026-11-26T17:05:00.000Z."""
    return Time(datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"))


def time_or_none(seconds: float | None) -> Time | None:
    """The same of a moment that may not have come."""
    return None if seconds is None else time_text(seconds)
