"""Whether anything changed that pages show: asked every few seconds by those that are open."""

from __future__ import annotations

import hashlib

from flask import Blueprint
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection

from annotriage.service.operations.process import Process
from annotriage.store import dashboard
from annotriage.store.projects import project_of, projects


def routes(pages: Blueprint, process: Process) -> None:
    """Add the addresses."""

    @pages.get("/changes")
    def all_changes() -> ResponseReturnValue:
        with process.store.reading() as connection:
            return {"mark": _mark(connection, [one.id for one in projects(connection, gone=True)])}

    @pages.get("/projects/<project>/changes")
    def changes(project: str) -> ResponseReturnValue:
        with process.store.reading() as connection:
            return {"mark": _mark(connection, [project_of(connection, project).id])}


def _mark(connection: Connection, project_ids: list[int]) -> str:
    return hashlib.sha256(repr(dashboard.mark_of(connection, project_ids)).encode()).hexdigest()[:16]
