"""Counts by route, as projects, datasets and time windows have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from annotriage.store.browsing import RouteCount


@dataclass(frozen=True, slots=True)
class Route:
    """Items of one route (auto, uncertain, outlier or failed). open: those that are not answered yet."""

    route: str
    items: int
    open: int


def routes_of(counts: Sequence[RouteCount]) -> tuple[Route, ...]:
    """Counts by route."""
    return tuple(Route(one.route, one.items, one.open) for one in counts)
