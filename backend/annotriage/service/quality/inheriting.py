"""Inherited answers: where a project wants it, a near duplicate gets the answer that people gave on the item that it repeats.

As a prediction of a version of its own: it is nobody's answer, and all of them are taken back at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from annotriage.errors import StateError
from annotriage.labeling_tool import INHERITED_VERSION, Outcomes, Shown, ToolProject
from annotriage.service.operations.process import Process
from annotriage.states import EventKind, TwinState
from annotriage.store import twins
from annotriage.store.events import note
from annotriage.store.projects import Project, get_project

AT_ONCE = 2_000  # items
TRUST = 0.5  # of an inherited answer: nobody has said how often one is right


def inherit(process: Process, project: Project) -> bool:
    """Let near duplicates of answered items have the answers as predictions, where the project wants it; whether there were any.

    What is on its way is written down first, so that nobody draws such an item to be answered blind meanwhile.
    """
    if project.watch or project.gone or project.problem or not project.shown_version:
        return False
    with process.store.reading() as connection:
        if not twins.anything_to_do(connection, project):
            return False
    with process.store.writing() as connection:
        claimed = twins.claim(connection, project, AT_ONCE)
    tool, by_task = process.tool_project(project), {heir.task: heir.item_id for heir in claimed.given}
    _withdraw(tool, [*by_task, *claimed.taken.values()])  # of an earlier answer, or of a call whose answer was lost
    outcomes = tool.deliver([Shown(heir.task, heir.labels, TRUST) for heir in claimed.given], INHERITED_VERSION) if by_task else Outcomes()
    with process.store.writing() as connection:
        held = twins.set_inherited(connection, [by_task[task] for task in outcomes.done])
        twins.set_undone(connection, [*claimed.taken, *(by_task[task] for task in (*outcomes.refused, *outcomes.gone))])
        if held:
            note(connection, project.id, EventKind.INHERITED, items=len(held))
    _withdraw(tool, [task for task in outcomes.done if by_task[task] not in held])  # taken back, or shows something else since
    if outcomes.error is not None:
        raise outcomes.error
    return bool(outcomes.done or outcomes.refused or outcomes.gone or claimed.taken)


def take_inherited_back(process: Process, project: Project, by: str) -> int:
    """Take all inherited answers of a project back, for good: how many. Raises StateError if there are none, ToolError.

    They count as taken back once the labeling tool has none any more, so that it can be asked again whatever breaks off.
    """
    with process.store.reading() as connection:
        project = get_project(connection, project.id)
        counts = twins.twin_counts(connection, project)
        inherited = counts.get(TwinState.INHERITED) or counts.get(TwinState.SENDING)
    dropped = _drop(process, project)
    if not (inherited or dropped):
        raise StateError(f"project {project.external_id}: no answer was inherited, or all of them were taken back already")
    with process.store.writing() as connection:
        items = twins.undo_inherited(connection, project)
        if items:
            note(connection, project.id, EventKind.INHERITED_UNDONE, items=items, by=by)
    _drop(process, project)  # what was inherited between the two
    return items


def _withdraw(tool: ToolProject, tasks: Sequence[str]) -> None:
    """Delete what these tasks inherited."""
    if tasks:
        tool.withdraw([id for ids in tool.delivered(list(tasks), INHERITED_VERSION).values() for id in ids])


def _drop(process: Process, project: Project) -> bool:
    """Delete the version's predictions; whether there were any."""
    tool = process.tool_project(project)
    if INHERITED_VERSION not in tool.versions():
        return False
    tool.drop_version(INHERITED_VERSION, keep=project.shown_version)
    return True
