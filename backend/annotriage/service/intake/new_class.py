"""Another class for people to choose in the labeling tool: what it changes there, the change itself, and taking it back.

The model does not know the class: it never labels anything so until a training has learned it. Answers of that class count as a
stranger's in the guarantee, as every answer does that the model has no class for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from annotriage.errors import StateError
from annotriage.labeling_tool import ConfigChange
from annotriage.service.operations.log import log
from annotriage.service.operations.process import Process
from annotriage.states import EventKind, Time
from annotriage.store.events import events_of, note
from annotriage.store.projects import Project

KINDS = (EventKind.CLASS_ADDED, EventKind.CLASS_TAKEN_BACK)
LOOKED_AT = 200  # events, among which the classes that were added are looked for


@dataclass(frozen=True, slots=True)
class AddedClass:
    """A class that was added from here."""

    label: str
    by: str
    at: Time


def foresee_class(process: Process, project: Project, label: str) -> ConfigChange:
    """What adding a class would change. Raises DataError, saying what to do, where that cannot be done from here; ToolError."""
    _refuse_unwritten(project)
    return process.tool_project(project).with_choice(_tidy(label))


def add_class(process: Process, project: Project, label: str, seen: str, by: str) -> str:
    """Let people choose a class: its label. seen: the `mark` of the change that a person has agreed to.

    Raises StateError if the labeling config is another one by now; and as `foresee_class`.
    """
    change = foresee_class(process, project, label)
    if mark(change) != seen:
        raise StateError("somebody has changed the labeling config meanwhile; look at the change again")
    process.tool_project(project).change_config(change)
    with process.store.writing() as connection:
        note(connection, project.id, EventKind.CLASS_ADDED, label=_tidy(label), by=by)
    log("class added", project=project.external_id, label=_tidy(label))
    return _tidy(label)


def take_class_back(process: Process, project: Project, label: str, by: str) -> None:
    """Take a class away that was added from here. Raises StateError if none of that name was, or if people answered with it."""
    _refuse_unwritten(project)
    with process.store.reading() as connection:
        if label not in {added.label for added in added_classes(connection, project)}:
            raise StateError(f"no class {label[:60]!r} was added from here; load the page again")
    tool = process.tool_project(project)
    tool.change_config(tool.without_choice(label))
    with process.store.writing() as connection:
        note(connection, project.id, EventKind.CLASS_TAKEN_BACK, label=label, by=by)
    log("class taken back", project=project.external_id, label=label)


def added_classes(connection: Connection, project: Project) -> Sequence[AddedClass]:
    """The classes that were added from here and not taken back, the latest first."""
    found: dict[str, AddedClass | None] = {}
    for event in events_of(connection, project.id, KINDS, LOOKED_AT):
        label = str(event.facts["label"])
        added = event.kind == EventKind.CLASS_ADDED
        found.setdefault(label, AddedClass(label, str(event.facts["by"]), event.at) if added else None)
    return [one for one in found.values() if one is not None]


def mark(change: ConfigChange) -> str:
    """By which a change is known again."""
    return hashlib.blake2b(f"{change.before}\0{change.after}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _tidy(label: str) -> str:
    return " ".join(label.split())


def _refuse_unwritten(project: Project) -> None:
    if project.watch or project.gone:
        raise StateError("nothing is written into this project, so no class can be added from here")
