"""Projects: how they stand, what happened to them, stopping automatic labels and letting them go on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from flask import request
from sqlalchemy import Connection

from annotriage.advice.state_words import why_paused
from annotriage.errors import DataError
from annotriage.service.guarantee import pausing
from annotriage.service.operations.process import Process
from annotriage.store import browsing
from annotriage.store.projects import Project, history, project_of, projects
from annotriage.store.references import get_reference
from annotriage.web.api.openapi import Operation, Time, time_text
from annotriage.web.api.paging import AFTER, LIMIT, next_page, number_after
from annotriage.web.api.routes import Route, routes_of


@dataclass(frozen=True, slots=True)
class ProjectLine:
    """A connected project. queue: items that wait for a person; waiting: items still to be judged.

    paused: why nothing is automatic; trouble: why nothing is judged; problem: why nothing is delivered; null where all is well.
    gone: it was deleted in the labeling tool. watch: nothing is written into the labeling tool.
    """

    project: str
    title: str
    address: str
    version: str
    watch: bool
    gone: bool
    paused: str | None
    trouble: str | None
    problem: str | None
    queue: int
    waiting: int
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class ProjectList:
    """All connected projects."""

    projects: tuple[ProjectLine, ...]


@dataclass(frozen=True, slots=True)
class Rescoring:
    """A new reference that takes over once every item has its prediction. waiting: items still to be judged under it;
    undelivered: predictions that are not confirmed yet."""

    version: str
    waiting: int
    undelivered: int


@dataclass(frozen=True, slots=True)
class ProjectDetail:
    """A project in full. guarantee: in a sentence. undelivered: predictions not confirmed yet, by state. options: how it is triaged."""

    project: ProjectLine
    guarantee: str
    classes: tuple[str, ...]
    options: dict[str, Any]
    undelivered: dict[str, int]
    rescoring: Rescoring | None


@dataclass(frozen=True, slots=True)
class EventLine:
    """Something that happened to the project."""

    event: int
    kind: str
    text: str
    at: Time


@dataclass(frozen=True, slots=True)
class EventPage:
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
        return ProjectList(tuple(project_line(connection, process, one) for one in projects(connection, gone=True)))


def get_project(process: Process, project: str) -> ProjectDetail:
    """A project in full."""
    with process.store.reading() as connection:
        return project_detail(connection, process, project_of(connection, project))


def list_events(process: Process, project: str, after: str | None, limit: int) -> EventPage:
    """What happened, the latest first."""
    with process.store.reading() as connection:
        rows = history(connection, project_of(connection, project).id, before=number_after(after), limit=limit)
    lines = tuple(EventLine(row.id, row.kind, row.text, time_text(row.at)) for row in rows)
    return EventPage(lines, next_page(rows, limit, lambda row: row.id))


def pause(process: Process, project: str) -> Done:
    """Stop automatic labels at once."""
    with process.store.writing() as connection:
        return Done(pausing.pause(connection, project_of(connection, project), _reason()))


def resume(process: Process, project: str) -> Done:
    """Let labels be automatic again."""
    with process.store.writing() as connection:
        return Done(pausing.resume(connection, project_of(connection, project)))


def project_line(connection: Connection, process: Process, project: Project) -> ProjectLine:
    """A project in a line."""
    return ProjectLine(
        project=project.external_id,
        title=project.title,
        address=process.tool_project(project).address(),
        version=project.version,
        watch=project.watch,
        gone=project.gone,
        paused=why_paused(project.pause, project.alarm, project.external_id),
        trouble=project.trouble,
        problem=project.problem,
        queue=browsing.queue_length(connection, project),
        waiting=browsing.waiting(connection, project),
        routes=routes_of(browsing.routes_of(connection, project)),
    )


def project_detail(connection: Connection, process: Process, project: Project) -> ProjectDetail:
    """A project in full."""
    return ProjectDetail(
        project_line(connection, process, project),
        get_reference(connection, project.reference_id).facts["guarantee"]["sentence"],
        project.classes,
        asdict(project.options),
        browsing.undelivered(connection, project.id, project.reference_id),
        _rescoring(connection, project),
    )


def _rescoring(connection: Connection, project: Project) -> Rescoring | None:
    if project.next_reference_id is None:
        return None
    version = get_reference(connection, project.next_reference_id).prediction_version
    waiting = browsing.waiting(connection, project, project.next_reference_id)
    return Rescoring(version, waiting, sum(browsing.undelivered(connection, project.id, project.next_reference_id).values()))


def _reason() -> str:
    """The reason in the body, if there is one."""
    if not request.get_data():
        return ""
    body = request.get_json(silent=True)
    if not isinstance(body, dict) or not isinstance(body.get("reason", ""), str):
        raise DataError('the request\'s body is not understood; leave it out, or send {"reason": "..."}')
    return str(body.get("reason", ""))


REASON: dict[str, dict[str, Any]] = {"application/json": {"type": "object", "properties": {"reason": {"type": "string"}}}}
ALARM = ((409, "The alarm stopped automatic labels; only a recalibration lifts it."),)

OPERATIONS = (
    Operation("GET", "/projects", list_projects, ProjectList),
    Operation("GET", "/projects/{project}", get_project, ProjectDetail),
    Operation("GET", "/projects/{project}/events", list_events, EventPage, (AFTER, LIMIT)),
    Operation("POST", "/projects/{project}/pause", pause, Done, body=REASON),
    Operation("POST", "/projects/{project}/resume", resume, Done, statuses=ALARM),
)
