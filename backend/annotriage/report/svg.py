"""The strokes that all charts are drawn with: frame, line, text, dot, path, and round places on an axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from markupsafe import Markup, escape


def frame(title: str, described: str, width: float | None, height: float, parts: Sequence[str]) -> Markup:
    """The frame: scales down with the page where it has a width, is as wide as its box where it has none."""
    desc = Markup("<desc>{}</desc>").format(described) if described else Markup("")
    across = Markup('viewBox="0 0 {0:.0f} {1:.0f}" width="{0:.0f}"').format(width, height) if width else Markup('width="100%"')
    return Markup('<svg class="chart" role="img" aria-label="{}" {} height="{:.0f}"><title>{}</title>{}{}</svg>').format(
        f"{title}. {described}" if described else title, across, height, title, desc, Markup("").join(parts)
    )


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """A straight line. kind: its CSS classes, as of all strokes here."""
    return Markup(f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')  # numbers and our own words


def text(x: float, y: float, words: str, kind: str) -> Markup:
    """Words, escaped."""
    return Markup(f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>')


def dot(x: float, y: float, radius: int, colour: str) -> Markup:
    """A filled circle."""
    return Markup(f'<circle class="c-dot {colour}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>')


def path(points: Iterable[tuple[float, float]], x: Callable[[float], float], y: Callable[[float], float], kind: str) -> Markup:
    """A line through points in the units of the axes `x` and `y`; those that are not known are left out."""
    places = " L".join(f"{x(a):.1f} {y(b):.1f}" for a, b in points if math.isfinite(a) and math.isfinite(b))
    return Markup('<path class="{}" d="M{}"/>').format(kind, places) if places else Markup("")


def nice_upper(value: float) -> float:
    """The end of an axis that holds `value` with some air: 1, 2, 4, 5 or 10 times a power of ten, at most 1."""
    room = min(max(value * 1.12, 1e-3), 1.0)
    power = 10.0 ** math.floor(math.log10(room))
    return min(next(step * power for step in (1, 2, 4, 5, 10) if step * power >= room - 1e-12), 1.0)


def ticks(upper: float) -> list[float]:
    """Round places from 0 to `upper`, four or five steps of one size."""
    mantissa = round(upper / 10.0 ** math.floor(math.log10(upper) + 1e-9))
    steps = 4 if mantissa in (2, 4) else 5
    return [upper * step / steps for step in range(steps + 1)]


def tick_label(share: float) -> str:
    """A share at an axis."""
    return f"{100 * share:.3g}%"
