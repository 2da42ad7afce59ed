"""Delivery: predictions into the labeling tool, many in one call, each exactly once; and tasks for items that other systems pushed.

What a call did is written down for each prediction by itself, before anything else is asked of the tool. What may have been done is read
back (`reading_back`) before it is sent again.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import groupby

from annotriage.errors import OutcomeUnknown, ToolError
from annotriage.labeling_tool import NewTask, Outcomes, Shown, ToolProject
from annotriage.service.delivery.field_writing import fields_of, links_to
from annotriage.service.delivery.reading_back import ReadingBack
from annotriage.service.operations.log import log
from annotriage.service.operations.loops import Loop, ProjectStep
from annotriage.service.operations.process import Process
from annotriage.states import DeliveryState, EventKind
from annotriage.store import deliveries, field_writes, items, work
from annotriage.store.counters import chunks
from annotriage.store.deliveries import Due, Waiting
from annotriage.store.events import note
from annotriage.store.locks import lock_items
from annotriage.store.projects import Project, change_project
from annotriage.text import storable

MOST = 5_000  # predictions in one call,
AT_ONCE = 500  # and of them that are taken, or written down, in one transaction: others wait for each
PATIENCE = 10.0  # seconds for which the first one waits for others while more are being judged,
PACE = 9.0  # and so many times what the last call took: each call makes the tool count its whole project, and media come from it too
IDLE_SECONDS = 0.2
BACK_OFF = (2.0, 10.0, 30.0, 60.0)
MOST_CREATED = 200  # tasks in one call, their pictures in themselves
MOST_BYTES = 32 * 2**20
REFUSALS = 3  # times that a prediction is offered before it counts as refused


class Delivery:
    """Delivers what is due. One thread at a time. loop: goes over all projects until the process stops."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._reading_back = ReadingBack(process, MOST)
        self._calls: dict[int, tuple[float, float]] = {}  # by project: when the last call ended, and how long it took
        self._most: dict[int, int] = {}  # by project: predictions in one call, fewer after one that failed as nobody foresaw
        self.loop = Loop(process, "deliver", [ProjectStep("delivery", self.deliver)], IDLE_SECONDS, back_off=BACK_OFF, source=process.store)

    def step(self) -> bool:
        """One round over all projects; whether anything was done. A round that finds nothing writes nothing."""
        return self.loop.round()

    def deliver(self, project: Project) -> bool:
        """Deliver what is due of one project; whether anything was. Raises whatever went wrong, once nothing is held any more."""
        if project.watch:
            return False
        tool = self._process.tool_project(project)
        try:
            with self._process.store.reading() as connection:
                waiting = deliveries.waiting(connection, project.id)
                left = deliveries.any_sent_by(connection, project.id, self._process.owner)
            if left:  # the database went away before it was written down what came of it
                self._let_go(project)
                return True
            done = self._reading_back.step(project, tool, waiting)
            if project.problem is None:
                done |= self._create(project, tool, waiting) | self._send(project, tool, waiting) | self._show(project, tool)
        except Exception:
            self._let_go(project)
            raise
        return done

    def _let_go(self, project: Project) -> None:
        """Whatever was on its way when something failed, of which nothing is known yet, is read back."""
        self._reading_back.forget(project)
        with self._process.store.writing() as connection:
            deliveries.release(connection, [self._process.owner])

    # -- sending

    def _send(self, project: Project, tool: ToolProject, waiting: Mapping[str, Waiting]) -> bool:
        pending = waiting.get(DeliveryState.PENDING)
        if pending is None:
            return False
        with self._process.store.reading() as connection:
            collects = pending.count < MOST and self._collects(project, pending)
            if collects and work.waiting(connection, project.id, project.reference_id, 1):
                return False
            most, owner = self._most.get(project.id, MOST), self._process.owner
            reference_id, ids = deliveries.due_items(connection, project.id, DeliveryState.PENDING, owner, most)
        taken: list[Due] = []
        for some in chunks(ids, AT_ONCE):
            with self._process.store.writing() as connection:
                taken += deliveries.take_due(connection, project.id, DeliveryState.PENDING, reference_id, some, owner)
        if not taken:
            return False
        shown = [Shown(due.task_id, due.labels, due.trust) for due in taken]
        started = time.perf_counter()
        outcomes = self._answer(project, lambda: tool.deliver(shown, taken[0].version), [due.task_id for due in taken])
        seconds = time.perf_counter() - started
        self._calls[project.id] = (time.monotonic(), seconds)
        log("delivered", project=project.external_id, items=len(outcomes.done), seconds=round(seconds, 2))
        self._finish(project, {due.task_id: due for due in taken}, outcomes)
        return True

    def _collects(self, project: Project, pending: Waiting) -> bool:
        """Whether predictions wait for others that are being judged."""
        ended, took = self._calls.get(project.id, (-math.inf, 0.0))
        is_new = pending.since <= time.time() < pending.since + PATIENCE  # one of later than now: the clock was put back
        return is_new or time.monotonic() < ended + PACE * took

    def _create(self, project: Project, tool: ToolProject, waiting: Mapping[str, Waiting]) -> bool:
        """Create the tasks of pushed items, with their predictions and fields."""
        if DeliveryState.PENDING not in waiting:
            return False
        with self._process.store.reading() as connection:
            if not deliveries.any_uncreated(connection, project):
                return False
        with self._process.store.writing() as connection:
            most = min(MOST_CREATED, self._most.get(project.id, MOST))
            taken = deliveries.take_uncreated(connection, project, self._process.owner, most, MOST_BYTES)
            public_url, ids = links_to(self._process, project), [due.item_id for due in taken]
            fields = fields_of(connection, project, ids, public_url) if project.options.item_fields else {}
        if not taken:
            return False
        new = [NewTask(due.marker, due.media, {**due.data, **fields.get(due.item_id, {})}, due.labels, due.trust) for due in taken]
        outcomes = self._answer(project, lambda: tool.create(new, taken[0].version), [due.marker for due in taken])
        self._finish(project, {due.marker: due for due in taken}, outcomes, created=True)
        return True

    def _answer(self, project: Project, call: Callable[[], Outcomes], keys: Sequence[str]) -> Outcomes:
        """What a call answers for each of its parts. After a failure that nobody foresaw the next call is half as large.

        So the part at fault is found; alone, it counts as refused, and the others are delivered. Raises that failure until then.
        """
        try:
            outcomes = _outcomes(call, keys)
        except Exception as error:
            if len(keys) > 1:
                self._most[project.id] = len(keys) // 2
                raise
            logging.getLogger(__name__).error("project %s, %s: nobody foresaw this", project.external_id, keys[0], exc_info=error)
            return Outcomes(refused={keys[0]: storable(f"{type(error).__name__}: {error}")})
        self._most[project.id] = min(MOST, 2 * self._most.get(project.id, MOST))
        return outcomes

    def _show(self, project: Project, tool: ToolProject) -> bool:
        """Let the tool show the first predictions as soon as they exist."""
        if project.shown_version == project.version:
            return False
        with self._process.store.reading() as connection:
            if not deliveries.any_confirmed(connection, project.id, project.reference_id):
                return False
        tool.name_version(project.version)
        with self._process.store.writing() as connection:
            change_project(connection, project.id, shown_version=project.version)
        return True

    # -- what came of it

    def _finish(self, project: Project, taken: Mapping[str, Due], outcomes: Outcomes, *, created: bool = False) -> None:
        """Write down what became of each. Raises what ended the call early, afterwards."""
        for some in chunks(list(taken.items()), AT_ONCE):
            self._write_down(dict(some), outcomes, created=created)
        reasons = {reason for key, reason in outcomes.refused.items() if key in taken}
        refused, gone = (sum(key in of for key in taken) for of in (outcomes.refused, outcomes.gone))
        if refused == len(taken):
            with self._process.store.writing() as connection:
                note(connection, project.id, EventKind.REFUSED, error=min(reasons))
        if refused or gone:
            about = {"project": project.external_id, "gone": gone, "refused": refused}
            log("predictions refused", level=logging.WARNING, reasons=sorted(reasons)[:3], **about)
        if outcomes.error is not None:
            raise outcomes.error

    def _write_down(self, taken: Mapping[str, Due], outcomes: Outcomes, *, created: bool) -> None:
        """In one transaction. What another verdict made stale meanwhile stays so if it may have been sent, and is simply pending if it was
        not."""
        done, unknown, gone = ([due for key, due in taken.items() if key in of] for of in (outcomes.done, outcomes.unknown, outcomes.gone))
        refused = {key: reason for key, reason in outcomes.refused.items() if key in taken}
        known = {*outcomes.done, *outcomes.unknown, *outcomes.gone, *refused}
        unsent = [due for key, due in taken.items() if key not in known]
        error = None if outcomes.error is None else str(outcomes.error)
        with self._process.store.writing() as connection:
            lock_items(connection, _items(taken.values()))
            move = partial(deliveries.move, connection, next(iter(taken.values())).reference_id, held_by=self._process.owner)
            if created:
                items.link_tasks(connection, {due.item_id: outcomes.done[due.marker] for due in done})
                field_writes.created(connection, _items(done))
            move(_items(done), (DeliveryState.SENDING,), DeliveryState.CONFIRMED)
            move(_items(done), (DeliveryState.STALE,), DeliveryState.STALE)
            move(_items(unknown), (DeliveryState.SENDING,), DeliveryState.UNKNOWN, error=error)
            move(_items(unknown), (DeliveryState.STALE,), DeliveryState.STALE, not_before=time.time() + deliveries.AGREED_SECONDS)
            items.mark_gone(connection, _items(gone))
            for (attempts, reason), some in _alike(taken, refused):
                state, not_before = _after_refusal(attempts)
                move(some, (DeliveryState.SENDING,), state, not_before=not_before, error=reason, attempts=attempts + 1)
                move(some, (DeliveryState.STALE,), DeliveryState.PENDING)
            move(_items(unsent), (DeliveryState.SENDING, DeliveryState.STALE), DeliveryState.PENDING, error=error)


def _outcomes(call: Callable[[], Outcomes], keys: Iterable[str]) -> Outcomes:
    """What a call answers for each of its parts, errors included."""
    try:
        return call()
    except OutcomeUnknown as error:
        return Outcomes(unknown=frozenset(keys), error=error)
    except ToolError as error:
        if type(error) is ToolError:  # refused for what was sent; all kinds of it say that the call could not be made
            return Outcomes(refused=dict.fromkeys(keys, str(error)))
        return Outcomes(error=error)


def _alike(taken: Mapping[str, Due], refused: Mapping[str, str]) -> Iterable[tuple[tuple[int, str], list[int]]]:
    """The refused items by how often they were offered before, and why they were refused."""
    known = sorted((taken[key].attempts, reason, taken[key].item_id) for key, reason in refused.items())
    return [(key, [item_id for *_, item_id in some]) for key, some in groupby(known, lambda refusal: refusal[:2])]


def _after_refusal(attempts: int) -> tuple[str, float]:
    """The state of a prediction that was refused, and when it is offered again."""
    if attempts + 1 >= REFUSALS:
        return DeliveryState.REFUSED, 0.0
    return DeliveryState.PENDING, time.time() + BACK_OFF[min(attempts, len(BACK_OFF) - 1)]


def _items(some: Iterable[Due]) -> list[int]:
    return [due.item_id for due in some]
