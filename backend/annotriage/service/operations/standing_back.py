"""What one replica does alone with the model: the oldest of those on which the model runs.

A leader that cannot do it, as its model does not load there or is another one there, says so and stands back; so the next oldest does it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from annotriage.errors import MismatchError, ModelError
from annotriage.service.operations.log import log
from annotriage.service.operations.loops import BEAT_SECONDS
from annotriage.service.operations.process import Process
from annotriage.store import work
from annotriage.store.projects import Project
from annotriage.store.work import STANDS_BACK, Held

AGAIN_SECONDS = 300.0  # after which who stands back tries again: the model may have been put right there


@dataclass
class _StoodBack:
    """held: the name that says so to the others. since: when it was tried; beat: when a sign of life was last given."""

    held: Held
    since: float
    beat: float


class DoneByTheFit:
    """A step of a loop for each project that one process of a kind takes alone, of those that can."""

    def __init__(
        self,
        process: Process,
        what: str,
        make: Callable[[], Callable[[Project], bool]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """what: names it to people. make: what does it, anew for each project and after others did it, so that it knows nothing old."""
        self._process, self._what, self._make, self._clock = process, what, make, clock
        self._acts: dict[int, Callable[[Project], bool]] = {}
        self._back: dict[int, _StoodBack] = {}

    def step(self, project: Project) -> bool:
        """Do it, if it falls to this process; whether anything was done. Raises what that raises."""
        if self._stands_back(project) or not self._falls_to_us(project):
            self._acts.pop(project.id, None)
            return False
        act = self._acts.setdefault(project.id, self._make())
        try:
            return act(project)
        except (ModelError, MismatchError) as error:
            self._acts.pop(project.id, None)
            if not self._stand_back(project, error):
                raise
            return False

    def _falls_to_us(self, project: Project) -> bool:
        """Whether this is the oldest living process of its kind that does not stand back."""
        fit = self._fit(project)
        return bool(fit) and fit[0] == self._process.owner

    def _fit(self, project: Project) -> list[str]:
        """The living processes of this kind that do not stand back, the oldest first."""
        with self._process.store.reading() as connection:
            living = work.living(connection)
        names = {row.owner for row in living if row.role == STANDS_BACK}
        fit = [row for row in living if row.role == self._process.role and self._name(project, row.owner) not in names]
        return [row.owner for row in sorted(fit, key=lambda row: (row.started_at, row.owner))]

    def _stands_back(self, project: Project) -> bool:
        """Whether this process stands back, and says so on; once in a while it tries again."""
        back = self._back.get(project.id)
        if back is None:
            return False
        now = self._clock()
        if now - back.since >= AGAIN_SECONDS:
            del self._back[project.id]
            with self._process.store.writing() as connection:
                work.let_go(connection, back.held)
            return False
        if now - back.beat >= BEAT_SECONDS:
            with self._process.store.writing() as connection:
                work.hold_on(connection, back.held)
            back.beat = now
        return True

    def _stand_back(self, project: Project, error: Exception) -> bool:
        """Leave it to others, if there are any that have not left it, too; whether that was done."""
        if set(self._fit(project)) <= {self._process.owner}:
            return False
        process, name = self._process, self._name(project, self._process.owner)
        with process.store.writing() as connection:
            held = work.hold(connection, name, STANDS_BACK, process.host, process.pid)
        if held is None:
            return False
        self._back[project.id] = _StoodBack(held, self._clock(), self._clock())
        log(f"{self._what} left to other replicas", level=logging.WARNING, project=project.external_id, error=error)
        return True

    def _name(self, project: Project, owner: str) -> str:
        return f"{self._what} of project {project.id}: not {owner}"
