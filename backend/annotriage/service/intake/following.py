"""Following the labeling tool: what webhooks told, and what they did not.

Webhooks are fire-and-forget: they make things fast. That nothing is missed is up to the polls, by watermark every few seconds, and to
a sweep over all tasks now and then. Everything but new tasks is read from the tool itself, whatever a webhook claims.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from annotriage.errors import AnnotriageError, DataError, ToolGone
from annotriage.labeling_tool import Event, Task, ToolProject
from annotriage.service.intake.reviewing import take_reviews
from annotriage.service.operations.log import log
from annotriage.service.operations.loops import SOON, Loop, ProjectStep, Step
from annotriage.service.operations.process import Process
from annotriage.states import EventKind
from annotriage.store import DATABASE_TROUBLE, deliveries, inbox, items, jobs
from annotriage.store.counters import chunks
from annotriage.store.events import note
from annotriage.store.projects import Project, change_project, find_project, get_project
from annotriage.text import storable

READ_AT_ONCE = 20  # webhooks
READ_TASKS = 500
TOLD_WITHIN = 10.0  # seconds after which no webhook will come for a task any more; the tool sends it when an import ends
TAKEN_AT_ONCE = 250  # tasks in one transaction, so that webhooks need not wait;
TOLD_AT_ONCE = 50  # fewer where several webhooks told of them: then others come at the same moment
INBOX_SECONDS = 0.05
LOOK_SECONDS = 0.5  # between looks at which projects are to be polled
OVERLAP = 60.0  # seconds of changes that are read again, as transactions end late: all of them
WHOLE_SECONDS = 15.0  # so often, as an import of thousands is among them for a minute, and what the tool lists it makes row by row;
LATE = 6.0  # and of the last few with each poll
READ_SECONDS = 30.0  # for which it is not written down again that the tool was read
FACTS_SECONDS = 15.0
TOLD_SECONDS = 10.0  # for which it is not written down again that webhooks arrive
LONGEST_ERROR = 500  # characters that are kept of what nobody foresaw
BACK_OFF = (2.0, 5.0, 15.0, 30.0)


@dataclass
class _Followed:
    """How far one project is followed. sweep: the pages that are still to be compared; seen: tasks on those that were, up to swept_to."""

    next_poll: float = 0.0
    told: frozenset[str] = frozenset()  # tasks that webhooks told of, and that are taken in, since the watermark of new ones last moved
    noticed: float | None = None  # since when there are tasks that no webhook has told of
    next_facts: float = 0.0
    moved_at: float | None = None  # when its watermark of changes last moved
    whole_at: float | None = None  # when the whole overlap was last read
    sweep: Iterator[list[Task]] | None = None
    swept_to: str = ""
    sweep_started: float = 0.0
    seen: set[str] = field(default_factory=set)


class Follower:
    """Takes in what happens in the labeling tool, until the process stops."""

    def __init__(self, process: Process, clock: Callable[[], float] = time.monotonic) -> None:
        self._process, self._clock = process, clock
        self._followed: dict[int, _Followed] = {}
        self._reading = threading.Lock()  # of webhooks, which polls read up before they look for what none told of

    def loops(self) -> list[Loop]:
        """Reading webhooks and polling, side by side: a slow labeling tool holds up no webhook."""
        return [
            Loop(self._process, "inbox", [Step("inbox", self.read_inbox)], INBOX_SECONDS, back_off=SOON, source=self._process.store.inbox),
            Loop(self._process, "polls", [ProjectStep("poll", self.poll)], LOOK_SECONDS, back_off=BACK_OFF),
        ]

    # -- webhooks

    def read_inbox(self) -> bool:
        """Read some webhooks; whether there were any."""
        with self._reading:
            return self._read_inbox()

    def _read_inbox(self) -> bool:
        with self._process.store.inbox.reading() as connection:
            rows = inbox.unread(connection, READ_AT_ONCE)
        events: list[tuple[int, Event]] = []
        for row in rows:
            try:
                events.append((row.id, self._process.tool.read_event(row.body)))
            except Exception as error:
                self._set_aside(row.id, error)
        for some in _together(events):
            self._read(some)
        return bool(rows)

    def _read(self, events: Sequence[tuple[int, Event]]) -> None:
        """Act upon webhooks, and let go of them; where that fails for several at once, one by one. Raises DATABASE_TROUBLE."""
        ids = [id for id, _ in events]
        try:
            self._act(_joined([event for _, event in events]), TOLD_AT_ONCE if len(events) > 1 else TAKEN_AT_ONCE)
        except DATABASE_TROUBLE:  # not the webhook's
            raise
        except Exception as error:
            if len(events) > 1:
                for one in events:
                    self._read([one])
                return
            if not isinstance(error, AnnotriageError) or isinstance(error, DataError):
                self._set_aside(ids[0], error)
                return
            log("webhook is left to the polls", level=logging.WARNING, webhook=ids[0], error=error)  # they bring what it told
        with self._process.store.inbox.writing() as connection:
            inbox.done(connection, ids)

    def _set_aside(self, id: int, error: Exception) -> None:
        """Keep a webhook that cannot be read for people to look at, so that it holds up no other. What it told is found by polls."""
        text = str(error)
        if isinstance(error, DataError):
            log("webhook cannot be read", level=logging.WARNING, webhook=id, error=error)
        else:
            logging.getLogger(__name__).error("webhook %s: nobody foresaw this", id, exc_info=error)
            text = storable(f"{type(error).__name__}: {error}")[:LONGEST_ERROR]
        with self._process.store.inbox.writing() as connection:
            inbox.failed(connection, id, text)

    def _act(self, event: Event, at_once: int) -> None:
        """at_once: new tasks in one transaction."""
        with self._process.store.reading() as connection:
            project = find_project(connection, event.project)
        if project is None or project.gone:
            return
        if abs(time.time() - project.told_at) > TOLD_SECONDS:
            with self._process.store.writing() as connection:
                change_project(connection, project.id, told_at=time.time())
        tool = self._process.tool_project(project)
        if event.kind == "created":
            tasks = tool.tasks_of(event)
            self._take(project, tasks, at_once, told=True)
            self._of(project).told |= {task.id for task in tasks}
        elif event.kind == "changed" and event.task_ids:
            self._take(project, _existing(tool, event.task_ids))
        elif event.kind == "deleted":
            self._missing(project, tool, event.task_ids)
        elif event.kind == "train":
            with self._process.store.writing() as connection:
                jobs.queue(connection, project.id, "recalibrate")
        elif event.kind == "project":
            self._of(project).next_facts = 0.0
        elif event.kind == "changed":  # deleted annotations name no task
            self._of(project).next_poll = 0.0

    # -- polls

    def poll(self, project: Project) -> bool:
        """Ask for what is due of a project. What cannot be had now is asked for again later. Raises ToolError.

        Returns whether it is to be asked at once again: never.
        """
        state = self._of(project)
        if time.monotonic() < state.next_poll:
            return False
        state.next_poll = time.monotonic() + self._process.settings.poll_seconds
        try:
            self._poll(project, state)
        except ToolGone as error:
            self._project_may_be_gone(project, error)
        except AnnotriageError as error:
            with self._process.store.writing() as connection:
                note(connection, project.id, EventKind.UNREACHABLE, error=str(error))
            raise
        return False

    def _poll(self, project: Project, state: _Followed) -> None:
        tool = self._process.tool_project(project)
        if time.monotonic() >= state.next_facts:
            self._facts(project, tool)
            state.next_facts = time.monotonic() + FACTS_SECONDS
        self._take_new(project, tool, state)
        self._take_changes(project, tool, state)
        self._sweep(project, tool, state)

    def _take_new(self, project: Project, tool: ToolProject, state: _Followed) -> None:
        """Take tasks in that no webhook told of. Where webhooks told of all, the tool is asked how many there are, and lists none."""
        told = state.told  # before the tool is asked: what is told later it may not have counted
        if project.told_at:
            newest = tool.newest_if_known(project.last_task, told)
            if newest is not None:
                if newest:
                    self._is_known_up_to(project, newest)
                state.told, state.noticed = state.told - told, None
                return
            if self._may_still_be_told(state):
                return
        for ids in tool.task_ids_after(project.last_task):
            if not self._take_unknown(project, tool, ids, state):
                return
            self._is_known_up_to(project, ids[-1])
        state.told -= told

    def _is_known_up_to(self, project: Project, task_id: str) -> None:
        with self._process.store.writing() as connection:
            change_project(connection, project.id, last_task=task_id)

    def _may_still_be_told(self, state: _Followed) -> bool:
        """Whether a webhook may come yet for new tasks, which brings them whole and for nothing."""
        state.noticed = state.noticed or time.monotonic()
        return time.monotonic() - state.noticed < TOLD_WITHIN

    def _take_changes(self, project: Project, tool: ToolProject, state: _Followed) -> None:
        """What changed since the last reading, by the tool's own clock alone: ours may differ from it.

        For a while the end of what was read is read again, most of it now and then: the tool's transactions end later than they say.
        """
        now, read_at = self._clock(), time.time()
        state.moved_at = now if state.moved_at is None else state.moved_at
        whole = state.whole_at is None or now - state.whole_at >= WHOLE_SECONDS
        again = max(0.0, (OVERLAP + WHOLE_SECONDS if whole else LATE) - (now - state.moved_at))
        until = project.changes_until
        for changes in tool.changed_since(max(0.0, until - again)):
            self._take(project, changes.tasks)
            until = max(until, changes.until)
        if whole:
            state.whole_at = now
        if until > project.changes_until:
            state.moved_at = now
        if until > project.changes_until or abs(read_at - project.read_until) > READ_SECONDS:
            with self._process.store.writing() as connection:
                change_project(connection, project.id, changes_until=until, read_until=read_at)

    def _take_unknown(self, project: Project, tool: ToolProject, ids: Sequence[str], state: _Followed) -> bool:
        """Read those tasks that the store does not have, once webhooks had their chance; False if they have it still."""
        unknown = self._unknown(project, ids)
        if unknown and project.told_at and self._may_still_be_told(state):
            return False
        for some in chunks(unknown, READ_TASKS):
            if still := self._unknown(project, some):
                self._take(project, _existing(tool, still))
        state.noticed = None
        return True

    def _unknown(self, project: Project, ids: Sequence[str]) -> list[str]:
        """Those tasks that the store does not have once some webhooks are read; a burst of them holds up no poll."""
        with suppress(*DATABASE_TROUBLE):  # a file of webhooks that is gone or broken hides nothing from polls
            self.read_inbox()
        with self._process.store.reading() as connection:
            known = items.find_items(connection, project.id, ids)
        return [id for id in ids if id not in known]

    def _facts(self, project: Project, tool: ToolProject) -> None:
        """What the tool says of the project: a labeling config that does not fit any more stops delivery, a wrong version is put right."""
        facts = tool.facts()
        values: dict[str, object] = {"title": facts.title, "config": facts.config, "wanted": facts.wanted, "problem": facts.problem}
        if facts.version != project.version and not project.watch and facts.problem is None and project.version in tool.versions():
            tool.name_version(project.version)
            if project.shown_version:
                log("version put right", project=project.external_id, found=facts.version, shown=project.version)
            values["shown_version"] = project.version
        elif facts.version == project.version:
            values["shown_version"] = project.version
        if any(getattr(project, name) != value for name, value in values.items()):
            with self._process.store.writing() as connection:
                if facts.problem != project.problem:
                    if facts.problem:
                        note(connection, project.id, EventKind.PROBLEM, error=facts.problem)
                    else:
                        note(connection, project.id, EventKind.SOLVED)
                        deliveries.retry(connection, project)  # what was refused meanwhile fits now
                change_project(connection, project.id, **values)
        with self._process.store.reading() as connection:
            connected = not get_project(connection, project.id).gone  # else what `disconnect` takes back at this moment would come again
        if connected and not project.watch:
            for sentence in tool.repair():
                log("repaired", project=project.external_id, what=sentence)
                with self._process.store.writing() as connection:
                    note(connection, project.id, EventKind.REPAIRED, what=sentence)

    def _project_may_be_gone(self, project: Project, error: ToolGone) -> None:
        try:
            self._process.tool_project(project).facts()
        except ToolGone:
            log("project is gone", level=logging.WARNING, project=project.external_id, error=error)
            with self._process.store.writing() as connection:
                change_project(connection, project.id, gone=True)
                note(connection, project.id, EventKind.GONE, error=str(error))
        except AnnotriageError as other:
            log("project cannot be asked", level=logging.WARNING, project=project.external_id, error=other)

    # -- sweeps

    def _sweep(self, project: Project, tool: ToolProject, state: _Followed) -> None:
        """Compare all tasks with the store, one page with each poll, so that the tool has time for people."""
        if state.sweep is None:
            if 0 <= time.time() - project.swept_at < self._process.settings.sweep_seconds:  # a clock may have been put back since
                return
            state.sweep, state.swept_to, state.sweep_started, state.seen = tool.tasks_after(""), "", time.time(), set()
        try:
            page = next(state.sweep, None)
        except AnnotriageError:
            state.sweep = tool.tasks_after(state.swept_to)  # an iterator that has failed once says only that it is at its end
            raise
        if page is not None:
            state.swept_to = page[-1].id if page else state.swept_to
            state.seen.update(task.id for task in page)
            self._take(project, page)
            self._only_one(project, tool, page)
            return
        state.sweep = None
        with self._process.store.reading() as connection:
            missing = items.tasks_besides(connection, project.id, state.seen, before=state.sweep_started)
        self._missing(project, tool, missing)
        with self._process.store.writing() as connection:
            change_project(connection, project.id, swept_at=time.time())

    def _only_one(self, project: Project, tool: ToolProject, page: Sequence[Task]) -> None:
        """Of several predictions of the version on one task the oldest is kept: two may have come at the same moment."""
        if project.watch:
            return
        found = tool.delivered([task.id for task in page], project.version)
        twice = [id for ids in found.values() for id in ids[1:]]
        if twice:
            log("predictions withdrawn that stood twice", level=logging.WARNING, project=project.external_id, items=len(twice))
            tool.withdraw(twice)

    # -- into the store

    def _take(self, project: Project, tasks: Sequence[Task], at_once: int = TAKEN_AT_ONCE, *, told: bool = False) -> None:
        """Take tasks in that are new, and what changed of the others; of one that comes twice the later state.

        told: a webhook told of them, perhaps long ago, so that one that was deleted stays so.
        """
        tasks = list({task.id: task for task in tasks}.values())
        for start in range(0, len(tasks), at_once):
            self._take_some(project, tasks[start : start + at_once], told=told)
            time.sleep(0.002)

    def _take_some(self, project: Project, tasks: Sequence[Task], *, told: bool) -> None:
        """Take a few tasks in, in one transaction. One that brings it down in a way that nobody foresaw is found and left without media.

        It is judged as failed then, with the reason, and is looked at again when the next sweep reads it.
        """
        try:
            with self._process.store.writing() as connection:
                present = get_project(connection, project.id)
                new = items.add_tasks(connection, present, tasks)
                if not told:
                    items.take_back(connection, present, [task.id for task in tasks])
                if new < len(tasks) or any(task.reviews is not None for task in tasks):  # else all is as it was just written
                    take_reviews(connection, present, tasks)
        except (AnnotriageError, *DATABASE_TROUBLE):
            raise
        except Exception as error:
            if len(tasks) > 1:
                self._take_some(project, tasks[: len(tasks) // 2], told=told)
                self._take_some(project, tasks[len(tasks) // 2 :], told=told)
                return
            bare = [Task(task.id, "") for task in tasks]
            if list(tasks) == bare:
                raise
            logging.getLogger(__name__).error("project %s, task %s: nobody foresaw this", project.id, tasks[0].id, exc_info=error)
            self._take_some(project, bare, told=told)
            return
        if new:
            log("tasks taken in", project=project.external_id, items=new)

    def _missing(self, project: Project, tool: ToolProject, task_ids: Sequence[str]) -> None:
        """Tasks that seem to be deleted: those that really are take no part in anything any more."""
        self._of(project).told -= set(task_ids)  # the tool counts them no more
        for ids in chunks(task_ids):
            there = {task.id for task in _existing(tool, ids)}
            with self._process.store.writing() as connection:
                gone = items.find_items(connection, project.id, [id for id in ids if id not in there])
                items.mark_gone(connection, [row.id for row in gone.values()])

    def _of(self, project: Project) -> _Followed:
        return self._followed.setdefault(project.id, _Followed())


def _together(events: Sequence[tuple[int, Event]]) -> Iterator[list[tuple[int, Event]]]:
    """Webhooks, in their order, as they are acted upon at once: new tasks of one project that came one after the other, else each alone.

    A burst then costs what its tasks cost, and not several transactions for each webhook.
    """
    some: list[tuple[int, Event]] = []
    for id, event in events:
        if some and not (event.kind == some[0][1].kind == "created" and event.project == some[0][1].project):
            yield some
            some = []
        some.append((id, event))
    if some:
        yield some


def _joined(events: Sequence[Event]) -> Event:
    return events[0] if len(events) == 1 else replace(events[0], records=tuple(record for event in events for record in event.records))


def _existing(tool: ToolProject, ids: Sequence[str]) -> list[Task]:
    """Those of the tasks that exist, however few the tool gives at once: asked for again until it finds no more of them."""
    found: list[Task] = []
    missing = list(ids)
    while missing and (some := tool.tasks(missing)):
        found += some
        there = {task.id for task in some}
        missing = [id for id in missing if id not in there]
    return found
