"""Two datasets side by side: scanner A against B, this month against the last."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from flask import request
from markupsafe import Markup
from sqlalchemy import Connection

from annotriage.advice import page_words
from annotriage.advice.numbers import percent, percent_range, points, points_range
from annotriage.errors import DataError
from annotriage.report import charts
from annotriage.store import browsing, dashboard, snapshots
from annotriage.store.database import AnyRow
from annotriage.store.projects import Project
from annotriage.web.intervals import clopper_pearson, difference
from annotriage.web.routing import Routes

LISTED = 100  # datasets to choose from
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
    """Outliers among scored items, with the 95 % limits of their source."""

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
    faces: Sequence[AnyRow]
    note: str
    link: int | None


@dataclass(frozen=True)
class Difference:
    """Of two shares, with its 95 % limits. clear: they leave out zero."""

    value: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether it is told apart from none."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class ClusterLine:
    """A cluster on both sides; mix: how its share of all items differs."""

    name: str
    a: Counts
    b: Counts
    difference: Difference | None
    mix: float
    rows: tuple[Markup, Markup]


@dataclass(frozen=True)
class ComparePage:
    """What the page shows; sides are None where nothing is chosen or known."""

    project: Project
    a: Side | None
    b: Side | None
    difference: Difference | None
    sentence: str
    chart: tuple[Markup, Markup]
    clusters: Sequence[ClusterLine]
    datasets: Sequence[AnyRow]
    pairs: Sequence[tuple[str, str, str]]
    asked: tuple[str, str]


def add_views(routes: Routes) -> None:
    """Add the page."""
    routes.project_page("/compare", "compare", _page, WINDOWS=WINDOWS)


def _page(connection: Connection, project: Project) -> ComparePage:
    datasets = browsing.datasets_page(connection, project, kind=None, after=None, limit=LISTED)
    pairs = _pairs(datasets)
    asked = (request.args.get("a", ""), request.args.get("b", ""))
    if not any(asked) and pairs:
        asked = pairs[0][1], pairs[0][2]
    a, b = (_side(connection, project, key) if key else None for key in asked)
    gap = None if a is None or b is None else _difference(a.whole, b.whole)
    upper = charts.rows_upper([side.whole.high for side in (a, b) if side is not None and side.whole.n], [])
    return ComparePage(
        project=project,
        a=a,
        b=b,
        difference=gap,
        sentence=_sentence(a, b, gap),
        chart=(_row(a.whole if a else None, upper, "A"), _row(b.whole if b else None, upper, "B")),
        clusters=[] if a is None or b is None else _clusters(a, b),
        datasets=datasets,
        pairs=pairs,
        asked=asked,
    )


def _pairs(datasets: Sequence[AnyRow]) -> list[tuple[str, str, str]]:
    """What one would compare first: values of the same field, and stretches of time."""
    fields: dict[str, list[AnyRow]] = {}
    for row in reversed(datasets):
        if row.kind == "field":
            fields.setdefault(row.name.partition("=")[0], []).append(row)
    found = [(f"{rows[0].name} against {rows[1].name}", f"d{rows[0].id}", f"d{rows[1].id}") for rows in fields.values() if len(rows) > 1]
    batches = [row for row in datasets if row.kind == "batch"][:2]
    if len(batches) == 2:
        found.append(("the import before the last against the last", f"d{batches[1].id}", f"d{batches[0].id}"))
    return [
        *found,
        ("the week before against the last 7 days", "w7-14", "w0-7"),
        ("the month before against the last 30 days", "w30-60", "w0-30"),
    ]


def _side(connection: Connection, project: Project, key: str) -> Side | None:
    """A dataset (d and its id) or a window. Raises DataError, UnknownError."""
    for known, name, newest, oldest in WINDOWS:
        if key == known:
            return _window(connection, project, key, name, time.time() - oldest, time.time() - newest)
    if not (key[:1] == "d" and key[1:].isascii() and key[1:].isdigit() and len(key) < 19):
        raise DataError(f"{key[:40]!r} is nothing to compare; choose two of the list")
    row = browsing.dataset_of_project(connection, project, int(key[1:]))
    name = "All items" if row.kind == "all" else row.name
    taken = snapshots.latest(connection, [row.id], project.reference_id).get(row.id)
    if taken is None:
        return Side(key, name, Counts(0, 0, 0.0, 1.0), 0, {}, (), "It is not assessed yet; that takes some seconds.", row.id)
    facts = taken.facts["diversity"]
    clusters = {one["name"]: Counts(one["n"], one["outliers"], one["low"], one["high"]) for one in facts["clusters"] if one["n"]}
    whole = Counts(taken.n, taken.outliers, taken.low or 0.0, 1.0 if taken.high is None else taken.high)
    note = "Related items (patients, series) are counted as what they weigh." if facts["grouped"] else ""
    return Side(key, name, whole, taken.failed, clusters, dashboard.strangest_of(connection, project, row.id, FACES), note, row.id)


def _window(connection: Connection, project: Project, key: str, name: str, start: float, end: float) -> Side | None:
    """What was added to all items in a stretch of time: the state at its end less that at its beginning."""
    every = dashboard.dataset_of_all(connection, project)
    if every is None:
        return None
    after = dashboard.snapshot_before(connection, every.id, project.reference_id, end)
    before = dashboard.snapshot_before(connection, every.id, project.reference_id, start)
    nothing = Side(key, name, Counts(0, 0, 0.0, 1.0), 0, {}, (), "Nothing was assessed in it under the present reference.", None)
    if after is None or (before is not None and before.id == after.id):
        return nothing
    earlier = {one["name"]: one for one in before.facts["diversity"]["clusters"]} if before is not None else {}

    def added(n: int, outliers: int, n_before: int, outliers_before: int) -> Counts:
        more = max(0, n - n_before)
        strange = min(max(0, outliers - outliers_before), more)
        return Counts(more, strange, *(clopper_pearson(strange, more) if more else (0.0, 1.0)))

    clusters = {}
    for one in after.facts["diversity"]["clusters"]:
        was = earlier.get(one["name"], {"n": 0, "outliers": 0})
        clusters[one["name"]] = added(one["n"], one["outliers"], was["n"], was["outliers"])
    whole = added(after.n, after.outliers, *((0, 0) if before is None else (before.n, before.outliers)))
    failed = max(0, after.failed - (before.failed if before is not None else 0))
    since = "the beginning" if before is None else page_words.moment(before.at)
    note = f"Judged between {since} and {page_words.moment(after.at)}; counted by item."
    faces = dashboard.strangest_between(connection, project, start, end, FACES)
    return Side(key, name, whole, failed, {name: one for name, one in clusters.items() if one.n}, faces, note, None)


def _difference(a: Counts, b: Counts) -> Difference | None:
    """b less a: what changed on the way from a to b."""
    return Difference(*difference(b.share, b.low, b.high, a.share, a.low, a.high)) if a.n and b.n else None


def _clusters(a: Side, b: Side) -> list[ClusterLine]:
    """Each cluster on both sides, the largest difference first."""
    none = Counts(0, 0, 0.0, 1.0)
    names = sorted({*a.clusters, *b.clusters})
    both = [(name, a.clusters.get(name, none), b.clusters.get(name, none)) for name in names]
    upper = charts.rows_upper([one.high for _, *pair in both for one in pair if one.n], [])
    lines = [
        ClusterLine(
            name,
            one,
            other,
            _difference(one, other),
            other.n / max(b.whole.n, 1) - one.n / max(a.whole.n, 1),
            (_row(one, upper, f"A, {name}"), _row(other, upper, f"B, {name}")),
        )
        for name, one, other in both
    ]
    return sorted(lines, key=lambda one: -abs(one.difference.value) if one.difference else 0.0)


def _row(counts: Counts | None, upper: float, name: str) -> Markup:
    if counts is None or not counts.n:
        return Markup("")
    said = f"{name}: {percent(counts.share)}, limits {percent_range(counts.low, counts.high)}"
    return charts.interval_row(counts.share, counts.low, counts.high, float("nan"), upper, said, "c-outlier")


def _sentence(a: Side | None, b: Side | None, gap: Difference | None) -> str:
    if a is None or b is None:
        return "Choose two to compare."
    if gap is None:
        return "One of the two holds no scored item."
    if not gap.clear:
        return f"B is not clearly more or less foreign than A: the difference is {points_range(gap.low, gap.high)}, which may be none."
    more = "more" if gap.value > 0 else "fewer"
    low, high = sorted((abs(gap.low), abs(gap.high)))
    return f"B brings {points(abs(gap.value))} {more} outliers than A (with 95 % certainty {points_range(low, high)})."
