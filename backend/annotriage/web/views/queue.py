"""The queue: what waits for a person, walked by keyboard, in the order and with the filters that somebody chooses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection
from werkzeug.wrappers import Response

from annotriage.advice.numbers import count
from annotriage.errors import AnnotriageError, DataError
from annotriage.service.delivery.rerouting import Rerouted, send_to_review, take_back, undo_rerouting
from annotriage.service.operations.process import Process
from annotriage.service.readings.facets import Facet, facets_of
from annotriage.service.readings.item import QueueLine, queue_lines
from annotriage.service.readings.waiting import WaitingWork, waiting_work
from annotriage.store.browsing import Item
from annotriage.store.datasets import routes_of
from annotriage.store.projects import Project
from annotriage.store.queue import LOOKED_AT, queue_page
from annotriage.store.saved_views import SavedView, saved_views
from annotriage.web.query_args import LISTED_STATES, Walk, item_asked, key_asked, key_text, row_id, row_ids, walk_asked
from annotriage.web.routing import Routes
from annotriage.web.sessions import local, visitor_name

ROWS = 50
ORDER_WORDS = {
    "strangest": "Strangest first",
    "groups": "One of each group first",
    "boundary": "Nearest to automatic first",
    "chosen": "Chosen by a sampler first",
    "newest": "Newest first",
}


@dataclass(frozen=True)
class QueuePage:
    """What the page shows. waiting: all that wait, whatever the filters; judged: all items so far.

    missing: a task that was searched for and is not there. begun: whether this is the first page. calibrated: whether labels may be
    automatic at all. front: how many items the order puts first, whatever the rest is sorted by.
    """

    project: Project
    walk: Walk
    lines: Sequence[QueueLine]
    next: str | None
    stopped: bool
    begun: bool
    waiting: WaitingWork
    judged: int
    facets: Sequence[Facet]
    views: Sequence[SavedView]
    missing: str | None
    calibrated: bool
    front: int


def add_views(routes: Routes) -> None:
    """Add the page, and what its buttons do."""
    process = routes.process

    def build(connection: Connection, project: Project) -> QueuePage | Response:
        walk, (searched, missing) = walk_asked("queue"), item_asked(connection, project)
        if searched is None:
            return _page(process, connection, project, walk, missing)
        return redirect(place_of_item(project, searched, walk))

    routes.project_page("/queue", "queue", build, ORDER_WORDS=ORDER_WORDS, LOOKED_AT=LOOKED_AT)

    @routes.open("/queue/reroute", "POST")
    def reroute(project: Project) -> ResponseReturnValue:
        items, to = row_ids(request.form.getlist("item")), request.form.get("to", "")
        if to not in ("review", "back"):
            raise DataError(f"to: {to[:40]!r} is neither review nor back")
        act = send_to_review if to == "review" else take_back
        return _answer(project, lambda: act(process, project, items, visitor_name()))

    @routes.open("/queue/undo", "POST")
    def undo(project: Project) -> ResponseReturnValue:
        id = row_id(request.form.get("id", ""))
        return _answer(project, lambda: undo_rerouting(process, project, id, visitor_name()), undone=True)


def place_of_item(project: Project, item: Item, walk: Walk) -> str:
    """The address of an item within a walk: of its page, or of the page's twin for whoever asks a twin."""
    kind = "web.item_json" if (request.endpoint or "").endswith("_json") else "web.item"
    return url_for(kind, project=project.external_id, task=item.name, **walk.item_args())


def said(done: Rerouted, *, undone: bool = False) -> str:
    """What came of it, in a sentence."""
    moved = f"{count(len(done.changed), 'item')} {'waits' if len(done.changed) == 1 else 'wait'} for a person now"
    if done.to == "back":
        moved = f"{count(len(done.changed), 'item')} {'is' if len(done.changed) == 1 else 'are'} out of the queue"
    left = "; ".join(f"{number:,} left as {'it is' if number == 1 else 'they are'}: {why}" for why, number in done.left.items())
    return f"{'Undone: ' if undone else ''}{moved}{'; ' if left else ''}{left}."


def _answer(project: Project, act: Any, *, undone: bool = False) -> ResponseReturnValue:
    """Do it, and say what came of it: to a script as JSON, to a form by sending it back to where it came from."""
    plain = request.accept_mimetypes.best_match(["text/html", "application/json"], "text/html") == "text/html"
    try:
        done = act()
    except AnnotriageError as error:
        if not plain:
            raise
        flash(str(error), "error")
    else:
        if not plain:
            return {"said": said(done, undone=undone), "changed": list(done.changed), "id": done.id}
        flash(said(done, undone=undone), "done")
    back = local(request.form.get("next", ""))
    return redirect(back if back != "/" else url_for("web.queue", project=project.external_id), 303)


def _page(process: Process, connection: Connection, project: Project, walk: Walk, missing: str | None) -> QueuePage:
    after = key_asked()
    found = queue_page(connection, project, order=walk.order, filters=walk.filters, after=after, limit=ROWS)
    next_key = key_text(found.next)
    return QueuePage(
        project=project,
        walk=walk,
        lines=queue_lines(connection, process.tool_project(project), project, found.rows, walk.filters.dataset),
        next=None if next_key is None else url_for("web.queue", project=project.external_id, **walk.args(after=next_key)),
        stopped=found.stopped,
        begun=after is None,
        waiting=waiting_work(connection, project),
        judged=sum(count.items for count in routes_of(connection, project)),
        facets=facets_of(connection, project, walk.filters, states=LISTED_STATES["queue"]),
        views=saved_views(connection, project, "queue"),
        missing=missing,
        calibrated=project.calibrated,
        front=found.front,
    )
