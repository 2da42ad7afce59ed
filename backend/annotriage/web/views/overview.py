"""The first page: a card per project. And where a project's address leads."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from annotriage.service.process import Process
from annotriage.store.projects import project_of, projects


def routes(pages: Blueprint, process: Process) -> None:
    """Add the page."""

    @pages.get("/")
    def overview() -> ResponseReturnValue:
        with process.store.reading() as connection:
            return render_template("overview.html", projects=projects(connection, gone=True))

    @pages.get("/projects/<project>")
    def project(project: str) -> ResponseReturnValue:
        with process.store.reading() as connection:
            found = project_of(connection, project)
        return redirect(url_for("web.diversity", project=found.external_id))
