"""Notices: events that people are to be told of by webhook or mail. Written with the event, gone once told."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, update

from annotriage.states import EventKind, NoticeWay
from annotriage.store.schema import event, notice, project


@dataclass(frozen=True, slots=True)
class Notice:
    """An event that somebody is to be told of. project: its id in the labeling tool. attempts: that were made before."""

    event_id: int
    project: str
    title: str
    kind: EventKind
    facts: Mapping[str, Any]
    at: float
    attempts: int


def any_due(connection: Connection, ways: Collection[NoticeWay]) -> bool:
    """Whether anybody is to be told of anything in these ways."""
    due = (notice.c.way.in_(list(ways)), notice.c.not_before <= time.time())
    return connection.execute(select(notice.c.event_id).where(*due).limit(1)).first() is not None


def drop_others(connection: Connection, ways: Collection[NoticeWay]) -> None:
    """Nobody is told in other ways than these: what was to be told so is not told later either."""
    connection.execute(notice.delete().where(notice.c.way.not_in(list(ways))))


def take(connection: Connection, way: NoticeWay, until: float) -> Notice | None:
    """The earliest that is due; nobody else takes it until a moment. It counts as an attempt, should this process die over it."""
    due = (notice.c.way == way, notice.c.not_before <= time.time())
    first = select(notice.c.event_id).where(*due).order_by(notice.c.event_id).limit(1).with_for_update(skip_locked=True)
    id = connection.execute(first).scalar_one_or_none()
    if id is None:
        return None
    mine = (notice.c.way == way, notice.c.event_id == id)
    columns = (event.c.id, project.c.external_id, project.c.title, event.c.kind, event.c.facts, event.c.at, notice.c.attempts)
    query = select(*columns).join(event, event.c.id == notice.c.event_id).join(project, project.c.id == event.c.project_id)
    id, external_id, title, kind, facts, at, attempts = connection.execute(query.where(*mine)).one()
    connection.execute(update(notice).where(*mine).values(attempts=notice.c.attempts + 1, not_before=until))
    return Notice(id, external_id, title, EventKind(kind), facts, at, attempts)


def put_off(connection: Connection, way: NoticeWay, event_id: int, until: float) -> None:
    """It could not be told; it is tried again at a moment."""
    connection.execute(update(notice).where(notice.c.way == way, notice.c.event_id == event_id).values(not_before=until))


def done(connection: Connection, way: NoticeWay, event_id: int) -> None:
    """Somebody was told, or never will be."""
    connection.execute(notice.delete().where(notice.c.way == way, notice.c.event_id == event_id))
