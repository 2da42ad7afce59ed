"""How projects stand, for the API and the command line alike."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import Connection

from annotriage.service import resources
from annotriage.service.process import Process
from annotriage.service.resources import ProjectDetail, ProjectLine, Rescoring
from annotriage.store import browsing
from annotriage.store.projects import Project
from annotriage.store.references import get_reference


def project_line(connection: Connection, process: Process, project: Project) -> ProjectLine:
    """A project in a line."""
    return ProjectLine(
        project=project.external_id,
        title=project.title,
        address=process.tool_project(project).address(),
        version=project.version,
        watch=project.watch,
        gone=project.gone,
        paused=project.paused,
        trouble=project.trouble,
        problem=project.problem,
        queue=browsing.queue_length(connection, project),
        waiting=browsing.waiting(connection, project),
        routes=resources.routes_of(browsing.routes_of(connection, project)),
    )


def project_detail(connection: Connection, process: Process, project: Project) -> ProjectDetail:
    """A project in full."""
    return ProjectDetail(
        project_line(connection, process, project),
        get_reference(connection, project.reference_id).facts["promise"]["sentence"],
        project.classes,
        asdict(project.options),
        browsing.undelivered(connection, project.id, project.reference_id),
        _rescoring(connection, project),
    )


def in_words(detail: ProjectDetail) -> list[str]:
    """A project's state in sentences, for people at the command line."""
    line = detail.project
    counts = ", ".join(f"{one.items:,} {one.route} ({one.open:,} open)" for one in line.routes) or "nothing judged yet"
    words = [f"Project {line.project}, {line.title!r}: {line.address}", f"  {line.version}: {counts}."]
    words.append(f"  {line.queue:,} wait for a person, {line.waiting:,} are still to be judged, {_undelivered(detail)} to be delivered.")
    words.append(f"  {detail.promise}")
    if detail.rescoring is not None:
        words.append(
            f"  {detail.rescoring.version} takes over once all is delivered: {detail.rescoring.waiting:,} still to be judged,"
            f" {detail.rescoring.undelivered:,} to be delivered."
        )
    states = (
        (line.watch, "Watched only: nothing is written into it."),
        (line.gone, "It was deleted in the labeling tool; annotriage disconnect forgets it."),
        (line.paused, f"Nothing is automatic: {line.paused}"),
        (line.trouble, f"Nothing is judged: {line.trouble}"),
        (line.problem, f"Nothing is delivered: {line.problem}"),
    )
    return words + [f"  {text}" for holds, text in states if holds]


def _undelivered(detail: ProjectDetail) -> str:
    return f"{sum(count for state, count in detail.undelivered.items() if state != 'refused'):,}"


def _rescoring(connection: Connection, project: Project) -> Rescoring | None:
    if project.next_reference_id is None:
        return None
    version = get_reference(connection, project.next_reference_id).prediction_version
    waiting = browsing.waiting(connection, project, project.next_reference_id)
    return Rescoring(version, waiting, sum(browsing.undelivered(connection, project.id, project.next_reference_id).values()))
