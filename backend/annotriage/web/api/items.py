"""Items: lists of them, the queue, and one with all that is known of it."""

from __future__ import annotations

from dataclasses import dataclass

from annotriage.service.operations.process import Process
from annotriage.service.readings.item import ItemDetail, ItemLine, QueueLine, item_detail, item_lines, queue_lines
from annotriage.store import browsing
from annotriage.store.datasets import dataset_of_project
from annotriage.store.projects import project_of
from annotriage.store.provenance import Label, labels_page
from annotriage.store.queue import queue_page
from annotriage.web.api.openapi import Operation, Parameter
from annotriage.web.api.paging import AFTER, LIMIT, next_page, number_after, trust_after


@dataclass(frozen=True, slots=True)
class ItemList:
    """Items. next: give it as `after` for the next page; null on the last."""

    items: tuple[ItemLine, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class QueueList:
    """Items that wait for a person. next: as everywhere."""

    items: tuple[QueueLine, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class LabelList:
    """Labels and where they come from. next: as everywhere."""

    labels: tuple[Label, ...]
    next: str | None


def list_items(
    process: Process, project: str, route: str | None, dataset: int | None, answer: str | None, after: str | None, limit: int
) -> ItemList:
    """The project's items in the order in which they came."""
    with process.store.reading() as connection:
        found = project_of(connection, project)
        if dataset is not None:
            dataset_of_project(connection, found, dataset)
        items = browsing.items_page(
            connection, found, route=route, dataset_id=dataset, answer=answer, after=number_after(after), limit=limit
        )
    return ItemList(item_lines(process.tool_project(found), items), next_page(items, limit, lambda item: item.id))


def list_queue(process: Process, project: str, after: str | None, limit: int) -> QueueList:
    """What waits for a person, strangest first."""
    with process.store.reading() as connection:
        found = project_of(connection, project)
        items = queue_page(connection, found, after=trust_after(after), limit=limit).rows
        lines = queue_lines(connection, process.tool_project(found), found, items)
    return QueueList(lines, next_page(items, limit, lambda item: f"{item.trust!r},{item.id}"))


def list_labels(process: Process, project: str, after: str | None, limit: int) -> LabelList:
    """Every item's label and where it comes from, in the order in which items came."""
    with process.store.reading() as connection:
        page = labels_page(connection, project_of(connection, project), after=number_after(after), limit=limit)
    return LabelList(page.labels, None if page.next is None else str(page.next))


def get_item(process: Process, project: str, task: str) -> ItemDetail:
    """One item, by its task or the id it was pushed with."""
    with process.store.reading() as connection:
        found = project_of(connection, project)
        item = browsing.item_of_task(connection, found, task)
        return item_detail(connection, process.tool_project(found), found, item)


FILTERS = (
    Parameter("route", str, "Only items of this route.", choices=("auto", "uncertain", "outlier", "failed")),
    Parameter("dataset", int, "Only items of the dataset with this id."),
    Parameter("answer", str, "Only items that are so far answered.", choices=("open", "resolved", "disputed", "labelled")),
)

OPERATIONS = (
    Operation("GET", "/projects/{project}/items", list_items, ItemList, (*FILTERS, AFTER, LIMIT)),
    Operation("GET", "/projects/{project}/items/{task}", get_item, ItemDetail),
    Operation("GET", "/projects/{project}/labels", list_labels, LabelList, (AFTER, LIMIT)),
    Operation("GET", "/projects/{project}/queue", list_queue, QueueList, (AFTER, LIMIT)),
)
