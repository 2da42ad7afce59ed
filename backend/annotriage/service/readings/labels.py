"""All labels of a project with where they come from, a page at a time: no transaction stays open while somebody takes them away."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

from annotriage.advice.page_words import stamp
from annotriage.store import Store
from annotriage.store.projects import Project
from annotriage.store.provenance import Label, LabelPage, labels_page

AT_ONCE = 1_000
MOMENTS = ("at", "judged_at")
TYPES: dict[str, type] = {"tuple": list, "bool": bool, "int": int, "float": float, "str": str, "Time": str}
COLUMNS = {field.name: TYPES[re.split(r"\W", str(field.type))[0]] for field in dataclasses.fields(Label)}  # with their types


def label_pages(store: Store, project: Project) -> Iterator[tuple[Label, ...]]:
    """The labels of a project in the order in which their items came."""
    after: int | None = None
    while True:
        with store.reading() as connection:
            page: LabelPage = labels_page(connection, project, after=after, limit=AT_ONCE)
        yield page.labels
        if page.next is None:
            return
        after = page.next


def row_of(label: Label) -> dict[str, Any]:
    """A label for files, by column: moments in ISO 8601, labels and people as lists."""
    values = {name: getattr(label, name) for name in COLUMNS}
    return {name: stamp(value) if name in MOMENTS else list(value) if isinstance(value, tuple) else value for name, value in values.items()}
