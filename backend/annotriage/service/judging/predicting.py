"""What the labeling tool's own calls for predictions get: the store's answer where there is one, none where it is being delivered.

A known task costs one query; an unknown one becomes work that goes before all other, and is waited for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from annotriage.errors import Overloaded, ToolError, UnknownError
from annotriage.labeling_tool import Event, Shown, Task
from annotriage.service.guarantee.model_choice import ask_training
from annotriage.service.judging.arrivals import Arrivals
from annotriage.service.operations.calls import Foretold
from annotriage.service.operations.log import log
from annotriage.service.operations.process import Process
from annotriage.states import DeliveryState
from annotriage.store import deliveries, inbox, items, jobs
from annotriage.store.counters import chunks
from annotriage.store.predictions import Known, Predictions, hurry, known_predictions, version_shown
from annotriage.store.projects import Project, before_of, project_of

ASK_SECONDS = 0.05  # between two looks at the store where another replica judges; our own worker tells
MOST_WAITED_FOR = 200  # missing predictions; more than these take longer than anybody waits
MOST_FORETOLD = 4  # of the tasks of one request
AT_ONCE = 250  # tasks in one transaction, so that webhooks need not wait
MOST_TAKEN = 12  # webhooks that are written down at the same time: the other threads are for people
FULL_SECONDS = 1.0  # between two looks whether the inbox is full
MOST_WAITING = 8  # requests that wait at the same time: half of the web process's threads, the others are for webhooks
MOST_VERSIONS = 1_000  # whose classes are remembered
CONNECTING = "annotriage"  # in place of a version that cannot be known yet
NOTHING_TO_SHOW = 1.0  # trust of an empty prediction for a task that people have labelled: it is not to be looked at


class StorePredictor:
    """`annotriage.labeling_tool.Predictor` on the store. Threadsafe."""

    def __init__(self, process: Process) -> None:
        self.control = process.settings.control
        self._process, self._store = process, process.store
        self._waiting = threading.BoundedSemaphore(MOST_WAITING)
        self._taking = threading.BoundedSemaphore(MOST_TAKEN)
        self._arrivals = Arrivals(self._put)
        self._seen: dict[str, Project] = {}  # projects as they were last read, for what is told before they are read again
        self._classes: dict[tuple[str, str], tuple[str, ...]] = {}
        self._full: tuple[float, bool] = (0.0, False)  # until when it is believed, and whether the inbox is full

    def classes_of(self, project: str, version: str) -> tuple[str, ...]:
        """The classes of the model behind a version that the project shows. Raises UnknownError if the project is not connected."""
        known = self._classes.get((project, version))  # a version never changes
        if known is None:
            with self._store.reading() as connection:
                row = project_of(connection, project)
            known = row.classes
            if row.version == version:  # else the project has just taken another
                if len(self._classes) >= MOST_VERSIONS:
                    self._classes.clear()
                self._classes[project, version] = known
        return known

    def version_of(self, project: str) -> str | None:
        """The version of the project's reference; None if it is not connected. While it is being connected, the tool asks already."""
        with self._store.reading() as connection:
            shown = version_shown(connection, project)
            return CONNECTING if shown is None and before_of(connection, project) is not None else shown

    def predictions(self, project: str, records: Sequence[Mapping[str, object]]) -> tuple[str, list[Shown]] | None:
        """A prediction for each record, in order. None where one of them is being delivered, is not there in time, or in watch mode."""
        ids, heard = [str(record.get("id", "")) for record in records], self._process.judged.rung
        with self._store.reading() as connection:
            found = known_predictions(connection, project, ids)
        if found is None:
            raise UnknownError(f"project {project} is not connected; annotriage connect --project {project} --reference DIR sets it up")
        if found.watch:
            return None
        if missing := {id for id in ids if id not in found.by_task}:
            found = self._wait_for(project, ids, [record for record in records if str(record.get("id", "")) in missing], heard)
            if found is None:
                return None
        taken = self._take(project, ids, found)
        return None if taken is None else (taken.version, [_shown(id, taken.by_task[id]) for id in ids])

    def take_event(self, body: bytes) -> None:
        """Keep a webhook's body for the worker. Raises Overloaded if too many wait already: what it told is found by the polls."""
        if not self._taking.acquire(blocking=False):
            raise Overloaded(f"{MOST_TAKEN} webhooks are being written down at this moment; nothing is lost, the polls bring what it told")
        try:
            if self._is_full():
                raise Overloaded("too many webhooks wait to be read; nothing is lost, the polls bring what it told")
            self._arrivals.take(body)
        finally:
            self._taking.release()

    def _put(self, bodies: Sequence[bytes]) -> None:
        with self._store.inbox.writing() as connection:
            inbox.put(connection, *bodies)

    def _is_full(self) -> bool:
        until, full = self._full
        if time.monotonic() > until:
            self._full = time.monotonic() + FULL_SECONDS, full  # the others do not look at the same moment
            with self._store.inbox.reading() as connection:
                full = inbox.is_full(connection)
            self._full = time.monotonic() + FULL_SECONDS, full
        return full

    def train(self, project: str) -> None:
        """Queue a recalibration, or a training if the project is set to that.

        Raises UnknownError if the project is not connected, StateError if it cannot be trained.
        """
        with self._store.writing() as connection:
            found = project_of(connection, project)
            if found.options.start_training == "train":
                ask_training(connection, found, "the labeling tool")
            else:
                jobs.queue(connection, found.id, "recalibrate")

    def _take(self, project: str, ids: Sequence[str], found: Predictions) -> Predictions | None:
        """What the tool may take itself: all of these, or nothing if one of them is on its way to it already.

        What is not delivered yet is read once more with the mark that it was taken: a verdict may have changed in between.
        """
        states = {known.state for known in found.by_task.values()}
        if not states.isdisjoint((DeliveryState.SENDING, DeliveryState.UNKNOWN, DeliveryState.STALE)):
            return None
        left = [known for known in found.by_task.values() if known.state in (DeliveryState.PENDING, DeliveryState.ANSWERED)]
        if not left or (len(left) == 1 and left[0].fresh):  # the worker has marked it, as it knew of this call
            return found
        waiting = {known.item_id for known in left}
        with self._store.writing() as connection:
            if set(deliveries.answered(connection, found.reference_id, sorted(waiting))) != waiting:
                return None
            now = known_predictions(connection, project, ids)
        return now if now is not None and now.reference_id == found.reference_id and all(id in now.by_task for id in ids) else None

    def _wait_for(self, project: str, ids: Sequence[str], missing: Sequence[Mapping[str, object]], heard: int) -> Predictions | None:
        """Have those of these tasks that are missing judged at once: the predictions of all, None if they are not there in time.

        heard: how often the worker had told of verdicts when they were missing.
        """
        few = len(missing) <= MOST_WAITED_FOR
        self._hurry(project, missing, urgent=few)
        if few:
            self._process.call_worker()
        if not few or not self._waiting.acquire(blocking=False):
            log("predictions are missing, and will be delivered", project=project, tasks=len(missing))
            return None
        try:
            return self._wait(project, ids, heard)
        finally:
            self._waiting.release()

    def _wait(self, project: str, ids: Sequence[str], heard: int) -> Predictions | None:
        """Look until these tasks are judged, for as long as the settings allow: their predictions, None if they are not."""
        judged, end = self._process.judged, time.monotonic() + self._process.settings.predict_seconds
        while time.monotonic() < end and not self._process.stopping.is_set():
            judged.wait(heard, ASK_SECONDS)
            heard = judged.rung
            with self._store.reading() as connection:
                found = known_predictions(connection, project, ids)
            if found is None or all(id in found.by_task for id in ids):
                return found
        return None

    def _hurry(self, project: str, records: Sequence[Mapping[str, object]], *, urgent: bool) -> None:
        """Take in those tasks that are new, and let the others that are not judged yet go first."""
        seen = self._seen.get(project)
        if urgent and seen is not None:
            self._foretell(seen, records[:MOST_FORETOLD])
        with self._store.reading() as connection:
            row = self._seen[project] = project_of(connection, project)
            ids = [str(record.get("id", "")) for record in records]
            known = items.find_items(connection, row.id, ids)
        if urgent and seen is None:
            self._foretell(row, records[:MOST_FORETOLD])
        new = self._tasks_of(row, [record for record in records if str(record.get("id", "")) not in known])
        for some in chunks(new, AT_ONCE):
            with self._store.writing() as connection:
                items.add_tasks(connection, row, some, urgent=urgent)
        if not known:
            return
        with self._store.writing() as connection:
            items.mark_back(connection, row, [item.id for item in known.values() if item.gone])
            if urgent:
                hurry(connection, [item.id for item in known.values()])

    def _foretell(self, project: Project, records: Sequence[Mapping[str, object]]) -> None:
        """Tell the worker what it will find: it fetches the media while the tasks are written down. What it is told wrongly it forgets."""
        with suppress(ToolError):  # of what the tool must be asked for, and does not answer, nothing is told
            tasks = self._tasks_of(project, records)
            if tasks:
                self._process.foretell([Foretold(project.external_id, project.classes, task.id, task.media) for task in tasks])

    def _tasks_of(self, project: Project, records: Sequence[Mapping[str, object]]) -> list[Task]:
        if not records:
            return []
        return self._process.tool_project(project).tasks_of(Event("created", project.external_id, tuple(records)))


def _shown(task: str, known: Known) -> Shown:
    if known.trust is None:  # people had labelled it before
        return Shown(task, None, NOTHING_TO_SHOW)
    return Shown(task, None if known.labels is None else tuple(known.labels), known.trust)
