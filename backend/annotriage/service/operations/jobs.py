"""The jobs process: what takes long and nobody waits for: snapshots, fields of tasks, maps, queued jobs, cleaning up.

Beside the worker, at low priority and on one core. Of several replicas the oldest alone takes snapshots and writes fields, and the oldest
on which the model runs looks for near duplicates; each takes queued jobs.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection

from annotriage.service.delivery.field_writing import FieldWriting
from annotriage.service.guarantee.standings import Standings
from annotriage.service.guarantee.tightening import Tightening
from annotriage.service.maps.map_making import MapMaking
from annotriage.service.maps.map_placing import Placing
from annotriage.service.operations.log import log
from annotriage.service.operations.loops import SOON, Loop, ProjectStep, Step, heartbeat, run_loops
from annotriage.service.operations.memory import give_back_memory
from annotriage.service.operations.notices import drop_unwanted, tell, ways_of
from annotriage.service.operations.process import Process
from annotriage.service.readings.snapshots import snapshot
from annotriage.store import browsing, events, inbox, jobs, reports, snapshots, work
from annotriage.store.database import Database, cause
from annotriage.store.insights import JOB_KINDS
from annotriage.store.projects import Project
from annotriage.store.snapshots import Changed

NICENESS = 10
IDLE_SECONDS = 1.0
STOP_SECONDS = 1.5  # for a part in the middle of something; what it leaves undone is done again
LEAST_SECONDS, GROWN = 3.0, 1.5  # between two snapshots of a dataset while its items stream in, if there are so many times as many,
MOST_SECONDS = 10.0  # and if there are not;
REST = 3.0  # in any case so many times what the last one took
KINDS = ("recalibrate", jobs.LIMITS, reports.REPORT, reports.ATLAS, jobs.LABEL_AUDIT, jobs.VERSIONS, jobs.ERASURE)
QUEUED_SECONDS = 2.0
TRAINING_KINDS = (jobs.TRAINING,)  # in a thread of their own: they may take hours, and nothing waits for them
INSIGHT_KINDS = JOB_KINDS  # likewise: some take many minutes
MAP_SECONDS, PLACES_SECONDS = 1.0, 3.0  # each look costs some 20 ms, however few items came
AUDIT_SECONDS = 5.0
PUT_OFF_SECONDS = 180.0  # for which a map waits while items are judged
CLEAN_SECONDS = 3600.0
DAY = 86_400.0
AT_ONCE = 1_000  # rows that are dropped in one transaction
KEPT = 1_000  # jobs that ended and events that pass, of each project and kind


def run_jobs(process: Process) -> None:
    """Work until the process stops."""
    os.nice(NICENESS)
    give_back_memory()
    run_loops(process, [heartbeat(process), *job_loops(process)], STOP_SECONDS)


def job_loops(process: Process) -> list[Loop]:
    """What the jobs process does again and again, each in a thread of its own."""
    from annotriage.service.operations.standing_back import DoneByTheFit
    from annotriage.service.quality.auditing import withdraw_decided
    from annotriage.service.quality.inheriting import inherit
    from annotriage.service.quality.near_duplicates import NearDuplicates

    near_duplicates = DoneByTheFit(process, "near duplicates", lambda: NearDuplicates(process).step)

    def each(name: str, act: Callable[[Project], bool], pause: float = IDLE_SECONDS, source: Database | None = process.store) -> Loop:
        return Loop(process, name, [ProjectStep(name, act)], pause, alone=True, source=source)

    def queued(name: str, kinds: Sequence[str]) -> Loop:
        left: set[int] = set()
        return Loop(process, name, [Step(name, lambda: run_queued(process, kinds, left))], QUEUED_SECONDS, back_off=SOON)

    return [
        each("snapshots", Snapshots(process).step, source=None),  # what was put off is due by time
        each("standings", Standings(process).step, QUEUED_SECONDS),
        each("tightening", Tightening(process).step, QUEUED_SECONDS),
        each("fields", FieldWriting(process).step, source=None),  # likewise
        each("decided findings", lambda project: withdraw_decided(process, project), AUDIT_SECONDS),
        # Needs no model; two processes at once would take back each other's.
        each("inherited answers", partial(inherit, process), QUEUED_SECONDS),
        Loop(process, "near duplicates", [ProjectStep("near duplicates", put_off(process, near_duplicates.step))], QUEUED_SECONDS),
        each("maps", put_off(process, MapMaking(process).step), MAP_SECONDS),
        each("places", then_rest(Placing(process).step), PLACES_SECONDS),
        queued("queued jobs", KINDS),
        queued("training", TRAINING_KINDS),
        queued("insights", INSIGHT_KINDS),
        *told_elsewhere(process),
        Loop(process, "cleaning", [Step("cleaning", lambda: clean(process))], CLEAN_SECONDS, alone=True),
    ]


def told_elsewhere(process: Process) -> list[Loop]:
    """Telling people by webhook and mail, each way for itself: a server that hangs holds up nothing else."""
    loops = [Loop(process, "notices", [Step("unwanted notices", lambda: drop_unwanted(process))], CLEAN_SECONDS, alone=True)]
    for way, send in ways_of(process.settings).items():
        act = partial(tell, process, way, send)
        loops.append(Loop(process, f"notices by {way}", [Step(f"notices by {way}", act)], QUEUED_SECONDS, alone=True, back_off=SOON))
    return loops


def then_rest(act: Callable[[Project], bool]) -> Callable[[Project], bool]:
    """What does all there is to do at once: a pause follows in any case."""

    def step(project: Project) -> bool:
        act(project)
        return False

    return step


def put_off(process: Process, act: Callable[[Project], bool], clock: Callable[[], float] = time.monotonic) -> Callable[[Project], bool]:
    """Put off what takes many seconds of a core while items are judged, which people wait for; though not for ever."""
    since: dict[int, float] = {}

    def step(project: Project) -> bool:
        with process.store.reading() as connection:
            busy = work.waiting(connection, project.id, project.reference_id) > 0
        if busy and clock() - since.setdefault(project.id, clock()) < PUT_OFF_SECONDS:
            return False
        since.pop(project.id, None)
        return act(project)

    return step


@dataclass(frozen=True)
class _Taken:
    """The last snapshot of a dataset that this process took: what was counted before it, when it was taken, how long it took."""

    counted: Changed
    at: float
    seconds: float


class Snapshots:
    """Takes snapshots of the datasets that changed: soon, but so seldom that most of the time is left to others."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._taken: dict[int, _Taken] = {}

    def step(self, project: Project) -> bool:
        """Take those that are due of one project; whether any was. Raises UnknownError, MismatchError."""
        with self._process.store.reading() as connection:
            changed = snapshots.changed(connection, project)
            streaming = bool(changed) and work.waiting(connection, project.id, project.reference_id) > 0
        due = sorted((dataset for dataset in changed if self._is_due(dataset, streaming)), key=self._last)
        for dataset in due:
            if self._process.stopping.is_set():
                break
            started = time.monotonic()
            snapshot(self._process, project, dataset.id)
            self._taken[dataset.id] = _Taken(dataset, time.monotonic(), time.monotonic() - started)
        return bool(due)

    def _last(self, dataset: Changed) -> float:
        return self._taken[dataset.id].at if dataset.id in self._taken else 0.0

    def _is_due(self, dataset: Changed, streaming: bool) -> bool:
        last = self._taken.get(dataset.id)
        if last is None:
            return True
        pause = (LEAST_SECONDS if dataset.total >= GROWN * last.counted.total else MOST_SECONDS) if streaming else 0.0
        return last.counted != dataset and time.monotonic() >= last.at + max(pause, REST * last.seconds)


def run_queued(process: Process, kinds: Sequence[str] = KINDS, left: set[int] | None = None) -> bool:
    """Run the next queued job of these kinds, if there is one; whether there was.

    left: jobs that this process has left to other replicas, as their model does not run here; they are added to it, and tried once more
    when no other is there.
    """
    left = set() if left is None else left
    from annotriage.service.operations.queued_jobs import fail, run_job

    with process.store.reading() as connection:
        unwritten = jobs.is_at_any(connection, process.owner, kinds)  # the database went away before what came of it was written down
        others = left and any(row.role == process.role and row.owner != process.owner for row in work.living(connection))
        without = frozenset(left) if others else frozenset()
        waits = jobs.any_waiting(connection, kinds, without)
    if unwritten:
        with process.store.writing() as connection:
            jobs.give_back(connection, process.owner, kinds)
    elif not waits:
        return False
    with process.store.writing() as connection:
        job = jobs.take(connection, process.owner, kinds, without)
    if job is None:
        return False
    try:
        if not run_job(process, job):
            left.add(job.id)
    except Exception as error:
        logging.getLogger(__name__).exception("project %s: the job %r failed", job.project_id, job.kind)
        fail(process, job, cause(error))
    return True


def clean(process: Process) -> bool:
    """Drop what is kept for a while only."""
    settings, now = process.settings, time.time()
    with process.store.writing() as connection:
        dropped = snapshots.thin_out(connection)
    with process.store.inbox.writing() as connection:
        unread = inbox.drop_failed(connection, now - settings.keep_inbox_days * DAY)
    pictures = 0
    if settings.keep_thumbnails_days:
        before = now - settings.keep_thumbnails_days * DAY
        pictures = _in_turns(process, lambda connection: browsing.drop_thumbnails(connection, before, AT_ONCE))
    ended = _in_turns(process, lambda connection: jobs.drop_ended(connection, KEPT, AT_ONCE))
    passed = _in_turns(process, lambda connection: events.drop_passing(connection, KEPT, AT_ONCE))
    log("cleaned up", snapshots=dropped, webhooks=unread, thumbnails=pictures, jobs=ended, events=passed)
    return False


def _in_turns(process: Process, drop: Callable[[Connection], int]) -> int:
    """Drop rows in transactions of AT_ONCE, so that others have their turn between two of them; how many."""
    dropped, some = 0, AT_ONCE
    while some == AT_ONCE and not process.stopping.is_set():
        with process.store.writing() as connection:
            some = drop(connection)
        dropped += some
    return dropped
