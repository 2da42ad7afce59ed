"""What pages are asked to show, out of their addresses: a dataset, a stretch of time, a walk through a list of items."""

from __future__ import annotations

import math
import sys
import time
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import request
from sqlalchemy import Connection

from annotriage.errors import DataError, SettingError, UnknownError
from annotriage.states import FOR_PEOPLE, ROUTES, SPOT_CHECK, Standing
from annotriage.store.browsing import Item, item_of_task
from annotriage.store.datasets import Dataset, dataset_of_all, dataset_of_project
from annotriage.store.filters import SCORE_STEPS, SINCE, Filters
from annotriage.store.projects import Project
from annotriage.store.queue import ORDERS, Key

DAY = 86_400.0
SPANS = (("day", "24 hours", DAY), ("week", "7 days", 7 * DAY), ("month", "30 days", 30 * DAY), ("all", "all time", 0.0))
LONGEST_LABEL = 1_000
LONGEST_KEPT = 100
LARGEST_ID = 10**18 - 1  # an id that a page may be asked for: the store's largest is 2**63 - 1
LARGEST = 2**31 - 1  # any other whole number that the store compares with
AT_ONCE = 1_000  # items of one request
MOST_SELECTED = 100_000  # items of one selection on a map
USUAL_STATE = {"queue": Standing.WAITING, "items": None, "map": None, "groups": None}  # by page: of what it lists
LISTED_STATES = {page: tuple(Standing) if page != "queue" else (Standing.WAITING, Standing.OUT) for page in USUAL_STATE}
KEPT = {"queue": (), "items": ("zoom",), "map": ("method", "dimensions", "map", "colour", "hide"), "groups": ()}


@dataclass(frozen=True)
class Stretch:
    """A stretch of time. name: of SPANS, or "own" for two days that were given. start, end: seconds since 1970."""

    name: str
    start: float
    end: float


def number_in(text: str, least: int, most: int) -> int | None:
    """The whole number that a text is, None if it is none from `least` to `most`, which have 18 digits at most."""
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        return None
    number = int(text)
    return number if least <= number <= most else None


def whole(name: str, most: int = LARGEST_ID) -> int | None:
    """A query parameter that is a number, such as a dataset's or a key. Raises DataError."""
    text = request.args.get(name, "")
    if not text:
        return None
    number = number_in(text, 0, most)
    if number is None:
        raise DataError(f"{name}: {text[:40]!r} is not a number that this page gave out; leave it out")
    return number


def row_id(text: str) -> int:
    """The id of a row, as pages hand it out. Raises DataError."""
    id = number_in(text, 0, LARGEST_ID)
    if id is None:
        raise DataError(f"{text[:40]!r} is not the number of anything; load the page again")
    return id


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
    """A walk through a list of items: its page, its order and its filters. kept: what else the address says, and links lead on with.

    The same on the page of the list and on the pages of its items.
    """

    page: str
    order: str
    filters: Filters
    kept: Mapping[str, str]

    def args(self, **others: object) -> dict[str, Any]:
        """Its parameters of an address, those left out that say nothing. others: that go with them; None takes one away."""
        own = {
            **self.kept,
            "order": None if self.order == ORDERS[0] else self.order,
            "dataset": self.filters.dataset,
            "label": self.filters.label,
            "route": self.filters.route,
            "group": self.filters.group,
            "state": None if self.filters.state == self.usual_state else self.filters.state,
            "score": None if self.filters.score is None else repr(self.filters.score),
            "since": self.filters.since,
            "proposal": self.filters.proposal,
        }
        return {name: str(value) for name, value in {**own, **others}.items() if value is not None}

    def item_args(self) -> dict[str, Any]:
        """Its parameters of an item's address, which name the list as well."""
        return self.args(within=None if self.page == "queue" else self.page)

    @property
    def usual_state(self) -> Standing | None:
        """The state of what the list shows unless another one is asked for."""
        return USUAL_STATE[self.page]

    @property
    def narrowed(self) -> bool:
        """Whether anything is left out of the list."""
        return self.filters != Filters(state=self.usual_state)


def walk_asked(page: str) -> Walk:
    """The walk that the address names, through the list of that page. Raises DataError."""
    order, routes = _one_of("order", ORDERS) or ORDERS[0], FOR_PEOPLE if page == "queue" else ROUTES
    state, score = _one_of("state", LISTED_STATES[page]), _one_of("score", [repr(step) for step in SCORE_STEPS])
    filters = Filters(
        dataset=whole("dataset"),
        label=(request.args.get("label") or "")[:LONGEST_LABEL] or None,
        route=_one_of("route", (*routes, SPOT_CHECK)),
        group=whole("group", LARGEST),
        proposal=whole("proposal") if page == "queue" else None,
        state=USUAL_STATE[page] if state is None else Standing(state),
        score=None if score is None else float(score),
        since=_one_of("since", tuple(SINCE)),
    )
    kept = {name: request.args[name][:LONGEST_KEPT] for name in KEPT[page] if request.args.get(name)}
    return Walk(page, order, filters, kept)


def walk_around() -> Walk:
    """The walk through a list that the address of one of its items names. Raises DataError."""
    return walk_asked(_one_of("within", tuple(USUAL_STATE)) or "queue")


def item_asked(connection: Connection, project: Project) -> tuple[Item | None, str | None]:
    """The item of the task that somebody searches for, and the task if there is none such."""
    task = request.args.get("task", "").strip()
    if not task:
        return None, None
    try:
        return item_of_task(connection, project, task), None
    except UnknownError:
        return None, task


def _one_of(name: str, known: Sequence[str]) -> str | None:
    """A parameter that is one of a few words. Raises DataError."""
    text = request.args.get(name) or None
    if text is not None and text not in known:
        raise DataError(f"{name}: {text[:40]!r} is none of {', '.join(known)}")
    return text


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
