"""Items: lists of them, the queue, and one with all that is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from annotriage.labeling_tool import ToolProject
from annotriage.service.operations.process import Process
from annotriage.store import browsing
from annotriage.store.database import AnyRow
from annotriage.store.projects import Project, project_of
from annotriage.web.api.datasets import DatasetName, dataset_name
from annotriage.web.api.openapi import Operation, Parameter, Time, time_text
from annotriage.web.api.paging import AFTER, LIMIT, next_page, number_after, trust_after


@dataclass(frozen=True, slots=True)
class ItemLine:
    """An item. task: its id in the labeling tool, pushed: the id that it got when it was pushed; either may be null.

    route: null until it is judged; trust: by which annotators' tasks are sorted (another one than the verdict's for a spot check).
    labels: what the model says; answer: open, resolved, disputed or labelled (before triage saw it); answered: people's labels.
    dismissed: a person took it out of the queue without an answer.
    """

    task: str | None
    pushed: str | None
    address: str | None
    at: Time
    route: str | None
    trust: float | None
    labels: tuple[str, ...] | None
    confidence: float | None
    outlier_score: float | None
    reason: str | None
    spot_check: str | None
    answer: str
    answered: tuple[str, ...] | None
    machine: bool
    dismissed: bool


@dataclass(frozen=True, slots=True)
class ItemPage:
    """Items. next: give it as `after` for the next page; null on the last."""

    items: tuple[ItemLine, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict. judged: the model's own route, before a pause took `auto` away; trust: the true one. members: score of each member."""

    judged: str
    trust: float
    cluster: str | None
    score: float | None
    members: dict[str, float | None]
    p_value: float | None
    sureness: float | None
    seconds: float
    at: Time


@dataclass(frozen=True, slots=True)
class DeliveryLine:
    """A prediction on its way. labels: what annotators see, null hides the model's answer. error: what the last attempt met."""

    version: str
    state: str
    labels: tuple[str, ...] | None
    trust: float
    attempts: int
    error: str | None
    at: Time


@dataclass(frozen=True, slots=True)
class ReviewLine:
    """What one person (or, with `machine`, an accepted machine label) answered."""

    review: str
    annotator: str
    labels: tuple[str, ...] | None
    skipped: bool
    empty: bool
    ground_truth: bool
    machine: bool
    updated_at: Time


@dataclass(frozen=True, slots=True)
class ItemDetail:
    """An item in full. judged: null until it is. spot_check_state: open, disagreed, right or wrong."""

    item: ItemLine
    judged: Judged | None
    group: str | None
    gone: bool
    spot_check_state: str | None
    datasets: tuple[DatasetName, ...]
    deliveries: tuple[DeliveryLine, ...]
    reviews: tuple[ReviewLine, ...]


def list_items(
    process: Process, project: str, route: str | None, dataset: int | None, answer: str | None, after: str | None, limit: int
) -> ItemPage:
    """The project's items in the order in which they came."""
    with process.store.reading() as connection:
        found = project_of(connection, project)
        if dataset is not None:
            browsing.dataset_of_project(connection, found, dataset)
        rows = browsing.items_page(
            connection, found, route=route, dataset_id=dataset, answer=answer, after=number_after(after), limit=limit
        )
    return _item_page(process, found, rows, next_page(rows, limit, lambda row: row.id))


def list_queue(process: Process, project: str, after: str | None, limit: int) -> ItemPage:
    """What waits for a person, strangest first."""
    with process.store.reading() as connection:
        found = project_of(connection, project)
        rows = browsing.queue_page(connection, found, after=trust_after(after), limit=limit)
    return _item_page(process, found, rows, next_page(rows, limit, lambda row: f"{row.trust!r},{row.id}"))


def get_item(process: Process, project: str, task: str) -> ItemDetail:
    """One item, by its task or the id it was pushed with."""
    with process.store.reading() as connection:
        found = project_of(connection, project)
        row = browsing.item_of_task(connection, found, task)
        return ItemDetail(
            item_line(row, _address(process.tool_project(found), row)),
            judged_of(row),
            row.group,
            row.gone,
            row.spot_check_state,
            tuple(dataset_name(one) for one in browsing.datasets_of_item(connection, row.id)),
            tuple(delivery_line(one) for one in browsing.deliveries_of_item(connection, row.id)),
            tuple(review_line(one) for one in browsing.reviews_of_item(connection, row.id)),
        )


def item_line(row: AnyRow, address: str | None) -> ItemLine:
    """A row of `browsing`'s items."""
    return ItemLine(
        task=row.external_id,
        pushed=row.marker,
        address=address,
        at=time_text(row.at),
        route=row.route,
        trust=row.trust,
        labels=texts(row.model_labels) if row.judged is not None and row.route != "failed" else None,
        confidence=row.confidence,
        outlier_score=row.outlier_score,
        reason=row.reason,
        spot_check=row.spot_check,
        answer="labelled" if row.labelled else row.answer,
        answered=texts(row.labels),
        machine=row.machine,
        dismissed=row.dismissed,
    )


def judged_of(row: AnyRow) -> Judged | None:
    """The verdict in a row of `browsing`'s items."""
    if row.judged is None:
        return None
    numbers = (row.cluster, row.score, row.members, row.p_value, row.sureness, row.seconds)
    return Judged(row.judged, row.true_trust, *numbers, time_text(row.judged_at))


def delivery_line(row: AnyRow) -> DeliveryLine:
    """A row of `delivery` with its version."""
    return DeliveryLine(row.version, row.state, texts(row.labels), row.trust, row.attempts, row.error, time_text(row.at))


def review_line(row: AnyRow) -> ReviewLine:
    """A row of `review`."""
    flags = (row.skipped, row.empty, row.ground_truth, row.machine)
    return ReviewLine(row.external_id, row.annotator, texts(row.labels), *flags, time_text(row.updated_at))


def texts(labels: Sequence[str] | None) -> tuple[str, ...] | None:
    """Labels out of a JSON column."""
    return None if labels is None else tuple(labels)


def _item_page(process: Process, project: Project, rows: Sequence[AnyRow], next: str | None) -> ItemPage:
    tool = process.tool_project(project)
    return ItemPage(tuple(item_line(row, _address(tool, row)) for row in rows), next)


def _address(tool: ToolProject, row: AnyRow) -> str | None:
    return None if row.external_id is None or row.gone else tool.address(row.external_id)


FILTERS = (
    Parameter("route", str, "Only items of this route.", choices=("auto", "uncertain", "outlier", "failed")),
    Parameter("dataset", int, "Only items of the dataset with this id."),
    Parameter("answer", str, "Only items that are so far answered.", choices=("open", "resolved", "disputed", "labelled")),
)

OPERATIONS = (
    Operation("GET", "/projects/{project}/items", list_items, ItemPage, (*FILTERS, AFTER, LIMIT)),
    Operation("GET", "/projects/{project}/items/{task}", get_item, ItemDetail),
    Operation("GET", "/projects/{project}/queue", list_queue, ItemPage, (AFTER, LIMIT)),
)
