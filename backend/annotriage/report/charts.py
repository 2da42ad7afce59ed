"""Figures for people as inline SVG: shared by report.html and the dashboard, made without a browser or a plotting library.

Every chart carries <title> and <desc>, takes its colours from the page's CSS (classes `c-*`, see report.css), and so follows
light and dark. Names that come from data are escaped (Markup). A figure that is not known (nan, None) is said, not drawn.
Imports nothing that computes: the web process draws, too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from markupsafe import Markup

from annotriage.advice.numbers import amount, certainty, percent, percent_range
from annotriage.advice.route_words import route_name
from annotriage.report import svg
from annotriage.states import ROUTES, SPOT_CHECK

if TYPE_CHECKING:
    from annotriage.guarantee.diversity import Diversity
    from annotriage.guarantee.gate import Guarantee


@dataclass(frozen=True, slots=True)
class Moment:
    """A share at a moment, with its limits. at: seconds since 1970. None where nothing was scored."""

    at: float
    share: float | None
    low: float | None
    high: float | None


def share_chart(diversity: Diversity) -> Markup:
    """The diversity score and what normal data would give, each as a dot with its 95% interval, on one axis."""
    rows = [("This dataset", diversity.share, diversity.low, diversity.high, "c-outlier")]
    if diversity.calibrated:
        rows.append(("Normal data", diversity.expected, diversity.expected_low, diversity.expected_high, "c-expected"))
    rows = [row for row in rows if all(math.isfinite(value) for value in row[1:4])]
    upper = svg.nice_upper(max((row[3] for row in rows), default=0.1))
    left, right, row_height = 92.0, 350.0, 58.0  # narrow enough for a telephone, on which it keeps its size
    bottom = 8 + row_height * len(rows)

    def x(share: float) -> float:
        return left + (right - left) * share / upper

    parts = [
        svg.line(x(tick), 6, x(tick), bottom, "c-grid") + svg.text(x(tick), bottom + 20, svg.tick_label(tick), "c-tick")
        for tick in svg.ticks(upper)
    ]
    for place, (name, share, low, high, colour) in enumerate(rows):
        y = 8 + row_height * (place + 0.62)
        parts.append(svg.text(left - 14, y + 5, name, "c-name c-end"))
        parts.append(svg.line(x(low), y, x(high), y, f"c-whisker {colour}"))
        parts += [svg.line(x(end), y - 6, x(end), y + 6, f"c-whisker {colour}") for end in (low, high)]
        parts.append(svg.dot(x(share), y, 7, colour))
        parts.append(svg.text(x(share), y - 14, percent(share), "c-value"))
    described = "; ".join(f"{name}: {percent(share)}, likely {percent_range(low, high)}" for name, share, low, high, _ in rows)
    return svg.frame("Share of strange items", described or "No share is known.", 370, bottom + 28, parts)


def routes_bar(counts: Mapping[str, int]) -> Markup:
    """What happens to the items: one bar, a segment for every route, as wide as the page. Spot checks, if any are counted, come last."""
    shown = (*ROUTES, SPOT_CHECK) if counts.get(SPOT_CHECK) else ROUTES
    total = sum(counts.get(route, 0) for route in shown)
    parts, start = [], 0.0
    for route in shown:
        share = counts.get(route, 0) / total if total else 0.0
        if share == 0:
            continue
        parts.append(
            Markup('<rect class="c-{}" x="{:.3f}%" y="0" width="{:.3f}%" height="44"/>').format(_css(route), 100 * start, 100 * share)
        )
        if share > 0.16:
            parts.append(
                Markup('<text class="c-on-{}" x="{:.3f}%" dx="12" y="27">{} {}</text>').format(
                    _css(route), 100 * start, route_name(route), percent(share, 0)
                )
            )
        if start:
            parts.append(Markup('<line class="c-gap" x1="{0:.3f}%" x2="{0:.3f}%" y1="0" y2="44"/>').format(100 * start))
        start += share
    described = ", ".join(f"{counts.get(route, 0):,} {route_name(route)}" for route in shown)
    return svg.frame("Items by route", described, None, 44, parts)


def _css(route: str) -> str:
    return route.replace(" ", "-")


def risk_coverage_chart(guarantee: Guarantee) -> Markup:
    """Wrong labels (seen, and their upper bound) against the share that is automatic, with the limit and the place chosen."""
    left, right, top, bottom = 62.0, 612.0, 46.0, 266.0
    limit = guarantee.max_error
    coverages, risks, bounds = (
        [float(value) for value in curve] for curve in (guarantee.curve_coverage, guarantee.curve_risk, guarantee.curve_bound)
    )
    known = [bound for bound in bounds if math.isfinite(bound)]
    upper = svg.nice_upper(max(3.5 * limit, 1.5 * min(known, default=0.0)))
    shown = [(coverage, bound) for coverage, bound in zip(coverages, bounds, strict=True) if bound <= upper]

    def x(coverage: float) -> float:
        return left + (right - left) * min(coverage, 1.0)

    def y(risk: float) -> float:
        return bottom - (bottom - top) * min(risk / upper, 1.0)

    priced = getattr(guarantee, "dearest", None) is not None  # facts of older references lack it
    said = amount if priced else percent
    parts = [
        svg.line(left, y(tick), right, y(tick), "c-grid")
        + svg.text(left - 8, y(tick) + 4, f"{tick:.3g}" if priced else svg.tick_label(tick), "c-tick c-end")
        for tick in svg.ticks(upper)
    ]
    parts += [svg.text(x(tick), bottom + 20, percent(tick, 0), "c-tick") for tick in (0, 0.25, 0.5, 0.75, 1)]
    parts.append(svg.text((left + right) / 2, bottom + 42, "share of held-out items that would be automatic", "c-tick"))
    parts.append(svg.path(shown, x, y, "c-bound"))
    parts.append(svg.path(zip(coverages, risks, strict=True), x, y, "c-risk"))
    parts.append(svg.line(left, y(limit), right, y(limit), "c-limit"))
    if guarantee.auto and math.isfinite(guarantee.coverage):
        at = x(guarantee.coverage)
        parts.append(svg.line(at, top, at, bottom, "c-chosen"))
        parts.append(svg.dot(at, y(guarantee.bound), 6, "c-auto"))
        name = f"chosen: {percent(guarantee.coverage, 0)}"
        parts.append(
            svg.text(at - 8, top + 14, name, "c-name c-end")
            if guarantee.coverage > 0.5
            else svg.text(at + 8, top + 14, name, "c-name c-start")
        )
    sure = certainty(guarantee.tested_confidence)
    legend = (
        (left, "c-risk", "cost of a label, seen" if priced else "wrong labels seen"),
        (left + 190, "c-bound", f"upper bound, {sure} sure"),
        (left + 410, "c-limit", f"limit {said(limit)}"),
    )
    for start, kind, name in legend:
        parts.append(svg.line(start, 20, start + 26, 20, kind) + svg.text(start + 34, 24, name, "c-name c-start"))
    described = (
        f"At the chosen place {percent(guarantee.coverage)} of the held-out items are automatic; {guarantee.errors:,} of {guarantee.n:,}"
        f" are wrong, the upper bound {'of what a label costs ' if priced else ''}is {said(guarantee.bound)}, the limit {said(limit)}."
        if guarantee.auto
        else f"No place on the curve passes the limit of {said(limit)}: automatic labels are off."
    )
    return svg.frame(f"{'Cost of labels' if priced else 'Wrong labels'} against the automatic share", described, 640, 322, parts)


def interval_row(share: float, low: float, high: float, mark: float, upper: float, described: str, colour: str = "c-expected") -> Markup:
    """One row of a table as a picture: a dot with its interval on 0..upper, and a tick at `mark`, what it is compared with."""
    width, y = 200.0, 12.0

    def x(value: float) -> float:
        return 6 + (width - 12) * min(max(value, 0.0) / upper, 1.0)

    parts = [svg.line(6, y, width - 6, y, "c-grid")]
    if math.isfinite(low) and math.isfinite(high):
        parts.append(svg.line(x(low), y, x(high), y, f"c-whisker {colour}"))
    if math.isfinite(mark):
        parts.append(svg.line(x(mark), 3, x(mark), 21, "c-mark"))
    if math.isfinite(share):
        parts.append(svg.dot(x(share), y, 5, colour))
    return svg.frame(described, "", width, 24, parts)


def interval_chart(share: float, low: float, high: float, mark: float, upper: float, described: str, colour: str) -> Markup:
    """The same picture by itself: larger, with numbers along its axis, and `mark` named as what is allowed."""
    width, y, left = 460.0, 40.0, 24.0

    def x(value: float) -> float:
        return left + (width - 2 * left) * min(max(value, 0.0) / upper, 1.0)

    parts = [svg.line(left, y, width - left, y, "c-grid")]
    parts += [svg.text(x(tick), y + 34, svg.tick_label(tick), "c-tick") for tick in svg.ticks(upper)]
    parts.append(svg.line(x(low), y, x(high), y, f"c-whisker {colour}"))
    parts.append(svg.line(x(mark), y - 14, x(mark), y + 14, "c-mark"))
    parts.append(svg.text(x(mark), y - 22, f"{percent(mark)} allowed", "c-tick"))
    parts.append(svg.dot(x(share), y, 8, colour))
    return svg.frame(described, "", width, 84, parts)


def trend_chart(moments: Sequence[Moment], expected: float | None, described: str, start: float, end: float) -> Markup:
    """A share over time as a line within the band of its 95% limits, and what normal data would give. moments: the first first."""
    known = [moment for moment in moments if moment.share is not None]
    left, right, top, bottom = 58.0, 1000.0, 14.0, 236.0
    upper = svg.nice_upper(max([moment.high or moment.share or 0.0 for moment in known] + [expected or 0.0], default=0.1))
    span = max(end - start, 1.0)

    def x(at: float) -> float:
        return left + (right - left) * (at - start) / span

    def y(share: float) -> float:
        return bottom - (bottom - top) * min(share / upper, 1.0)

    parts = [
        svg.line(left, y(tick), right, y(tick), "c-grid") + svg.text(left - 10, y(tick) + 4, svg.tick_label(tick), "c-tick c-end")
        for tick in svg.ticks(upper)
    ]
    parts += [svg.text(x(at), bottom + 22, name, "c-tick") for at, name in _time_ticks(start, end)]
    band = [(moment.at, moment.low, moment.high) for moment in known if moment.low is not None and moment.high is not None]
    if len(band) > 1:
        edge = [f"{x(at):.1f} {y(high):.1f}" for at, _, high in band] + [f"{x(at):.1f} {y(low):.1f}" for at, low, _ in reversed(band)]
        parts.append(Markup('<path class="c-band" d="M{} Z"/>').format(" L".join(edge)))
    if expected is not None:
        parts.append(svg.line(left, y(expected), right, y(expected), "c-usual"))
        parts.append(svg.text(right, y(expected) - 7, f"normal data: {percent(expected)}", "c-tick c-end"))
    parts.append(svg.path([(moment.at, moment.share or 0.0) for moment in known], x, y, "c-trend"))
    for at, low, high in band if len(band) <= 40 else band[-1:]:
        parts.append(svg.line(x(at), y(low), x(at), y(high), "c-whisker c-outlier thin"))
    for moment in known if len(known) <= 40 else known[-1:]:
        parts.append(svg.dot(x(moment.at), y(moment.share or 0.0), 5, "c-outlier"))
    return svg.frame("Share of strange items over time", described, right + 30, bottom + 34, parts)


def sparkline(shares: Sequence[float | None], described: str) -> Markup:
    """How a share went, in the size of a word. moments: the first first; evenly spaced, however long the pauses were."""
    known = [share for share in shares if share is not None]
    if len(known) < 2:
        return Markup("")
    width, height, room = 148.0, 36.0, 5.0
    upper = max(svg.nice_upper(max(known)), 1e-9)

    def x(place: float) -> float:
        return room + (width - 2 * room) * place / (len(known) - 1)

    def y(share: float) -> float:
        return height - room - (height - 2 * room) * share / upper

    parts = [svg.line(room, y(0), width - room, y(0), "c-grid"), svg.path(list(enumerate(known)), x, y, "c-trend")]
    parts.append(svg.dot(x(len(known) - 1), y(known[-1]), 4, "c-outlier"))
    return svg.frame("Trend", described, width, height, parts)


def level_bar(level: float, described: str) -> Markup:
    """How near an alarm is: a bar that is full when it rings. level: 0 to 1."""
    width = 320.0
    reached = min(max(level, 0.0), 1.0)
    parts = [
        Markup('<rect class="c-empty" x="0" y="6" width="{:.0f}" height="12" rx="6"/>').format(width),
        Markup('<rect class="{}" x="0" y="6" width="{:.1f}" height="12" rx="6"/>').format(
            "c-outlier" if reached >= 1 else "c-uncertain" if reached > 0.5 else "c-auto", max(reached * width, 4.0)
        ),
    ]
    return svg.frame("Alarm level", described, width, 24, parts)


def rows_upper(highs: Sequence[float], marks: Sequence[float]) -> float:
    """The end of the axis that all rows of one table share: above every known upper end and mark."""
    return svg.nice_upper(max((value for value in (*highs, *marks) if math.isfinite(value)), default=0.1))


def _time_ticks(start: float, end: float) -> list[tuple[float, str]]:
    """Round moments between two, at most seven, with their names."""
    steps = (60, 300, 900, 3600, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800, 2_592_000, 7_776_000, 31_536_000)
    step = next((step for step in steps if (end - start) / step <= 7), steps[-1])
    first = math.ceil(start / step) * step
    form = "%H:%M" if step < 43_200 else "%-d %b" if step < 7_776_000 else "%b %Y"
    moments = [first + step * place for place in range(int((end - first) // step) + 1)] if end >= first else []
    return [(at, f"{datetime.fromtimestamp(at, UTC):{form}}") for at in moments]
