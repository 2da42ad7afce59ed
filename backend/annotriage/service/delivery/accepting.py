"""Automatic labels become annotations without a person (accept = "annotate"), in batches, and are taken back when somebody says so.

The only step that takes a person out: everything that speaks against it stops it. What was accepted comes back as a review like any
other, made by a machine.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from annotriage.advice.state_words import why_paused
from annotriage.errors import OutcomeUnknown, ToolError
from annotriage.labeling_tool import Outcomes
from annotriage.service.guarantee.spot_checks import DAY, MOST_OUTSTANDING, OLDEST_DAYS, passed_probation
from annotriage.service.intake.reviewing import take_reviews
from annotriage.service.operations.log import log
from annotriage.service.operations.process import Process
from annotriage.states import EventKind
from annotriage.store import acceptances, spot_checks
from annotriage.store.counters import chunks
from annotriage.store.events import note
from annotriage.store.projects import Project, get_project

BATCH = 500  # items
LOST_SECONDS = 60.0  # after which a call whose answer was lost is over, and what was not accepted may be tried again


def accept_due(process: Process, project: Project) -> None:
    """Accept the next batch where the project wants it; called every few seconds. Raises ToolError."""
    if project.options.accept == "annotate":
        accept_batch(process, project)
    elif not (project.watch or project.gone):
        _read_back(process, project)  # what was accepted before it was switched off


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of accepting all that may be accepted. labels: that became annotations. left: that the tool refused, as people are at
    their tasks."""

    labels: int
    left: int


def accept_all(process: Process, project: Project) -> Taken:
    """Accept automatic labels, batch after batch, as long as there are any and nothing speaks against it. Raises ToolError."""
    labels, left = 0, set[str]()
    while (found := _accept(process, project, left)).done or found.refused:
        labels += len(found.done)
        left |= found.refused.keys()
    return Taken(labels, len(left))


def accept_batch(process: Process, project: Project) -> int:
    """Accept one batch of automatic labels, if nothing speaks against it; how many. Raises ToolError.

    An outcome that stays unknown is read back a minute later; until then, and unless nothing came of it, the items are not asked for
    again. So are those that the tool refuses, for a person is at them.
    """
    return len(_accept(process, project).done)


def _accept(process: Process, project: Project, without: Collection[str] = ()) -> Outcomes:
    """As `accept_batch`: what became of the batch, by task; nothing if there is none. without: tasks that are in none."""
    if project.watch or project.gone:
        return Outcomes()
    _read_back(process, project)
    with process.store.reading() as connection:
        if why_not(connection, project) is not None:
            return Outcomes()
        fit = acceptances.acceptable(connection, project, passed_probation(connection, project), BATCH + len(without))
    found = [row for row in fit if row.external_id not in without][:BATCH]
    if not found:
        return Outcomes()
    with process.store.writing() as connection:
        if why_not(connection, get_project(connection, project.id)) is not None:
            return Outcomes()
        batch, taken = acceptances.begin_batch(connection, project, [row.id for row in found])
    items = {row.external_id: row.id for row in found if row.id in taken}
    if not items:
        return Outcomes()
    try:
        outcomes = process.tool_project(project).accept(list(items), project.version)
    except OutcomeUnknown:
        raise
    except ToolError:
        with process.store.writing() as connection:
            acceptances.not_accepted(connection, items.values())
        raise
    known = {*outcomes.done, *outcomes.refused, *outcomes.unknown}
    with process.store.writing() as connection:
        acceptances.end_batch(connection, {items[task]: review for task, review in outcomes.done.items()})
        acceptances.not_accepted(connection, [id for task, id in items.items() if task not in known])
        if outcomes.done:
            note(connection, project.id, EventKind.ACCEPTED, batch=batch, labels=len(outcomes.done))
    log("accepted", project=project.external_id, batch=batch, items=len(outcomes.done))
    if outcomes.error is not None:
        raise outcomes.error
    return outcomes


def why_not(connection: Connection, project: Project) -> str | None:
    """What keeps automatic labels from becoming annotations at the moment, whatever the dataset; None if nothing does."""
    if project.watch:
        return "the project is only watched: nothing is written into it"
    if project.paused:
        return f"automatic labels are paused ({why_paused(project.pause, project.alarm, project.external_id)})"
    if project.problem is not None:
        return f"delivery is stopped ({project.problem})"
    if project.next_reference_id is not None or project.old_reference_id is not None:
        return "a new reference is taking over"
    waiting, oldest = spot_checks.outstanding(connection, project.id, project.reference_id)
    if waiting > MOST_OUTSTANDING:
        return f"{waiting} spot checks of automatic labels wait for people's answers; at most {MOST_OUTSTANDING} may"
    if oldest is not None and oldest < time.time() - OLDEST_DAYS * DAY:
        return f"a spot check has waited for people's answers for more than {OLDEST_DAYS:g} days; answer the tab Spot checks"
    return None


def undo(process: Process, project: Project, batch: int) -> int:
    """Take the annotations of a batch back, those excepted that a person has changed since; how many. Its items are open again.

    What cannot be taken back now, or appears later, is taken back by the service. Raises UnknownError if there is no such batch, ToolError.
    """
    with process.store.writing() as connection:
        items = acceptances.begin_undo(connection, project, batch)
    taken = sum(_retract(process, project, {task: items[task] for task in tasks}) for tasks in chunks(list(items)))
    with process.store.writing() as connection:
        note(connection, project.id, EventKind.UNDONE, batch=batch, labels=taken)
    log("acceptance undone", project=project.external_id, batch=batch, items=taken)
    return taken


def _retract(process: Process, project: Project, items: Mapping[str, int], *, asked: bool = False) -> int:
    """Delete the machine's annotations of these tasks; how many. asked: those that were asked for must have appeared by now."""
    tool = process.tool_project(project)
    made = [review.id for task in tool.tasks(list(items)) for review in task.reviews or () if review.machine]
    tool.retract(made)
    after = tool.tasks(list(items))
    with process.store.writing() as connection:
        take_reviews(connection, project, after)
        acceptances.end_undo(connection, items.values(), asked=asked)
    return len(made)


def _read_back(process: Process, project: Project) -> None:
    """Whether a machine's annotation stands on the tasks of which it is not known; where not, they may be accepted another time.

    What stands on a task of a batch that was taken back is deleted.
    """
    with process.store.reading() as connection:
        found = acceptances.undecided(connection, project.id, time.time() - LOST_SECONDS, BATCH)
    asked = {row.external_id: row.item_id for row in found if not row.undone}
    undone = {row.external_id: row.item_id for row in found if row.undone}
    if undone:
        _retract(process, project, undone, asked=True)
    if asked:
        tasks = process.tool_project(project).tasks(list(asked))
        made = {asked[task.id]: review.id for task in tasks for review in task.reviews or () if review.machine}
        with process.store.writing() as connection:
            acceptances.end_batch(connection, made)
            acceptances.not_accepted(connection, [id for id in asked.values() if id not in made])
