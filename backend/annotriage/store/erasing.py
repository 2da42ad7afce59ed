"""Erasing an item: its rows and all that hangs on them, and every other place of the database that names or shows it.

What is counted stays true: counts and datasets go with the item, and the next snapshot is taken without it. Figures that were computed
while it was there stay as they were found.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, select, update

from annotriage.store import jobs, trainings
from annotriage.store.counters import chunks, recounted
from annotriage.store.erased import mark_erased
from annotriage.store.files import drop_unused
from annotriage.store.insights import forget_insights
from annotriage.store.maps import piece_to_change, pieces_around, write_piece
from annotriage.store.mentions import DISTINCT, ERASED, Mentions
from annotriage.store.projects import Project, hold_project
from annotriage.store.schema import (
    dataset,
    event,
    finding,
    gold,
    inbox,
    item,
    item_dataset,
    job,
    label_audit,
    map_,
    proposal,
    report,
    saved_view,
    snapshot,
    thumbnail,
    training_item,
)
from annotriage.store.schema import project as project_table

SPOKEN = ("facts", "payload", "next_payload", "text", "reason", "note")  # columns in which items may be named
AT_ONCE = 500  # rows that are read at once


@dataclass(frozen=True, slots=True)
class Doomed:
    """An item that is to be erased. names: by which it goes anywhere: of its task, as pushed, what it shows. face: its small picture,
    b"" if there is none (any more)."""

    id: int
    external_id: str | None
    names: tuple[str, ...]
    face: bytes = b""


def doomed(connection: Connection, project: Project, names: Sequence[str]) -> dict[str, Doomed]:
    """The items of these tasks or markers, by the name that was given; those that are not there are left out.

    With an item go its copies that people are asked as gold tasks, by their own names.
    """
    found: dict[str, Doomed] = {}
    for column in (item.c.external_id, item.c.marker):
        for some in chunks(list(names)):
            query = select(column, item.c.id, item.c.external_id, item.c.marker, item.c.media, thumbnail.c.content)
            query = query.outerjoin(thumbnail, thumbnail.c.item_id == item.c.id)
            for row in connection.execute(query.where(item.c.project_id == project.id, column.in_(some))):
                called = tuple(filter(None, (row.external_id, row.marker, row.media, _file_of(row.media))))
                found.setdefault(row[0], Doomed(row.id, row.external_id, called, bytes(row.content or b"")))
    for some in chunks([lost.id for lost in found.values()]):
        copies = select(item.c.id, item.c.external_id, item.c.media).join(gold, gold.c.item_id == item.c.id)
        for id, task, media in connection.execute(copies.where(gold.c.source_id.in_(some))):
            found.setdefault(task, Doomed(id, task, tuple(filter(None, (task, _file_of(media))))))
    return found


def ask(connection: Connection, project: Project, names: Iterable[str], by: str) -> None:
    """Let the jobs process erase items, which can open references; what was asked for before is erased, too."""
    hold_project(connection, project.id)  # who asks at the same moment waits, and sees what is asked for here
    waiting = jobs.open_payload(connection, project.id, jobs.ERASURE)
    jobs.queue_last_word(connection, project.id, jobs.ERASURE, {"names": sorted({*waiting.get("names", ()), *names}), "by": by})


def put_off(connection: Connection, asked: jobs.Job, owner: str, reason: str, until: float) -> bool:
    """What this owner could not erase waits to be tried again then, with what was asked for meanwhile. False if it ran there no more."""
    if not jobs.is_wanted(connection, asked.id):
        return False  # its project was disconnected meanwhile
    hold_project(connection, asked.project_id)  # as in `ask`
    present, meanwhile = jobs.asked_of(connection, asked.id)
    names = sorted({*present["names"], *meanwhile.get("names", ())})
    return jobs.put_off(connection, asked.id, owner, {**present, **meanwhile, "names": names}, reason, until)


def is_called(name: str, names: Collection[str]) -> bool:
    """Whether a kept item of this name goes by one of the names of erased ones; a path may end with the name of a file."""
    file = name.rpartition("/")[2]
    return name in names or ("." in file and file in names)


def _file_of(media: str) -> str:
    """The name of an address's file, by which errors may call it; "" where it could be any other word."""
    name = "" if media.startswith("data:") else media.partition("?")[0].rpartition("/")[2]
    return name if len(name) >= DISTINCT and "." in name else ""


def erase(connection: Connection, project: Project, items: Sequence[Doomed]) -> None:
    """Erase items from everything but the inbox and the files of references."""
    ids = [lost.id for lost in items]
    datasets = [id for some in chunks(ids) for id in _datasets(connection, some)]
    names, tasks = _names(items)
    _overwrite_freed(connection)
    with recounted(connection, ids):
        for some in chunks(ids):
            connection.execute(item.delete().where(item.c.id.in_(some)))
    mentions = Mentions(tasks, names | _off_emptied(connection, datasets))
    mark_erased(connection, project.id, tasks)
    _off_maps(connection, project, ids)
    _out_of_snapshots(connection, sorted(set(datasets)), names)
    connection.execute(report.delete().where(report.c.dataset_id.in_(datasets)))
    trainings.forget_items(connection, project.id, mentions.out_of)
    forget_insights(connection, project.id)
    drop_unused(connection)
    _out_of_history(connection, project, mentions)
    _out_of_views(connection, project, mentions)
    _out_of_samples(connection, names, {lost.face for lost in items if lost.face})


def erase_from_inbox(connection: Connection, items: Sequence[Doomed]) -> None:
    """Erase webhooks that speak of the items, read or not: what else they told, the polls bring. connection: to the inbox."""
    names, tasks = _names(items)
    mentions = Mentions(tasks, names)
    _overwrite_freed(connection)
    for id in connection.execute(select(inbox.c.id)).scalars().all():
        body, error = connection.execute(select(inbox.c.body, inbox.c.error).where(inbox.c.id == id)).one()
        if mentions.may_be_in(bytes(body).decode("utf-8", "replace").replace("\\/", "/")) or mentions.may_be_in(error or ""):
            connection.execute(inbox.delete().where(inbox.c.id == id))


def _names(items: Sequence[Doomed]) -> tuple[set[str], set[str]]:
    """By which they go anywhere; and those of them that are numbers of tasks."""
    return {name for lost in items for name in lost.names}, {lost.external_id for lost in items if lost.external_id}


def _overwrite_freed(connection: Connection) -> None:
    """What is erased from now on leaves nothing in freed pages of SQLite."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete=ON")


def _datasets(connection: Connection, ids: Sequence[int]) -> list[int]:
    return list(connection.execute(select(item_dataset.c.dataset_id).where(item_dataset.c.item_id.in_(ids)).distinct()).scalars())


def _off_emptied(connection: Connection, datasets: Collection[int]) -> set[str]:
    """Take the values of fields off those of these datasets that have no item any more, and had them from those that they lost: their
    names before. What was found of them stays, and new items of the same value make a dataset of their own."""
    emptied = set[str]()
    for some in chunks(sorted(set(datasets))):
        # One that somebody writes at this moment is about to have another item.
        fields = select(dataset.c.id, dataset.c.name).where(dataset.c.id.in_(some), dataset.c.kind == "field").order_by(dataset.c.id)
        rows = connection.execute(fields.with_for_update(skip_locked=True)).all()
        kept = set(connection.execute(select(item_dataset.c.dataset_id).where(item_dataset.c.dataset_id.in_(some)).distinct()).scalars())
        for id, name in (row for row in rows if row[0] not in kept):
            values = {"name": f"{name.partition('=')[0]}={ERASED} {id}"}
            connection.execute(update(dataset).where(dataset.c.id == id).values(values))
            emptied.add(name)
    return emptied


def _off_maps(connection: Connection, project: Project, ids: Sequence[int]) -> None:
    maps = connection.execute(select(map_.c.id).where(map_.c.project_id == project.id)).scalars().all()
    for map_id in maps:
        for number in pieces_around(connection, map_id, min(ids), max(ids)):
            piece = piece_to_change(connection, map_id, number)
            if piece is not None and sum(piece.drop(id) for id in ids):
                write_piece(connection, map_id, number, piece)


def _out_of_snapshots(connection: Connection, datasets: Sequence[int], names: Collection[str]) -> None:
    """Groups name some of their items."""
    for id in connection.execute(select(snapshot.c.id).where(snapshot.c.dataset_id.in_(datasets))).scalars().all():
        facts = connection.execute(select(snapshot.c.facts).where(snapshot.c.id == id)).scalar_one() or {}
        groups = facts.get("groups", [])
        if not any(set(names) & {group["medoid"], *group["ids"]} for group in groups):
            continue
        for group in groups:
            group["ids"] = [name for name in group["ids"] if name not in names]
            if group["medoid"] in names:
                group["medoid"] = next(iter(group["ids"]), "")
        connection.execute(update(snapshot).where(snapshot.c.id == id).values(facts=facts))


def _out_of_history(connection: Connection, project: Project, mentions: Mentions) -> None:
    """Sentences and facts that name the items; that something happened stays."""
    hold_project(connection, project.id)  # before its jobs, as whoever asks for one while it holds the project
    for table in (event, job, finding, label_audit, proposal):
        columns = [column for column in table.c if column.name in SPOKEN]
        key = next(iter(table.primary_key))
        query, last = select(key, *columns).where(table.c.project_id == project.id).order_by(key).limit(AT_ONCE), -1
        while rows := connection.execute(query.where(key > last)).all():
            last = rows[-1][0]
            for id in (row[0] for row in rows if any(mentions.out_of(value) != value for value in row[1:])):
                present = select(*columns).where(key == id).with_for_update()  # somebody may have changed it since it was read
                for now in connection.execute(present).all():
                    values = {name: mentions.out_of(value) for name, value in now._mapping.items()}
                    connection.execute(update(table).where(key == id).values(values))
    told = connection.execute(select(project_table.c.trouble, project_table.c.problem).where(project_table.c.id == project.id)).one()
    values = {name: mentions.out_of(value) for name, value in told._mapping.items()}
    connection.execute(update(project_table).where(project_table.c.id == project.id).values(values))


def _out_of_views(connection: Connection, project: Project, mentions: Mentions) -> None:
    """Views that ask for the items: the rest of what they ask for stays."""
    for id, query in connection.execute(select(saved_view.c.id, saved_view.c.query).where(saved_view.c.project_id == project.id)).all():
        if (left := mentions.out_of_query(query)) != query:
            connection.execute(update(saved_view).where(saved_view.c.id == id).values(query=left))


def _out_of_samples(connection: Connection, names: Collection[str], faces: Collection[bytes]) -> None:
    """What people see of the training items that are called alike, or are the same picture."""
    rows = connection.execute(select(training_item.c.reference_id, training_item.c.place, training_item.c.name)).all()
    here = [
        and_(training_item.c.reference_id == row.reference_id, training_item.c.place == row.place)
        for row in rows
        if is_called(row.name, names)
    ]
    here += [training_item.c.thumbnail == face for face in faces]
    for row in here:
        connection.execute(update(training_item).where(row).values(name=ERASED, thumbnail=None))
