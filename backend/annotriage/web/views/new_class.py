"""A new class for people to choose, out of a group of strange items that look alike: the change is shown before anybody makes it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from flask import flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from annotriage.errors import DataError, StateError
from annotriage.service.intake.new_class import add_class, foresee_class, mark, take_class_back
from annotriage.service.operations.process import Process
from annotriage.store.projects import Project
from annotriage.web.routing import PROJECT, Routes
from annotriage.web.sessions import visitor_name
from annotriage.web.visited import visited_project

LONGEST = 200  # characters of a name that are looked at
AROUND = 2  # lines of the labeling config around what changes


@dataclass(frozen=True)
class Line:
    """A line of the labeling config. change: "+" for one that is added, "-" for one that goes, "" otherwise."""

    change: str
    text: str


@dataclass(frozen=True)
class NewClassPage:
    """What the page shows. name: of the class, "" where none is asked for yet. lines: of the labeling config, around what changes; mark:
    of the change. problem: why it cannot be made from here, with what to do; null if it can."""

    project: Project
    name: str
    lines: Sequence[Line]
    mark: str
    problem: str | None


def add_views(routes: Routes) -> None:
    """Add the page, and what its buttons do."""
    process = routes.process

    def page(project: str) -> NewClassPage:
        with process.store.reading() as connection:
            found = visited_project(connection, project)
        return _page(process, found)

    routes.page(f"{PROJECT}/groups/new-class", "new_class", page)

    @routes.open("/groups/new-class/add", "POST")
    def add_new_class(project: Project) -> ResponseReturnValue:
        label = add_class(process, project, request.form.get("name", "")[:LONGEST], request.form.get("mark", ""), visitor_name())
        flash(f"{process.tool.title} offers {label} now. The model knows it once a training has learned it from people's answers.", "done")
        return redirect(url_for("web.groups", project=project.external_id), 303)

    @routes.open("/groups/new-class/take-back", "POST")
    def take_back_class(project: Project) -> ResponseReturnValue:
        label = request.form.get("name", "")[:LONGEST]
        take_class_back(process, project, label, visitor_name())
        flash(f"Undone: {process.tool.title} does not offer {label} any more.", "done")
        return redirect(url_for("web.groups", project=project.external_id), 303)


def _page(process: Process, project: Project) -> NewClassPage:
    name = " ".join(request.args.get("name", "").split())[:LONGEST]
    if not name:
        return NewClassPage(project, "", (), "", None)
    try:
        change = foresee_class(process, project, name)
    except (DataError, StateError) as error:
        return NewClassPage(project, name, (), "", str(error))
    return NewClassPage(project, name, _lines(change.before, change.after), mark(change), None)


def _lines(before: str, after: str) -> tuple[Line, ...]:
    """What changes, line by line, with some lines around it."""
    found = difflib.unified_diff(before.splitlines(), after.splitlines(), n=AROUND, lineterm="")
    return tuple(Line(line[0].strip(), line[1:]) for line in list(found)[2:] if not line.startswith("@@"))
