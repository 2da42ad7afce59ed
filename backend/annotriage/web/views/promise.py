"""Promise."""

from __future__ import annotations

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from annotriage.service.process import Process
from annotriage.store.projects import project_of


def routes(pages: Blueprint, process: Process) -> None:
    """Add the page."""

    @pages.get("/projects/<project>/promise")
    def promise(project: str) -> ResponseReturnValue:
        with process.store.reading() as connection:
            found = project_of(connection, project)
        return render_template("later.html", project=found, what="Promise")
