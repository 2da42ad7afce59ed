"""A walk through the queue, as addresses say it: its order, its filters, where it stands. The same on the queue's and on an item's page."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from flask import request

from annotriage.errors import DataError
from annotriage.states import FOR_PEOPLE, Route
from annotriage.store.queue import ORDERS, Filters, Key
from annotriage.web.query_args import whole

LONGEST_LABEL = 1_000


@dataclass(frozen=True)
class Walk:
    """An order and filters; see `store.queue`."""

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
        }
        return {name: value for name, value in {**own, **others}.items() if value is not None}


def walk_asked() -> Walk:
    """The walk that the address names. Raises DataError."""
    order, route = request.args.get("order") or ORDERS[0], request.args.get("route") or None
    if order not in ORDERS:
        raise DataError(f"order: {order[:40]!r} is none of {', '.join(ORDERS)}")
    if route is not None and route not in (*FOR_PEOPLE, Route.AUTO):
        raise DataError(f"route: {route[:40]!r} is none of {', '.join(FOR_PEOPLE)} and auto")
    label = (request.args.get("label") or "")[:LONGEST_LABEL] or None
    out = request.args.get("show") == "out"
    return Walk(order, Filters(whole("dataset"), label, route, whole("group"), out))


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
