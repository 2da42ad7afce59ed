"""Two datasets, or two stretches of time, side by side: how many outliers each has, and how sure a difference is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from sqlalchemy import Connection

from annotriage.advice import page_words
from annotriage.errors import DataError
from annotriage.service.readings.dataset import snapshot_of
from annotriage.store.browsing import Face, strangest_between, strangest_of
from annotriage.store.datasets import dataset_of_all, dataset_of_project
from annotriage.store.projects import Project
from annotriage.store.snapshots import snapshot_before

FACES = 12
DAY = 86_400.0
WINDOWS = (
    ("w0-7", "the last 7 days", 0.0, 7 * DAY),
    ("w7-14", "the 7 days before", 7 * DAY, 14 * DAY),
    ("w0-30", "the last 30 days", 0.0, 30 * DAY),
    ("w30-60", "the 30 days before", 30 * DAY, 60 * DAY),
)


@dataclass(frozen=True)
class Counts:
    """Outliers among scored items, with the 95% limits of their source."""

    n: int
    outliers: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """Of outliers; 0 without items."""
        return self.outliers / self.n if self.n else 0.0


@dataclass(frozen=True)
class Side:
    """One of the two. whole: all of it; clusters: by name. note: what the figures leave out. key: as in the address."""

    key: str
    name: str
    whole: Counts
    failed: int
    clusters: dict[str, Counts]
    faces: Sequence[Face]
    note: str
    link: int | None


@dataclass(frozen=True)
class Difference:
    """Of two shares, with its 95% limits. clear: they leave out zero."""

    value: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether it is told apart from none."""
        return self.low > 0 or self.high < 0


def side_of(connection: Connection, project: Project, key: str) -> Side | None:
    """A dataset (d and its id) or a window. Raises DataError, UnknownError."""
    for known, name, newest, oldest in WINDOWS:
        if key == known:
            return _window(connection, project, key, name, time.time() - oldest, time.time() - newest)
    if not (key[:1] == "d" and key[1:].isascii() and key[1:].isdigit() and len(key) < 19):
        raise DataError(f"{key[:40]!r} is nothing to compare; choose two of the list")
    dataset = dataset_of_project(connection, project, int(key[1:]))
    name, taken = dataset.title, snapshot_of(connection, project, dataset)
    if taken is None:
        return Side(key, name, Counts(0, 0, 0.0, 1.0), 0, {}, (), "It is not assessed yet; that takes a few seconds.", dataset.id)
    facts = taken.facts["diversity"]
    clusters = {
        cluster["name"]: Counts(cluster["n"], cluster["outliers"], cluster["low"], cluster["high"])
        for cluster in facts["clusters"]
        if cluster["n"]
    }
    whole = Counts(taken.n, taken.outliers, taken.low or 0.0, 1.0 if taken.high is None else taken.high)
    note = "Related items (patients, series) are counted as what they weigh." if facts["grouped"] else ""
    return Side(key, name, whole, taken.failed, clusters, strangest_of(connection, project, dataset.id, FACES), note, dataset.id)


def _window(connection: Connection, project: Project, key: str, name: str, start: float, end: float) -> Side | None:
    """What was added to all items in a stretch of time: the state at its end less that at its beginning."""
    from annotriage.guarantee.binomial import clopper_pearson  # only whoever asks for a window loads what computes

    every = dataset_of_all(connection, project)
    if every is None:
        return None
    after = snapshot_before(connection, every.id, project.reference_id, end)
    before = snapshot_before(connection, every.id, project.reference_id, start)
    nothing = Side(key, name, Counts(0, 0, 0.0, 1.0), 0, {}, (), "Nothing was assessed in it under the current reference.", None)
    if after is None or (before is not None and before.id == after.id):
        return nothing
    earlier = {cluster["name"]: cluster for cluster in before.facts["diversity"]["clusters"]} if before is not None else {}

    def added(n: int, outliers: int, n_before: int, outliers_before: int) -> Counts:
        more = max(0, n - n_before)
        strange = min(max(0, outliers - outliers_before), more)
        low, high = clopper_pearson(strange, more) if more else (0.0, 1.0)
        return Counts(more, strange, float(low), float(high))

    clusters = {}
    for cluster in after.facts["diversity"]["clusters"]:
        was = earlier.get(cluster["name"], {"n": 0, "outliers": 0})
        clusters[cluster["name"]] = added(cluster["n"], cluster["outliers"], was["n"], was["outliers"])
    whole = added(after.n, after.outliers, *((0, 0) if before is None else (before.n, before.outliers)))
    failed = max(0, after.failed - (before.failed if before is not None else 0))
    since = "the beginning" if before is None else page_words.moment(before.at)
    note = f"Judged between {since} and {page_words.moment(after.at)}; counted by item."
    faces = strangest_between(connection, project, start, end, FACES)
    return Side(key, name, whole, failed, {name: counts for name, counts in clusters.items() if counts.n}, faces, note, None)


def difference_of(a: Counts, b: Counts) -> Difference | None:
    """b less a, from the limits of both, which come from different items; None where one of them holds nothing.

    Source: Zou and Donner, Construction of confidence limits about effect measures, Statistics in Medicine 27, 2008.
    """
    if not a.n or not b.n:
        return None
    d = b.share - a.share
    low = d - sqrt((b.share - b.low) ** 2 + (a.high - a.share) ** 2)
    high = d + sqrt((b.high - b.share) ** 2 + (a.share - a.low) ** 2)
    return Difference(d, low, high)
