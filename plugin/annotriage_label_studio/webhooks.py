"""What Label Studio tells by webhook: a body -> one event. Nothing is asked of the server here, and nothing kept of the body.

A webhook's project block carries the project's token and the password of its task data: of that block only the id is taken, and
no message quotes the body.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from annotriage.errors import DataError
from annotriage.labeling_tool import Event

ACTIONS = (  # what our webhook asks for; Label Studio forgets them on every change that does not repeat them
    "TASKS_CREATED",
    "TASKS_DELETED",
    "ANNOTATION_CREATED",
    "ANNOTATIONS_CREATED",
    "ANNOTATION_UPDATED",
    "ANNOTATIONS_DELETED",
    "PROJECT_UPDATED",
)

_KINDS = {
    "TASKS_CREATED": "created",
    "TASKS_DELETED": "deleted",
    "PROJECT_UPDATED": "project",
    "PROJECT_DELETED": "project",
    "START_TRAINING": "train",
    **{f"ANNOTATION{number}_{what}": "changed" for number in ("", "S") for what in ("CREATED", "UPDATED", "DELETED")},
}


def read_event(body: bytes) -> Event:
    """The event in a webhook's body. Raises DataError saying what is malformed, never with a part of the body in it.

    Actions that concern no project's tasks are of the kind "other", and nothing else is read of them. Deleted annotations are told
    without their tasks: such an event names none.
    """
    payload = _payload(body)
    action = payload.get("action")
    if not isinstance(action, str):
        raise DataError("a webhook without an action; only Label Studio's own events are understood")
    kind = _KINDS.get(action)
    if kind is None:
        return Event("other", "")
    project = _project(payload, action)
    if kind == "created":
        records = tuple(_objects(payload, "tasks", action))
        for record in records:
            _id(record, f"{action}: a task")
            if not isinstance(record.get("data"), dict):
                raise DataError(f"{action}: a task without data; it was cut off, or is not Label Studio's")
        return Event(kind, project, records)
    if kind == "deleted":
        return Event(kind, project, task_ids=_unique(_id(task, f"{action}: a task") for task in _objects(payload, "tasks", action)))
    if kind == "changed":
        return Event(kind, project, task_ids=_unique(_annotated(payload, action)))
    return Event(kind, project)


def _payload(body: bytes) -> dict[str, Any]:
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):  # the error's own text is left out, it may quote the body
        raise DataError("a webhook whose body is not JSON; it was cut off, or is not Label Studio's") from None
    if not isinstance(payload, dict):
        raise DataError(
            f"a webhook whose body is a JSON {type(payload).__name__}, not an object; only Label Studio's events are understood"
        )
    return payload


def _project(payload: Mapping[str, Any], action: str) -> str:
    project = payload.get("project")
    if project is None:
        raise DataError(f"{action}: a webhook that names no project; switch on Send payload in the webhook's settings in Label Studio")
    return _id(project if isinstance(project, dict) else {"id": project}, f"{action}: a project")


def _annotated(payload: Mapping[str, Any], action: str) -> list[str]:
    """The ids of the annotated tasks, from whichever of the blocks are there: one of them or a list, singular or plural."""
    annotations = [*_objects(payload, "annotation", action), *_objects(payload, "annotations", action)]
    named = [{"id": annotation["task"]} for annotation in annotations if annotation.get("task") is not None]
    tasks = [*_objects(payload, "task", action), *_objects(payload, "tasks", action)]
    return [_id(task, f"{action}: a task") for task in (*named, *tasks)]


def _objects(payload: Mapping[str, Any], key: str, action: str) -> list[dict[str, Any]]:
    """The objects under a key: one, a list of them, or none."""
    value = payload.get(key)
    values = value if isinstance(value, list) else [] if value is None else [value]
    for value in values:
        if not isinstance(value, dict):
            raise DataError(f"{action}: a {type(value).__name__} where {key} is expected to be an object; this is not Label Studio's")
    return values


def _id(record: Mapping[str, Any], what: str) -> str:
    """Label Studio's ids are whole numbers; as text here."""
    value = record.get("id")
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**63:
        return str(value)
    raise DataError(f"{what} without an id that is a whole number; this is not Label Studio's")


def _unique(ids: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(ids))
