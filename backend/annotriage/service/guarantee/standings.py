"""How the guarantee of each project stands, kept in the store for whoever shows it: the jobs process computes, the web process reads.

It is found again whenever an answer came in, or labels were stopped.
"""

from __future__ import annotations

import time
from dataclasses import asdict

from annotriage.service.guarantee.spot_checks import DAY, standing
from annotriage.service.operations.process import Process
from annotriage.store.database import finite
from annotriage.store.projects import Project, keep_standing
from annotriage.store.spot_checks import spot_check_counts


class Standings:
    """Keeps the standing of each project; looks at what it depends on, and computes where that has changed."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._seen: dict[int, tuple[object, ...]] = {}

    def step(self, project: Project) -> bool:
        """Keep one project's standing, if it has changed; whether it had."""
        with self._process.store.reading() as connection:
            seen = (project.reference_id, project.pause, project.alarm, *spot_check_counts(connection, project))
            if self._seen.get(project.id) == seen:
                return False
            found = standing(connection, project)
        facts = asdict(found)
        days = facts.pop("oldest_days")
        facts["oldest_at"] = None if days is None else time.time() - days * DAY
        with self._process.store.writing() as connection:
            keep_standing(connection, project, finite(facts))
        self._seen[project.id] = seen
        return True
