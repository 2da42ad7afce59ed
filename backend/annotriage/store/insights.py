"""What jobs found inside the model of a project: the latest of each kind, with the pictures and figures that its page fetches."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, update

from annotriage.errors import UnknownError
from annotriage.states import AnswerState, InsightKind, Time
from annotriage.store import jobs
from annotriage.store.blindness import is_blind
from annotriage.store.counters import chunks
from annotriage.store.database import insert
from annotriage.store.items import AnsweredItem
from annotriage.store.projects import Project
from annotriage.store.schema import insight, insight_piece, item, project


@dataclass(frozen=True, slots=True)
class Insight:
    """What was found. version: of the reference that it was found with. facts: what the page of its kind shows at once."""

    id: int
    kind: InsightKind
    version: str
    facts: Mapping[str, Any]
    at: Time


def job_kind(kind: InsightKind) -> str:
    """The kind of the jobs that find it."""
    return f"model {kind}"


JOB_KINDS = tuple(map(job_kind, InsightKind))


def keep_insight(
    connection: Connection,
    project_id: int,
    kind: InsightKind,
    version: str,
    facts: Mapping[str, Any],
    pieces: Mapping[str, bytes] | None = None,
) -> int:
    """Keep what was found in the place of what was found before: its row's id. facts: plain values. pieces: by name."""
    connection.execute(insight.delete().where(insight.c.project_id == project_id, insight.c.kind == kind))
    values = {"project_id": project_id, "kind": kind, "version": version, "facts": dict(facts), "at": time.time()}
    id = int(connection.execute(insight.insert().values(values).returning(insight.c.id)).scalar_one())
    keep_pieces(connection, id, pieces or {})
    return id


def change_insight(connection: Connection, id: int, facts: Mapping[str, Any], pieces: Mapping[str, bytes]) -> bool:
    """More was found: other facts, and further pieces; False if what they belong to is gone."""
    there = connection.execute(update(insight).where(insight.c.id == id).values(facts=dict(facts), at=time.time())).rowcount == 1
    return there and keep_pieces(connection, id, pieces)


def keep_pieces(connection: Connection, insight_id: int, pieces: Mapping[str, bytes]) -> bool:
    """Keep further pieces, in the place of those of the same name; False if what they belong to is gone."""
    if connection.execute(select(insight.c.id).where(insight.c.id == insight_id)).scalar_one_or_none() is None:
        return False
    for name, content in pieces.items():
        values = {"insight_id": insight_id, "name": name, "content": content}
        add = insert(connection, insight_piece).values(values)
        connection.execute(add.on_conflict_do_update(index_elements=["insight_id", "name"], set_=values))
    return True


def insight_of(connection: Connection, project_id: int, kind: InsightKind) -> Insight | None:
    """What was found last of this kind; None before the first."""
    columns = (insight.c[name] for name in Insight.__dataclass_fields__)
    row = connection.execute(select(*columns).where(insight.c.project_id == project_id, insight.c.kind == kind)).one_or_none()
    if row is None:
        return None
    id, found, *rest = row
    return Insight(id, InsightKind(found), *rest)


def piece_of(connection: Connection, project: Project, insight_id: int, name: str) -> bytes:
    """One piece. Raises UnknownError if it is none of the project's, or is gone."""
    query = select(insight_piece.c.content).join(insight, insight.c.id == insight_piece.c.insight_id)
    query = query.where(insight.c.project_id == project.id, insight.c.id == insight_id, insight_piece.c.name == name)
    content = connection.execute(query).scalar_one_or_none()
    if content is None:
        raise UnknownError(f"project {project.external_id}: this view of the model is being made again; load the page again")
    return bytes(content)


def answered_of(connection: Connection, project_id: int, item_ids: Sequence[int]) -> dict[int, AnsweredItem]:
    """Those of these items of whose class may be spoken, because people have answered them; by id."""
    columns = [item.c[name] for name in ("id", "external_id", "marker", "media", "media_hash", "group", "labels")]
    found: dict[int, AnsweredItem] = {}
    for ids in chunks(list(item_ids)):
        named = select(*columns).where(item.c.project_id == project_id, item.c.id.in_(ids))
        answered = named.where(item.c.answer == AnswerState.RESOLVED, ~item.c.gone, ~is_blind(item.c.id))
        for row in connection.execute(answered):
            given = tuple(row.labels or ())
            found[row.id] = AnsweredItem(row.id, row.external_id, row.marker, row.media, row.media_hash, row.group, given)
    return found


def name_of(answered: AnsweredItem) -> str:
    """What people call an item: its task, or the id that it was pushed with."""
    return answered.external_id or answered.marker or ""


def stop_looks(connection: Connection, project_id: int) -> bool:
    """What runs keeps nothing, since it may have seen an item that is erased: whether anything ran. What waits has seen none."""
    stopped = [jobs.cancel(connection, project_id, kind, waiting=False, forget=True) for kind in JOB_KINDS]
    return any(stopped)


def forget_reference(connection: Connection, reference_id: int) -> set[int]:
    """An item is erased from a reference: of all projects that use it, what was found goes, and what runs keeps nothing. Those of them in
    which anything ran."""
    stopped = set()
    for id in connection.execute(select(project.c.id).where(project.c.reference_id == reference_id)).scalars().all():
        if stop_looks(connection, id):
            stopped.add(id)
        forget_insights(connection, id)
    return stopped


def forget_insights(connection: Connection, project_id: int) -> None:
    """An item was erased: what was found goes, since the item may be shown in it."""
    connection.execute(insight.delete().where(insight.c.project_id == project_id))
