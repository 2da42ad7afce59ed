"""What a process does again and again: loops in threads of their own, each taking its steps in turn, round after round.

Nothing that goes wrong in a step ends the process, or holds up another step or another project: what failed is tried again by itself,
after a pause that grows. What fails because its project is disconnected meanwhile is no failure.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from annotriage.errors import AnnotriageError
from annotriage.service.operations.log import log
from annotriage.store import DATABASE_TROUBLE, work
from annotriage.store.database import Database, Watch
from annotriage.store.projects import Project, find_project, projects

if TYPE_CHECKING:
    from annotriage.service.operations.process import Process

BACK_OFF = (2.0, 10.0, 60.0, 300.0)  # seconds before what failed so many times in a row is tried again
SOON = (1.0, 2.0, 5.0)  # the same, for what others wait for
BEAT_SECONDS = 5.0
UNTOUCHED_SECONDS = 1.0  # for which nothing is looked for in a database that nobody wrote to,
UNTOUCHED_PAUSES = 4  # and so many pauses if these are longer


@dataclass(frozen=True)
class Step:
    """One thing to do. act: does what is due, and says whether anything was."""

    name: str
    act: Callable[[], bool]


@dataclass(frozen=True)
class ProjectStep:
    """One thing to do for every project that is connected. act: as of Step."""

    name: str
    act: Callable[[Project], bool]


class Loop:
    """Steps in turn, round after round: at once as long as there was anything to do, else after a pause.

    A loop whose work comes from a database rests longer while nobody writes to it, where the database can tell (SQLite). What becomes due
    by time alone is then seen a little later.
    """

    def __init__(
        self,
        process: Process,
        name: str,
        steps: Sequence[Step | ProjectStep],
        pause: float,
        *,
        alone: bool = False,
        back_off: Sequence[float] = BACK_OFF,
        source: Database | None = None,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        """pause: seconds after an idle round. alone: of several replicas only one does it, the oldest. source: where all its work is
        written to.

        clock, wait: how time passes; tests turn it themselves.
        """
        self.name = name
        self._process, self._steps, self._pause, self._alone, self._back_off = process, tuple(steps), pause, alone, tuple(back_off)
        self._clock, self._wait = clock, wait or process.stopping.wait
        self._watch = Watch(source) if source is not None else None
        self._failed: dict[tuple[str, int | None], tuple[int, float]] = {}  # failures in a row, and when it is tried again

    def run(self) -> None:
        """Go round until the process stops."""
        while not self._process.stopping.is_set():
            if self._watch is not None:
                self._watch.changed()  # before the round: what is written during it is seen after it
            if not self.round():
                self._rest()
        if self._watch is not None:
            self._watch.close()

    def _rest(self) -> None:
        """Wait after an idle round, a pause at a time, until there may be something to do again."""
        end = self._clock() + max(UNTOUCHED_SECONDS, UNTOUCHED_PAUSES * self._pause)
        self._wait(self._pause)
        while self._watch is not None and not self._process.stopping.is_set() and self._clock() < end and not self._watch.changed():
            self._wait(self._pause)

    def round(self) -> bool:
        """One round; whether anything was done. Raises nothing."""
        return self._attempt(self.name, None, self._round)

    def _round(self) -> bool:
        if self._alone and not leads(self._process):
            return False
        done = [self._take(step) for step in self._steps]
        return any(done)

    def _take(self, step: Step | ProjectStep) -> bool:
        if isinstance(step, Step):
            return self._attempt(step.name, None, step.act)
        with self._process.store.reading() as connection:
            connected = projects(connection)
        done = [self._attempt(step.name, project, partial(step.act, project)) for project in connected]
        return any(done)

    def _attempt(self, what: str, project: Project | None, act: Callable[[], bool]) -> bool:
        key = (what, None if project is None else project.id)
        failures, again = self._failed.get(key, (0, 0.0))
        if (failures and self._clock() < again) or self._process.stopping.is_set():
            return False
        try:
            done = act()
        except Exception as error:
            if project is not None and self._was_let_go(project):
                log(f"{what} ended: the project was disconnected meanwhile", project=project.external_id)
                return False
            wait = self._back_off[min(failures, len(self._back_off) - 1)]
            self._failed[key] = (failures + 1, self._clock() + wait)
            self._tell(what, project, error, wait)
            return False
        self._failed.pop(key, None)
        return done

    def _was_let_go(self, project: Project) -> bool:
        """Whether a project was disconnected, or is being so: whatever was at it then fails in one way or another."""
        with suppress(SQLAlchemyError), self._process.store.reading() as connection:
            now = find_project(connection, project.external_id)
            return now is None or now.id != project.id or now.gone
        return False

    def _tell(self, what: str, project: Project | None, error: Exception, wait: float) -> None:
        of = None if project is None else project.external_id
        log(f"{what} failed", level=logging.WARNING, project=of, again_in=wait, error=error)
        if not isinstance(error, (AnnotriageError, *DATABASE_TROUBLE)) and not self._process.stopping.is_set():
            logging.getLogger(__name__).error("%s: nobody foresaw this", what, exc_info=error)


def heartbeat(process: Process) -> Loop:
    """Signs of life, as long as the process runs."""
    return Loop(process, "heartbeat", [Step("heartbeat", process.beat)], BEAT_SECONDS, back_off=SOON)


@contextmanager
def giving_signs_of_life(process: Process) -> Iterator[None]:
    """Signs of life from before a block begins until it ends, where its loops do not run yet."""
    ended, loop = threading.Event(), heartbeat(process)

    def beat() -> None:
        while not ended.wait(BEAT_SECONDS):
            loop.round()

    loop.round()
    beating = threading.Thread(target=beat, name=loop.name, daemon=True)
    beating.start()
    try:
        yield
    finally:
        ended.set()
        beating.join()


def leads(process: Process) -> bool:
    """Whether this is the oldest living process of its kind."""
    with process.store.reading() as connection:
        alive = [row for row in work.living(connection) if row.role == process.role]
    return bool(alive) and min(alive, key=lambda row: (row.started_at, row.owner)).owner == process.owner


def run_loops(process: Process, loops: Sequence[Loop], patience: float | None = None) -> None:
    """Run loops, each in a thread of its own, until the process stops; then take leave.

    patience: seconds after which threads that do not end are left behind, to end with the process; None waits for all.
    """
    threads = [threading.Thread(target=loop.run, name=loop.name, daemon=patience is not None) for loop in loops]
    for thread in threads:
        thread.start()
    process.stopping.wait()
    end = None if patience is None else time.monotonic() + patience
    for thread in threads:
        thread.join(None if end is None else max(0.0, end - time.monotonic()))
    process.leave()
