"""The parts of every chart: a frame with its description, lines, words, dots. Colours come from the page's CSS by class."""

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
    """A line in the colour of its class."""
    return Markup(f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')  # numbers and our own words


def text(x: float, y: float, words: str, kind: str) -> Markup:
    """Words at a place; escaped."""
    return Markup(f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>')


def dot(x: float, y: float, radius: int, colour: str) -> Markup:
    """A filled circle."""
    return Markup(f'<circle class="c-dot {colour}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>')


def path(points: Iterable[tuple[float, float]], x: Callable[[float], float], y: Callable[[float], float], kind: str) -> Markup:
    """A line through points; those that are not known are left out."""
    places = " L".join(f"{x(a):.1f} {y(b):.1f}" for a, b in points if math.isfinite(a) and math.isfinite(b))
    return Markup('<path class="{}" d="M{}"/>').format(kind, places) if places else Markup("")
