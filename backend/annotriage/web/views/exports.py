"""Files to take away: items and queue as CSV, written while they are read; report.html and atlas.html of a dataset, made by jobs."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator, Sequence

from flask import Response, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection

from annotriage.advice.page_words import stamp
from annotriage.errors import DataError, UnknownError
from annotriage.report.csv_cells import text_cell
from annotriage.report.tables import csv_texts
from annotriage.service.operations.process import Process
from annotriage.service.readings.labels import COLUMNS as COLUMNS_OF_LABELS
from annotriage.service.readings.labels import label_pages, row_of
from annotriage.states import ROUTES
from annotriage.store import jobs, reports
from annotriage.store.browsing import Item, items_page
from annotriage.store.datasets import dataset_of_project
from annotriage.store.files import piece_of
from annotriage.store.projects import Project
from annotriage.store.queue import Key, queue_page
from annotriage.web.query_args import walk_asked, whole
from annotriage.web.routing import Routes

AT_ONCE = 1_000  # rows of one reading: no transaction stays open while a slow client takes its time
COLUMNS = (
    "task", "pushed", "route", "label", "confidence", "cluster", "score", "class_score", "source_score",
    "p_value", "outlier_score", "trust", "reason", "spot_check",
    "answer", "answered", "machine", "dataset_group", "at", "judged_at",
)  # fmt: skip


def add_views(routes: Routes) -> None:
    """Add the addresses."""
    process = routes.process

    @routes.open("/items.csv")
    def items_csv(project: Project) -> ResponseReturnValue:
        dataset, route = _asked(process, project)

        def pages() -> Iterator[Sequence[Item]]:
            after: int | None = None
            while True:
                with process.store.reading() as connection:
                    rows = items_page(connection, project, route=route, dataset_id=dataset, after=after, limit=AT_ONCE)
                yield rows
                if len(rows) < AT_ONCE:
                    return
                after = rows[-1].id

        return _csv(f"items-{project.id}", pages())

    @routes.open("/labels.csv")
    def labels_csv(project: Project) -> ResponseReturnValue:
        pages = ([*map(row_of, page)] for page in label_pages(process.store, project))
        return _attached(f"labels-{project.id}", csv_texts(list(COLUMNS_OF_LABELS), pages))

    @routes.open("/queue.csv")
    def queue_csv(project: Project) -> ResponseReturnValue:
        walk = walk_asked("queue")
        if walk.filters.dataset is not None:
            with process.store.reading() as connection:
                dataset_of_project(connection, project, walk.filters.dataset)

        def pages() -> Iterator[Sequence[Item]]:
            after: Key | None = None
            while True:
                with process.store.reading() as connection:
                    page = queue_page(connection, project, order=walk.order, filters=walk.filters, after=after, limit=AT_ONCE)
                yield page.rows
                if page.next is None:
                    return
                after = page.next

        return _csv(f"queue-{project.id}", pages())

    @routes.open("/datasets/<int:dataset>/<any(report, atlas):kind>.html")
    def report(project: Project, dataset: int, kind: str) -> ResponseReturnValue:
        with process.store.reading() as connection:
            row = dataset_of_project(connection, project, dataset)
            found = reports.report_of(connection, row.id, kind)
        if found is None:
            raise UnknownError(f"no {kind} of this dataset was made yet; its page has the button")

        def pieces() -> Iterator[bytes]:
            for number in itertools.count():
                with process.store.reading() as connection:
                    piece = piece_of(connection, found.stored_file_id, number)
                if piece is None:
                    return
                yield piece

        headers = {"Content-Disposition": f'attachment; filename="{kind}-{dataset}.html"', "Content-Length": str(found.size)}
        return Response(pieces(), mimetype="text/html", headers=headers)

    @routes.writing("/datasets/<int:dataset>/<any(report, atlas):kind>")
    def make_report(connection: Connection, project: Project, dataset: int, kind: str) -> ResponseReturnValue:
        row = dataset_of_project(connection, project, dataset)
        id = jobs.queue(connection, project.id, kind, {"dataset": row.id})
        mine = any(job.id == id and job.payload["dataset"] == row.id for job in jobs.jobs_of(connection, project.id, kinds=(kind,)))
        said = (
            f"The {kind} is being made; it shows here once it is ready."
            if mine
            else f"Another {kind} is being made; ask again once it is ready."
        )
        flash(said, "done")
        return redirect(url_for("web.diversity", project=project.external_id, dataset=dataset), 303)


def _asked(process: Process, project: Project) -> tuple[int | None, str | None]:
    """The dataset and route that are asked for. Raises UnknownError, DataError."""
    dataset, route = whole("dataset"), request.args.get("route") or None
    if route is not None and route not in ROUTES:
        raise DataError(f"route: {route[:40]!r} is none of {', '.join(ROUTES)}")
    if dataset is not None:
        with process.store.reading() as connection:
            dataset_of_project(connection, project, dataset)
    return dataset, route


def _csv(name: str, pages: Iterator[Sequence[Item]]) -> Response:
    def lines() -> Iterator[str]:
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        for rows in pages:
            writer.writerows(map(_line, rows))
            yield text.getvalue()
            text.seek(0)
            text.truncate()

    return _attached(name, lines())


def _attached(name: str, lines: Iterator[str]) -> Response:
    return Response(lines, mimetype="text/csv", headers={"Content-Disposition": f'attachment; filename="{name}.csv"'})


def _line(item: Item) -> list[object]:
    verdict, check = item.verdict, item.spot_check
    judged: list[object] = (
        [None] * 10
        if verdict is None
        else [
            _plain(" + ".join(verdict.labels)),
            verdict.confidence,
            _plain(verdict.cluster),
            verdict.score,
            verdict.class_score,
            verdict.source_score,
            verdict.p_value,
            verdict.outlier_score,
            verdict.trust,
            _plain(verdict.reason),
        ]
    )
    return [
        _plain(item.task),
        _plain(item.pushed),
        item.route,
        *judged,
        None if check is None else check.kind,
        item.answer,
        None if item.answered is None else _plain(" + ".join(item.answered)),
        item.machine,
        _plain(item.group),
        stamp(item.at),
        stamp(None if verdict is None else verdict.at),
    ]


def _plain(text: str | None) -> str | None:
    return None if text is None else text_cell(text)
