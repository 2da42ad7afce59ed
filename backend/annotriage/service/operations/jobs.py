"""The jobs process: what takes long and nobody waits for: snapshots, fields of tasks, maps, queued jobs, cleaning up.

Beside the worker, at low priority and on one core. Of several replicas the oldest alone takes snapshots and writes fields; each
takes queued jobs.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from annotriage.errors import AnnotriageError
from annotriage.service.delivery.field_writing import FieldWriting
from annotriage.service.guarantee.standings import Standings
from annotriage.service.maps.map_making import MapMaking
from annotriage.service.maps.map_placing import Placing
from annotriage.service.operations.log import log
from annotriage.service.operations.loops import run_parts
from annotriage.service.operations.process import Process
from annotriage.service.readings.snapshots import snapshot
from annotriage.store import jobs, snapshots, work
from annotriage.store.projects import Project, projects
from annotriage.store.snapshots import Changed

NICENESS = 10
IDLE_SECONDS = 1.0
STOP_SECONDS = 1.5  # for a part in the middle of something; what it leaves undone is done again
LEAST_SECONDS = 3.0  # between two snapshots of a dataset while its items stream in,
LARGE, LARGE_SECONDS = 20_000, 10.0  # and of one with so many items;
REST = 3.0  # in any case so many times what the last one took
KINDS = ("recalibrate", "resettle", "report")
QUEUED_SECONDS = 2.0
MAP_SECONDS = 1.0
PUT_OFF_SECONDS = 180.0  # for which a map waits while items are judged
CLEAN_SECONDS = 3600.0
BACK_OFF = (2.0, 10.0, 60.0, 300.0)


def run_jobs(process: Process) -> int:
    """Work until the process stops: 0; 1 if it failed and is to be started again."""
    os.nice(NICENESS)
    taking, writing, making, placing = Snapshots(process), FieldWriting(process), MapMaking(process), Placing(process)
    standings = Standings(process)
    parts = {
        "beat": process.beat,
        "snapshots": lambda: _repeat(process, EachProject(process, "snapshots", taking.step).step),
        "standings": lambda: _repeat(process, EachProject(process, "standings", standings.step).step, QUEUED_SECONDS),
        "fields": lambda: _repeat(process, EachProject(process, "fields", writing.step).step),
        "maps": lambda: _repeat(process, EachProject(process, "maps", PutOff(process, making.step).step).step, MAP_SECONDS),
        "places": lambda: _repeat(process, EachProject(process, "places", placing.step).step, MAP_SECONDS),
        "queued": lambda: _repeat(process, lambda: run_queued(process), QUEUED_SECONDS, alone=False),
        "cleaning": lambda: _repeat(process, lambda: clean(process), CLEAN_SECONDS),
    }
    return run_parts(process, parts, STOP_SECONDS)


class EachProject:
    """Does something for every project, round after round. One that fails waits, longer each time, and holds up no other."""

    def __init__(self, process: Process, what: str, act: Callable[[Project], bool]) -> None:
        self._process, self._what, self._act = process, what, act
        self._resume: dict[int, tuple[int, float]] = {}  # by project: failures in a row, and when it is tried again

    def step(self) -> bool:
        """One round; whether anything was done."""
        with self._process.store.reading() as connection:
            found = projects(connection)
        done = [self._one(project) for project in found]
        return any(done)

    def _one(self, project: Project) -> bool:
        failures, resume = self._resume.get(project.id, (0, 0.0))
        if time.time() < resume or self._process.stopping.is_set():
            return False
        try:
            done = self._act(project)
        except Exception as error:
            wait = BACK_OFF[min(failures, len(BACK_OFF) - 1)]
            self._resume[project.id] = (failures + 1, time.time() + wait)
            log(f"{self._what} failed", level=logging.WARNING, project=project.external_id, again_in=wait, error=error)
            if not isinstance(error, AnnotriageError) and not self._process.stopping.is_set():
                logging.getLogger(__name__).exception("project %s: %s", project.external_id, self._what)
            return False
        self._resume.pop(project.id, None)
        return done


class PutOff:
    """Puts off what takes many seconds of a core while items are judged, which people wait for; though not for ever."""

    def __init__(self, process: Process, act: Callable[[Project], bool]) -> None:
        self._process, self._act = process, act
        self._since: dict[int, float] = {}

    def step(self, project: Project) -> bool:
        """Do it, unless the project's items are being judged, and have been for a few minutes at most."""
        with self._process.store.reading() as connection:
            busy = work.waiting(connection, project.id, project.reference_id) > 0
        since = self._since.setdefault(project.id, time.monotonic())
        if busy and time.monotonic() - since < PUT_OFF_SECONDS:
            return False
        self._since.pop(project.id)
        return self._act(project)


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
        due = sorted((one for one in changed if self._is_due(one, streaming)), key=self._last)
        for one in due:
            if self._process.stopping.is_set():
                break
            started = time.monotonic()
            snapshot(self._process, project, one.id)
            self._taken[one.id] = _Taken(one, time.monotonic(), time.monotonic() - started)
        return bool(due)

    def _last(self, one: Changed) -> float:
        return self._taken[one.id].at if one.id in self._taken else 0.0

    def _is_due(self, one: Changed, streaming: bool) -> bool:
        last = self._taken.get(one.id)
        if last is None:
            return True
        pause = (LARGE_SECONDS if one.total > LARGE else LEAST_SECONDS) if streaming else 0.0
        return last.counted != one and time.monotonic() >= last.at + max(pause, REST * last.seconds)


def run_queued(process: Process) -> bool:
    """Run the next queued job, if there is one; whether there was."""
    from annotriage.service.guarantee.recalibrating import run_job

    with process.store.writing() as connection:
        row = jobs.take(connection, process.owner, KINDS)
    if row is None:
        return False
    try:
        run_job(process, row)
    except Exception as error:
        logging.getLogger(__name__).exception("project %s: the job %r failed", row.project_id, row.kind)
        with process.store.writing() as connection:
            jobs.finish(connection, row.id, str(error), failed=True)
    return True


def clean(process: Process) -> bool:
    """Drop what is kept for a while only."""
    with process.store.writing() as connection:
        dropped = snapshots.thin_out(connection)
    log("cleaned up", snapshots=dropped)
    return False


def _repeat(process: Process, step: Callable[[], bool], idle: float = IDLE_SECONDS, *, alone: bool = True) -> None:
    """Step until the process stops, without a pause as long as there is something to do. alone: one replica at a time."""
    while not process.stopping.is_set():
        leads = not alone or _leads(process)
        if not (leads and step()):
            process.stopping.wait(idle if leads else IDLE_SECONDS)


def _leads(process: Process) -> bool:
    """Whether this is the oldest living process of its kind."""
    with process.store.reading() as connection:
        alive = [row for row in work.living(connection) if row.role == process.role]
    return bool(alive) and min(alive, key=lambda row: (row.started_at, row.owner)).owner == process.owner
