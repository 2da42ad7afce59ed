"""Whether a worker may join those that run already: it must judge as they do, and tell the time as they do.

References and the files of their models come out of the database, by their hash, so that these are alike everywhere. The code of a
model's factory, the runtimes and the clock are each machine's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from annotriage.errors import MismatchError, ModelError, StateError
from annotriage.service.operations.process import Process
from annotriage.store.database import seconds_of_database
from annotriage.store.projects import projects

REFUSED = 78  # exit status of a worker that may not join
MOST_AHEAD = 10.0  # seconds: a third of the time after which somebody who gives no sign of life counts as dead


def refuse_unlike(process: Process, open_reference: Callable[[int], object]) -> None:
    """Raise ModelError, MismatchError or StateError where a worker cannot work as those that run do. Who starts alone is asked nothing.

    Of a project that cannot be judged at the moment nothing is asked either: the others can do no better.
    open_reference: makes a reference and its model ready. Raises ModelError, MismatchError.
    """
    if not process.others("worker"):
        return
    _refuse_other_time(process)
    with process.store.reading() as connection:
        found = [project for project in projects(connection) if project.trouble is None]
    tried: set[int] = set()
    for project in found:
        for id in set(project.references) - tried:
            if process.stopping.is_set():
                return
            tried.add(id)
            try:
                open_reference(id)
            except (ModelError, MismatchError) as error:
                raise type(error)(f"this replica cannot join the others: project {project.external_id}: {error}") from error


def _refuse_other_time(process: Process) -> None:
    with process.store.reading() as connection:
        theirs = seconds_of_database(connection)
    ahead = 0.0 if theirs is None else time.time() - theirs
    if abs(ahead) > MOST_AHEAD:
        raise StateError(
            f"this replica cannot join the others: this machine's clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the"
            " database's, and replicas tell by the time who is alive; set the clock (NTP), then start again"
        )
