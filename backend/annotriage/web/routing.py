"""How views become routes: those of a project get the project itself, and every page has a twin for programs.

A page is a dataclass. A template shows it to people; the same address with `.json` answers it as JSON.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection
from werkzeug.routing import IntegerConverter, UnicodeConverter, ValidationError

from annotriage.service.operations.process import Process
from annotriage.service.readings.page_step import PageSteps, page_steps
from annotriage.store.projects import Project, mark_of, projects
from annotriage.web.plain import as_json
from annotriage.web.visited import visited_project

View = Callable[..., ResponseReturnValue]
Decorator = Callable[[View], View]
PROJECT = "/projects/<project>"
_Whole = tuple[Any, str, PageSteps | None]  # a page, its mark, and what is to be done next on it


class Plain(UnicodeConverter):
    """A part of an address that cannot be taken for that of a twin."""

    regex = r"[^/]+(?<![.]json)"

    def to_url(self, value: object) -> str:
        """Nothing for what ends as a twin does: the address of such a thing is another one."""
        if str(value).endswith(".json"):
            raise ValidationError
        return super().to_url(str(value))


class Number(IntegerConverter):
    """A number in an address: one that the store cannot hold is the number of nothing. Without `max` it is the id of a row."""

    def to_python(self, value: str) -> int:
        """Raises ValidationError for what is too long."""
        if len(value) > 18:
            raise ValidationError
        return int(super().to_python(value))


class Routes:
    """Adds views to the pages' blueprint. process: whose store, settings and labeling tool they use.

    Addresses that other methods than `page` take go on behind /projects/<project>; an unknown project is answered 404.
    """

    def __init__(self, pages: Blueprint, process: Process) -> None:
        self.pages, self.process = pages, process

    def page(self, rule: str, name: str, build: Callable[..., Any], **shown: Any) -> None:
        """A page and its twin, which the dashboard's first page has at /overview.json.

        What is called scan.json has its page at /scan.json/page, as /scan.json is the twin of scan.

        name: of the endpoint and the template. build: called with the parts of the address; where it gives a response, that is the answer.
        shown: what else the template is given.
        """

        def whole(**parts: Any) -> _Whole:
            mark = self.mark(parts.get("project"))  # before the page is made: what happens meanwhile is a change
            page = build(**parts)
            of = getattr(page, "project", None)
            if of is None:
                return page, mark, None
            with self.process.store.reading() as connection:
                return page, mark, _steps(connection, of, name, page)

        self._add(rule, name, whole, shown)

    def project_page(self, rule: str, name: str, build: Callable[..., Any], **shown: Any) -> None:
        """A page of a project and its twin. build: called with a connection, the project and further parts of the address.

        All that the page shows is of one moment, and nothing of it is read twice.
        """

        def whole(project: str, **parts: Any) -> _Whole:
            with self.process.store.reading() as connection:
                of = visited_project(connection, project)
                mark = _text_of(mark_of(connection, [of]))
                page = build(connection, of, **parts)
                return page, mark, _steps(connection, of, name, page) if dataclasses.is_dataclass(page) else None

        self._add(PROJECT + rule, name, whole, shown)

    def _add(self, rule: str, name: str, whole: Callable[..., _Whole], shown: dict[str, Any]) -> None:
        """The addresses of a page and its twin. whole: the page with what stands around it."""

        def as_html(**parts: Any) -> ResponseReturnValue:
            page, mark, steps = whole(**parts)
            if not dataclasses.is_dataclass(page):
                elsewhere: ResponseReturnValue = page
                return elsewhere
            return render_template(f"{name}.html", page=page, mark=mark, **self._around(page, steps), **shown)

        def twin(**parts: Any) -> ResponseReturnValue:
            page, _, steps = whole(**parts)
            if not dataclasses.is_dataclass(page):
                elsewhere: ResponseReturnValue = page
                return elsewhere
            return as_json(page) if steps is None else as_json(page, next_step=steps)

        self.pages.add_url_rule("/overview.json" if rule == "/" else f"{rule}.json", f"{name}_json", twin)
        shown_at = rule
        if rule.endswith(">"):
            before, _, last = rule.rpartition("<")
            self.pages.add_url_rule(f"{before}<plain:{last}", name, as_html)
            shown_at = f"{rule}/page"
        self.pages.add_url_rule(shown_at, name, as_html)

    def _around(self, page: Any, steps: PageSteps | None) -> dict[str, Any]:
        """What the frame of a project's pages shows around each of them."""
        project = getattr(page, "project", None)
        if project is None:
            return {"project": None}
        return {"project": project, "next": steps, "address": self.process.tool_project(project).address()}

    def mark(self, project: str | None = None) -> str:
        """A short text that changes whenever something that pages show does: those of a project, or those of all."""
        with self.process.store.reading() as connection:
            shown = projects(connection, gone=True) if project is None else [visited_project(connection, project)]
            return _text_of(mark_of(connection, shown))

    def reading(self, rule: str) -> Decorator:
        """A GET whose view is called with a connection that reads, and the project."""
        return self._of_project(rule, "GET", self._in(lambda: self.process.store.reading()))

    def writing(self, rule: str) -> Decorator:
        """A POST whose view is called with a connection that writes, and the project."""
        return self._of_project(rule, "POST", self._in(lambda: self.process.store.writing()))

    def open(self, rule: str, method: str = "GET") -> Decorator:
        """A view that is called with the project alone and no transaction open: it takes its time, or writes by itself."""

        def called(view: View, project: str, **parts: Any) -> ResponseReturnValue:
            with self.process.store.reading() as connection:
                found = visited_project(connection, project)
            return view(found, **parts)

        return self._of_project(rule, method, called)

    def _in(self, transaction: Callable[[], Any]) -> View:
        def called(view: View, project: str, **parts: Any) -> ResponseReturnValue:
            with transaction() as connection:
                return view(connection, visited_project(connection, project), **parts)

        return called

    def _of_project(self, rule: str, method: str, call: View) -> Decorator:
        def decorate(view: View) -> View:
            @wraps(view)
            def called(**parts: Any) -> ResponseReturnValue:
                return call(view, **parts)

            self.pages.add_url_rule(PROJECT + rule, view.__name__, called, methods=[method])
            return view

        return decorate


def _steps(connection: Connection, project: Project, name: str, page: Any) -> PageSteps:
    """What to do next on a page. page: with the walk through its list, if it has one."""
    walk = getattr(page, "walk", None)
    return page_steps(connection, project, name) if walk is None else page_steps(connection, project, name, walk.filters, walk.kept)


def _text_of(mark: tuple[object, ...]) -> str:
    return hashlib.sha256(repr(mark).encode()).hexdigest()[:16]
