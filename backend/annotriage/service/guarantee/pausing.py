"""Stopping automatic labels at once, and letting them go on. What the alarm stopped goes on by a recalibration alone."""

from __future__ import annotations

from sqlalchemy import Connection

from annotriage.errors import StateError
from annotriage.service.guarantee.spot_checks import BEFORE, paused_by_person, stopped_by_alarm
from annotriage.store.projects import Project, change_project, note

BY_A_PERSON = "paused by a person"
PAUSED_REASON = "; a person decides, because automatic labels are paused."  # how the reasons of items end that were automatic otherwise


def pause(connection: Connection, project: Project, reason: str = "") -> str:
    """Nothing is automatic from now on: what was done, in a sentence."""
    why = f"{BY_A_PERSON}: {' '.join(reason.split())}" if reason.strip() else BY_A_PERSON
    if paused_by_person(project) is not None:
        return f"Automatic labels of project {project.external_id} were paused already ({paused_by_person(project)})."
    change_project(connection, project.id, paused=f"{project.paused}{BEFORE}{why}" if stopped_by_alarm(project) else why)
    note(connection, project.id, "paused", why)
    return f"Automatic labels of project {project.external_id} are paused: what comes in goes to people, and nothing is accepted."


def resume(connection: Connection, project: Project) -> str:
    """Labels may be automatic again; what was judged meanwhile stays with people. Raises StateError where the alarm stopped them."""
    if stopped_by_alarm(project):
        raise StateError(
            f"project {project.external_id}: the alarm stopped automatic labels, and a person's word does not lift it;"
            f" annotriage recalibrate --project {project.external_id} does, once the limit is shown anew"
        )
    if project.paused is None:
        return f"Automatic labels of project {project.external_id} were not paused."
    change_project(connection, project.id, paused=None)
    note(connection, project.id, "resumed", "automatic labels go on")
    return f"Labels of project {project.external_id} may be automatic again; what was judged meanwhile stays with people."
