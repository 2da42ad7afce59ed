"""The worker process: judges, delivers and follows the labeling tool, each in a thread of its own."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable

from annotriage.errors import MismatchError, ModelError, StateError
from annotriage.service.delivery.accepting import accept_due
from annotriage.service.delivery.outbox import Delivery
from annotriage.service.delivery.rescoring import advance_rescoring
from annotriage.service.guarantee.proposals import tend_proposals
from annotriage.service.guarantee.spot_checks import tend_spot_checks
from annotriage.service.intake.following import Follower
from annotriage.service.judging.judge import Judge
from annotriage.service.operations.joining import REFUSED, refuse_unlike
from annotriage.service.operations.log import log
from annotriage.service.operations.loops import Loop, ProjectStep, giving_signs_of_life, heartbeat, run_loops
from annotriage.service.operations.memory import give_back_memory
from annotriage.service.operations.process import Process
from annotriage.service.quality.gold import tend_gold
from annotriage.store.projects import Project

TENDED_SECONDS = 2.0
GOLD_SECONDS = 10.0


def run_worker(process: Process, joined: bool = False) -> None:
    """Work until the process stops. Exits with REFUSED, having said why, where others work and this one would work otherwise.

    joined: whether a worker of this replica worked with the others before. Then it is not asked again: what it cannot judge now it leaves
    to them, and its replica goes on.
    """
    give_back_memory(large=False)  # batches follow one another
    judge, follower = Judge(process), Follower(process)
    try:
        if not joined:
            _join(process, judge)
        run_loops(
            process,
            [
                heartbeat(process),
                *judge.loops(),
                *follower.loops(),
                Delivery(process).loop,
                tending(process),
            ],
        )
    finally:
        judge.close()


def _join(process: Process, judge: Judge) -> None:
    """Ask whether this worker may join. That may take minutes, as it loads every model: it gives signs of life meanwhile, as one that
    the others do not count on yet."""
    process.joining = True
    try:
        with giving_signs_of_life(process):
            refuse_unlike(process, judge.open)
    except (ModelError, MismatchError, StateError) as error:
        log("not let join", level=logging.ERROR, error=error)
        process.leave()
        sys.exit(REFUSED)
    process.joining = False


def tending(process: Process) -> Loop:
    """What is done for each project every few seconds, by one replica alone: two at once would ask and write twice."""

    def step(name: str, act: Callable[[Process, Project], None]) -> ProjectStep:
        def tend(project: Project) -> bool:
            act(process, project)
            return False  # a pause follows in any case

        return ProjectStep(name, tend)

    steps = [
        step("re-scoring", advance_rescoring),
        step("spot checks", tend_spot_checks),
        step("gold tasks", _seldom(tend_gold, GOLD_SECONDS)),
        step("acceptance", accept_due),
        step("look-alikes", tend_proposals),
    ]
    return Loop(process, "tend", steps, TENDED_SECONDS, alone=True)


def _seldom(act: Callable[[Process, Project], None], seconds: float) -> Callable[[Process, Project], None]:
    """What takes a while to find out, done for each project so many seconds after the last time at the earliest."""
    last: dict[int, float] = {}

    def tend(process: Process, project: Project) -> None:
        now = time.monotonic()
        if now - last.get(project.id, -seconds) >= seconds:
            last[project.id] = now
            act(process, project)

    return tend
