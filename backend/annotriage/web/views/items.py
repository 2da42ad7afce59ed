"""All judged items as a grid of faces, the strangest first, as small or as large as somebody likes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from flask import redirect, url_for
from sqlalchemy import Connection
from werkzeug.wrappers import Response

from annotriage.service.operations.process import Process
from annotriage.service.readings.facets import Facet, facets_of
from annotriage.service.readings.item import QueueLine, queue_lines
from annotriage.states import SPOT_CHECK
from annotriage.store.filters import Filters
from annotriage.store.projects import Project
from annotriage.store.queue import LOOKED_AT, queue_page
from annotriage.store.saved_views import SavedView, saved_views
from annotriage.web.query_args import Walk, item_asked, key_asked, key_text, walk_asked
from annotriage.web.routing import Routes
from annotriage.web.views.queue import ORDER_WORDS, place_of_item

FACES = 150
ORDERS = ("strangest", "newest")
ZOOMS = {"small": 48, "medium": 84, "large": 148}  # pixels of a face's side
USUAL_ZOOM = "medium"


@dataclass(frozen=True)
class ItemsPage:
    """A page of the grid. stopped: the filters have looked at as many items as one page may. begun: whether this is the first page.

    items: how many there are in all, null where nobody counts them. missing: a task that was searched for and is not there.
    """

    project: Project
    walk: Walk
    zoom: str
    lines: Sequence[QueueLine]
    next: str | None
    stopped: bool
    begun: bool
    items: int | None
    facets: Sequence[Facet]
    views: Sequence[SavedView]
    missing: str | None


def add_views(routes: Routes) -> None:
    """Add the page."""
    orders = {name: ORDER_WORDS[name] for name in ORDERS}
    routes.project_page("/items", "items", partial(_page, routes.process), ORDERS=orders, ZOOMS=ZOOMS, LOOKED_AT=LOOKED_AT)


def _page(process: Process, connection: Connection, project: Project) -> ItemsPage | Response:
    walk, after, (searched, missing) = walk_asked("items"), key_asked(), item_asked(connection, project)
    if searched is not None:
        return redirect(place_of_item(project, searched, walk))
    found = queue_page(connection, project, order=walk.order, filters=walk.filters, after=after, limit=FACES)
    next_key = key_text(found.next)
    facets = facets_of(connection, project, walk.filters)
    zoom = walk.kept.get("zoom", USUAL_ZOOM)
    return ItemsPage(
        project=project,
        walk=walk,
        zoom=zoom if zoom in ZOOMS else USUAL_ZOOM,
        lines=queue_lines(connection, process.tool_project(project), project, found.rows, walk.filters.dataset),
        next=None if next_key is None else url_for("web.items", project=project.external_id, **walk.args(after=next_key)),
        stopped=found.stopped,
        begun=after is None,
        items=_counted(walk.filters, facets),
        facets=facets,
        views=saved_views(connection, project, "items"),
        missing=missing,
    )


def _counted(filters: Filters, facets: Sequence[Facet]) -> int | None:
    """How many items pass the filters, by what the routes leave. Open spot checks have a choice there whether or not they are listed."""
    routes = next((facet for facet in facets if facet.name == "route"), None)
    if routes is None or routes.chosen is not None:
        return None
    numbers = [choice.n for choice in routes.choices if choice.value != SPOT_CHECK or filters.blind]
    known = [n for n in numbers if n is not None]
    return sum(known) if known and len(known) == len(numbers) else None
