"""Two references on the same items: which there are to compare, what each made of the items, and the comparisons that were made."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, exists, or_, select

from annotriage.errors import UnknownError
from annotriage.states import Time
from annotriage.store.blindness import is_hidden
from annotriage.store.counters import chunks
from annotriage.store.database import labels_of, stored
from annotriage.store.items import AnsweredItem
from annotriage.store.projects import Project
from annotriage.store.schema import compared_item, item, reference, training, verdict, version_comparison

LISTED = 50  # references to choose from, the latest


@dataclass(frozen=True, slots=True)
class Said:
    """What a reference makes of an item: the model's own route, and its labels, none of an item that could not be judged."""

    route: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Version:
    """A reference that judges, judged or may judge a project's items. version: of its predictions. use: present | next | former | trained
    (nothing uses it yet)."""

    id: int
    version: str
    at: Time
    use: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison that was made, on items drawn from `total`. by: who asked for it."""

    id: int
    total: int
    by: str
    at: Time


@dataclass(frozen=True, slots=True)
class ComparedItem:
    """An item and what both references make of it. route, answer, answered, machine: of the item now, as in store.browsing."""

    item_id: int
    name: str
    before: Said
    after: Said
    route: str | None
    answer: str
    answered: tuple[str, ...] | None
    machine: bool


@dataclass(frozen=True, slots=True)
class ComparedItems:
    """The items of a comparison in the order in which they came. blind: how many are left out, as people answer them blind and have not
    yet."""

    shown: tuple[ComparedItem, ...]
    blind: int


def versions_of(connection: Connection, project: Project) -> list[Version]:
    """The references that can be compared in a project, the latest first."""
    used = {project.reference_id: "present", project.next_reference_id: "next"}
    own = (verdict.c.project_id == project.id, verdict.c.reference_id == reference.c.id)
    judged = exists(select(verdict.c.item_id).where(*own))
    trained = select(training.c.reference_id).where(training.c.project_id == project.id)
    mine = or_(reference.c.id.in_([id for id in used if id is not None]), judged, reference.c.id.in_(trained))
    query = select(reference.c.id, reference.c.prediction_version, reference.c.at, judged).where(mine)
    rows = connection.execute(query.order_by(reference.c.at.desc(), reference.c.id.desc()).limit(LISTED))
    return [Version(id, version, at, used.get(id, "former" if was else "trained")) for id, version, at, was in rows]


def comparable_items(connection: Connection, project: Project) -> list[int]:
    """All items that a comparison may be drawn from: those of a project that are there, and were not labelled at first sight."""
    query = select(item.c.id).where(item.c.project_id == project.id, ~item.c.labelled, ~item.c.gone)
    return list(connection.execute(query.order_by(item.c.id)).scalars())


def said_by(connection: Connection, reference_id: int, item_ids: Sequence[int]) -> dict[int, Said]:
    """What is stored of a reference's verdicts on these items; items without one are left out."""
    found: dict[int, Said] = {}
    columns = (verdict.c.item_id, verdict.c.judged, verdict.c.labels)
    for ids in chunks(item_ids):
        query = select(*columns).where(verdict.c.reference_id == reference_id, verdict.c.item_id.in_(ids))
        found |= {id: Said(route, tuple(labels)) for id, route, labels in connection.execute(query)}
    return found


def items_to_judge(connection: Connection, item_ids: Sequence[int]) -> list[AnsweredItem]:
    """These items with what their media are read by, without labels."""
    columns = [item.c[name] for name in ("id", "external_id", "marker", "media", "media_hash", "group")]
    rows = (row for ids in chunks(item_ids) for row in connection.execute(select(*columns).where(item.c.id.in_(ids), ~item.c.gone)))
    return [AnsweredItem(**row._mapping, given=()) for row in rows]


def keep_comparison(
    connection: Connection, project: Project, before_id: int, after_id: int, said: Mapping[int, tuple[Said, Said]], total: int, by: str
) -> None:
    """Keep what two references make of items, in place of what was kept of these two before. said: by item; those that are gone by now
    are left out."""
    same = (version_comparison.c.before_id == before_id, version_comparison.c.after_id == after_id)
    connection.execute(version_comparison.delete().where(version_comparison.c.project_id == project.id, *same))
    values = {"project_id": project.id, "before_id": before_id, "after_id": after_id, "total": total, "by": by, "at": time.time()}
    id = connection.execute(version_comparison.insert().values(values).returning(version_comparison.c.id)).scalar_one()
    for ids in chunks(sorted(said)):
        there = connection.execute(select(item.c.id).where(item.c.id.in_(ids), ~item.c.gone)).scalars().all()
        rows = [
            {
                "version_comparison_id": id,
                "item_id": item_id,
                "before_route": before.route,
                "before_labels": list(before.labels),
                "after_route": after.route,
                "after_labels": list(after.labels),
            }
            for item_id in there
            for before, after in [said[item_id]]
        ]
        if rows:
            connection.execute(compared_item.insert(), rows)


def comparison_of(connection: Connection, project: Project, before_id: int, after_id: int) -> Comparison | None:
    """What was kept of these two; None if nobody asked yet."""
    columns = (version_comparison.c[name] for name in ("id", "total", "by", "at"))
    mine = (version_comparison.c.project_id == project.id, version_comparison.c.before_id == before_id)
    row = connection.execute(select(*columns).where(*mine, version_comparison.c.after_id == after_id)).one_or_none()
    return None if row is None else Comparison(*row)


def compared_items(connection: Connection, comparison_id: int) -> ComparedItems:
    """The items of a comparison that are still there."""
    name = [item.c.external_id, item.c.marker]
    of = compared_item.c
    sides = (of.before_route, stored(of.before_labels), of.after_route, stored(of.after_labels))
    state = (item.c.route, item.c.answer, stored(item.c.labels), item.c.machine)
    query = select(item.c.id, *name, *sides, *state, is_hidden(item.c.id)).join(item, item.c.id == compared_item.c.item_id)
    rows = connection.execute(query.where(compared_item.c.version_comparison_id == comparison_id, ~item.c.gone).order_by(item.c.id)).all()
    shown = tuple(
        ComparedItem(
            id,
            task or marker or "",
            Said(before, labels_of(before_labels) or ()),
            Said(after, labels_of(after_labels) or ()),
            route,
            answer,
            labels_of(labels),
            machine,
        )
        for id, task, marker, before, before_labels, after, after_labels, route, answer, labels, machine, hidden in rows
        if not hidden
    )
    return ComparedItems(shown, len(rows) - len(shown))


def version_of_project(connection: Connection, project: Project, id: int) -> Version:
    """One of the references that can be compared. Raises UnknownError."""
    for version in versions_of(connection, project):
        if version.id == id:
            return version
    raise UnknownError(f"project {project.external_id} has no version {id} to compare; load the page again")
