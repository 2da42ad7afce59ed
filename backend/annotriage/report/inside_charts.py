"""Pictures of what goes on inside a model: bars of neurons, tables as colours, lines over checkpoints or sample sizes; as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from annotriage.report import svg

READABLE = 0.55  # how deep a colour may be on which words stand
LINES = 8  # colours; of more lines the others are dashed
STEPS = 4  # between the lines of the grid
SERIES = ("c-series-0", "c-series-5", "c-series-2")  # colours of bars that stand together


def bars_chart(title: str, rows: Sequence[str], series: Sequence[str], values: Sequence[Sequence[float]], described: str) -> Markup:
    """Named rows of one bar, or one for each series. values: row by row, one for each series; negative ones count as 0."""
    left, right, bar, gap, top = 190.0, 560.0, 14.0, 10.0, 30.0 if len(series) > 1 else 4.0
    upper = max((value for row in values for value in row if math.isfinite(value)), default=0.0) or 1.0
    parts, height = [], bar * len(series) + gap
    if len(series) > 1:
        for place, name in enumerate(series):
            parts.append(Markup('<rect class="{}" x="{:.0f}" y="6" width="14" height="14"/>').format(SERIES[place], left + 150 * place))
            parts.append(svg.text(left + 150 * place + 20, 18, _shortened(name, 17), "c-name c-start"))
    for number, (name, row) in enumerate(zip(rows, values, strict=True)):
        y = top + height * number
        parts.append(svg.text(left - 12, y + (height - gap) / 2 + 5, _shortened(name), "c-name c-end"))
        for place, value in enumerate(row):
            known = math.isfinite(value)
            width = (right - left) * max(value, 0.0) / upper if known else 0.0
            parts.append(
                Markup('<rect class="{}" x="{:.0f}" y="{:.1f}" width="{:.1f}" height="{:.0f}"/>').format(
                    SERIES[place], left, y + bar * place, width, bar - 2
                )
            )
            parts.append(svg.text(left + width + 8, y + bar * place + 10, f"{value:.3g}" if known else "not known", "c-tick c-start"))
    return svg.frame(title, described, right + 80, top + height * len(rows), parts)


def heat_chart(
    title: str, rows: Sequence[str], columns: Sequence[str], values: Sequence[Sequence[float]], described: str, axis: str = ""
) -> Markup:
    """A table of values as colours, stronger for larger ones, each with its figure as a tooltip; negative values in another colour.

    Few columns carry their names and figures; of many there is only the `axis`, what they are.
    """
    left, width = 150.0, 900.0
    few = len(columns) <= 12
    depth = READABLE if few else 1.0
    across, down = min((width - left) / max(len(columns), 1), 74.0), 26.0 if few else 20.0
    top, bottom = (24.0 if few else 4.0), 22.0 if axis else 4.0
    strongest = max((abs(value) for row in values for value in row if math.isfinite(value)), default=0.0) or 1.0
    parts = [svg.text(left + across * (place + 0.5), 16, _shortened(name, 10), "c-tick") for place, name in enumerate(columns) if few]
    for number, (name, row) in enumerate(zip(rows, values, strict=True)):
        y = top + down * number
        parts.append(svg.text(left - 10, y + down / 2 + 4, _shortened(name, 18), "c-name c-end"))
        for place, value in enumerate(row):
            known = math.isfinite(value)
            kind = "c-empty" if not known else "c-warm" if value < 0 else "c-cool"
            parts.append(
                Markup(
                    '<rect class="{}" x="{:.2f}" y="{:.1f}" width="{:.2f}" height="{:.1f}" fill-opacity="{:.3f}"><title>{}</title></rect>'
                ).format(
                    kind,
                    left + across * place,
                    y,
                    across - (1 if across > 4 else 0),
                    down - 1,
                    depth * abs(value) / strongest if known else 1.0,
                    f"{name}, {columns[place]}: {f'{value:.3g}' if known else 'not known'}",
                )
            )
            if few and known:
                parts.append(svg.text(left + across * (place + 0.5), y + down / 2 + 4, f"{value:.2g}", "c-cell"))
    end = top + down * len(rows)
    if axis:
        parts.append(svg.text(left, end + 16, axis, "c-tick c-start"))
    return svg.frame(title, described, left + across * len(columns) + 10, end + bottom, parts)


def lines_chart(title: str, places: Sequence[str], series: Sequence[str], values: Sequence[Sequence[float]], described: str) -> Markup:
    """Lines over named places, evenly spaced, from 0 to a round number; each line carries its name at its end. values: line by line."""
    left, right, top, bottom = 52.0, 440.0, 12.0, 230.0
    upper = _round_top(max((value for row in values for value in row if math.isfinite(value)), default=0.0) or 1.0)

    def x(place: float) -> float:
        return left + (right - left) * place / max(len(places) - 1, 1)

    def y(value: float) -> float:
        return bottom - (bottom - top) * value / upper

    parts = []
    for step in range(STEPS + 1):
        value = upper * step / STEPS
        parts.append(svg.line(left, y(value), right, y(value), "c-grid"))
        parts.append(svg.text(left - 8, y(value) + 4, f"{value:.4g}", "c-tick c-end"))
    parts += [svg.text(x(place), bottom + 20, name, "c-tick") for place, name in enumerate(places)]
    ends = []
    for number, (name, row) in enumerate(zip(series, values, strict=True)):
        known = [(float(place), value) for place, value in enumerate(row) if math.isfinite(value)]
        if known:
            kind = f"c-line-{number % LINES}{' c-dashed' if number >= LINES else ''}"
            parts.append(svg.path(known, x, y, kind))
            parts += [svg.dot(x(place), y(value), 3, f"c-series-{number % LINES}") for place, value in known]
            ends.append((y(known[-1][1]), x(known[-1][0]), name, number))
    height = 0.0
    for at, end, name, number in sorted(ends):  # names that would lie on each other move down
        height = max(at, height + 15)
        parts.append(svg.line(end + 4, at, right + 14, height, "c-grid"))
        parts.append(svg.text(right + 18, height + 4, name, f"c-name c-start c-fill-{number % LINES}"))
    return svg.frame(title, described, right + 190, max(bottom, height) + 28, parts)


def _round_top(value: float) -> float:
    """The smallest round number that is not below a value: `STEPS` times 1, 2, 2.5 or 5, or one of these times a power of ten."""
    scale = 10.0 ** math.floor(math.log10(value / STEPS))
    return STEPS * next(scale * digit for digit in (1, 2, 2.5, 5, 10) if scale * digit * STEPS >= value * (1 - 1e-9))


def _shortened(name: str, longest: int = 26) -> str:
    return name if len(name) <= longest else f"{name[: longest - 1]}…"
