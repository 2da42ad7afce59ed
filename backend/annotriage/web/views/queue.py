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

from annotriage.advice.numbers import count, percent, percent_range
from annotriage.advice.verdict_words import reason_sentence
from annotriage.errors import AnnotriageError, DataError, UnknownError
from annotriage.service.delivery.rerouting import Rerouted, send_to_review, take_back, undo_rerouting
from annotriage.service.operations.process import Process
from annotriage.store import browsing, dashboard, snapshots
from annotriage.store.database import AnyRow
from annotriage.store.pictures import pictured
from annotriage.store.projects import Project
from annotriage.store.queue import LOOKED_AT, datasets_named, group_numbers, queue_page
from annotriage.store.references import get_reference
from annotriage.web.query_args import Walk, key_asked, key_text, walk_asked
from annotriage.web.routing import Routes
from annotriage.web.sessions import local, visitor_name

ROWS = 50
DATASETS = 200  # offered in the filter
AT_ONCE = 1_000  # items that one form may change
ORDER_WORDS = {
    "strangest": "Strangest first",
    "groups": "One of each group first",
    "boundary": "Nearest to automatic first",
    "newest": "Newest first",
}


@dataclass(frozen=True)
class Line:
    """An item of the queue.

    reason: why it has its route, in a sentence; `row` holds the model's own. address: its task in the labeling tool, if it has one;
    dataset, diversity: those that its task shows.
    """

    row: AnyRow
    reason: str | None
    address: str | None
    picture: bool
    dataset: AnyRow | None
    diversity: str
    group: int | None


@dataclass(frozen=True)
class QueuePage:
    """What the page shows. waiting: all that wait, whatever the filters. missing: a task that was searched for and is not there.

    begun: whether this is the first page. calibrated: whether labels may be automatic at all.
    """

    project: Project
    walk: Walk
    lines: Sequence[Line]
    next: str | None
    stopped: bool
    begun: bool
    waiting: int
    datasets: Sequence[AnyRow]
    dataset: AnyRow | None
    classes: Sequence[str]
    groups: Sequence[dict[str, Any]]
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
        address = {"project": project.external_id, "task": searched.external_id or searched.marker, **walk.args()}
        return redirect(url_for("web.item_json" if request.endpoint == "web.queue_json" else "web.item", **address))

    routes.project_page("/queue", "queue", build, ORDER_WORDS=ORDER_WORDS, LOOKED_AT=LOOKED_AT)

    @routes.open("/queue/reroute", "POST")
    def reroute(project: Project) -> ResponseReturnValue:
        items, to = _items(), request.form.get("to", "")
        if to not in ("review", "back"):
            raise DataError(f"to: {to[:40]!r} is neither review nor back")
        act = send_to_review if to == "review" else take_back
        return _answer(project, lambda: act(process, project, items, visitor_name()))

    @routes.open("/queue/undo", "POST")
    def undo(project: Project) -> ResponseReturnValue:
        id = request.form.get("id", "")
        if not (id.isascii() and id.isdigit() and len(id) <= 18):
            raise DataError("id: what is to be undone is not named; load the page again")
        return _answer(project, lambda: undo_rerouting(process, project, int(id), visitor_name()), undone=True)


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


def _items() -> list[int]:
    given = request.form.getlist("item")
    if not given or len(given) > AT_ONCE or not all(one.isascii() and one.isdigit() and len(one) <= 18 for one in given):
        raise DataError(f"item: choose between 1 and {AT_ONCE:,} items of the page")
    return [int(one) for one in given]


def _page(process: Process, connection: Connection, project: Project, walk: Walk, missing: str | None) -> QueuePage:
    after = key_asked()
    chosen = walk.filters.dataset
    dataset = None if chosen is None else browsing.dataset_of_project(connection, project, chosen)
    datasets = list(browsing.datasets_page(connection, project, kind=None, after=None, limit=DATASETS))
    if dataset is not None and all(row.id != dataset.id for row in datasets):
        datasets.append(dataset)
    found = queue_page(connection, project, order=walk.order, filters=walk.filters, after=after, limit=ROWS)
    next_key = key_text(found.next)
    return QueuePage(
        project=project,
        walk=walk,
        lines=_lines(process, connection, project, chosen, found.rows),
        next=None if next_key is None else url_for("web.queue", project=project.external_id, **walk.args(after=next_key)),
        stopped=found.stopped,
        begun=after is None,
        waiting=browsing.queue_length(connection, project),
        datasets=datasets,
        dataset=dataset,
        classes=[one["name"] for one in _guarantee(connection, project)["classes"] if one["side"] == "predicted"],
        groups=_groups(connection, project, dataset),
        missing=missing,
        calibrated=project.calibrated,
    )


def _searched(connection: Connection, project: Project, task: str) -> AnyRow | None:
    """The item of the task that somebody searches for, if there is one."""
    with suppress(UnknownError):
        return browsing.item_of_task(connection, project, task) if task else None
    return None


def _guarantee(connection: Connection, project: Project) -> dict[str, Any]:
    return dict(get_reference(connection, project.reference_id).facts["guarantee"])


def _groups(connection: Connection, project: Project, dataset: AnyRow | None) -> list[dict[str, Any]]:
    """The groups among the outliers of the dataset, or of all items, as the latest snapshot found them."""
    chosen = dataset if dataset is not None else dashboard.dataset_of_all(connection, project)
    if chosen is None:
        return []
    score = snapshots.latest(connection, [chosen.id], project.reference_id).get(chosen.id)
    return [] if score is None else list(score.facts["groups"])


def _lines(process: Process, connection: Connection, project: Project, dataset_id: int | None, rows: Sequence[AnyRow]) -> list[Line]:
    tool = process.tool_project(project)
    ids = [row.id for row in rows]
    pictures, groups = pictured(connection, ids), group_numbers(connection, dataset_id, ids, project)
    shown = {row.shown_dataset_id for row in rows if row.shown_dataset_id is not None}
    datasets = datasets_named(connection, sorted(shown))
    scores = snapshots.latest(connection, sorted(shown), project.reference_id)
    return [
        Line(
            row=row,
            reason=reason_sentence(row.reason, row.held_back, row.sent_by),
            address=web_address(None if row.external_id is None else tool.address(row.external_id)),
            picture=row.id in pictures,
            dataset=datasets.get(row.shown_dataset_id),
            diversity=diversity_in_short(scores.get(row.shown_dataset_id)),
            group=groups.get(row.id),
        )
        for row in rows
    ]


def diversity_in_short(score: AnyRow | None) -> str:
    """The diversity score of a snapshot with its limits; empty before the first."""
    if score is None or not score.n:
        return ""
    return f"{percent(score.outliers / score.n)} outliers ({percent_range(score.low, score.high)})"


def web_address(address: str | None) -> str | None:
    """An address that a browser may be sent to; None for any other."""
    return address if address is not None and address.startswith(("http://", "https://")) else None
