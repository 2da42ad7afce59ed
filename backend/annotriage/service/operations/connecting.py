"""Connecting a project of the labeling tool with a reference, and taking it back.

Both may be repeated: what is there is found and mended, and an attempt that broke off is finished by the next one, or taken back by
`disconnect`. One command is at a project at a time. The labeling tool is set up first; the worker knows of the project once that is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from annotriage.advice.connecting_words import EMPTY, expected_sentences, setting_kept, setting_taken_over
from annotriage.advice.guarantee_words import guarantee_sentence
from annotriage.advice.numbers import count
from annotriage.errors import AnnotriageError, MismatchError, SettingError, StateError, ToolError, ToolGone, UnknownError
from annotriage.labeling_tool import AUDIT_VERSION, INHERITED_VERSION, LOOK_ALIKES_VERSION, Before, ProjectFacts, Task, ToolProject
from annotriage.service.delivery.field_writing import FIELDS, project_page
from annotriage.service.guarantee.model_choice import drop_work, refuse_second
from annotriage.service.operations.log import log
from annotriage.service.operations.process import Process
from annotriage.service.operations.references import keep_reference
from annotriage.service.quality.gold import take_gold_out
from annotriage.states import EventKind
from annotriage.store import deliveries, field_writes, items, proposals
from annotriage.store.datasets import routes_of
from annotriage.store.events import note
from annotriage.store.projects import (
    Project,
    ProjectOptions,
    add_project,
    before_of,
    change_project,
    find_project,
    forget_before,
    forget_items,
    hold_project,
    project_of,
    remember_before,
    remove_project,
)
from annotriage.store.references import get_reference
from annotriage.store.watching import enqueue_watched

if TYPE_CHECKING:
    from annotriage.engine.reference import Reference

AT_ONCE = 1_000  # items in one transaction
DELIVERY_SECONDS = 30.0  # for deliveries that are on their way when a project is disconnected


@dataclass(frozen=True)
class Change:
    """What `connect` or `disconnect` did, or would do, in sentences. next: what people may do now."""

    project: str
    title: str
    version: str
    dry_run: bool
    done: tuple[str, ...]
    next: tuple[str, ...] = ()


def connect(process: Process, project_id: str, reference: Reference, *, watch: bool = False, dry_run: bool = False) -> Change:
    """Let a project be triaged with a reference: a new project, another reference for a connected one, or a repair.

    watch: judge, but write nothing into the labeling tool. dry_run: only say what would be done. The options are those of the
    process's settings. Raises MismatchError with both lists where the classes do not fit the project, StateError where another
    reference is taking over or another command is at the project, ToolError with the fix if the tool does not let itself be set up:
    what was set up by then is taken back.
    """
    if process.settings.calls == "on" and process.settings.port == 0 and not process.settings.service_url and not watch:
        raise SettingError("setting port is 0: give the port that annotriage serve listens on, or set service_url")
    _refuse_bad_server(process)
    with process.alone(_at(project_id)):
        return _connect(process, project_id, reference, watch, dry_run)


def _connect(process: Process, project_id: str, reference: Reference, watch: bool, dry_run: bool) -> Change:
    tool = process.server.project(project_id, reference.space.classes)
    facts = tool.facts()
    if facts.problem is not None:
        raise MismatchError(f"project {project_id}: {facts.problem}")
    with process.store.reading() as connection:
        present = find_project(connection, project_id)
    if present is not None:
        _refuse(process, present, reference, watch)
    tasks = [task for page in tool.tasks_after("") for task in page] if present is None or dry_run else []
    done = _plan(process, present, tasks, facts, reference, watch)
    if dry_run:
        done += _expected(process, tool, [task for task in tasks if not task.labelled], reference)
        done += [] if watch else tool.connect(*_address(process, project_id), dry_run=True)
        return Change(project_id, facts.title, reference.prediction_version, True, tuple(done + _doubts(reference)))
    reference_id = keep_reference(process.store, reference)
    if not watch:
        done += _set_up(process, tool, facts, present)
    _write_down(process, present, facts, project_id, reference_id, watch)
    if not watch:
        _start_delivery(process, project_id)
    with process.store.writing() as connection:
        project = project_of(connection, project_id)
        note(connection, project.id, EventKind.CONNECTED, version=reference.prediction_version, watch=watch)
    log("connected", project=project_id, version=reference.prediction_version, watch=watch)
    return Change(project_id, facts.title, reference.prediction_version, False, tuple(done), tuple(_next(project, tool, reference)))


def disconnect(process: Process, project_id: str) -> Change:
    """Take back all that was set up and written in the labeling tool, annotations excepted, and forget the project.

    Of a project that is not connected, what a `connect` left that was interrupted. Raises UnknownError if there is nothing of that
    either; ToolError if the tool cannot be asked: nothing is forgotten then, and it can be repeated; StateError as `connect`.
    """
    with process.alone(_at(project_id)):
        with process.store.reading() as connection:
            present = find_project(connection, project_id)
        return _clean_up(process, project_id) if present is None else _disconnect(process, present)


def _disconnect(process: Process, project: Project) -> Change:
    with process.store.writing() as connection:
        versions = [*(get_reference(connection, id).prediction_version for id in _references(project)), AUDIT_VERSION, INHERITED_VERSION]
        versions += [f"{LOOK_ALIKES_VERSION} {id}" for id in proposals.ids_of(connection, project.id)]
        before = before_of(connection, project.external_id) or Before()
        change_project(connection, project.id, gone=True)  # the worker lets go of it
    tool = process.tool_project(project)
    try:
        _await_deliveries(process, project)
        done = [] if project.watch else [*_ask_as_before(process, project, tool), *take_gold_out(process, project, unanswered=True)]
        done += [] if project.watch else tool.disconnect(process.url, versions, FIELDS, before)
    except ToolGone:
        done = ["The project was deleted in the labeling tool: there is nothing to take back."]
    except ToolError as error:
        with process.store.writing() as connection:
            change_project(connection, project.id, gone=project.gone)
        again = f"Nothing is forgotten: give annotriage disconnect --project {project.external_id} again once that is put right"
        raise type(error)(f"{_ended(str(error))} {again}") from error
    _forget(process, project.external_id)
    drop_work(process, project)
    log("disconnected", project=project.external_id)
    last = "All that annotriage knew of the project is forgotten."
    return Change(project.external_id, project.title, project.version, False, (*done, last))


def _clean_up(process: Process, project_id: str) -> Change:
    """Take back what an interrupted `connect` left in a project that is not connected."""
    unknown = f"project {project_id} is not connected; annotriage connect --project {project_id} --reference DIR sets it up"
    with process.store.reading() as connection:
        before = before_of(connection, project_id)
    try:
        done = process.server.project(project_id, ()).disconnect(process.url, (), (), before)
    except ToolGone:
        done = []
    except AnnotriageError as error:
        raise UnknownError(f"{unknown}. Whether an interrupted one left something there could not be looked at: {error}") from error
    if not done and before is None:
        raise UnknownError(unknown)
    with process.store.writing() as connection:
        forget_before(connection, project_id)
    last = "It was not connected; this is what an interrupted annotriage connect had left."
    return Change(project_id, "", "", False, (*done, last))


def _ask_as_before(process: Process, project: Project, tool: ToolProject) -> list[str]:
    """Where a second answer was asked for, ask for as many as the project does."""
    with process.store.reading() as connection:
        tasks = items.asked_for_more(connection, project)
    for task in tasks:
        with suppress(ToolGone):  # of a task alone, or else the next call says it of the project
            tool.ask_again(task, project.wanted)
    return [f"Answers that are asked for, in {count(len(tasks), 'task')}: set back to {project.wanted}."] if tasks else []


def _at(project_id: str) -> str:
    """What `connect` and `disconnect` do one at a time."""
    return f"connecting or disconnecting project {project_id}"


def _references(project: Project) -> list[int]:
    ids = (project.reference_id, project.next_reference_id, project.old_reference_id)
    return list(dict.fromkeys(id for id in ids if id is not None))


def _address(process: Process, project_id: str) -> tuple[str | None, str, str, str, str]:
    url = process.url if process.settings.calls == "on" else None
    return url, process.settings.user, process.password, process.webhook_secret, project_page(process.settings.public_url, project_id)


def _refuse_bad_server(process: Process) -> None:
    for check in process.server.checks():
        if check.ok is False:
            raise ToolError(f"{check.name}: {_ended(check.found)} {check.fix}".strip())


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "?")) else f"{sentence}."


def _refuse(process: Process, present: Project, reference: Reference, watch: bool) -> None:
    """What does not go with the state that a connected project is in."""
    id = present.external_id
    if present.gone:
        gone = f"project {id} was deleted in the labeling tool, or disconnecting it broke off"
        raise StateError(f"{gone}; annotriage disconnect --project {id} forgets it")
    if watch and not present.watch:
        raise StateError(
            f"project {id} is connected already and written into; annotriage pause stops its automatic labels, disconnect takes all back"
        )
    if present.next_reference_id is None and present.old_reference_id is None:
        return
    with process.store.reading() as connection:
        known = {get_reference(connection, known_id).version for known_id in _references(present)}
    if reference.version not in known:
        raise StateError(f"project {id}: another reference is taking over at the moment; annotriage status shows how far it is")


def _plan(
    process: Process, present: Project | None, tasks: Sequence[Task], facts: ProjectFacts, reference: Reference, watch: bool
) -> list[str]:
    """What is to be done on our side, in sentences."""
    version = reference.prediction_version
    if present is None:
        total, labelled = len(tasks), sum(task.labelled for task in tasks)
        left = f"; {labelled:,} that people have labelled are left alone" if labelled else ""
        said = [f"{total - labelled:,} tasks of {facts.title!r} are judged with {version}{left}; what is imported later is, too."]
    elif version == present.version:
        said = [f"{facts.title!r} is connected with {version} already: its set-up is looked through."]
    else:
        with process.store.reading() as connection:
            judged = sum(route.items for route in routes_of(connection, present))
        said = [f"{judged:,} items are judged again with {version}; {present.version} is shown until all of them have arrived."]
    if watch:
        said.append("Nothing is written into the labeling tool: the API and annotriage status show what would be.")
    elif present is not None and present.watch:
        said.append("It was only watched so far: what was found is delivered now.")
    return said if present is None else said + _about_options(process, present.options)


def _about_options(process: Process, before: ProjectOptions) -> list[str]:
    """Which settings a connected project takes over, and which stay as the Settings page has them, in sentences."""
    asked = ProjectOptions.of(process.settings)
    now = before.taking_over(asked)
    kept = {name: values for name, values in _changes(now, asked).items() if name != "set_here"}
    return [
        *(setting_taken_over(name, *values) for name, values in _changes(before, now).items()),
        *(setting_kept(name, *values) for name, values in kept.items()),
    ]


def _changes(before: ProjectOptions, after: ProjectOptions) -> dict[str, list[Any]]:
    """What differs, by name: before and after."""
    was = asdict(before)
    return {name: [was[name], value] for name, value in asdict(after).items() if value != was[name]}


def _expected(process: Process, tool: ToolProject, tasks: Sequence[Task], reference: Reference) -> list[str]:
    """How many tasks would take which way, and how many of them people would answer blind."""
    from annotriage.service.judging.trying import try_out

    if not tasks:
        return [EMPTY]
    options = ProjectOptions.of(process.settings)
    trial = try_out(process, tool, reference, tasks, options)
    return expected_sentences(trial.total, trial.tried, trial.routes, trial.checks, trial.audits)


def _set_up(process: Process, tool: ToolProject, facts: ProjectFacts, present: Project | None) -> list[str]:
    """Set the project up in the tool, before the worker knows of it; a project that was not, and cannot be, is left as it was."""
    new = present is None or present.watch
    if new:
        with process.store.writing() as connection:
            remember_before(connection, tool.id, Before(facts.version, facts.order))
            before = before_of(connection, tool.id)
    try:
        return tool.connect(*_address(process, tool.id), dry_run=False)
    except (ToolError, KeyboardInterrupt) as error:
        if not new:
            raise
        try:
            tool.disconnect(process.url, (), (), before)
        except ToolError as other:
            left = f"annotriage disconnect --project {tool.id} takes back what was set up, which failed just now ({other})"
            raise ToolError(f"{error}. {left}") from error
        with process.store.writing() as connection:
            forget_before(connection, tool.id)
        raise


def _write_down(process: Process, present: Project | None, facts: ProjectFacts, project_id: str, reference_id: int, watch: bool) -> None:
    """Make or change the project's row: the worker begins with it at once."""
    options = ProjectOptions.of(process.settings)
    described = {"title": facts.title, "config": facts.config, "wanted": facts.wanted, "problem": None}
    with process.store.writing() as connection:
        if present is None:
            project = add_project(connection, project_id, facts.title, reference_id, options, watch=watch)
        else:
            project = hold_project(connection, present.id)
        if reference_id not in _references(project):
            refuse_second(project)  # somebody has let another one take over since it was looked at
        options = project.options.taking_over(options)
        if changes := _changes(project.options, options):
            note(connection, project.id, EventKind.SETTINGS, changes=changes, by="annotriage connect")
        change_project(connection, project.id, **described, options=asdict(options))
        deliveries.retry(connection, project)  # what was refused may fit now
        if options.item_fields and not project.watch and {"item_fields", "public_url"} & changes.keys():
            field_writes.queue_all(connection, project, project.reference_id)  # they hold links, or are not there yet
        if reference_id not in _references(project):
            change_project(connection, project.id, next_reference_id=reference_id)


def _start_delivery(process: Process, project_id: str) -> None:
    """Of a project that was only watched, let all that is judged be delivered."""
    with process.store.writing() as connection:
        project = project_of(connection, project_id)
        if not project.watch:
            return
        change_project(connection, project.id, watch=False)
    more = AT_ONCE
    while more == AT_ONCE:
        with process.store.writing() as connection:
            more = enqueue_watched(connection, project, AT_ONCE)
    if project.options.item_fields:
        with process.store.writing() as connection:
            field_writes.queue_all(connection, project, project.reference_id)


def _next(project: Project, tool: ToolProject, reference: Reference) -> list[str]:
    """What people may do now."""
    id = project.external_id
    if project.watch:
        return [f"Next: annotriage status shows what is found; annotriage connect --project {id} without --watch lets it be delivered."]
    said = [f"Next: open {tool.address()} and begin with the Label button; annotriage doctor shows whether all is well."]
    return said + _doubts(reference)


def _doubts(reference: Reference) -> list[str]:
    """What speaks against the reference: that it makes no label automatic, and what fitting it warned of."""
    automatic = reference.guarantee.auto
    said = [] if automatic else [f"No label is automatic with this reference: {guarantee_sentence(reference.guarantee)}"]
    return said + [f"Note: {note}" for note in reference.notes]


def _await_deliveries(process: Process, project: Project) -> None:
    """Wait for deliveries and fields that are on their way: what arrives later would stay behind."""

    def under_way() -> bool:
        with process.store.reading() as connection:
            sending = deliveries.undelivered(connection, project.id).get("sending", 0) > 0
            return sending or field_writes.any_held(connection, project.id)

    _wait(under_way, DELIVERY_SECONDS)


def _wait(while_: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while while_() and time.monotonic() < end:
        time.sleep(0.1)


def _forget(process: Process, project_id: str) -> None:
    """Remove all rows of a project, in pieces, so that nobody waits for long."""
    with process.store.writing() as connection:
        project = project_of(connection, project_id)
        change_project(connection, project.id, gone=True)  # nobody takes anything in meanwhile
    more = True
    while more:
        with process.store.writing() as connection:
            more = forget_items(connection, project.id, AT_ONCE) == AT_ONCE
    with process.store.writing() as connection:
        remove_project(connection, project.id)
        forget_before(connection, project_id)
