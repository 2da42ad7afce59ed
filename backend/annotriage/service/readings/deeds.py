"""Who did what, for files: a page at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from annotriage.advice.page_words import stamp
from annotriage.store import Store
from annotriage.store.people import deeds

AT_ONCE = 1_000
COLUMNS: dict[str, type] = {"id": int, "at": str, "person": str, "action": str, "path": str, "status": int}  # with their types


def deed_pages(store: Store) -> Iterator[list[dict[str, Any]]]:
    """All that people did, the latest first; moments in ISO 8601."""
    before: int | None = None
    while True:
        with store.reading() as connection:
            rows = deeds(connection, before=before, limit=AT_ONCE)
        yield [dataclasses.asdict(row) | {"at": stamp(row.at)} for row in rows]
        if len(rows) < AT_ONCE:
            return
        before = rows[-1].id
