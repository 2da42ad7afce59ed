"""Views of a page that the team keeps by name: what is filtered and how it is ordered, as the page's address has it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select

from annotriage.errors import StateError
from annotriage.states import Time
from annotriage.store.database import columns_of, insert
from annotriage.store.projects import Project
from annotriage.store.schema import saved_view

MOST = 50  # of a page: so many can be listed


@dataclass(frozen=True, slots=True)
class SavedView:
    """A view. query: of the page's address. by: who kept it."""

    id: int
    name: str
    query: str
    by: str
    at: Time


def saved_views(connection: Connection, project: Project, page: str) -> list[SavedView]:
    """The views of a page, by name."""
    return [SavedView(*row) for row in connection.execute(_OF_PAGE, {"of_project": project.id, "of_page": page})]


_OF_PAGE = (
    select(*columns_of(saved_view, SavedView))
    .where(saved_view.c.project_id == bindparam("of_project"), saved_view.c.page == bindparam("of_page"))
    .order_by(saved_view.c.name)
    .limit(MOST)
)


def keep_view(connection: Connection, project: Project, page: str, name: str, query: str, by: str) -> None:
    """Keep a view; one of the same name is replaced. Raises StateError if there are as many as can be listed."""
    names = {view.name for view in saved_views(connection, project, page)}
    if name not in names and len(names) >= MOST:
        raise StateError(f"{MOST} views are kept already, and no more can be listed; delete one that nobody needs")
    values = {"project_id": project.id, "page": page, "name": name, "query": query, "by": by, "at": time.time()}
    add = insert(connection, saved_view).values(values)
    changed = {column: values[column] for column in ("query", "by", "at")}
    connection.execute(add.on_conflict_do_update(index_elements=["project_id", "page", "name"], set_=changed))


def forget_view(connection: Connection, project: Project, id: int) -> None:
    """Delete a view."""
    connection.execute(saved_view.delete().where(saved_view.c.id == id, saved_view.c.project_id == project.id))
