"""Models that projects trained: each with its reference, its report, and what became of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select, update

from annotriage.errors import StateError, UnknownError
from annotriage.states import Time, TrainedState
from annotriage.store.files import store_file
from annotriage.store.projects import Project
from annotriage.store.schema import reference, stored_file, training


@dataclass(frozen=True, slots=True)
class Trained:
    """A model that a project trained.

    former_id, reference_id: the references before and after; version: of the new one's predictions. facts: those of training.json.
    stored_file_id, size: its report, None once an item was erased. by: who asked for it.
    """

    id: int
    state: TrainedState
    former_id: int
    reference_id: int
    version: str
    facts: Mapping[str, Any]
    stored_file_id: int | None
    size: int | None
    by: str
    at: Time


_COLUMNS = (training.c.id, training.c.state, training.c.former_id, training.c.reference_id, reference.c.prediction_version)
_SELECT = (
    select(*_COLUMNS, training.c.facts, training.c.stored_file_id, stored_file.c.size, training.c.by, training.c.at)
    .join(reference, reference.c.id == training.c.reference_id)
    .outerjoin(stored_file, stored_file.c.id == training.c.stored_file_id)
    .order_by(training.c.id.desc())
)


def keep_trained(connection: Connection, project: Project, reference_id: int, facts: Mapping[str, Any], page: Path, by: str) -> int:
    """Keep a model that was trained from the project's current one, and its report: its row's id. Nothing uses it yet."""
    values = {
        "project_id": project.id,
        "former_id": project.reference_id,
        "reference_id": reference_id,
        "facts": dict(facts),
        "stored_file_id": store_file(connection, page),
        "state": TrainedState.OFFERED,
        "by": by,
        "at": time.time(),
    }
    return int(connection.execute(training.insert().values(values).returning(training.c.id)).scalar_one())


def latest_trained(connection: Connection, project_id: int) -> Trained | None:
    """The latest model that a project trained; None before the first."""
    row = connection.execute(_SELECT.where(training.c.project_id == project_id).limit(1)).one_or_none()
    return None if row is None else _trained(row)


def trained_of(connection: Connection, project: Project, id: int) -> Trained:
    """One of the models that a project trained. Raises UnknownError."""
    row = connection.execute(_SELECT.where(training.c.project_id == project.id, training.c.id == id)).one_or_none()
    if row is None:
        raise UnknownError(f"project {project.external_id} has trained no model {id}; its page Training shows the latest")
    return _trained(row)


def move(connection: Connection, project: Project, id: int, from_: Sequence[TrainedState], to: TrainedState) -> None:
    """A trained model is something else from now on. Raises StateError if it is none of `from_` any more."""
    mine = (training.c.project_id == project.id, training.c.id == id, training.c.state.in_(from_))
    if not connection.execute(update(training).where(*mine).values(state=to)).rowcount:
        raise StateError(f"project {project.external_id}: somebody else has just decided on this model; load the page again")


def forget_items(connection: Connection, project_id: int, scrubbed: Callable[[str], str]) -> None:
    """An item was erased: reports go, since its picture may be in one, and the names of items with them. scrubbed: a note without it."""
    for id, facts in connection.execute(select(training.c.id, training.c.facts).where(training.c.project_id == project_id)).all():
        values = {"stored_file_id": None, "facts": {**facts, "regions": [], "notes": [scrubbed(note) for note in facts["notes"]]}}
        connection.execute(update(training).where(training.c.id == id).values(values))


def _trained(row: Sequence[Any]) -> Trained:
    id, state, *rest = row
    return Trained(id, TrainedState(state), *rest)
