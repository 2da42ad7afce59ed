"""A project as whoever looks may see it.

Gold tasks are in no list. So whoever has both a list of ours and the labeling tool's tab of spot checks could tell them by what is missing.
People who answer there need no more here than to look: for them open spot checks are in no list either, until they are answered.
"""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection

from annotriage.states import Role
from annotriage.store.projects import Project, project_of, projects
from annotriage.web.sessions import visitor_may


def visited_project(connection: Connection, external_id: str) -> Project:
    """The project with that id in the labeling tool, for whoever looks. Raises UnknownError."""
    return replace(project_of(connection, external_id), hides_checks=not visitor_may(Role.DECIDE))


def visited_projects(connection: Connection) -> list[Project]:
    """All connected projects, those deleted in the labeling tool too, for whoever looks."""
    hides = not visitor_may(Role.DECIDE)
    return [replace(found, hides_checks=hides) for found in projects(connection, gone=True)]
