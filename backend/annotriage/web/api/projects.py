"""Projects: how they stand, what happened to them, stopping automatic labels and letting them go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import request

from annotriage.errors import DataError
from annotriage.service.guarantee import pausing
from annotriage.service.operations.process import Process
from annotriage.service.readings.project import EventLine, ProjectDetail, ProjectLine, event_lines, project_detail, project_line
from annotriage.store.events import history
from annotriage.store.projects import project_of, projects
from annotriage.web.api.openapi import Asked, Operation
from annotriage.web.api.paging import AFTER, LIMIT, next_page, number_after
from annotriage.web.storable import why_unstorable


@dataclass(frozen=True, slots=True)
class ProjectList:
    """All connected projects."""

    projects: tuple[ProjectLine, ...]


@dataclass(frozen=True, slots=True)
class EventList:
    """The project's history, the latest first. next: give it as `after` for the next page; null on the last."""

    events: tuple[EventLine, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Done:
    """What was done, in a sentence."""

    done: str


def list_projects(process: Process) -> ProjectList:
    """The connected projects and how they stand."""
    with process.store.reading() as connection:
        return ProjectList(tuple(project_line(connection, process, found) for found in projects(connection, gone=True)))


def get_project(asked: Asked) -> ProjectDetail:
    """A project in full."""
    return project_detail(asked.connection, asked.process, asked.project)


def list_events(asked: Asked, after: str | None, limit: int) -> EventList:
    """What happened, the latest first."""
    rows = history(asked.connection, asked.project.id, before=number_after(after), limit=limit)
    return EventList(event_lines(rows), next_page(rows, limit, lambda row: row.id))


def pause(process: Process, project: str) -> Done:
    """Stop automatic labels at once."""
    with process.store.writing() as connection:
        return Done(pausing.pause(connection, project_of(connection, project), _reason()))


def resume(process: Process, project: str) -> Done:
    """Let labels be automatic again."""
    with process.store.writing() as connection:
        return Done(pausing.resume(connection, project_of(connection, project)))


def _reason() -> str:
    """The reason in the body, if there is one."""
    if not request.get_data():
        return ""
    body = request.get_json(silent=True)
    if not isinstance(body, dict) or not isinstance(body.get("reason", ""), str):
        raise DataError('the request\'s body is not understood; leave it out, or send {"reason": "..."}')
    if fault := why_unstorable(body):
        raise DataError(f"reason: {fault}")
    return str(body.get("reason", ""))


REASON: dict[str, dict[str, Any]] = {"application/json": {"type": "object", "properties": {"reason": {"type": "string"}}}}
ALARM = ((409, "The alarm stopped automatic labels; only a recalibration lifts it."),)

OPERATIONS = (
    Operation("GET", "/projects", list_projects, ProjectList),
    Operation("GET", "/projects/{project}", get_project, ProjectDetail),
    Operation("GET", "/projects/{project}/events", list_events, EventList, (AFTER, LIMIT)),
    Operation("POST", "/projects/{project}/pause", pause, Done, body=REASON),
    Operation("POST", "/projects/{project}/resume", resume, Done, statuses=ALARM),
)
