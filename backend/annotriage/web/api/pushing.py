"""Items that other systems push, as requests bring them: JSON with media addresses or data: URIs, or a form with files.

They are triaged first; the worker then creates their tasks with prediction and fields. What is wrong with one item is said of it by
its place in the request, and the others go on.
"""

from __future__ import annotations

import base64
import json
import mimetypes
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from flask import Request, request
from werkzeug.datastructures import FileStorage

from annotriage.errors import DataError, StateError
from annotriage.service.operations.process import Process
from annotriage.store.counters import chunks
from annotriage.store.datasets import LONGEST_NAME, Dataset, dataset_of_project
from annotriage.store.projects import project_of
from annotriage.store.pushing import PushedItem, add_pushed, marker_of
from annotriage.web.api.openapi import Operation
from annotriage.web.storable import why_unstorable

AT_ONCE = 250  # items in one transaction, so that webhooks need not wait
LONGEST_ID = 1_000  # characters
OWN_FIELDS = "triage_"  # data fields that annotriage itself writes
KEYS = ("id", "media", "group", "data")

ITEM_SCHEMA = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "description": "The sender's own. Sent again later it changes nothing.", "maxLength": LONGEST_ID},
        "media": {"type": "string", "description": "An http(s) address or a data: URI."},
        "group": {"type": "string", "description": "What it belongs to, as a patient or a video."},
        "data": {"type": "object", "description": "Further fields of its task."},
    },
    "required": ["media"],
    "additionalProperties": False,
}
BODY: dict[str, dict[str, Any]] = {
    "application/json": {
        "type": "object",
        "properties": {"project": {"type": "string"}, "items": {"type": "array", "items": ITEM_SCHEMA, "minItems": 1}},
        "required": ["project", "items"],
        "additionalProperties": False,
    },
    "multipart/form-data": {
        "type": "object",
        "description": "Files, with the same fields for all of them; a file's name is its id, and is there once.",
        "properties": {
            "project": {"type": "string"},
            "files": {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1},
            "group": {"type": "string"},
            "data": {"type": "string", "description": "Further fields of their tasks, as a JSON object."},
        },
        "required": ["project", "files"],
    },
}


@dataclass(frozen=True, slots=True)
class Accepted:
    """An item that was taken in. index: its place in the request; pushed: the id it goes by; new: false if it was there already."""

    index: int
    id: str | None
    pushed: str
    new: bool
    url: str


@dataclass(frozen=True, slots=True)
class Refused:
    """An item that was not taken in, and why. index: its place in the request."""

    index: int
    id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Pushed:
    """What became of pushed items. They are triaged first; then their tasks are created, and `url` of each shows its task."""

    dataset: Dataset
    accepted: tuple[Accepted, ...]
    refused: tuple[Refused, ...]


@dataclass(frozen=True)
class _Candidate:
    """An item as it was sent. id: the sender's, if there is one."""

    index: int
    id: str | None
    item: PushedItem


def push_items(process: Process, dataset: str) -> Pushed:
    """Push items: they are triaged first, then their tasks are created.

    Raises DataError if the request as a whole is not understood or none of its items is, UnknownError without the project.
    """
    if not dataset.strip() or len(dataset) > LONGEST_NAME:
        raise DataError(f"dataset: its name must have 1 to {LONGEST_NAME} characters")
    project_id, sent = _form(request) if request.mimetype == "multipart/form-data" else _json(request)
    with process.store.reading() as connection:
        project = project_of(connection, project_id)
    if project.gone:
        raise StateError(f"project {project_id} was deleted in the labeling tool: no task can be created in it")
    candidates, refused = _looked_at(sent, project_id, dataset, process.settings.media_mb * 2**20)
    if not candidates:
        raise DataError(f"none of the {len(sent):,} items is taken in; the first: {refused[0].reason}")
    new: set[str] = set()
    dataset_id = 0
    for some in chunks(candidates, AT_ONCE):
        with process.store.writing() as connection:
            dataset_id, added = add_pushed(connection, project, dataset, [candidate.item for candidate in some])
        new |= added
    with process.store.reading() as connection:
        found = dataset_of_project(connection, project, dataset_id)
    address = f"/api/projects/{project_id}/items/"
    accepted = tuple(
        Accepted(candidate.index, candidate.id, marker, marker in new, address + marker)
        for candidate in candidates
        for marker in (candidate.item.marker,)
    )
    return Pushed(found, accepted, tuple(refused))


def _looked_at(sent: Sequence[Any], project: str, dataset: str, most: int) -> tuple[list[_Candidate], list[Refused]]:
    """The items that can be taken in, and those that cannot. most: bytes of one item's media."""
    candidates: dict[str, _Candidate] = {}
    refused = []
    for index, part in enumerate(sent):
        id = part.get("id") if isinstance(part, Mapping) and isinstance(part.get("id"), str) else None
        try:
            item = _item(part, project, dataset, most)
            if item.marker in candidates:
                raise DataError(f"id: {id!r} was used before in this request; give each item its own (a file's is its name)")
            candidates[item.marker] = _Candidate(index, id, item)
        except DataError as error:
            refused.append(Refused(index, id, str(error)))
    return list(candidates.values()), refused


def _json(request: Request) -> tuple[str, Sequence[Any]]:
    try:
        body = json.loads(request.get_data(cache=False))
    except (ValueError, RecursionError):
        raise DataError("the request's body is not JSON; send an object with `project` and `items`, or a form with files") from None
    if not isinstance(body, dict):
        raise DataError(f"the request's body is a JSON {type(body).__name__}; send an object with `project` and `items`")
    project, items = body.get("project"), body.get("items")
    if isinstance(project, int) and not isinstance(project, bool):
        project = str(project)
    if not isinstance(project, str) or not project:
        raise DataError('project: missing; name the project of the labeling tool, as {"project": "3", "items": [...]}')
    if fault := why_unstorable(project):
        raise DataError(f"project: {fault}")
    if not isinstance(items, list) or not items:
        raise DataError('items: missing; send a list, as {"project": "3", "items": [{"media": "https://..."}]}')
    if unknown := sorted(set(body) - {"project", "items"}):
        raise DataError(f"{unknown[0]!r} means nothing here; the request has `project` and `items`")
    return project, items


def _form(request: Request) -> tuple[str, Sequence[Any]]:
    project = request.form.get("project", "")
    if not project:
        raise DataError("project: missing; give it as a field of the form")
    files = [file for _, file in request.files.items(multi=True)]
    if not files:
        raise DataError("files: missing; send at least one, each as a part of the form with a file name")
    common: dict[str, Any] = {}
    if "group" in request.form:
        common["group"] = request.form["group"]
    if "data" in request.form:
        try:
            common["data"] = json.loads(request.form["data"])
        except (ValueError, RecursionError):
            raise DataError("data: not JSON; give the further fields of the tasks as one JSON object") from None
    return project, list(_uploads(files, common))


def _uploads(files: Sequence[FileStorage], common: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for file in files:
        kind = file.mimetype or ""
        if not kind or kind == "application/octet-stream":
            kind = mimetypes.guess_type(file.filename or "")[0] or "application/octet-stream"
        named = {"id": file.filename} if file.filename else {}
        with file.stream:
            content = file.read()
        yield {**common, **named, "media": f"data:{kind};base64,{base64.b64encode(content).decode()}"}


def _item(part: Any, project: str, dataset: str, most: int) -> PushedItem:
    """One item of a request, looked at from all sides. Raises DataError saying what is wrong with it."""
    if not isinstance(part, Mapping):
        raise DataError(f"a JSON {type(part).__name__} instead of an object with `media`")
    if fault := why_unstorable(part):
        raise DataError(f"the item {fault}")
    if unknown := sorted(set(part) - set(KEYS)):
        raise DataError(f"{unknown[0]!r} means nothing here; an item has {', '.join(KEYS)} (further fields of its task go into data)")
    id, group, data = part.get("id"), part.get("group"), part.get("data", {})
    if id is not None and (not isinstance(id, str) or not id or len(id) > LONGEST_ID):
        raise DataError(f"id: must be a text of 1 to {LONGEST_ID} characters")
    if group is not None and (not isinstance(group, str) or not group):
        raise DataError("group: must be a text that is not empty")
    if not isinstance(data, Mapping):
        raise DataError(f"data: must be an object, not a {type(data).__name__}")
    if own := [key for key in data if key.startswith(OWN_FIELDS)]:
        raise DataError(f"data: {own[0]!r} is a name that annotriage keeps for its own fields; choose another")
    marker = secrets.token_hex(16) if id is None else marker_of(project, dataset, id)
    return PushedItem(marker, _media(part.get("media"), most), group, dict(data))


def _media(media: Any, most: int) -> str:
    if not isinstance(media, str) or not media:
        raise DataError("media: missing; give an http(s) address or a data: URI")
    if media.startswith("data:"):
        if media.count(",") == 0:
            raise DataError("media: a data: URI without data; it was cut off")
        if len(media) * 3 // 4 > most:
            raise DataError(f"media: larger than {most // 2**20} MB; raise the setting media_mb, or give an address")
        return media
    try:
        parts = urlsplit(media)
        port = parts.port  # raises what is no number
    except ValueError:
        raise DataError(f"media: {media[:100]!r} is no address") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise DataError(f"media: {media[:100]!r} is neither an http(s) address nor a data: URI")
    return media


OPERATIONS = (
    Operation(
        "POST",
        "/datasets/{dataset}/items",
        push_items,
        Pushed,
        body=BODY,
        status=202,
        statuses=((409, "The project was deleted in the labeling tool."),),
    ),
)
