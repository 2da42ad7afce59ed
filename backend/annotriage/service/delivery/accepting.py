"""Automatic labels become annotations without a person (accept = "annotate"), in batches, and are taken back when somebody says so.

The last step of data -> model -> latent -> triage -> store -> delivery, and the only one that takes a person out: everything that
speaks against it stops it. What was accepted comes back as a review like any other, made by a machine.
"""

from __future__ import annotations

import time

from sqlalchemy import Connection

from annotriage.errors import OutcomeUnknown, ToolUnavailable
from annotriage.service.guarantee.spot_checks import DAY, MOST_OUTSTANDING, OLDEST_DAYS, passed_probation
from annotriage.service.intake.reviewing import take_reviews
from annotriage.service.operations.log import log
from annotriage.service.operations.process import Process
from annotriage.store import acceptances, spot_checks
from annotriage.store.counters import chunks
from annotriage.store.projects import Project, note

BATCH = 500  # items
SETTLED_SECONDS = 60.0  # after which a call whose answer was lost is over, and what was not accepted may be tried again


def accept_due(process: Process, project: Project) -> None:
    """Accept the next batch where the project wants it; called every few seconds. Raises ToolError."""
    if project.options.accept == "annotate":
        accept_batch(process, project)


def accept_batch(process: Process, project: Project) -> int:
    """Accept one batch of automatic labels, if nothing speaks against it; how many. Raises ToolError.

    An outcome that stays unknown is read back a minute later; until then, and unless nothing came of it, the items are not asked for again.
    """
    if project.watch or project.gone:
        return 0
    _read_back(process, project)
    with process.store.reading() as connection:
        if why_not(connection, project) is not None:
            return 0
        rows = acceptances.acceptable(connection, project, passed_probation(connection, project), BATCH)
    if not rows:
        return 0
    items = {row.external_id: row.id for row in rows}
    with process.store.writing() as connection:
        batch = acceptances.begin_batch(connection, project, list(items.values()))
    try:
        made = process.tool_project(project).accept(list(items), project.version).done
    except OutcomeUnknown:
        raise
    except ToolUnavailable:
        with process.store.writing() as connection:
            acceptances.not_accepted(connection, list(items.values()))
        raise
    with process.store.writing() as connection:
        acceptances.end_batch(connection, {items[task]: review for task, review in made.items()})
        if made:
            note(connection, project.id, "accepted", f"batch {batch}: {len(made)} automatic labels became annotations")
    log("accepted", project=project.external_id, batch=batch, items=len(made))
    return len(made)


def why_not(connection: Connection, project: Project) -> str | None:
    """What keeps automatic labels from becoming annotations at the moment, whatever the dataset; None if nothing does."""
    if project.watch:
        return "the project is only watched: nothing is written into it"
    if project.paused is not None:
        return f"automatic labels are paused ({project.paused})"
    if project.problem is not None:
        return f"delivery is stopped ({project.problem})"
    if project.next_reference_id is not None or project.old_reference_id is not None:
        return "a new reference is taking over"
    waiting, oldest = spot_checks.outstanding(connection, project.id, project.reference_id)
    if waiting > MOST_OUTSTANDING:
        return f"{waiting} spot checks of automatic labels wait for people's answers; at most {MOST_OUTSTANDING} may"
    if oldest is not None and oldest < time.time() - OLDEST_DAYS * DAY:
        return f"a spot check has waited for people's answers for more than {OLDEST_DAYS:g} days; answer what is first in the queue"
    return None


def undo(process: Process, project: Project, batch: int) -> int:
    """Take the annotations of a batch back, those excepted that a person has changed since; how many. Its items are open again.

    A repeat takes back what is left. Raises UnknownError if there is no such batch, ToolError.
    """
    with process.store.reading() as connection:
        items = acceptances.items_of_batch(connection, project, batch)
    tool = process.tool_project(project)
    taken = 0
    for tasks in chunks(list(items)):
        machine = [review.id for task in tool.tasks(tasks) for review in task.reviews or () if review.machine]
        tool.retract(machine)
        taken += len(machine)
        after = tool.tasks(tasks)
        with process.store.writing() as connection:
            take_reviews(connection, project, after)
    with process.store.writing() as connection:
        acceptances.mark_undone(connection, batch)
        note(connection, project.id, "undone", f"batch {batch}: {taken} accepted labels were taken back")
    log("acceptance undone", project=project.external_id, batch=batch, items=taken)
    return taken


def _read_back(process: Process, project: Project) -> None:
    """Whether a machine's annotation stands on the tasks of which it is not known; where not, they may be accepted another time."""
    with process.store.reading() as connection:
        rows = acceptances.undecided(connection, project.id, time.time() - SETTLED_SECONDS, BATCH)
    if not rows:
        return
    items = {row.external_id: row.item_id for row in rows}
    tasks = process.tool_project(project).tasks(list(items))
    found = {items[task.id]: review.id for task in tasks for review in task.reviews or () if review.machine}
    with process.store.writing() as connection:
        acceptances.end_batch(connection, found)
        acceptances.not_accepted(connection, [id for id in items.values() if id not in found])
