"""What became of deliveries is read back: those of unknown outcome, those that the tool took itself, and stale ones, to be withdrawn.

A call whose outcome is unknown may still be carried out seconds later: its tasks are read until two readings agree, and only what is
missing is sent again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from annotriage.labeling_tool import ToolProject
from annotriage.service.operations.process import Process
from annotriage.states import DeliveryState
from annotriage.store import deliveries, field_writes, items
from annotriage.store.deliveries import Due, Waiting
from annotriage.store.locks import lock_items
from annotriage.store.projects import Project


@dataclass(frozen=True, slots=True)
class _Reading:
    """When the tool was last asked, and what it had: the ids of predictions, or of the task, by item and reference."""

    at: float = -math.inf
    found: Mapping[tuple[int, int], tuple[str, ...]] = field(default_factory=dict)


class ReadingBack:
    """Reads back what one process has delivered, and what dead ones left. One thread at a time."""

    def __init__(self, process: Process, most: int) -> None:
        """most: deliveries in one reading."""
        self._process, self._most = process, most
        self._readings: dict[tuple[int, bool], _Reading] = {}

    def step(self, project: Project, tool: ToolProject, waiting: Mapping[str, Waiting]) -> bool:
        """Read back what is due of one project; whether anything was found out. waiting: as the store says. Raises ToolError."""
        done = False
        if DeliveryState.UNKNOWN in waiting:
            done |= self._unknown(project, tool)
        if DeliveryState.UNKNOWN in waiting or DeliveryState.STALE in waiting:
            done |= self._unlinked(project, tool)
        if DeliveryState.ANSWERED in waiting:
            done |= self._answered(project, tool)
        if DeliveryState.STALE in waiting:
            done |= self._withdraw(project, tool)
        return done

    def forget(self, project: Project) -> None:
        """Begin with two new readings."""
        for created in (False, True):
            self._readings.pop((project.id, created), None)

    def _unknown(self, project: Project, tool: ToolProject) -> bool:
        """Predictions that may have arrived or not."""
        if not self._is_time(project, created=False):
            return False
        taken = self._take(project, DeliveryState.UNKNOWN)
        if not taken:
            return False
        found = tool.delivered([due.task_id for due in taken], taken[0].version)
        agreed = self._agreed(project, taken, {due.item_id: found.get(due.task_id, []) for due in taken}, created=False)
        self._finish(agreed, found, tool, DeliveryState.UNKNOWN)
        return bool(agreed)

    def _unlinked(self, project: Project, tool: ToolProject) -> bool:
        """Tasks that may have been created or not: pushed items get them, and those without one are created again.

        A task is no proof of its prediction, which is read back next.
        """
        if not self._is_time(project, created=True):
            return False
        with self._process.store.reading() as connection:
            if not deliveries.any_unlinked(connection, project.id):
                return False
        with self._process.store.writing() as connection:
            taken = deliveries.take_unlinked(connection, project.id, self._process.owner, self._most)
        if not taken:
            return False
        made = tool.created([due.marker for due in taken])
        found = {due.item_id: [made[due.marker]] if due.marker in made else [] for due in taken}
        agreed = self._agreed(project, taken, found, created=True)
        if not agreed:
            return False
        there = [due.item_id for due in agreed if due.marker in made]
        missing = [due.item_id for due in agreed if due.marker not in made]
        with self._process.store.writing() as connection:
            lock_items(connection, [*there, *missing])
            items.link_tasks(connection, {due.item_id: made[due.marker] for due in agreed if due.marker in made})
            field_writes.created(connection, there)
            for state in (DeliveryState.UNKNOWN, DeliveryState.STALE):
                self._move(connection, agreed, there, (state,), state)
            self._move(connection, agreed, missing, (DeliveryState.UNKNOWN, DeliveryState.STALE), DeliveryState.PENDING)
        return True

    def _answered(self, project: Project, tool: ToolProject) -> bool:
        """Predictions that the tool took from us itself, after it had time to store them."""
        taken = self._take(project, DeliveryState.ANSWERED)
        if taken:
            self._finish(taken, tool.delivered([due.task_id for due in taken], taken[0].version), tool, DeliveryState.ANSWERED)
        return bool(taken)

    def _withdraw(self, project: Project, tool: ToolProject) -> bool:
        """Predictions that another verdict replaced."""
        taken = self._take(project, DeliveryState.STALE)
        if taken:
            found = tool.delivered([due.task_id for due in taken], taken[0].version)
            tool.withdraw([id for ids in found.values() for id in ids])
            with self._process.store.writing() as connection:
                lock_items(connection, [due.item_id for due in taken])
                self._move(connection, taken, [due.item_id for due in taken], (DeliveryState.STALE,), DeliveryState.PENDING)
        return bool(taken)

    def _finish(self, taken: Sequence[Due], found: Mapping[str, Sequence[str]], tool: ToolProject, state: str) -> None:
        """What is there is confirmed, the oldest of several kept; what is missing is sent again."""
        twice = [id for due in taken for id in found.get(due.task_id, ())[1:]]
        if twice:
            tool.withdraw(twice)
        if taken:
            with self._process.store.writing() as connection:
                lock_items(connection, [due.item_id for due in taken])
                self._move(connection, taken, [due.item_id for due in taken if due.task_id in found], (state,), DeliveryState.CONFIRMED)
                self._move(connection, taken, [due.item_id for due in taken if due.task_id not in found], (state,), DeliveryState.PENDING)

    def _is_time(self, project: Project, *, created: bool) -> bool:
        last = self._readings.get((project.id, created), _Reading())
        return time.monotonic() - last.at >= deliveries.AGREED_SECONDS

    def _agreed(self, project: Project, taken: Sequence[Due], found: Mapping[int, Sequence[str]], *, created: bool) -> list[Due]:
        """Those of which this reading says what the last one said."""
        key = (project.id, created)
        before = self._readings.get(key, _Reading()).found
        now = {(due.item_id, due.reference_id): tuple(found[due.item_id]) for due in taken}
        agreed = [due for due in taken if before.get((due.item_id, due.reference_id)) == now[due.item_id, due.reference_id]]
        open_ones = now.keys() - {(due.item_id, due.reference_id) for due in agreed}
        if open_ones:
            self._readings[key] = _Reading(time.monotonic(), {each: now[each] for each in open_ones})
        else:
            self._readings.pop(key, None)
        return agreed

    def _take(self, project: Project, state: str) -> list[Due]:
        with self._process.store.writing() as connection:
            return deliveries.take(connection, project.id, state, self._process.owner, self._most)

    def _move(self, connection: Connection, taken: Sequence[Due], item_ids: Sequence[int], from_: Sequence[str], to: str) -> None:
        deliveries.move(connection, taken[0].reference_id, item_ids, from_, to, held_by=self._process.owner)
