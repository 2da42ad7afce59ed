"""The small pictures of items."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from annotriage.store.counters import chunks
from annotriage.store.projects import Project
from annotriage.store.schema import item, thumbnail


def thumbnail_of(connection: Connection, project: Project, item_id: int) -> bytes | None:
    """The small picture of one of the project's items; None if it has none, or is not of this project."""
    query = select(thumbnail.c.content).join(item, item.c.id == thumbnail.c.item_id)
    found = connection.execute(query.where(item.c.id == item_id, item.c.project_id == project.id)).scalar_one_or_none()
    return None if found is None else bytes(found)


def pictured(connection: Connection, item_ids: Sequence[int]) -> set[int]:
    """Which of these items have a small picture."""
    query = select(thumbnail.c.item_id)
    return {id for ids in chunks(item_ids) for id in connection.execute(query.where(thumbnail.c.item_id.in_(ids))).scalars()}
