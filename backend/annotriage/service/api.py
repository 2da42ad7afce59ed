"""The JSON API: what is triaged, how it stands, what waits for a person, and the few things that can be done about it.

A view asks the store and answers with one dataclass of `resources`; the table at the end makes the routes and their description.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from flask import Blueprint, request
from sqlalchemy import Connection

from annotriage.errors import DataError, UnknownError
from annotriage.labeling_tool import ToolProject
from annotriage.service import accepting, pausing, pushing, resources
from annotriage.service.openapi import Operation, Parameter, Time, add_routes, time_text
from annotriage.service.overview import project_detail, project_line
from annotriage.service.process import Process
from annotriage.service.resources import (
    Advice,
    AdvicePage,
    BatchLine,
    BatchList,
    DatasetDiversity,
    DatasetPage,
    DiversityHistory,
    DiversityPage,
    Done,
    EventLine,
    EventPage,
    ItemDetail,
    ItemPage,
    ProbePage,
    ProjectDetail,
    ProjectList,
    PromiseNow,
    Pushed,
    Window,
)
from annotriage.store import acceptances, browsing, dashboard, jobs, snapshots
from annotriage.store.database import AnyRow
from annotriage.store.projects import Project, history, project_of, projects
from annotriage.store.references import get_reference

MOST = 500  # rows of a page

LIMIT = Parameter("limit", int, "Rows of a page.", 50, 1, MOST)
AFTER = Parameter("after", str, "`next` of the page before.")
ROUTES, ANSWERS = ("auto", "uncertain", "outlier", "failed"), ("open", "resolved", "disputed", "labelled")


def api_blueprint(process: Process) -> Blueprint:
    """The routes below /api, for an app that lets in only who may."""
    routes = Blueprint("api", __name__)
    add_routes(routes, operations(process))
    return routes


def operations(process: Process) -> tuple[Operation, ...]:
    """All operations on this process's store."""
    store = process.store

    def list_projects() -> ProjectList:
        with store.reading() as connection:
            return ProjectList(tuple(project_line(connection, process, one) for one in projects(connection, gone=True)))

    def get_project(project: str) -> ProjectDetail:
        with store.reading() as connection:
            return project_detail(connection, process, project_of(connection, project))

    def list_datasets(project: str, kind: str | None, after: str | None, limit: int) -> DatasetPage:
        with store.reading() as connection:
            found = project_of(connection, project)
            rows = browsing.datasets_page(connection, found, kind=kind, after=_number(after), limit=limit)
            counts = browsing.dataset_routes(connection, found, [row.id for row in rows])
        lines = tuple(resources.dataset_line(row, counts.get(row.id, [])) for row in rows)
        return DatasetPage(lines, _next(rows, limit, lambda row: str(row.id)))

    def list_items(project: str, route: str | None, dataset: int | None, answer: str | None, after: str | None, limit: int) -> ItemPage:
        with store.reading() as connection:
            found = project_of(connection, project)
            if dataset is not None:
                browsing.dataset_of_project(connection, found, dataset)
            rows = browsing.items_page(connection, found, route=route, dataset_id=dataset, answer=answer, after=_number(after), limit=limit)
        return _item_page(process, found, rows, _next(rows, limit, lambda row: str(row.id)))

    def list_queue(project: str, after: str | None, limit: int) -> ItemPage:
        with store.reading() as connection:
            found = project_of(connection, project)
            rows = browsing.queue_page(connection, found, after=_place(after), limit=limit)
        return _item_page(process, found, rows, _next(rows, limit, lambda row: f"{row.trust!r},{row.id}"))

    def get_item(project: str, task: str) -> ItemDetail:
        with store.reading() as connection:
            found = project_of(connection, project)
            row = browsing.item_of_task(connection, found, task)
            return ItemDetail(
                resources.item_line(row, _address(process.tool_project(found), row)),
                resources.judged_of(row),
                row.group,
                row.gone,
                row.probe_state,
                tuple(resources.dataset_name(one) for one in browsing.datasets_of_item(connection, row.id)),
                tuple(resources.delivery_line(one) for one in browsing.deliveries_of_item(connection, row.id)),
                tuple(resources.review_line(one) for one in browsing.reviews_of_item(connection, row.id)),
            )

    def get_window(project: str, start: float | None, end: float | None) -> Window:
        start, end = start or 0.0, time.time() if end is None else end
        if start >= end:
            raise DataError(f"a time window from {time_text(start)} to {time_text(end)} is empty; `from` must be before `to`")
        with store.reading() as connection:
            routes = browsing.routes_between(connection, project_of(connection, project), start, end)
        return _window(start, end, routes)

    def list_diversity(project: str, after: str | None, limit: int) -> DiversityPage:
        with store.reading() as connection:
            rows, taken = _snapshots(connection, project_of(connection, project), after, limit)
        found = [(row, taken[row.id]) for row in rows if row.id in taken]
        return DiversityPage(tuple(_diversity(*one) for one in found), _next(rows, limit, lambda row: str(row.id)))

    def get_diversity(project: str, dataset: str, after: float | None, limit: int) -> DiversityHistory:
        with store.reading() as connection:
            row = browsing.dataset_of_project(connection, project_of(connection, project), _id(dataset, "dataset"))
            past = snapshots.history(connection, row.id, before=after, limit=limit)
        lines = tuple(resources.diversity_line(one) for one in past)
        return DiversityHistory(resources.dataset_name(row), lines, _next(past, limit, lambda row: repr(row.at)))

    def list_advice(project: str, after: str | None, limit: int) -> AdvicePage:
        with store.reading() as connection:
            rows, taken = _snapshots(connection, project_of(connection, project), after, limit)
        found = [(row, taken[row.id]) for row in rows if row.id in taken]
        lines = [Advice(resources.dataset_name(row), time_text(one.at), tuple(one.facts["advice"])) for row, one in found]
        return AdvicePage(tuple(lines), _next(rows, limit, lambda row: str(row.id)))

    def get_promise(project: str) -> PromiseNow:
        with store.reading() as connection:
            found = project_of(connection, project)
            evidence = get_reference(connection, found.reference_id).facts["promise"]
            now = dashboard.standing_of(connection, found)
        return PromiseNow(evidence["sentence"], found.version, found.paused, evidence, now)

    def list_events(project: str, after: str | None, limit: int) -> EventPage:
        with store.reading() as connection:
            rows = history(connection, project_of(connection, project).id, before=_number(after), limit=limit)
        lines = tuple(EventLine(row.id, row.kind, row.text, time_text(row.at)) for row in rows)
        return EventPage(lines, _next(rows, limit, lambda row: str(row.id)))

    def list_probes(project: str, state: str | None, after: str | None, limit: int) -> ProbePage:
        with store.reading() as connection:
            found = project_of(connection, project)
            rows = browsing.probes_page(connection, found, state=state, after=_number(after), limit=limit)
            counts = browsing.probe_states(connection, found)
        lines = tuple(resources.probe_line(row) for row in rows)
        named = {f"{kind} {state}": count for (kind, state), count in sorted(counts.items())}
        return ProbePage(lines, named, _next(rows, limit, lambda row: str(row.item_id)))

    def list_batches(project: str) -> BatchList:
        with store.reading() as connection:
            rows = acceptances.batches(connection, project_of(connection, project).id)
        times = [(row, None if row.undone_at is None else time_text(row.undone_at)) for row in rows]
        return BatchList(tuple(BatchLine(row.id, time_text(row.at), undone, row.items) for row, undone in times))

    def undo_batch(project: str, batch: str) -> Done:
        with store.reading() as connection:
            found = project_of(connection, project)
        count = accepting.undo(process, found, _id(batch, "batch"))
        return Done(f"{count:,} annotations of batch {batch} were deleted; their tasks are open again.")

    def pause(project: str) -> Done:
        with store.writing() as connection:
            return Done(pausing.pause(connection, project_of(connection, project), _reason()))

    def resume(project: str) -> Done:
        with store.writing() as connection:
            return Done(pausing.resume(connection, project_of(connection, project)))

    def recalibrate(project: str) -> Done:
        with store.writing() as connection:
            jobs.queue(connection, project_of(connection, project).id, "recalibrate")
        return Done("A recalibration is queued; the project's events will say what came of it.")

    def push_items(dataset: str) -> Pushed:
        return pushing.push(process, dataset, request)

    kind = Parameter("kind", str, "Only datasets of this kind.", choices=("all", "batch", "field", "pushed"))
    filters = (
        Parameter("route", str, "Only items of this route.", choices=ROUTES),
        Parameter("dataset", int, "Only items of the dataset with this id."),
        Parameter("answer", str, "Only items that are so far answered.", choices=ANSWERS),
    )
    window = (Parameter("from", Time, "Judged then or later."), Parameter("to", Time, "Judged before.  [now]"))
    state = Parameter("state", str, "Only probes in this state.", choices=("open", "disagreed", "right", "wrong"))
    reason: dict[str, dict[str, Any]] = {"application/json": {"type": "object", "properties": {"reason": {"type": "string"}}}}
    tool_errors = ((502, "The labeling tool refused."), (503, "The labeling tool, or the database, does not answer."))
    alarm = ((409, "The alarm stopped automatic labels; only a recalibration lifts it."),)
    return (
        Operation("GET", "/projects", "The connected projects and how they stand", list_projects, ProjectList),
        Operation("GET", "/projects/{project}", "A project in full", get_project, ProjectDetail),
        Operation("GET", "/projects/{project}/datasets", "Its datasets, latest first", list_datasets, DatasetPage, (kind, AFTER, LIMIT)),
        Operation("GET", "/projects/{project}/items", "Its items", list_items, ItemPage, (*filters, AFTER, LIMIT)),
        Operation("GET", "/projects/{project}/items/{task}", "One item, by its task or the id it was pushed with", get_item, ItemDetail),
        Operation("GET", "/projects/{project}/queue", "What waits for a person, strangest first", list_queue, ItemPage, (AFTER, LIMIT)),
        Operation("GET", "/projects/{project}/diversity", "How foreign its datasets are", list_diversity, DiversityPage, (AFTER, LIMIT)),
        Operation(
            "GET",
            "/projects/{project}/diversity/{dataset}",
            "How a dataset's diversity score got where it is",
            get_diversity,
            DiversityHistory,
            (Parameter("after", float, AFTER.help), LIMIT),
        ),
        Operation("GET", "/projects/{project}/advice", "What to do about its datasets", list_advice, AdvicePage, (AFTER, LIMIT)),
        Operation("GET", "/projects/{project}/promise", "What is promised, and how it stands", get_promise, PromiseNow),
        Operation("GET", "/projects/{project}/window", "Outliers in a time window", get_window, Window, window),
        Operation("GET", "/projects/{project}/probes", "Tasks that people answer blind", list_probes, ProbePage, (state, AFTER, LIMIT)),
        Operation("GET", "/projects/{project}/events", "What happened, the latest first", list_events, EventPage, (AFTER, LIMIT)),
        Operation("GET", "/projects/{project}/batches", "Automatic labels that became annotations", list_batches, BatchList),
        Operation(
            "POST",
            "/projects/{project}/batches/{batch}/undo",
            "Take a batch of them back, but for what people have changed since",
            undo_batch,
            Done,
            statuses=tool_errors,
        ),
        Operation("POST", "/projects/{project}/pause", "Stop automatic labels at once", pause, Done, body=reason),
        Operation("POST", "/projects/{project}/resume", "Let labels be automatic again", resume, Done, statuses=alarm),
        Operation("POST", "/projects/{project}/recalibrate", "Renew the promise from the lot", recalibrate, Done, status=202),
        Operation(
            "POST",
            "/datasets/{dataset}/items",
            "Push items: they are triaged first, then their tasks are created",
            push_items,
            Pushed,
            body=pushing.BODY,
            status=202,
        ),
    )


def _item_page(process: Process, project: Project, rows: Sequence[AnyRow], next: str | None) -> ItemPage:
    tool = process.tool_project(project)
    return ItemPage(tuple(resources.item_line(row, _address(tool, row)) for row in rows), next)


def _snapshots(connection: Connection, project: Project, after: str | None, limit: int) -> tuple[Sequence[AnyRow], dict[int, AnyRow]]:
    """A page of datasets, and their latest snapshots."""
    rows = browsing.datasets_page(connection, project, kind=None, after=_number(after), limit=limit)
    return rows, snapshots.latest(connection, [row.id for row in rows], project.reference_id)


def _diversity(row: AnyRow, snapshot: AnyRow) -> DatasetDiversity:
    facts, groups = snapshot.facts["diversity"], snapshot.facts["groups"]
    return DatasetDiversity(resources.dataset_name(row), resources.diversity_line(snapshot), facts["sentence"], facts, tuple(groups))


def _address(tool: ToolProject, row: AnyRow) -> str | None:
    return None if row.external_id is None or row.gone else tool.address(row.external_id)


def _window(start: float, end: float, routes: Sequence[browsing.RouteCount]) -> Window:
    from annotriage.latent.bounds import clopper_pearson  # only whoever asks for a window loads what computes

    scored = sum(one.items for one in routes if one.route != "failed")
    outliers = sum(one.items for one in routes if one.route == "outlier")
    low, high = clopper_pearson(outliers, scored) if scored else (None, None)
    share = outliers / scored if scored else None
    items = sum(one.items for one in routes)
    return Window(time_text(start), time_text(end), items, resources.routes_of(routes), share, low, high)


def _next(rows: Sequence[AnyRow], limit: int, key: Callable[[AnyRow], str]) -> str | None:
    """The key of the last row, if there may be more."""
    return key(rows[-1]) if len(rows) == limit else None


def _number(after: str | None) -> int | None:
    if after is None:
        return None
    if not (after.isascii() and after.isdigit()) or len(after) > 18:
        raise DataError(f"query parameter after: {after!r} is not what `next` said; leave it out for the first page")
    return int(after)


def _id(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise UnknownError(f"{what} {text}: it goes by its number, as in /api/projects/PROJECT/{what}{'es' if what == 'batch' else 's'}")
    return int(text)


def _place(after: str | None) -> tuple[float, int] | None:
    if after is None:
        return None
    trust, _, id = after.partition(",")
    try:
        place = float(trust), int(id)
        if not (0 <= place[0] <= 1 and 0 <= place[1] < 2**62):
            raise ValueError
        return place
    except ValueError:
        raise DataError(f"query parameter after: {after!r} is not what `next` said; leave it out for the first page") from None


def _reason() -> str:
    """The reason in the body, if there is one."""
    if not request.get_data():
        return ""
    body = request.get_json(silent=True)
    if not isinstance(body, dict) or not isinstance(body.get("reason", ""), str):
        raise DataError('the request\'s body is not understood; leave it out, or send {"reason": "..."}')
    return str(body.get("reason", ""))
