"""Views of a list that the team keeps by name: its filters and its order, and on the map its colours."""

from __future__ import annotations

from flask import flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection

from annotriage.errors import DataError
from annotriage.store.projects import Project
from annotriage.store.saved_views import forget_view, keep_view
from annotriage.web.query_args import USUAL_STATE
from annotriage.web.routing import Routes
from annotriage.web.sessions import visitor_name

LONGEST_NAME, LONGEST_QUERY = 80, 2_000
LISTS = f"any({', '.join(USUAL_STATE)})"


def add_views(routes: Routes) -> None:
    """Add what the sidebar's buttons do."""

    @routes.writing(f"/<{LISTS}:page>/views")
    def save_view(connection: Connection, project: Project, page: str) -> ResponseReturnValue:
        """Keep the filters and the order of a list under a name, for everybody."""
        name, query = " ".join(request.form.get("name", "").split())[:LONGEST_NAME], request.form.get("query", "")[:LONGEST_QUERY]
        if not name:
            raise DataError("name: a view needs one; say what it shows")
        keep_view(connection, project, page, name, query.lstrip("?"), visitor_name())
        flash(f"The view {name} is kept for everybody.", "done")
        return redirect(f"{url_for(f'web.{page}', project=project.external_id)}?{query.lstrip('?')}", 303)

    @routes.writing(f"/<{LISTS}:page>/views/<int:view_id>/delete")
    def delete_view(connection: Connection, project: Project, page: str, view_id: int) -> ResponseReturnValue:
        forget_view(connection, project, view_id)
        flash("The view is deleted.", "done")
        return redirect(url_for(f"web.{page}", project=project.external_id), 303)
