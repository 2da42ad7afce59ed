"""Answers as JSON, for the API and for the twins of pages alike."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, get_type_hints

from flask import Response
from markupsafe import Markup

from annotriage.states import Time
from annotriage.store.projects import Project


def as_json(answer: Any, status: int = 200, **also: Any) -> Response:
    """A dataclass for programs. also: what stands beside its fields.

    Moments are in ISO 8601, and what is not known is null; pictures are left out, as they draw figures that are there.
    """
    plain = _plain(answer)
    return Response(json.dumps(plain | _plain(also) if also else plain, allow_nan=False), status, mimetype="application/json")


def time_text(seconds: float) -> str:
    """Seconds since 1970 in ISO 8601: 2026-11-26T17:05:00.000Z."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(value: Any) -> Any:
    if isinstance(value, Project):
        return {"project": value.external_id, "title": value.title, "version": value.version}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        found = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return _plain(found | {name: time_text(found[name]) for name in _moments(type(value)) if found[name] is not None})
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items() if not isinstance(part, Markup | bytes)}
    if isinstance(value, Iterable):
        return [_plain(part) for part in value if not isinstance(part, Markup | bytes)]
    raise TypeError(f"there is no JSON for {value!r}")


@functools.cache
def _moments(kind: type) -> tuple[str, ...]:
    """The fields of a dataclass that hold moments."""
    hints = get_type_hints(kind, include_extras=True)
    return tuple(name for name, hint in hints.items() if hint in (Time, Time | None))
