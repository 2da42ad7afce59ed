"""The worker process: judges, delivers and follows the labeling tool, each in a thread of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable

from annotriage.errors import AnnotriageError
from annotriage.service.delivery.accepting import accept_due
from annotriage.service.delivery.outbox import Delivery
from annotriage.service.delivery.rescoring import advance_rescoring
from annotriage.service.guarantee.spot_checks import tend_spot_checks
from annotriage.service.intake.following import Follower
from annotriage.service.judging.judge import Judge
from annotriage.service.operations.log import log
from annotriage.service.operations.loops import run_parts
from annotriage.service.operations.process import Process
from annotriage.store.projects import Project, projects

TENDED_SECONDS = 2.0
TENDED: tuple[Callable[[Process, Project], None], ...] = (advance_rescoring, tend_spot_checks, accept_due)


def run_worker(process: Process) -> int:
    """Work until the process stops: 0; or until a part of it fails in a way that nobody foresaw: 1, to be started again."""
    parts = {
        "beat": process.beat,
        "judge": Judge(process).run,
        "deliver": Delivery(process).run,
        "follow": Follower(process).run,
        "tend": lambda: tend(process),
    }
    return run_parts(process, parts)


def tend(process: Process) -> None:
    """What is done for each project every few seconds: re-scoring, spot checks, acceptance."""
    while not process.stopping.is_set():
        with process.store.reading() as connection:
            tended = projects(connection)
        for project in tended:
            for act in TENDED:
                try:
                    act(process, project)
                except AnnotriageError as error:
                    log(f"{act.__name__} waits", level=logging.WARNING, project=project.external_id, error=error)
        process.stopping.wait(TENDED_SECONDS)
