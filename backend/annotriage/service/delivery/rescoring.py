"""A new reference takes over: every item is judged and delivered under it before the labeling tool's version is switched, once.

Each step can be repeated after a crash: `next_reference_id` stands until the switch, `old_reference_id` until the former predictions
are deleted. Annotators never see an empty project.
"""

from __future__ import annotations

import random

from annotriage.labeling_tool import ToolProject
from annotriage.service.guarantee.changing_limits import differ_in_limits_alone
from annotriage.service.guarantee.spot_checks import listen, settle
from annotriage.service.operations.log import log
from annotriage.service.operations.process import Process
from annotriage.states import DeliveryState, EventKind
from annotriage.store import deliveries, field_writes, rescores, spot_checks, work
from annotriage.store.events import note
from annotriage.store.locks import lock_items
from annotriage.store.projects import Project, clear_alarm, get_project
from annotriage.store.references import get_reference

CHUNK = 2_000  # items in one transaction
PAGE = 500  # tasks that are read back at once,
PAGES = 4  # and so many of them where the numbers agree


def advance_rescoring(process: Process, project: Project) -> None:
    """Do what is next in a change of reference, if one is under way; called every few seconds. Raises ToolError.

    While a problem stops delivery nothing happens: predictions under the next reference would not arrive.
    """
    if project.gone or (project.problem is not None and not project.watch):
        return
    if project.old_reference_id is not None:
        _clear_away(process, project, project.old_reference_id)
    elif project.next_reference_id is not None:
        _bring_in(process, project, project.next_reference_id)


def _bring_in(process: Process, project: Project, next_id: int) -> None:
    _enqueue(process, project, next_id)
    with process.store.reading() as connection:
        if rescores.unready(connection, project, next_id):
            return
        version = str(get_reference(connection, next_id).prediction_version)
    if not project.watch:
        tool = process.tool_project(project)
        found = tool.versions().get(version, 0)
        if not _all_there(process, project, tool, next_id, version, found):
            return
        if found:  # the tool names no version of which nothing exists
            tool.name_version(version)
    _switch(process, project, next_id, version)


def _enqueue(process: Process, project: Project, next_id: int) -> None:
    """Let all items be judged under the next reference; a repeat finds those that are missing."""
    with process.store.reading() as connection:
        if work.waiting(connection, project.id, next_id) > CHUNK:
            return
    while True:
        with process.store.reading() as connection:
            ids = rescores.unjudged(connection, project, next_id, CHUNK)
        if not ids:
            return
        with process.store.writing() as connection:
            if get_project(connection, project.id).next_reference_id != next_id:
                return
            rescores.enqueue(connection, project, next_id, ids)


def _all_there(process: Process, project: Project, tool: ToolProject, next_id: int, version: str, found: int) -> bool:
    """Whether the predictions that are held for delivered are: by their number, and by their tasks' ids.

    Where the numbers agree a few pages are looked at, else all.
    """
    with process.store.reading() as connection:
        expected = rescores.confirmed(connection, project, next_id)
        every = rescores.confirmed_tasks(connection, project, next_id, 0, max(expected, 1))
    tasks = list(every)
    if found >= expected and len(tasks) > PAGE * PAGES:
        tasks = random.sample(tasks, PAGE * PAGES)
    missing: list[int] = []
    for start in range(0, len(tasks), PAGE):
        page = tasks[start : start + PAGE]
        there = tool.delivered(page, version)
        missing += [every[task] for task in page if task not in there]
    if missing:
        log("predictions missing before the switch", project=project.external_id, items=len(missing), version=version)
        with process.store.writing() as connection:
            lock_items(connection, missing)
            deliveries.move(
                connection, next_id, missing, (DeliveryState.CONFIRMED,), DeliveryState.UNKNOWN
            )  # read back, and sent again where really missing
    return not missing


def _switch(process: Process, project: Project, next_id: int, version: str) -> None:
    """The next reference is the current one from now on; the alarm, which listened to the former one, is quiet again."""
    with process.store.writing() as connection:
        project = get_project(connection, project.id)
        former = get_reference(connection, project.reference_id)
        alike = differ_in_limits_alone(former.facts, get_reference(connection, next_id).facts)
        held = set(spot_checks.waiting(connection, project.id))
        held |= set(spot_checks.answered_under(connection, project.id, former.id)) if alike else set()
        lock_items(connection, held)
        if not rescores.switch(connection, project, next_id, version):
            return
        clear_alarm(connection, project.id)
        moved = spot_checks.take_over(connection, project.id, next_id, held)
        if alike:
            spot_checks.keep_answered(connection, project.id, former.id, next_id, held)
        project = get_project(connection, project.id)
        settle(connection, project, moved)
        listen(connection, project)  # to what was answered under it before it took over
        if project.options.item_fields and not project.watch:
            field_writes.queue_all(connection, project, next_id)
        note(connection, project.id, EventKind.SWITCHED, version=version)
    log("version switched", project=project.external_id, version=version)
    _show(process, project)


def _show(process: Process, project: Project) -> None:
    """Let the queue be that of the current reference, a few items at a time, so that others can write in between."""
    last = 0
    while True:
        with process.store.reading() as connection:
            ids = rescores.behind(connection, project, last, CHUNK)
        if not ids:
            return
        with process.store.writing() as connection:
            lock_items(connection, ids)
            rescores.catch_up(connection, project, ids)
        last = ids[-1]


def _clear_away(process: Process, project: Project, former_id: int) -> None:
    """Delete the former predictions, once none of them is on its way any more; the version that is shown must outlive that."""
    _show(process, project)  # again, should a process have died over it
    with process.store.writing() as connection:
        if not rescores.forget_deliveries(connection, project, former_id):
            return
        former = str(get_reference(connection, former_id).prediction_version)
    if not project.watch:
        _delete(process.tool_project(project), former, project.version)
    with process.store.writing() as connection:
        if not rescores.cleared(connection, project, former_id):
            return
    log("former predictions deleted", project=project.external_id, version=former)


def _delete(tool: ToolProject, former: str, shown: str) -> None:
    existing = tool.versions()
    if former in existing:
        tool.drop_version(former, keep=shown)
    if shown in existing and tool.facts().version != shown:
        tool.name_version(shown)
