"""Delivery: predictions into the labeling tool, many in one call, each exactly once.

Last step of data -> model -> latent -> triage -> store -> delivery. A call whose outcome is unknown may still be carried out seconds
later: its tasks are read back until two readings agree, and only what is missing is sent again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from annotriage.errors import AnnotriageError, OutcomeUnknown, ToolError, ToolRefused, ToolUnavailable
from annotriage.labeling_tool import NewTask, Shown, ToolProject
from annotriage.service.operations.log import log
from annotriage.service.operations.process import Process
from annotriage.store import deliveries, field_writes, items, work
from annotriage.store.database import AnyRow
from annotriage.store.projects import Project, change_project, note, projects

MOST = 5_000  # predictions in one call
PATIENCE = 10.0  # seconds for which the first one waits for others while more are being judged,
PACE = 9.0  # and so many times what the last call took: each call makes the tool count its whole project, and media come from it too
IDLE_SECONDS = 0.2
SETTLED_SECONDS = 5.0  # between two readings that must agree
BACK_OFF = (2.0, 10.0, 30.0, 60.0)
MOST_CREATED = 200  # tasks in one call, their pictures in themselves
MOST_BYTES = 32 * 2**20
REFUSALS = 3  # times that a prediction is offered before it counts as refused


_Act = Callable[[Project, ToolProject], bool]


@dataclass(frozen=True)
class _Reading:
    """What was found of deliveries whose outcome is unknown. found: by task, or by marker of a task that was to be created."""

    at: float
    found: dict[str, list[str]]


class Delivery:
    """Delivers what is due, until the process stops."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._readings: dict[tuple[int, bool], _Reading] = {}
        self._calls: dict[int, tuple[float, float]] = {}  # by project: when the last call ended, and how long it took
        self._resume: dict[int, tuple[int, float]] = {}  # by project: failures in a row, and when it is tried again

    def run(self) -> None:
        """Deliver until the process stops."""
        while not self._process.stopping.is_set():
            if not self.step():
                self._process.stopping.wait(IDLE_SECONDS)

    def step(self) -> bool:
        """One round over all projects; whether anything was done."""
        with self._process.store.reading() as connection:
            open_ones = [one for one in projects(connection) if not one.watch]
        done = [self._project(one) for one in open_ones]
        return any(done)

    def _project(self, project: Project) -> bool:
        failures, resume = self._resume.get(project.id, (0, 0.0))
        if time.time() < resume:
            return False
        tool = self._process.tool_project(project)
        try:
            done = [act(project, tool) for act in self._acts(project)]
        except AnnotriageError as error:
            wait = BACK_OFF[min(failures, len(BACK_OFF) - 1)]
            self._resume[project.id] = (failures + 1, time.time() + wait)
            log("delivery waits", level=logging.WARNING, project=project.external_id, seconds=wait, error=error)
            return False
        if any(done):
            self._resume.pop(project.id, None)
        return any(done)

    def _acts(self, project: Project) -> list[_Act]:
        reading: list[_Act] = [self._read_back, self._read_back_created, self._read_answered, self._withdraw_stale]
        return reading if project.problem else [*reading, self._create, self._send, self._show]

    # -- sending

    def _send(self, project: Project, tool: ToolProject) -> bool:
        with self._process.store.reading() as connection:
            count, since = deliveries.due(connection, project.id, ("pending",))
            if not count or (
                count < MOST and self._collects(project, since) and work.waiting(connection, project.id, project.reference_id)
            ):
                return False
        with self._process.store.writing() as connection:
            rows = deliveries.take(connection, project.id, "pending", self._process.owner, MOST)
        if not rows:
            return False
        try:
            self._deliver(project, tool, rows)
        except AnnotriageError as error:
            # Whatever broke off, these are not being sent any more: what became of them is read back, unless nothing can have.
            unsent = isinstance(error, ToolUnavailable) and not isinstance(error, OutcomeUnknown)
            self._put_back(rows, unknown=not unsent, error=str(error))
            raise
        return True

    def _deliver(self, project: Project, tool: ToolProject, rows: Sequence[AnyRow]) -> None:
        """One call, and what the tool says of it. Raises what the tool raises; the rows are then still `sending`, or settled."""
        version = rows[0].version
        shown = [Shown(row.external_id, None if row.labels is None else tuple(row.labels), row.trust) for row in rows]
        started = time.perf_counter()
        try:
            taken = tool.deliver(shown, version)
        except (ToolRefused, ToolUnavailable):  # it is no prediction's fault
            raise
        except ToolError as error:
            self._refused(project, tool, rows, str(error))
            return
        seconds = time.perf_counter() - started
        self._calls[project.id] = (time.time(), seconds)
        log("delivered", project=project.external_id, items=taken, seconds=round(seconds, 2))
        if taken == len(rows):
            self._set(rows, state="confirmed", error=None)
        else:
            self._settle(rows, tool.delivered([row.external_id for row in rows], version), tool, offered=True)

    def _collects(self, project: Project, since: float) -> bool:
        """Whether predictions wait for others that are being judged. since: when the first of them was ready."""
        ended, took = self._calls.get(project.id, (0.0, 0.0))
        return time.time() < max(since + PATIENCE, ended + PACE * took)

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

    def _refused(self, project: Project, tool: ToolProject, rows: Sequence[AnyRow], error: str) -> None:
        """The tool refuses a whole call for one task that it does not know: those are gone, the others go again."""
        there = {task.id for task in tool.tasks([row.external_id for row in rows])}
        gone = [row.item_id for row in rows if row.external_id not in there]
        with self._process.store.writing() as connection:
            if gone:
                items.mark_gone(connection, gone)
            rest = [row for row in rows if row.external_id in there]
            if rest:
                state = {"state": "pending", "owner": None} if gone else self._after_refusal(rest[0], error)
                deliveries.set_state(connection, rest[0].reference_id, [row.item_id for row in rest], **state)
            if not gone:
                note(connection, project.id, "refused", error)
        log("predictions refused", level=logging.WARNING, project=project.external_id, gone=len(gone), error=error)

    def _after_refusal(self, row: AnyRow, error: str) -> dict[str, object]:
        if row.attempts + 1 >= REFUSALS:
            return {"state": "refused", "owner": None, "error": error, "attempts": row.attempts + 1}
        wait = time.time() + BACK_OFF[min(row.attempts, len(BACK_OFF) - 1)]
        return {"state": "pending", "owner": None, "error": error, "attempts": row.attempts + 1, "not_before": wait}

    # -- what became of it

    def _read_back(self, project: Project, tool: ToolProject) -> bool:
        """Deliveries whose outcome is unknown."""
        return self._agreeing(
            project,
            created=False,
            read=lambda rows: tool.delivered([row.external_id for row in rows], rows[0].version),
            settle=lambda rows, found: self._settle(rows, found, tool),
        )

    def _read_back_created(self, project: Project, tool: ToolProject) -> bool:
        """Tasks that may have been created or not."""
        return self._agreeing(
            project,
            created=True,
            read=lambda rows: {marker: [id] for marker, id in tool.created([row.marker for row in rows]).items()},
            settle=lambda rows, found: self._link(rows, {marker: ids[0] for marker, ids in found.items()}),
        )

    def _agreeing(
        self,
        project: Project,
        *,
        created: bool,
        read: Callable[[Sequence[AnyRow]], dict[str, list[str]]],
        settle: Callable[[Sequence[AnyRow], dict[str, list[str]]], None],
    ) -> bool:
        """Read unknown outcomes until two readings some seconds apart say the same."""
        key = (project.id, created)
        last = self._readings.get(key)
        if last is not None and time.time() - last.at < SETTLED_SECONDS:
            return False
        with self._process.store.reading() as connection:
            rows = deliveries.unknown(connection, project.id, MOST, created=created)
        if not rows:
            self._readings.pop(key, None)
            return False
        found = read(rows)
        if last is None or last.found != found:
            self._readings[key] = _Reading(time.time(), found)
            return False
        settle(rows, found)
        self._readings.pop(key)
        return True

    def _read_answered(self, project: Project, tool: ToolProject) -> bool:
        """Predictions that the tool took from us itself, after it had time to store them."""
        with self._process.store.writing() as connection:
            rows = deliveries.take(connection, project.id, "answered", self._process.owner, MOST)
        if rows:
            self._settle(rows, tool.delivered([row.external_id for row in rows], rows[0].version), tool)
        return bool(rows)

    def _settle(self, rows: Sequence[AnyRow], found: dict[str, list[str]], tool: ToolProject, *, offered: bool = False) -> None:
        """What is there is confirmed, the oldest of several kept; what is missing is sent again. offered: it was not taken just now."""
        twice = [id for ids in found.values() for id in ids[1:]]
        if twice:
            tool.withdraw(twice)
        self._set([row for row in rows if row.external_id in found], state="confirmed", error=None)
        for row in rows:
            if row.external_id in found:
                continue
            again = {"state": "pending", "owner": None, "not_before": 0.0}
            refusal = "the labeling tool did not take this prediction; compare the model's classes with the labeling config"
            self._set([row], **(self._after_refusal(row, refusal) if offered else again))

    def _withdraw_stale(self, project: Project, tool: ToolProject) -> bool:
        """Predictions that another verdict replaced."""
        with self._process.store.writing() as connection:
            rows = deliveries.take(connection, project.id, "stale", self._process.owner, MOST)
        if rows:
            found = tool.delivered([row.external_id for row in rows], rows[0].version)
            tool.withdraw([id for ids in found.values() for id in ids])
            self._set(rows, state="pending", owner=None, not_before=0.0)
        return bool(rows)

    # -- items that other systems pushed

    def _create(self, project: Project, tool: ToolProject) -> bool:
        from annotriage.service.delivery.field_writing import fields_of

        with self._process.store.writing() as connection:
            rows = deliveries.take_uncreated(connection, project, self._process.owner, MOST_CREATED, MOST_BYTES)
            fields = fields_of(connection, project, [row.item_id for row in rows]) if project.options.item_fields else {}
        if not rows:
            return False
        new = [
            NewTask(
                row.marker,
                row.media,
                dict(row.data or {}) | dict(fields.get(row.item_id, {})),
                None if row.labels is None else tuple(row.labels),
                row.trust,
            )
            for row in rows
        ]
        try:
            made = tool.create(new, rows[0].version)
        except (ToolRefused, ToolUnavailable) as error:
            self._put_back(rows, unknown=isinstance(error, OutcomeUnknown), error=str(error))
            raise
        except ToolError as error:
            self._set(rows, **self._after_refusal(rows[0], str(error)))
            with self._process.store.writing() as connection:
                note(connection, project.id, "refused", str(error))
            return True
        self._link(rows, made)
        return True

    def _link(self, rows: Sequence[AnyRow], made: dict[str, str]) -> None:
        """Pushed items get their tasks; those without one are created again."""
        with self._process.store.writing() as connection:
            items.link_tasks(connection, {row.item_id: made[row.marker] for row in rows if row.marker in made})
            field_writes.created(connection, [row.item_id for row in rows if row.marker in made])
        self._set([row for row in rows if row.marker in made], state="confirmed", error=None)
        self._set([row for row in rows if row.marker not in made], state="pending", owner=None, not_before=0.0)

    # -- states

    def _put_back(self, rows: Sequence[AnyRow], *, unknown: bool, error: str) -> None:
        state = "unknown" if unknown else "pending"
        self._set(rows, state=state, owner=None, error=error, not_before=0.0)

    def _set(self, rows: Sequence[AnyRow], **values: object) -> None:
        if rows:
            with self._process.store.writing() as connection:
                deliveries.set_state(connection, rows[0].reference_id, [row.item_id for row in rows], **values)
