"""Where one person alone answers, nobody else can confirm that the model was wrong: then whoever manages decides, blind as well."""

from __future__ import annotations

import time
from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import Connection

from annotriage.errors import StateError
from annotriage.service.guarantee.spot_checks import DAY, OLDEST_DAYS, listen
from annotriage.service.intake.answers import latest, same
from annotriage.states import EventKind, SpotCheckState
from annotriage.store import spot_checks
from annotriage.store.database import read_once
from annotriage.store.events import note
from annotriage.store.locks import lock_items
from annotriage.store.projects import Project
from annotriage.store.reviews import people_since, reviews_of

WAIT_SECONDS = DAY  # for a second person


@dataclass(frozen=True, slots=True)
class Decision:
    """A spot check to be decided. choices: what the model and the only annotator say, in an order that does not tell who says what."""

    item_id: int
    name: str
    choices: tuple[tuple[str, ...], ...]


def is_alone(connection: Connection, project: Project) -> bool:
    """Whether at most one person has answered in the project lately, so that second answers cannot come."""
    return people_since(connection, project.id, time.time() - OLDEST_DAYS * DAY) <= 1


@read_once
def decisions(connection: Connection, project: Project) -> list[Decision]:
    """The spot checks that a person who manages may decide: those contradicted for a day, where one person alone answers.

    None where the project hides them.
    """
    if project.hides_checks:
        return []
    waiting = spot_checks.contradicted(connection, project.id, time.time() - WAIT_SECONDS)
    if not waiting or not is_alone(connection, project):
        return []
    given = reviews_of(connection, [check.item_id for check in waiting])
    found = []
    for check in waiting:
        people = [review.labels for review in latest(given.get(check.item_id, [])) if not review.machine]
        choices = {same(check.labels), *(same(labels) for labels in people)}
        ordered = sorted(choices, key=lambda labels: sha256(f"{check.item_id} {labels}".encode()).digest())
        found.append(Decision(check.item_id, check.external_id or check.marker or str(check.item_id), tuple(ordered)))
    return found


def decide(connection: Connection, project: Project, item_id: int, labels: tuple[str, ...] | None, by: str) -> None:
    """Settle a spot check by one of its choices, or with None by none of them.

    Raises StateError if there is nothing to be decided any more, or the labels are not among the choices: an answer was changed meanwhile.
    """
    lock_items(connection, [item_id])
    found = next((decision for decision in decisions(connection, project) if decision.item_id == item_id), None)
    if found is None or (labels is not None and labels not in found.choices):
        raise StateError("this spot check has been decided or answered meanwhile; load the page again to see how it stands")
    (check,) = spot_checks.spot_checks_of(connection, [item_id], lock=True)
    right = labels == same(check.labels)
    spot_checks.decide(connection, item_id, SpotCheckState.RIGHT if right else SpotCheckState.WRONG, labels or (), by)
    note(connection, project.id, EventKind.DECIDED, task=found.name, by=by, right=right)
    listen(connection, project)
