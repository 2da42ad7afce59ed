"""What pages are asked to show, out of their addresses: a dataset, a stretch of time, a key."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from flask import request
from sqlalchemy import Connection

from annotriage.errors import DataError
from annotriage.store import browsing, dashboard
from annotriage.store.database import AnyRow
from annotriage.store.projects import Project

DAY = 86_400.0
SPANS = (("day", "24 hours", DAY), ("week", "7 days", 7 * DAY), ("month", "30 days", 30 * DAY), ("all", "all time", 0.0))


@dataclass(frozen=True)
class Stretch:
    """A stretch of time. name: of SPANS, or "own" for two days that were given. start, end: seconds since 1970."""

    name: str
    start: float
    end: float


def whole(name: str, most: int = 2**62) -> int | None:
    """A query parameter that is a number, such as a dataset's or a key. Raises DataError."""
    text = request.args.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 18 or int(text) > most:
        raise DataError(f"{name}: {text[:40]!r} is not a number that this page gave out; leave it out")
    return int(text)


def dataset_asked(connection: Connection, project: Project) -> AnyRow | None:
    """The dataset that the page is asked for, by default all items; None before there is any. Raises UnknownError, DataError."""
    id = whole("dataset")
    return dashboard.dataset_of_all(connection, project) if id is None else browsing.dataset_of_project(connection, project, id)


def stretch_asked(first: float | None) -> Stretch:
    """The stretch of time that the page is asked for. first: where all time begins. Raises DataError."""
    now = time.time()
    begin, until = request.args.get("from", ""), request.args.get("until", "")
    if begin or until:
        start = _day(begin) if begin else (first or now - DAY)
        end = min(_day(until) + DAY, now) if until else now
        if start >= end:
            raise DataError(f"from {begin or 'the beginning'} until {until or 'now'} there is no time; choose an earlier first day")
        return Stretch("own", start, end)
    name = request.args.get("span", "all")
    for known, _, seconds in SPANS:
        if known == name and seconds:
            return Stretch(name, now - seconds, now)
    start = (first or now - DAY) - 60
    return Stretch("all", min(start, now - 3600), now)


def _day(text: str) -> float:
    try:
        found = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        if not timedelta(0) < found - datetime(1970, 1, 1, tzinfo=UTC) < timedelta(days=100_000):
            raise ValueError
    except ValueError:
        raise DataError(f"{text[:40]!r} is no day; give one as 2026-11-26") from None
    return found.timestamp()
