"""One item: its page and its pictures."""

from __future__ import annotations

from flask import Blueprint, Response, abort, render_template
from flask.typing import ResponseReturnValue

from annotriage.service.process import Process
from annotriage.store.pictures import thumbnail_of
from annotriage.store.projects import project_of


def routes(pages: Blueprint, process: Process) -> None:
    """Add the page and the pictures."""

    @pages.get("/projects/<project>/items/<task>")
    def item(project: str, task: str) -> ResponseReturnValue:
        with process.store.reading() as connection:
            found = project_of(connection, project)
        return render_template("later.html", project=found, what=f"Task {task}")

    @pages.get("/projects/<project>/items/<int:item_id>/thumbnail")
    def thumbnail(project: str, item_id: int) -> ResponseReturnValue:
        with process.store.reading() as connection:
            content = thumbnail_of(connection, project_of(connection, project), item_id)
        if content is None:
            abort(404, "this item has no picture here")
        return Response(
            content,
            mimetype="image/png" if content.startswith(b"\x89PNG") else "image/jpeg",
            headers={"Cache-Control": "private, max-age=3600"},
        )
