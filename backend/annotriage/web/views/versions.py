"""Two versions of a project's model on the same items: where they differ, what changed route, and which items these are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flask import flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection

from annotriage.advice.version_words import USES
from annotriage.service.judging.versions import FEWEST, ITEMS, MOST, ask_comparison, cancel_comparison
from annotriage.service.readings.versions import ChangeCount, Differences, VersionsNow, Wanted, versions_now
from annotriage.states import ROUTES
from annotriage.store.projects import Project
from annotriage.web.query_args import LONGEST_LABEL, row_id, whole
from annotriage.web.routing import Routes
from annotriage.web.sessions import visitor_name

SHOWN = 48  # changed items on the page
SQUARE = 12  # classes at most, that are shown as a table of each against each; of more the pairs that differ are listed
PAIRS = 20


@dataclass(frozen=True)
class VersionsPage:
    """What the page shows. wanted: which changed items are asked for. routes: those in the table; classes: those in its table, none where
    there are too many; counts: of items, by what they are under the first and under the second version. pairs: the classes that differ,
    the most frequent first."""

    project: Project
    now: VersionsNow
    wanted: Wanted
    routes: tuple[str, ...]
    route_counts: Mapping[str, Mapping[str, int]]
    classes: tuple[str, ...]
    class_counts: Mapping[str, Mapping[str, int]]
    pairs: tuple[ChangeCount, ...]


def add_views(routes: Routes) -> None:
    """Add the page, and what it asks for."""
    routes.project_page("/versions", "versions", _page, USES=USES, FEWEST=FEWEST, ITEMS=ITEMS, MOST=MOST)

    @routes.writing("/versions/compare")
    def compare_versions(connection: Connection, project: Project) -> ResponseReturnValue:
        before, after = (row_id(request.form.get(name, "")) for name in ("before", "after"))
        items = row_id(request.form.get("items", "").replace(",", "") or str(ITEMS))
        ask_comparison(connection, project, before, after, visitor_name(), items)
        flash("The two are being compared; what differs shows here once that is done. Nothing else changes.", "done")
        return redirect(url_for("web.versions", project=project.external_id, before=before, after=after), 303)

    @routes.writing("/versions/cancel")
    def cancel_versions(connection: Connection, project: Project) -> ResponseReturnValue:
        cancelled = cancel_comparison(connection, project)
        flash("The comparison was cancelled." if cancelled else "The comparison had ended already.", "done")
        return redirect(url_for("web.versions", project=project.external_id), 303)


def _page(connection: Connection, project: Project) -> VersionsPage:
    wanted = Wanted(_pair("from", "to"), _pair("said", "says"))
    now = versions_now(connection, project, whole("before"), whole("after"), wanted, SHOWN)
    found = now.differences
    routes, classes = ((), ()) if found is None else (_routes(found), _names(found.classes))
    return VersionsPage(
        project,
        now,
        wanted,
        routes,
        {} if found is None else _counts(found.routes),
        classes if len(classes) <= SQUARE else (),
        {} if found is None or len(classes) > SQUARE else _counts(found.classes),
        () if found is None else tuple(cell for cell in found.classes if cell.before != cell.after)[:PAIRS],
    )


def _pair(first: str, second: str) -> tuple[str, str] | None:
    """Two values of the address that go together."""
    before, after = (request.args.get(name, "")[:LONGEST_LABEL] for name in (first, second))
    return (before, after) if before and after else None


def _routes(found: Differences) -> tuple[str, ...]:
    there = _names(found.routes)
    return tuple(route for route in ROUTES if route in there)


def _names(cells: tuple[ChangeCount, ...]) -> tuple[str, ...]:
    return tuple(sorted({name for cell in cells for name in (cell.before, cell.after)}))


def _counts(cells: tuple[ChangeCount, ...]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for cell in cells:
        counts.setdefault(cell.before, {})[cell.after] = cell.items
    return counts
