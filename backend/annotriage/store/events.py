"""Events: what happened to a project, as facts. What they say to people is in `advice.event_words`."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from annotriage.states import NOTICED, PASSING, EventKind, NoticeWay
from annotriage.store.counters import drop_past_latest
from annotriage.store.schema import event, notice, project

COUNTED = (EventKind.ERASED,)  # each of them is told, also the same one after the other


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a project. facts: what its sentence takes, by name. at: seconds since 1970."""

    id: int
    kind: EventKind
    facts: dict[str, Any]
    at: float


def note(connection: Connection, project_id: int, kind: EventKind, **facts: Any) -> int | None:
    """Write an event into the project's history: its id; None if the last one there is the same, or the project was disconnected meanwhile.

    facts: values of JSON, named as the sentence of the kind in `advice.event_words` takes them.
    """
    if connection.execute(select(project.c.id).where(project.c.id == project_id)).one_or_none() is None:
        return None
    last = connection.execute(
        select(event.c.kind, event.c.facts).where(event.c.project_id == project_id).order_by(event.c.id.desc()).limit(1)
    ).one_or_none()
    if last is not None and last.kind == kind and kind not in COUNTED and last.facts == json.loads(json.dumps(facts)):
        return None
    values = {"project_id": project_id, "kind": kind, "facts": facts, "at": time.time()}
    id = int(connection.execute(event.insert().values(values).returning(event.c.id)).scalar_one())
    if kind in NOTICED:
        connection.execute(notice.insert(), [{"event_id": id, "way": way} for way in NoticeWay])
    return id


def unnote(connection: Connection, id: int) -> None:
    """It did not happen after all."""
    connection.execute(event.delete().where(event.c.id == id))


def drop_passing(connection: Connection, kept: int, most: int) -> int:
    """Forget events of PASSING kinds, but for the latest `kept` of each project and kind, so many at most: how many."""
    return drop_past_latest(connection, event, event.c.kind.in_(PASSING), kept, most)


def history(connection: Connection, project_id: int, *, before: int | None = None, limit: int = 100) -> list[Event]:
    """The project's events, the latest first; before: the id of the last one seen."""
    query = select(event.c.id, event.c.kind, event.c.facts, event.c.at).where(event.c.project_id == project_id)
    query = query.order_by(event.c.id.desc()).limit(limit)
    rows = connection.execute(query if before is None else query.where(event.c.id < before))
    return [Event(row.id, EventKind(row.kind), row.facts, row.at) for row in rows]


def events_of(connection: Connection, project_id: int, kinds: Sequence[EventKind], limit: int) -> list[Event]:
    """The project's events of these kinds, the latest first."""
    query = select(event.c.id, event.c.kind, event.c.facts, event.c.at).where(event.c.project_id == project_id, event.c.kind.in_(kinds))
    return [
        Event(row.id, EventKind(row.kind), row.facts, row.at) for row in connection.execute(query.order_by(event.c.id.desc()).limit(limit))
    ]
