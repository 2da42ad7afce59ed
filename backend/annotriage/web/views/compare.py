"""Two datasets side by side: scanner A against B, this month against the last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flask import request
from markupsafe import Markup
from sqlalchemy import Connection

from annotriage.advice.numbers import percent, percent_range, points, points_range
from annotriage.report import charts
from annotriage.service.readings.comparison import WINDOWS, Counts, Difference, Side, difference_of, side_of
from annotriage.store.datasets import Dataset, datasets_page
from annotriage.store.projects import Project
from annotriage.web.routing import Routes

LISTED = 100  # datasets to choose from


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
    datasets: Sequence[Dataset]
    pairs: Sequence[tuple[str, str, str]]
    asked: tuple[str, str]


def add_views(routes: Routes) -> None:
    """Add the page."""
    routes.project_page("/compare", "compare", _page, WINDOWS=WINDOWS)


def _page(connection: Connection, project: Project) -> ComparePage:
    datasets = datasets_page(connection, project, limit=LISTED)
    pairs = _pairs(datasets)
    asked = (request.args.get("a", ""), request.args.get("b", ""))
    if not any(asked) and pairs:
        asked = pairs[0][1], pairs[0][2]
    a, b = (side_of(connection, project, key) if key else None for key in asked)
    gap = None if a is None or b is None else difference_of(a.whole, b.whole)
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


def _pairs(datasets: Sequence[Dataset]) -> list[tuple[str, str, str]]:
    """What one would compare first: values of the same field, and stretches of time."""
    fields: dict[str, list[Dataset]] = {}
    for row in reversed(datasets):
        if row.kind == "field":
            fields.setdefault(row.name.partition("=")[0], []).append(row)
    pairs = [sorted(rows, key=lambda row: row.name)[:2] for rows in fields.values() if len(rows) > 1]
    found = [(f"{a.name} against {b.name}", f"d{a.id}", f"d{b.id}") for a, b in pairs]
    batches = [row for row in datasets if row.kind == "batch"][:2]
    if len(batches) == 2:
        found.append(("from the import before to the last one", f"d{batches[1].id}", f"d{batches[0].id}"))
    return [
        *found,
        ("from the 7 days before to the last 7", "w7-14", "w0-7"),
        ("from the 30 days before to the last 30", "w30-60", "w0-30"),
    ]


def _clusters(a: Side, b: Side) -> list[ClusterLine]:
    """Each cluster on both sides, the largest difference first."""
    none = Counts(0, 0, 0.0, 1.0)
    names = sorted({*a.clusters, *b.clusters})
    both = [(name, a.clusters.get(name, none), b.clusters.get(name, none)) for name in names]
    upper = charts.rows_upper([counts.high for _, *pair in both for counts in pair if counts.n], [])
    lines = [
        ClusterLine(
            name,
            of_a,
            of_b,
            difference_of(of_a, of_b),
            of_b.n / max(b.whole.n, 1) - of_a.n / max(a.whole.n, 1),
            (_row(of_a, upper, f"A, {name}"), _row(of_b, upper, f"B, {name}")),
        )
        for name, of_a, of_b in both
    ]
    return sorted(lines, key=lambda line: -abs(line.difference.value) if line.difference else 0.0)


def _row(counts: Counts | None, upper: float, name: str) -> Markup:
    if counts is None or not counts.n:
        return Markup("")
    said = f"{name}: {percent(counts.share)}, limits {percent_range(counts.low, counts.high)}"
    return charts.interval_row(counts.share, counts.low, counts.high, float("nan"), upper, said, "c-outlier")


def _sentence(a: Side | None, b: Side | None, gap: Difference | None) -> str:
    if a is None or b is None:
        return "Choose two to compare."
    if gap is None:
        return "One of the two has no scored items yet."
    more, fewer = (b, a) if gap.value > 0 else (a, b)
    shares = f"{percent(more.whole.share)} against {percent(fewer.whole.share)}"
    if not gap.clear:
        each = f"{percent(a.whole.share)} in {a.name[:60]}, {percent(b.whole.share)} in {b.name[:60]}"
        return f"No clear difference in strange items: {each}. B likely holds {points(-gap.low)} less to {points(gap.high)} more."
    low, high = sorted((abs(gap.low), abs(gap.high)))
    return (
        f"More strange items in {more.name[:60]} than in {fewer.name[:60]}: {shares}. The difference is likely {points_range(low, high)}."
    )
