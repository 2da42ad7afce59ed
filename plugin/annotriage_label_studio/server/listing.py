"""Reading a project's tasks through the Data Manager's list: by id, after an id, since a time, by the item they were made for.

Always this list: the server's page of a single task waits for the ML backend where the task has no prediction. Pages follow each other
by id, not by number, so that tasks which come, go or change meanwhile shift nothing out of sight. A page that is shorter than asked for
may come of the server's own limit (TASK_API_PAGE_SIZE_MAX): the last one is where the server counts no more. By hand, not by the SDK:
see `client`.
"""

from __future__ import annotations

import itertools
import json
import logging
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from annotriage_label_studio.editor.tasks import MARKER, UNLISTED, seconds
from annotriage_label_studio.server.client import Client
from annotriage_label_studio.server.transport import ServerFailed

log = logging.getLogger(__name__)

TASK = "id,data,meta,created_at,updated_at,is_labeled,overlap"  # what is read of a task: naming it spares the server most of its work
ANNOTATIONS = "annotations,result,was_cancelled,completed_by,ground_truth,updated_by,lead_time,parent_prediction,updated_at"  # fields, too
REVIEWED = f"{TASK},{ANNOTATIONS}"
TOUCHED = "id,created_at,updated_at,total_annotations,cancelled_annotations"  # what tells whether a task must be read again
FIRST_PAGE, PAGE = 25, 500  # tasks with their data: before it is known how large these are, and at most
LIGHT_PAGE = 5_000  # tasks of which next to nothing is read
UNTOUCHED = 0.1  # seconds between the two times of a task to which nothing happened since; a busy server took 0.006
PAGE_TEXT = 2**23  # characters of a page's data; tasks may hold whole pictures
MARKERS = 50  # ids of pushed items asked for at once, within the length of an address


def tasks_after(client: Client, project: str, task_id: str, limit: int | None = None) -> Iterator[list[dict[str, Any]]]:
    """Tasks with larger ids, page by page, without annotations and predictions."""
    left = limit
    for page in _pages(client, project, [], TASK, after=int(task_id or 0)):
        yield page if left is None else page[:left]
        left = None if left is None else left - len(page)
        if left is not None and left <= 0:
            return


def task_ids_after(client: Client, project: str, task_id: str) -> Iterator[list[str]]:
    """The ids of tasks with larger ids, in their order, many at once: a quarter of a millisecond of the server's for each."""
    for page in _pages(client, project, [], "id", after=int(task_id or 0), largest=LIGHT_PAGE):
        yield [str(record["id"]) for record in page]


def newest_after(client: Client, project: str, task_id: str) -> tuple[int, int]:
    """How many tasks have larger ids, and the largest of these, 0 for none: the server counts, and makes one row."""
    later = [condition("id", "greater", "Number", int(task_id or 0))]
    query = {"filters": {"conjunction": "and", "items": later}, "ordering": ["-tasks:id"]}
    tasks, total = _answered(client, project, query, "id", 1)
    return (total, tasks[0]["id"]) if tasks else (0, 0)


def tasks_by_id(client: Client, project: str, ids: Sequence[str], fields: str, *, unlisted: bool = False) -> list[dict[str, Any]]:
    """Those of the tasks that exist, in the order of their ids. fields: what is read of each. unlisted: also what cannot be listed."""
    found = (record for page in pages_by_id(client, project, ids, fields) for record in page)
    return [record for record in found if unlisted or UNLISTED not in record]


def pages_by_id(client: Client, project: str, ids: Sequence[str], fields: str) -> Iterator[list[dict[str, Any]]]:
    """The same page by page, with what cannot be listed."""
    left, size = sorted({int(id) for id in ids if id.isascii() and id.isdigit()}), _size_after([], fields, PAGE)
    while left:
        chunk = left[:size]
        query = {"selectedItems": {"all": False, "included": chunk}, "ordering": ["tasks:id"]}
        page, last = _page(client, project, query, fields, len(chunk))
        if page:
            yield page
        left = left[len(chunk) :] if last else [id for id in left if id > page[-1]["id"]]
        size = _size_after(page, fields, PAGE)


def tasks_changed_since(client: Client, project: str, time: float) -> Iterator[tuple[list[tuple[str, str]], float]]:
    """Tasks whose data or annotations changed since then and after their creation, page by page: id, and when.

    With each page the latest time on it, of tasks that are only new included.

    A change while the pages are read may be in them or not; it is later than `time` for the next reading, too.
    """
    since = datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    filters = [condition("updated_at", "greater", "Datetime", since)]
    for page in _pages(client, project, filters, TOUCHED, largest=LIGHT_PAGE):
        touched = [(str(record["id"]), record["updated_at"]) for record in page if _is_touched(record)]
        yield touched, max(seconds(record["updated_at"]) for record in page)


def _is_touched(record: dict[str, Any]) -> bool:
    """Whether anything happened to a task since it was created; an import makes thousands that are new and nothing else."""
    later = seconds(record["updated_at"]) - seconds(record["created_at"])
    return bool(record["total_annotations"] or record["cancelled_annotations"] or later > UNTOUCHED)


def tasks_with_annotations(client: Client, project: str) -> Iterator[list[dict[str, Any]]]:
    """Tasks with an annotation that was not skipped, page by page, with their annotations."""
    yield from _pages(client, project, [condition("total_annotations", "greater", "Number", 0)], REVIEWED)


def tasks_made_for(client: Client, project: str, markers: Sequence[str]) -> dict[str, str]:
    """The tasks that were created for these pushed items: marker -> task id, the first where there are several."""
    found: dict[str, str] = {}
    for chunk in _chunks(list(markers), MARKERS):
        pattern = f"^({'|'.join(map(re.escape, chunk))})$"
        for page in _pages(client, project, [condition(f"data.{MARKER}", "regex", "String", pattern)], "id,data"):
            for record in page:
                marker = record.get("data", {}).get(MARKER)
                if marker in chunk:
                    found.setdefault(marker, str(record["id"]))
    return found


def tasks_answered_empty(client: Client, project: str) -> list[dict[str, Any]]:
    """The tasks that count as labelled, one of whose annotations is empty; with their annotations."""
    filters = [condition("annotations_results", "contains", "String", "[]"), condition("completed_at", "empty", "Datetime", False)]
    pages = _pages(client, project, filters, f"id,{ANNOTATIONS}")
    empty = (task for page in pages for task in page if any(map(_is_empty, task.get("annotations", ()))))
    return list(empty)


def condition(column: str, operator: str, kind: str, value: Any) -> dict[str, Any]:
    """One condition of a filter, as the Data Manager writes it."""
    return {"filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value}


def _is_empty(annotation: dict[str, Any]) -> bool:
    return not annotation["result"] and not annotation["was_cancelled"]


def _pages(
    client: Client, project: str, filters: list[dict[str, Any]], fields: str, *, after: int = 0, largest: int = PAGE
) -> Iterator[list[dict[str, Any]]]:
    size = _size_after([], fields, largest)
    while True:
        later = condition("id", "greater", "Number", after)
        query = {"filters": {"conjunction": "and", "items": [*filters, later]}, "ordering": ["tasks:id"]}
        page, last = _page(client, project, query, fields, size)
        if page:
            yield page
        if last:
            return
        after = page[-1]["id"]
        size = _size_after(page, fields, largest)


def _size_after(page: list[dict[str, Any]], fields: str, largest: int) -> int:
    """How many tasks to ask for after this page, or at first: where their data are read, as many as make a page of bounded size."""
    if "data" not in fields.split(","):
        return largest
    if not page:
        return FIRST_PAGE
    text = sum(len(value) for task in page for value in task.get("data", {}).values() if isinstance(value, str))
    return max(1, min(PAGE, len(page) * PAGE_TEXT // max(text, 1)))


def _page(client: Client, project: str, query: dict[str, Any], fields: str, size: int) -> tuple[list[dict[str, Any]], bool]:
    """One page of the list, and whether it is the last; of a task that the server fails to list, its id and the mark UNLISTED."""
    try:
        return _asked(client, project, query, fields, size)
    except ServerFailed:
        page, last = _asked(client, project, query, "id", size)
        if fields == "id" or not page:
            raise
        return _one_by_one(client, project, [record["id"] for record in page], fields), last


def _one_by_one(client: Client, project: str, ids: list[int], fields: str) -> list[dict[str, Any]]:
    """Tasks one of which the server fails to list, so that it lists none: halved until it is found, so that the others are read."""
    found: list[dict[str, Any]] = []
    for part in filter(None, (ids[: len(ids) // 2], ids[len(ids) // 2 :])):
        query = {"selectedItems": {"all": False, "included": part}, "ordering": ["tasks:id"]}
        try:
            found += _asked(client, project, query, fields, len(part))[0]
        except ServerFailed as error:
            if len(part) > 1:
                found += _one_by_one(client, project, part, fields)
            else:
                log.warning("task %d of project %s cannot be listed: %s", part[0], project, error)
                found.append({"id": part[0], UNLISTED: True})
    return found


def _asked(client: Client, project: str, query: dict[str, Any], fields: str, size: int) -> tuple[list[dict[str, Any]], bool]:
    """What the server gives, and whether that is the last page."""
    tasks, total = _answered(client, project, query, fields, size)
    return tasks, not tasks or (len(tasks) < size and len(tasks) >= total)


def _answered(client: Client, project: str, query: dict[str, Any], fields: str, size: int) -> tuple[list[dict[str, Any]], int]:
    """Tasks, and how many the query has in all. resolve_uri: data as they stand, without cloud addresses made the server's own."""
    answer = client.get(
        "/api/tasks/",
        project=project,
        query=json.dumps(query, separators=(",", ":")),
        fields="all" if "annotations" in fields or "predictions" in fields else "task_only",
        include=fields,
        page_size=size,
        resolve_uri="false",
    )
    return answer["tasks"], answer["total"]


def _chunks(values: list[Any], size: int) -> Iterator[list[Any]]:
    parts = iter(values)
    while chunk := list(itertools.islice(parts, size)):
        yield chunk
