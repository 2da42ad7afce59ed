"""What requests may hold that no database keeps: PostgreSQL refuses NUL, UTF-8 has no halves of characters, JSON has no NaN."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from annotriage.text import storable

DEEPEST = 100  # lists and objects within each other; those who write them as JSON again need room on the stack


def why_unstorable(value: Any) -> str:
    """What in a value out of JSON cannot be stored, in words; "" if all of it can."""
    level = [value]
    for _ in range(DEEPEST):
        inner: list[Any] = []
        for part in level:
            if isinstance(part, str) and storable(part) != part:
                return "has a NUL or half a character (a lone surrogate) in it, which no database keeps"
            if isinstance(part, float) and not math.isfinite(part):
                return "has NaN or Infinity in it, which is no JSON; leave it out, or send null"
            if isinstance(part, Mapping):
                inner += [*part.keys(), *part.values()]
            elif isinstance(part, list):
                inner += part
        if not inner:
            return ""
        level = inner
    return f"is nested more than {DEEPEST} deep"
