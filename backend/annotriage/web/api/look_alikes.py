"""Look-alikes: groups of which people answer some, drawn at random, so that the rest can be labelled at once."""

from __future__ import annotations

from dataclasses import dataclass

from annotriage.errors import DataError, UnknownError
from annotriage.service.guarantee import proposals as deeds
from annotriage.service.maps.likeness import Likeness
from annotriage.service.operations.process import Process
from annotriage.service.readings.look_alikes import ProposalNow, proposal_now, proposals_now
from annotriage.store.browsing import item_of_task
from annotriage.store.datasets import dataset_of_all
from annotriage.store.projects import Project, project_of
from annotriage.store.proposals import proposal_of
from annotriage.web.api.openapi import Asked, Operation, Parameter
from annotriage.web.api.paging import AFTER, LIMIT, next_page, number_after, number_in_path
from annotriage.web.sessions import visitor_name


@dataclass(frozen=True, slots=True)
class LookAlikesList:
    """Groups of look-alikes, the latest first. next: as everywhere."""

    groups: tuple[ProposalNow, ...]
    next: str | None


def list_look_alikes(asked: Asked, after: str | None, limit: int) -> LookAlikesList:
    """The project's groups of look-alikes, as they stand."""
    rows = proposals_now(asked.connection, asked.project, after=number_after(after), limit=limit)
    return LookAlikesList(rows, next_page(rows, limit, lambda row: row.proposal.id))


def get_look_alikes(asked: Asked, proposal: str) -> ProposalNow:
    """One group of look-alikes, as it stands."""
    found = proposal_of(asked.connection, asked.project, number_in_path(proposal, "group of look-alikes"))
    return proposal_now(asked.connection, asked.project, found)


def propose_look_alikes(process: Process, project: str, like: str | None, group: int | None, count: int | None) -> ProposalNow:
    """Offer the items most similar to a task, or a group of strange items of the whole project: how many must be answered of how many.

    Answered 409 where more than half of them would have to be answered.
    """
    found = _project(process, project)
    if (like is None) == (group is None):
        raise DataError("say either like, a task, or group, the number of a group of strange items")
    if group is not None:
        with process.store.reading() as connection:
            every = dataset_of_all(connection, found)
        if every is None:
            raise UnknownError(f"project {found.external_id}: nothing was judged yet, so there are no groups")
        return _now(process, found, deeds.propose_groups(process, found, every.id, [group], visitor_name()))
    with process.store.reading() as connection:
        item = item_of_task(connection, found, like or "")
    proposed = deeds.propose_similar(process, found, item.id, visitor_name(), count or deeds.COUNT, likeness=Likeness(process))
    return _now(process, found, proposed)


def ask_about_look_alikes(process: Process, project: str, proposal: str) -> ProposalNow:
    """Ask people, blind, about the first members of the draw."""
    found, id = _project(process, project), number_in_path(proposal, "group of look-alikes")
    deeds.ask_people(process, found, id, visitor_name())
    return _now(process, found, id)


def label_look_alikes_at_once(process: Process, project: str, proposal: str) -> ProposalNow:
    """Let the rest of a group get its label. The service writes the labels in the next seconds."""
    found, id = _project(process, project), number_in_path(proposal, "group of look-alikes")
    deeds.label_rest(process, found, id, visitor_name())
    return _now(process, found, id)


def split_group_of_look_alikes(process: Process, project: str, proposal: str) -> ProposalNow:
    """Split a mixed group in two by where its items lie, each half with fresh answers."""
    found, id = _project(process, project), number_in_path(proposal, "group of look-alikes")
    deeds.split(process, found, id, visitor_name())
    return _now(process, found, id)


def undo_labels_at_once(process: Process, project: str, proposal: str) -> ProposalNow:
    """Take back what was labelled at once, but for what people changed since."""
    found, id = _project(process, project), number_in_path(proposal, "group of look-alikes")
    deeds.undo_labels(process, found, id, visitor_name())
    return _now(process, found, id)


def close_group_of_look_alikes(process: Process, project: str, proposal: str) -> ProposalNow:
    """Ask nobody any more, and label nothing."""
    found, id = _project(process, project), number_in_path(proposal, "group of look-alikes")
    deeds.close(process, found, id, visitor_name())
    return _now(process, found, id)


def _project(process: Process, project: str) -> Project:
    with process.store.reading() as connection:
        return project_of(connection, project)


def _now(process: Process, project: Project, id: int) -> ProposalNow:
    with process.store.reading() as connection:
        return proposal_now(connection, project, proposal_of(connection, project, id))


MADE_OF = (
    Parameter("like", str, "The task to which they are similar."),
    Parameter("group", int, "Number of a group of strange items, among all items.", low=1),
    Parameter("count", int, "With like: how many.  [200]", low=1),
)
CONFLICT = ((409, "As the group stands, that cannot be done."),)
ONE = "/projects/{project}/look-alikes/{proposal}"

OPERATIONS = (
    Operation("GET", "/projects/{project}/look-alikes", list_look_alikes, LookAlikesList, (AFTER, LIMIT)),
    Operation("POST", "/projects/{project}/look-alikes", propose_look_alikes, ProposalNow, MADE_OF, status=201, statuses=CONFLICT),
    Operation("GET", ONE, get_look_alikes, ProposalNow),
    Operation("POST", f"{ONE}/ask", ask_about_look_alikes, ProposalNow, statuses=CONFLICT),
    Operation("POST", f"{ONE}/label", label_look_alikes_at_once, ProposalNow, statuses=CONFLICT),
    Operation("POST", f"{ONE}/split", split_group_of_look_alikes, ProposalNow, statuses=CONFLICT),
    Operation("POST", f"{ONE}/undo", undo_labels_at_once, ProposalNow, statuses=CONFLICT),
    Operation("POST", f"{ONE}/close", close_group_of_look_alikes, ProposalNow, statuses=CONFLICT),
)
