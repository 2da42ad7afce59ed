"""The queue: what waits for a person, walked by keyboard, in the order and with the filters that somebody chooses."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from flask import flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection
from werkzeug.wrappers import Response

from annotriage.advice.numbers import count
from annotriage.errors import AnnotriageError, DataError, UnknownError
from annotriage.service.delivery.rerouting import Rerouted, send_to_review, take_back, undo_rerouting
from annotriage.service.operations.process import Process
from annotriage.service.readings.facets import Facets, queue_facets
from annotriage.service.readings.item import QueueLine, queue_lines
from annotriage.service.readings.waiting import WaitingWork, waiting_work
from annotriage.store.browsing import Item, item_of_task
from annotriage.store.datasets import Dataset, dataset_of_project, datasets_page, routes_of
from annotriage.store.projects import Project
from annotriage.store.queue import LOOKED_AT, queue_page
from annotriage.store.references import get_reference
from annotriage.store.saved_views import SavedView, forget_view, keep_view, saved_views
from annotriage.web.query_args import Walk, key_asked, key_text, row_id, row_ids, walk_asked
from annotriage.web.routing import Routes
from annotriage.web.sessions import local, visitor_name

ROWS = 50
DATASETS = 200  # offered in the filter
LONGEST_NAME, LONGEST_QUERY = 80, 2_000
ORDER_WORDS = {
    "strangest": "Strangest first",
    "groups": "One of each group first",
    "boundary": "Nearest to automatic first",
    "newest": "Newest first",
}


@dataclass(frozen=True)
class QueuePage:
    """What the page shows. waiting: all that wait, whatever the filters; judged: all items so far.

    missing: a task that was searched for and is not there. begun: whether this is the first page. calibrated: whether labels may be
    automatic at all.
    """

    project: Project
    walk: Walk
    lines: Sequence[QueueLine]
    next: str | None
    stopped: bool
    begun: bool
    waiting: WaitingWork
    judged: int
    datasets: Sequence[Dataset]
    dataset: Dataset | None
    classes: Sequence[str]
    facets: Facets
    views: Sequence[SavedView]
    missing: str | None
    calibrated: bool


def add_views(routes: Routes) -> None:
    """Add the page, and what its buttons do."""
    process = routes.process

    def build(connection: Connection, project: Project) -> QueuePage | Response:
        walk, task = walk_asked(), request.args.get("task", "").strip()
        searched = _searched(connection, project, task)
        if searched is None:
            return _page(process, connection, project, walk, task or None)
        address = {"project": project.external_id, "task": searched.name, **walk.args()}
        return redirect(url_for("web.item_json" if request.endpoint == "web.queue_json" else "web.item", **address))

    routes.project_page("/queue", "queue", build, ORDER_WORDS=ORDER_WORDS, LOOKED_AT=LOOKED_AT)

    @routes.open("/queue/reroute", "POST")
    def reroute(project: Project) -> ResponseReturnValue:
        items, to = row_ids(request.form.getlist("item")), request.form.get("to", "")
        if to not in ("review", "back"):
            raise DataError(f"to: {to[:40]!r} is neither review nor back")
        act = send_to_review if to == "review" else take_back
        return _answer(project, lambda: act(process, project, items, visitor_name()))

    @routes.writing("/queue/views")
    def save_view(connection: Connection, project: Project) -> ResponseReturnValue:
        """Keep the filters and the order of the queue under a name, for everybody."""
        name, query = " ".join(request.form.get("name", "").split())[:LONGEST_NAME], request.form.get("query", "")[:LONGEST_QUERY]
        if not name:
            raise DataError("name: a view needs one; say what it shows")
        keep_view(connection, project, "queue", name, query.lstrip("?"), visitor_name())
        flash(f"The view {name} is kept for everybody.", "done")
        return redirect(f"{url_for('web.queue', project=project.external_id)}?{query.lstrip('?')}", 303)

    @routes.writing("/queue/views/<int:view_id>/delete")
    def delete_view(connection: Connection, project: Project, view_id: int) -> ResponseReturnValue:
        forget_view(connection, project, view_id)
        flash("The view is deleted.", "done")
        return redirect(url_for("web.queue", project=project.external_id), 303)

    @routes.open("/queue/undo", "POST")
    def undo(project: Project) -> ResponseReturnValue:
        id = row_id(request.form.get("id", ""))
        return _answer(project, lambda: undo_rerouting(process, project, id, visitor_name()), undone=True)


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
    chosen = walk.filters.dataset
    dataset = None if chosen is None else dataset_of_project(connection, project, chosen)
    datasets = datasets_page(connection, project, limit=DATASETS)
    if dataset is not None and dataset not in datasets:
        datasets.append(dataset)
    found = queue_page(connection, project, order=walk.order, filters=walk.filters, after=after, limit=ROWS)
    next_key = key_text(found.next)
    guarantee = get_reference(connection, project.reference_id).facts["guarantee"]
    return QueuePage(
        project=project,
        walk=walk,
        lines=queue_lines(connection, process.tool_project(project), project, found.rows, chosen),
        next=None if next_key is None else url_for("web.queue", project=project.external_id, **walk.args(after=next_key)),
        stopped=found.stopped,
        begun=after is None,
        waiting=waiting_work(connection, project),
        judged=sum(count.items for count in routes_of(connection, project)),
        datasets=datasets,
        dataset=dataset,
        classes=[line["name"] for line in guarantee["classes"] if line["side"] == "predicted"],
        facets=queue_facets(connection, project, datasets, dataset),
        views=saved_views(connection, project, "queue"),
        missing=missing,
        calibrated=project.calibrated,
    )


def _searched(connection: Connection, project: Project, task: str) -> Item | None:
    """The item of the task that somebody searches for, if there is one."""
    with suppress(UnknownError):
        return item_of_task(connection, project, task) if task else None
    return None
