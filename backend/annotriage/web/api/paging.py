"""Pages of lists: the parameters that all of them take, and the key of the next page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from annotriage.errors import DataError, UnknownError
from annotriage.web.api.openapi import Parameter

MOST = 500  # rows of a page

LIMIT = Parameter("limit", int, "Rows of a page.", 50, 1, MOST)
AFTER = Parameter("after", str, "`next` of the page before.")


def next_page(rows: Sequence[Any], limit: int, key: Callable[[Any], object]) -> str | None:
    """The key of the last row, if there may be more."""
    return str(key(rows[-1])) if len(rows) == limit else None


def number_after(after: str | None) -> int | None:
    """The id in `after`. Raises DataError."""
    if after is None:
        return None
    if not (after.isascii() and after.isdigit()) or len(after) > 18:
        raise DataError(f"query parameter after: {after!r} is not what `next` said; leave it out for the first page")
    return int(after)


def trust_after(after: str | None) -> tuple[float, int] | None:
    """Trust and id in `after`, in a list that is ordered by trust. Raises DataError."""
    if after is None:
        return None
    trust, _, id = after.partition(",")
    try:
        place = float(trust), int(id)
        if not (0 <= place[0] <= 1 and 0 <= place[1] < 2**62):
            raise ValueError
        return place
    except ValueError:
        raise DataError(f"query parameter after: {after!r} is not what `next` said; leave it out for the first page") from None


def number_in_path(text: str, what: str) -> int:
    """A number that is part of the address. Raises UnknownError: whatever else stands there does not exist."""
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise UnknownError(f"there is no {what} {text}: it goes by its number")
    return int(text)
