"""Items that other systems push: judged before they have a task, and known by a marker that their task will carry."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from annotriage.store.database import insert
from annotriage.store.datasets import dataset_of, file_items
from annotriage.store.items import add_work, media_hash
from annotriage.store.projects import Project
from annotriage.store.schema import MARKED, item


@dataclass(frozen=True, slots=True)
class PushedItem:
    """An item to be taken in. marker: unique among all items; data: the other fields of the task that it will get."""

    marker: str
    media: str
    group: str | None
    data: Mapping[str, object]


def marker_of(project: str, dataset: str, id: str) -> str:
    """The marker of an item that its sender calls `id`: the same each time, so that pushing it again changes nothing."""
    named = "\0".join((project, dataset, id)).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(named, digest_size=16).hexdigest()


def add_pushed(connection: Connection, project: Project, dataset: str, pushed: Sequence[PushedItem]) -> tuple[int, set[str]]:
    """Take in items that are new, with work for each reference: the dataset's id, and the markers of those that were new.

    They belong to `all`, to the dataset of that name, and to one per configured field.
    """
    now = time.time()
    dataset_id = dataset_of(connection, project.id, "pushed", dataset, now)
    by_marker = {candidate.marker: candidate for candidate in pushed}
    rows = [
        {
            "project_id": project.id,
            "marker": candidate.marker,
            "media": candidate.media,
            "media_hash": media_hash(candidate.media),
            "group": candidate.group,
            "data": dict(candidate.data),
            "wanted": project.wanted,
            "at": now,
        }
        for candidate in by_marker.values()
    ]
    if not rows:
        return dataset_id, set()
    add = insert(connection, item).on_conflict_do_nothing(index_elements=["marker"], index_where=MARKED)
    ids = {row.id: row.marker for row in connection.execute(add.returning(item.c.id, item.c.marker), rows)}
    fields = {id: {key: str(value) for key, value in by_marker[marker].data.items()} for id, marker in ids.items()}
    if ids:
        file_items(connection, project, fields, dataset_id, now)
        add_work(connection, project, list(ids))
    return dataset_id, set(ids.values())
