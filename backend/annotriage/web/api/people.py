"""How well people answer, and the known answers by which that is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import request

from annotriage.errors import DataError
from annotriage.service.operations.process import Process
from annotriage.service.quality import gold
from annotriage.service.readings.people import PeopleState, people_state
from annotriage.store.projects import project_of
from annotriage.web.api.openapi import Asked, Operation
from annotriage.web.sessions import visitor_name
from annotriage.web.storable import why_unstorable

MOST_KNOWN = 500  # answers in one request


@dataclass(frozen=True, slots=True)
class GoldSet:
    """Known answers that are kept now. left: why others were not, with their numbers."""

    added: int
    left: dict[str, int]


def get_people(asked: Asked) -> PeopleState:
    """How often people are wrong by known answers, how far they agree, what sways them, and the model beside their blind answers."""
    return people_state(asked.process, asked.connection, asked.project)


def set_gold(process: Process, project: str) -> GoldSet:
    """Keep known answers, to be asked blind at the share that the project's setting gold_share says."""
    known = _known(request.get_json(silent=True))
    with process.store.reading() as connection:
        found = project_of(connection, project)
    done = gold.keep_known(process, found, known, visitor_name())
    return GoldSet(done.added, dict(done.left))


def _known(body: Any) -> dict[str, tuple[str, ...]]:
    """The known answers of a request's body, by task. Raises DataError."""
    rows = body.get("answers") if isinstance(body, dict) else None
    wrong = 'the request\'s body is not understood; send {"answers": [{"task": "4711", "labels": ["cat"]}]}'
    if not isinstance(rows, list) or not 1 <= len(rows) <= MOST_KNOWN:
        raise DataError(f"{wrong}, {MOST_KNOWN} of them at most")
    known: dict[str, tuple[str, ...]] = {}
    for row in rows:
        task, labels = (row.get("task"), row.get("labels")) if isinstance(row, dict) else (None, None)
        if not isinstance(task, str) or not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise DataError(wrong)
        known[task] = tuple(labels)
    if fault := why_unstorable(body):
        raise DataError(f"answers: {fault}")
    return known


BODY: dict[str, dict[str, Any]] = {
    "application/json": {
        "type": "object",
        "properties": {
            "answers": {
                "type": "array",
                "minItems": 1,
                "maxItems": MOST_KNOWN,
                "items": {
                    "type": "object",
                    "properties": {"task": {"type": "string"}, "labels": {"type": "array", "items": {"type": "string"}}},
                    "required": ["task", "labels"],
                },
            }
        },
        "required": ["answers"],
    }
}
STATUSES = (
    (409, "A label cannot be chosen in the labeling tool."),
    (502, "The labeling tool refused."),
    (503, "The labeling tool, or the database, does not answer."),
)

OPERATIONS = (
    Operation("GET", "/projects/{project}/people", get_people, PeopleState),
    Operation("POST", "/projects/{project}/gold", set_gold, GoldSet, body=BODY, statuses=STATUSES),
)
