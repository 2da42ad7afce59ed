"""Whether anything changed that pages show: asked every few seconds by those that are open."""

from __future__ import annotations

import hashlib

from flask.typing import ResponseReturnValue
from sqlalchemy import Connection

from annotriage.store.projects import Project, mark_of, projects
from annotriage.web.routing import Routes


def add_views(routes: Routes) -> None:
    """Add the addresses."""

    @routes.pages.get("/changes")
    def all_changes() -> ResponseReturnValue:
        with routes.process.store.reading() as connection:
            return {"mark": _mark(connection, [project.id for project in projects(connection, gone=True)])}

    @routes.reading("/changes")
    def changes(connection: Connection, project: Project) -> ResponseReturnValue:
        return {"mark": _mark(connection, [project.id])}


def _mark(connection: Connection, project_ids: list[int]) -> str:
    return hashlib.sha256(repr(mark_of(connection, project_ids)).encode()).hexdigest()[:16]
