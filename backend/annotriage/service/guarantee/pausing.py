"""Stopping automatic labels at once, and letting them go on. What the alarm stopped goes on by a recalibration alone."""

from __future__ import annotations

import time

from sqlalchemy import Connection

from annotriage.advice.state_words import pause_sentence
from annotriage.errors import StateError
from annotriage.states import EventKind, Pause
from annotriage.store.events import note
from annotriage.store.projects import Project, get_project, pause_project, resume_project


def pause(connection: Connection, project: Project, reason: str = "") -> str:
    """Nothing is automatic from now on: what was done, in a sentence."""
    wanted = Pause(" ".join(reason.split()), time.time())
    if not pause_project(connection, project.id, wanted):
        present = get_project(connection, project.id).pause or wanted
        return f"Automatic labels of project {project.external_id} were paused already ({pause_sentence(present)})."
    note(connection, project.id, EventKind.PAUSED, reason=wanted.reason)
    return f"Automatic labels of project {project.external_id} are paused: what comes in goes to people, and nothing is accepted."


def resume(connection: Connection, project: Project) -> str:
    """Labels may be automatic again; what was judged meanwhile stays with people. Raises StateError where the alarm stopped them."""
    if not resume_project(connection, project.id):
        alarm = get_project(connection, project.id).alarm
        if alarm is None:
            return f"Automatic labels of project {project.external_id} were not paused."
        if alarm.unconfirmed:
            raise StateError(
                f"project {project.external_id}: the alarm stopped automatic labels, and a person's word does not lift it; answer the spot"
                " checks that await a second answer: labels are automatic again should these side with the model"
            )
        raise StateError(
            f"project {project.external_id}: the alarm stopped automatic labels, and a person's word does not lift it;"
            f" annotriage recalibrate --project {project.external_id} does, once the limit is shown again"
        )
    note(connection, project.id, EventKind.RESUMED)
    return f"Labels of project {project.external_id} may be automatic again; what was judged meanwhile stays with people."
