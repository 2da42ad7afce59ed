"""How the service itself is: its processes, what could not be read, delivered or written, its jobs, and what can be tried again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from flask import flash, redirect, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection

from annotriage.advice.numbers import count
from annotriage.labeling_tool import Check
from annotriage.service.operations.process import Process
from annotriage.states import EventKind, Role
from annotriage.store import deliveries, field_writes, inbox, reviews, work
from annotriage.store.browsing import FailedItem, failures
from annotriage.store.events import note
from annotriage.store.inbox import Unreadable
from annotriage.store.jobs import Job, jobs_of
from annotriage.store.projects import Project
from annotriage.store.work import STANDS_BACK, Heartbeat
from annotriage.web.routing import Routes
from annotriage.web.sessions import visitor_may
from annotriage.web.visited import visited_projects

ROLES = ("web", "worker", "jobs")
ROLE_WORDS = {
    "web": "pages, API, webhooks",
    "worker": "judges, delivers, follows the labeling tool",
    "joining": "loads its models before it joins the other workers",
    "jobs": "figures, groups, maps, fields",
    STANDS_BACK: "a model does not run there: near duplicates of a project are left to other replicas",
}
LISTED = 20


@dataclass(frozen=True)
class ProjectWork:
    """What one project has outstanding, and what went wrong in it."""

    project: Project
    waiting: int
    undelivered: dict[str, int]
    troubles: Sequence[deliveries.Trouble]
    failed_fields: int
    failures: Sequence[FailedItem]
    empty: Sequence[str]


@dataclass(frozen=True)
class SystemPage:
    """What the page shows. missing: roles of which no process lives. jobs: each with its project."""

    processes: Sequence[tuple[Heartbeat, bool]]
    missing: Sequence[str]
    inbox: dict[str, int]
    unread: Sequence[Unreadable]
    projects: Sequence[ProjectWork]
    jobs: Sequence[tuple[str, Job]]
    database: str


@dataclass(frozen=True)
class ChecksPage:
    """What doctor found, and when. Each check with what it is of: the service or a project."""

    checks: Sequence[tuple[str, Check]]
    at: float


def add_views(routes: Routes) -> None:
    """Add the pages and what they offer."""
    process = routes.process

    def system() -> SystemPage:
        with process.store.reading() as connection, process.store.inbox.reading() as arrived:
            return _page(connection, arrived, process)

    def checks() -> ChecksPage:
        from annotriage.service.operations.doctor import checks_of

        return ChecksPage(list(checks_of(process, hides_checks=not visitor_may(Role.DECIDE))), time.time())

    routes.page("/system", "system", system, ROLE_WORDS=ROLE_WORDS)
    routes.page("/system/checks", "checks", checks)

    @routes.writing("/retry-deliveries")
    def retry_deliveries(connection: Connection, project: Project) -> ResponseReturnValue:
        again = deliveries.retry(connection, project)
        note(connection, project.id, EventKind.RETRIED, predictions=again)
        flash(f"{count(again, 'prediction')} will be sent again.", "done")
        return redirect(url_for("web.system"), 303)

    @routes.writing("/retry-fields")
    def retry_fields(connection: Connection, project: Project) -> ResponseReturnValue:
        again = field_writes.retry(connection, project)
        flash(f"The fields of {count(again, 'task')} will be written again.", "done")
        return redirect(url_for("web.system"), 303)

    @routes.pages.post("/system/clear-inbox")
    def clear_inbox() -> ResponseReturnValue:
        with process.store.inbox.writing() as connection:
            gone = inbox.clear(connection)
        flash(f"{count(gone, 'webhook')} forgotten; what they told, the polls brought.", "done")
        return redirect(url_for("web.system"), 303)


def _page(connection: Connection, arrived: Connection, process: Process) -> SystemPage:
    """arrived: of the inbox."""
    living, known = work.living(connection), visited_projects(connection)
    names = {project.id: project.external_id for project in known}
    alive = {found.role for found in living} | {process.role}  # who makes the page is there, whatever became of its last sign of life
    return SystemPage(
        processes=[(found, found in living) for found in work.registered(connection)],
        missing=[role for role in ROLES if role not in alive],
        inbox=inbox.states(arrived),
        unread=inbox.troubles(arrived, LISTED),
        projects=[_work(connection, project) for project in known],
        jobs=[(names[job.project_id], job) for job in jobs_of(connection, limit=LISTED)],
        database="SQLite, in a file of this machine" if process.store.is_sqlite else "PostgreSQL",
    )


def _work(connection: Connection, project: Project) -> ProjectWork:
    return ProjectWork(
        project,
        work.waiting(connection, project.id, project.reference_id),
        deliveries.undelivered(connection, project.id),
        deliveries.troubles(connection, project.id, LISTED),
        field_writes.failed(connection, project),
        failures(connection, project, LISTED),
        reviews.empty_answers(connection, project, LISTED),
    )
