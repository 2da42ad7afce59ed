"""How a project stands: in a line, in full, and what happened to it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection

from annotriage.advice.event_words import event_sentence
from annotriage.advice.state_words import why_paused
from annotriage.service.operations.doctor import LATE_SECONDS
from annotriage.service.operations.process import Process
from annotriage.service.readings.guarantee import guarantee_now
from annotriage.service.readings.waiting import waiting_work
from annotriage.states import Time
from annotriage.store import work
from annotriage.store.datasets import RouteCount, routes_of
from annotriage.store.deliveries import undelivered
from annotriage.store.events import Event
from annotriage.store.projects import Project
from annotriage.store.queue import queue_length
from annotriage.store.references import get_reference


@dataclass(frozen=True, slots=True)
class ProjectLine:
    """A connected project. queue: items that wait for a person, spot checks left out; waits: all that wait, in words; waiting: items still
    to be judged.

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
    waits: str
    waiting: int
    routes: tuple[RouteCount, ...]


@dataclass(frozen=True, slots=True)
class Rescoring:
    """A new reference that takes over once every item has its prediction. waiting: items still to be judged under it;
    undelivered: predictions that are not confirmed yet."""

    version: str
    waiting: int
    undelivered: int


@dataclass(frozen=True, slots=True)
class ProjectDetail:
    """A project in full. guarantee: in a sentence. undelivered: predictions not confirmed yet, by state. options: how it is triaged.

    service: what keeps the running service from the labeling tool, as a refused token; null if nothing does.
    """

    project: ProjectLine
    guarantee: str
    classes: tuple[str, ...]
    options: dict[str, Any]
    undelivered: dict[str, int]
    rescoring: Rescoring | None
    service: str | None


@dataclass(frozen=True, slots=True)
class EventLine:
    """Something that happened to the project. text: in a sentence; facts: what it is made of, by name."""

    id: int
    kind: str
    text: str
    facts: dict[str, Any]
    at: Time


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
        queue=queue_length(connection, project),
        waits=waiting_work(connection, project).sentence,
        waiting=work.waiting(connection, project.id, project.reference_id),
        routes=tuple(routes_of(connection, project)),
    )


def project_detail(connection: Connection, process: Process, project: Project) -> ProjectDetail:
    """A project in full."""
    return ProjectDetail(
        project_line(connection, process, project),
        guarantee_now(connection, project).sentence,
        project.classes,
        asdict(project.options),
        undelivered(connection, project.id, project.reference_id),
        rescoring_of(connection, project),
        work.trouble(work.living(connection)) or None,
    )


def rescoring_of(connection: Connection, project: Project) -> Rescoring | None:
    """How far the reference is that will take over; None if there is none."""
    if project.next_reference_id is None:
        return None
    version = get_reference(connection, project.next_reference_id).prediction_version
    waiting = work.waiting(connection, project.id, project.next_reference_id)
    return Rescoring(version, waiting, sum(undelivered(connection, project.id, project.next_reference_id).values()))


def event_lines(events: Sequence[Event]) -> tuple[EventLine, ...]:
    """A project's history, the sentences made."""
    return tuple(EventLine(event.id, event.kind, event_sentence(event.kind, event.facts), event.facts, event.at) for event in events)


def unread_seconds(project: Project) -> float:
    """How long the labeling tool has not been read, if that is longer than it should be; 0 if all is well."""
    late = time.time() - project.read_until
    return late if project.read_until and late > LATE_SECONDS and not project.gone else 0.0
