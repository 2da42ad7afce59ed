"""What pages are asked to show, out of their addresses: a dataset, a stretch of time, a walk through the queue."""

from __future__ import annotations

import math
import sys
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import request
from sqlalchemy import Connection

from annotriage.errors import DataError, SettingError
from annotriage.states import FOR_PEOPLE, SPOT_CHECK
from annotriage.store.datasets import Dataset, dataset_of_all, dataset_of_project
from annotriage.store.projects import Project
from annotriage.store.queue import ORDERS, Filters, Key

DAY = 86_400.0
SPANS = (("day", "24 hours", DAY), ("week", "7 days", 7 * DAY), ("month", "30 days", 30 * DAY), ("all", "all time", 0.0))
LONGEST_LABEL = 1_000
AT_ONCE = 1_000  # items of one request
MOST_SELECTED = 100_000  # items of one selection on a map


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


def row_id(text: str) -> int:
    """The id of a row, as pages hand it out. Raises DataError."""
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise DataError(f"{text[:40]!r} is not the number of anything; load the page again")
    return int(text)


def row_ids(given: Sequence[str]) -> list[int]:
    """The ids of items that a page sent. Raises DataError where they are none, or too many."""
    if not 1 <= len(given) <= AT_ONCE:
        raise DataError(f"item: choose between 1 and {AT_ONCE:,} items of the page")
    return [row_id(text) for text in given]


def selected_ids(body: bytes) -> list[int]:
    """Row ids of items as a map sends them: uint32, little-endian. Raises SettingError where there are none, or too many."""
    if not body or len(body) % 4 or len(body) > 4 * MOST_SELECTED:
        raise SettingError(f"the selection is empty, damaged, or larger than {MOST_SELECTED:,} items; select fewer at once")
    ids = array("I")
    ids.frombytes(body)
    if sys.byteorder == "big":
        ids.byteswap()
    return ids.tolist()


def dataset_asked(connection: Connection, project: Project) -> Dataset | None:
    """The dataset that the page is asked for, by default all items; None before there is any. Raises UnknownError, DataError."""
    id = whole("dataset")
    return dataset_of_all(connection, project) if id is None else dataset_of_project(connection, project, id)


def stretch_asked(first: float | None) -> Stretch:
    """The stretch of time that the page is asked for. first: where all time begins. Raises DataError."""
    now = time.time()
    begin, until = request.args.get("from", ""), request.args.get("until", "")
    if begin or until:
        start = day(begin) if begin else (first or now - DAY)
        end = min(day(until) + DAY, now) if until else now
        if start >= end:
            raise DataError(f"from {begin or 'the beginning'} until {until or 'now'} there is no time; choose an earlier first day")
        return Stretch("own", start, end)
    name = request.args.get("span", "all")
    for known, _, seconds in SPANS:
        if known == name and seconds:
            return Stretch(name, now - seconds, now)
    start = (first or now - DAY) - 60
    return Stretch("all", min(start, now - 3600), now)


@dataclass(frozen=True)
class Walk:
    """A walk through the queue: its order and its filters, as in `store.queue`. The same on the queue's and on an item's page."""

    order: str
    filters: Filters

    def args(self, **others: object) -> dict[str, Any]:
        """Its parameters of an address, those left out that say nothing. others: that go with them; None takes one away."""
        own = {
            "order": None if self.order == ORDERS[0] else self.order,
            "dataset": self.filters.dataset,
            "label": self.filters.label,
            "route": self.filters.route,
            "group": self.filters.group,
            "show": "out" if self.filters.out else None,
            "proposal": self.filters.proposal,
        }
        return {name: value for name, value in {**own, **others}.items() if value is not None}


def walk_asked() -> Walk:
    """The walk that the address names. Raises DataError."""
    order, route = request.args.get("order") or ORDERS[0], request.args.get("route") or None
    if order not in ORDERS:
        raise DataError(f"order: {order[:40]!r} is none of {', '.join(ORDERS)}")
    if route is not None and route not in (*FOR_PEOPLE, SPOT_CHECK):
        raise DataError(f"route: {route[:40]!r} is none of {', '.join(FOR_PEOPLE)} and {SPOT_CHECK}")
    label = (request.args.get("label") or "")[:LONGEST_LABEL] or None
    out = request.args.get("show") == "out"
    return Walk(order, Filters(whole("dataset"), label, route, whole("group"), out, whole("proposal")))


def key_asked() -> Key | None:
    """The key of the last row seen, that the address names. Raises DataError."""
    text = request.args.get("after", "")
    if not text:
        return None
    rank, _, id = text.partition("~")
    try:
        if not (id.isascii() and id.isdigit() and len(id) <= 18):
            raise ValueError
        key = float(rank), int(id)
    except ValueError:
        raise DataError(f"after: {text[:40]!r} is not a place in the queue that this page gave out; leave it out") from None
    if not math.isfinite(key[0]):
        raise DataError("after: not a place in the queue; leave it out")
    return key


def key_text(key: Key | None) -> str | None:
    """A key for an address."""
    return None if key is None else f"{key[0]!r}~{key[1]}"


def day(text: str) -> float:
    """The beginning of a day as 2026-11-26, in seconds since 1970. Raises DataError."""
    try:
        found = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        if not timedelta(0) < found - datetime(1970, 1, 1, tzinfo=UTC) < timedelta(days=100_000):
            raise ValueError
    except ValueError:
        raise DataError(f"{text[:40]!r} is no day; give one as 2026-11-26") from None
    return found.timestamp()
