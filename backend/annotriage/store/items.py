"""Items: the labeling tool's tasks; how they come in, and what becomes of them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select, update

from annotriage.labeling_tool import Task
from annotriage.store.counters import chunks, recounted
from annotriage.store.database import among, insert
from annotriage.store.datasets import batch_of, file_items
from annotriage.store.deliveries import expect_former
from annotriage.store.erased import without_erased
from annotriage.store.gold import adopt, copies_among, withdraw_gone
from annotriage.store.projects import Project
from annotriage.store.schema import delivery, field_write, item, project_of_marked, verdict, work
from annotriage.store.twins import shows_another


@dataclass(frozen=True, slots=True)
class Found:
    """An item by its task. gone: the task was deleted."""

    id: int
    gone: bool


@dataclass(frozen=True, slots=True)
class AnsweredItem:
    """An item with what its medium is read by, and people's labels; given: () where nobody has answered."""

    id: int
    external_id: str | None
    marker: str | None
    media: str
    media_hash: str
    group: str | None
    given: tuple[str, ...]


def add_tasks(connection: Connection, project: Project, tasks: Sequence[Task], *, urgent: bool = False) -> int:
    """Take in tasks that are new: as items of `all`, of their batch and of one dataset per configured field, with work for each
    reference; how many were new.

    Tasks that people had labelled before are kept as labelled and get no work. A task made for a pushed item becomes that item's, one
    that is the copy of a known answer a gold task.
    """
    tasks = without_erased(connection, project.id, _without_own(connection, project, tasks))
    tasks = adopt(connection, project, tasks, {task.id: media_hash(task.media) for task in tasks})
    now = time.time()
    rows = [
        {
            "project_id": project.id,
            "external_id": task.id,
            "media": task.media,
            "media_hash": media_hash(task.media),
            "group": task.group,
            "wanted": task.wanted,
            "labelled": task.labelled,
            "changed_at": task.changed_at,
            "at": task.created_at or now,
        }
        for task in {task.id: task for task in tasks}.values()
    ]
    if not rows:
        return 0
    add = insert(connection, item).on_conflict_do_nothing(index_elements=["project_id", "external_id"])
    ids = {row.external_id: row.id for row in connection.execute(add.returning(item.c.id, item.c.external_id), rows)}
    new = [task for task in tasks if task.id in ids]
    if not new:
        return 0
    batch = batch_of(connection, project, now)
    file_items(connection, project, {ids[task.id]: task.fields for task in new}, batch, now)
    add_work(connection, project, [ids[task.id] for task in new if not task.labelled], urgent=urgent)
    return len(new)


def add_work(connection: Connection, project: Project, item_ids: Sequence[int], *, urgent: bool = False) -> None:
    """Let these items be judged under each of the project's references (again, if they were); gold tasks never are."""
    golden = copies_among(connection, item_ids)
    item_ids = [id for id in item_ids if id not in golden]
    rows = [
        {"item_id": id, "reference_id": reference_id, "project_id": project.id, "urgent": urgent}
        for reference_id in project.references
        for id in item_ids
    ]
    if rows:
        connection.execute(insert(connection, work).on_conflict_do_nothing(index_elements=["item_id", "reference_id"]), rows)
    if urgent:
        for some in chunks(item_ids):
            connection.execute(update(work).where(work.c.item_id.in_(some)).values(urgent=True, not_before=0.0))


def asked_for_more(connection: Connection, project: Project) -> list[str]:
    """Tasks of which more answers are asked than the project asks for: spot checks on which people disagreed with the model."""
    more = (item.c.project_id == project.id, item.c.wanted > project.wanted, ~item.c.gone, item.c.external_id.is_not(None))
    return list(connection.execute(select(item.c.external_id).where(*more).order_by(item.c.id)).scalars())


def find_items(connection: Connection, project_id: int, external_ids: Iterable[str]) -> dict[str, Found]:
    """The items of these tasks, by task id."""
    found: dict[str, Found] = {}
    for ids in chunks(list(external_ids)):
        found |= {task: Found(*row) for task, *row in connection.execute(_FOUND, {"of_project": project_id, "these": ids})}
    return found


_FOUND = select(item.c.external_id, item.c.id, item.c.gone).where(
    item.c.project_id == bindparam("of_project"), item.c.external_id.in_(among("these"))
)


def change_media(connection: Connection, project: Project, item_id: int, media: str) -> None:
    """The item shows something else now: it is judged anew, and what was delivered for it gets replaced."""
    values = {"media": media, "media_hash": media_hash(media), "dismissed": False, "sent_by": None}  # what a person said was of the other
    with recounted(connection, [item_id]):
        labelled = connection.execute(update(item).where(item.c.id == item_id).values(values).returning(item.c.labelled)).scalar_one()
        former = (verdict.c.item_id == item_id, verdict.c.reference_id.not_in(project.references))
        connection.execute(verdict.delete().where(*former))  # they never judge it anew
    shows_another(connection, item_id)
    connection.execute(work.delete().where(work.c.item_id == item_id))  # whoever is at it looks at what it showed before
    if not labelled:
        add_work(connection, project, [item_id])


def mark_gone(connection: Connection, item_ids: Sequence[int]) -> None:
    """The tasks were deleted: nothing is judged, delivered or counted any more; what was found out stays."""
    with recounted(connection, item_ids):
        for ids in chunks(item_ids):
            connection.execute(update(item).where(item.c.id.in_(ids)).values(gone=True))
            for table in (work, delivery, field_write):
                connection.execute(table.delete().where(table.c.item_id.in_(ids)))
    withdraw_gone(connection, item_ids)


def mark_back(connection: Connection, project: Project, item_ids: Sequence[int]) -> list[int]:
    """Tasks that were held for deleted are there: they are judged and delivered again, but for those that people had labelled before.

    A gold task stays out: what it asked has been asked, or is asked by another. Returns which are judged again.
    """
    golden = copies_among(connection, item_ids)
    item_ids = [id for id in item_ids if id not in golden]
    unlabelled: list[int] = []
    with recounted(connection, item_ids):
        for ids in chunks(item_ids):
            back = update(item).where(item.c.id.in_(ids)).values(gone=False).returning(item.c.id, item.c.labelled)
            unlabelled += [id for id, labelled in connection.execute(back) if not labelled]
    add_work(connection, project, sorted(unlabelled))
    return sorted(unlabelled)


def take_back(connection: Connection, project: Project, task_ids: Sequence[str]) -> None:
    """Tasks that are there: those of them that were held for deleted, as after a backup or a gateway's error, are so no longer."""
    gone: list[int] = []
    for some in chunks(task_ids):
        mine = (item.c.project_id == project.id, item.c.external_id.in_(some), item.c.gone)
        gone += connection.execute(select(item.c.id).where(*mine)).scalars()
    if gone:
        expect_former(connection, project, mark_back(connection, project, gone))


def tasks_besides(connection: Connection, project_id: int, seen: Collection[str], *, before: float) -> list[str]:
    """The tasks that the store has and `seen` has not, of those that came in before that time."""
    query = select(item.c.external_id).where(
        item.c.project_id == project_id, ~item.c.gone, item.c.external_id.is_not(None), item.c.at < before
    )
    return [id for id in connection.execute(query.execution_options(yield_per=5_000)).scalars() if id not in seen]


def link_tasks(connection: Connection, task_ids: Mapping[int, str]) -> None:
    """Pushed items have their tasks now."""
    for item_id, task_id in task_ids.items():
        connection.execute(update(item).where(item.c.id == item_id).values(external_id=task_id))


def media_hash(media: str) -> str:
    """Tells whether a task's media field changed, without keeping what it held."""
    return hashlib.blake2b(media.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _without_own(connection: Connection, project: Project, tasks: Sequence[Task]) -> list[Task]:
    """Link tasks that were made for pushed items to these; the others."""
    marked = {task.marker: task for task in tasks if task.marker}
    for markers in chunks(list(marked)):
        own = select(item.c.id, item.c.marker, item.c.external_id)
        own = own.where(project_of_marked == project.id, item.c.marker.in_(markers))
        for row in connection.execute(own).all():
            task = marked[row.marker]
            if row.external_id is None:
                connection.execute(update(item).where(item.c.id == row.id).values(external_id=task.id))
                tasks = [other for other in tasks if other is not task]
            elif row.external_id == task.id:
                tasks = [other for other in tasks if other is not task]
    return list(tasks)
