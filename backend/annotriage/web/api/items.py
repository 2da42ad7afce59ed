"""Items: lists of them, the queue, and one with all that is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import request

from annotriage.advice.numbers import count
from annotriage.errors import DataError, UnknownError
from annotriage.service.operations.process import Process
from annotriage.service.readings.item import ItemDetail, ItemLine, QueueLine, item_detail, item_lines, queue_lines
from annotriage.service.readings.names import names_of
from annotriage.store import browsing, erasing
from annotriage.store.datasets import dataset_of_project
from annotriage.store.projects import project_of
from annotriage.store.provenance import Label, labels_page
from annotriage.store.queue import queue_page
from annotriage.web.api.openapi import Asked, Operation, Parameter
from annotriage.web.api.paging import AFTER, LIMIT, next_page, number_after, trust_after
from annotriage.web.api.projects import Done
from annotriage.web.sessions import visitor_name
from annotriage.web.storable import why_unstorable


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


def list_items(asked: Asked, route: str | None, dataset: int | None, answer: str | None, after: str | None, limit: int) -> ItemList:
    """The project's items in the order in which they came."""
    if dataset is not None and dataset_of_project(asked.connection, asked.project, dataset).kind == "all":
        dataset = None  # there is an index for each filter alone
    items = browsing.items_page(
        asked.connection, asked.project, route=route, dataset_id=dataset, answer=answer, after=number_after(after), limit=limit
    )
    return ItemList(item_lines(asked.process.tool_project(asked.project), items), next_page(items, limit, lambda item: item.id))


def list_queue(asked: Asked, after: str | None, limit: int) -> QueueList:
    """What waits for a person, strangest first."""
    items = queue_page(asked.connection, asked.project, after=trust_after(after), limit=limit).rows
    lines = queue_lines(asked.connection, asked.process.tool_project(asked.project), asked.project, items)
    return QueueList(lines, next_page(items, limit, lambda item: f"{item.trust!r},{item.id}"))


def list_labels(asked: Asked, after: str | None, limit: int) -> LabelList:
    """Every item's label and where it comes from, in the order in which items came."""
    page = labels_page(asked.connection, asked.project, after=number_after(after), limit=limit)
    return LabelList(page.labels, None if page.next is None else str(page.next))


def erase_items(process: Process, project: str) -> Done:
    """Erase all that is known of items. The answer comes at once, the jobs process does it within seconds; its job says what remains."""
    names = _names()
    with process.store.writing() as connection:
        found = project_of(connection, project)
        known = erasing.doomed(connection, found, names)
        if unknown := [name for name in names if name not in known]:
            raise UnknownError(f"project {project} has no items {', '.join(unknown)[:500]}: nothing is erased")
        erasing.ask(connection, found, names, visitor_name())
    return Done(f"{count(len(known), 'item')} will be erased within seconds; the project's history tells when it is done")


def _names() -> list[str]:
    """The items that the body names. Raises DataError."""
    body = request.get_json(silent=True)
    names = body.get("items") if isinstance(body, dict) else None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise DataError('the request\'s body is not understood; send {"items": ["4711"]}, with the ids of tasks or of pushed items')
    if fault := why_unstorable(body):
        raise DataError(f"items: {fault}")
    return names


def get_item(asked: Asked, task: str) -> ItemDetail:
    """One item, by its task or the id it was pushed with."""
    item = browsing.item_of_task(asked.connection, asked.project, task)
    return item_detail(asked.connection, asked.process.tool_project(asked.project), asked.project, item, names=names_of(asked.process))


FILTERS = (
    Parameter("route", str, "Only items of this route.", choices=("auto", "uncertain", "outlier", "failed")),
    Parameter("dataset", int, "Only items of the dataset with this id."),
    Parameter("answer", str, "Only items that are so far answered.", choices=("open", "resolved", "disputed", "labelled")),
)

ITEMS: dict[str, dict[str, Any]] = {
    "application/json": {
        "type": "object",
        "properties": {"items": {"type": "array", "items": {"type": "string"}, "minItems": 1}},
        "required": ["items"],
    }
}

OPERATIONS = (
    Operation("GET", "/projects/{project}/items", list_items, ItemList, (*FILTERS, AFTER, LIMIT)),
    Operation("GET", "/projects/{project}/items/{task}", get_item, ItemDetail),
    Operation("GET", "/projects/{project}/labels", list_labels, LabelList, (AFTER, LIMIT)),
    Operation("POST", "/projects/{project}/erasures", erase_items, Done, body=ITEMS),
    Operation("GET", "/projects/{project}/queue", list_queue, QueueList, (AFTER, LIMIT)),
)
