"""Where two versions of a project's model differ: what the latest comparison says, and asking for another one."""

from __future__ import annotations

from annotriage.errors import DataError
from annotriage.service.judging.versions import FEWEST, ITEMS, MOST, ask_comparison
from annotriage.service.operations.process import Process
from annotriage.service.readings.versions import VersionsNow, Wanted, versions_now
from annotriage.states import ROUTES
from annotriage.store.projects import project_of
from annotriage.web.api.openapi import Asked, Operation, Parameter
from annotriage.web.api.paging import LIMIT
from annotriage.web.api.projects import Done
from annotriage.web.sessions import visitor_name


def get_versions(
    asked: Asked, before: int | None, after: int | None, before_route: str | None, after_route: str | None, limit: int
) -> VersionsNow:
    """Where two versions differ, by the latest comparison."""
    routes = (before_route, after_route) if before_route and after_route else None
    return versions_now(asked.connection, asked.project, before, after, Wanted(routes), limit)


def compare_versions(process: Process, project: str, before: int | None, after: int | None, items: int) -> Done:
    """Compare two versions on items drawn at random. Nothing else changes."""
    if before is None or after is None:
        raise DataError("name both versions, by their ids: before and after")
    with process.store.writing() as connection:
        ask_comparison(connection, project_of(connection, project), before, after, visitor_name(), items)
    return Done("The comparison is queued; its progress and result show beside the versions.")


BEFORE = Parameter("before", int, "The first version, by its id in the list of versions.", low=1)
AFTER = Parameter("after", int, "The second one.", low=1)
BEFORE_ROUTE = Parameter("before_route", str, "Examples of this route under the first version; with after_route.", choices=tuple(ROUTES))
AFTER_ROUTE = Parameter("after_route", str, "Examples of this route under the second version.", choices=tuple(ROUTES))
SIZE = Parameter("items", int, "How many items are drawn.", default=ITEMS, low=FEWEST, high=MOST)
BUSY = ((409, "Two other versions are being compared."),)

OPERATIONS = (
    Operation("GET", "/projects/{project}/versions", get_versions, VersionsNow, (BEFORE, AFTER, BEFORE_ROUTE, AFTER_ROUTE, LIMIT)),
    Operation("POST", "/projects/{project}/versions", compare_versions, Done, (BEFORE, AFTER, SIZE), status=202, statuses=BUSY),
)
