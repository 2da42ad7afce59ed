"""Proposals: groups of look-alikes, of which people answer some, drawn at random, so that the rest can be labelled at once.

offered -> asking -> shown -> labelling -> labelled -> undoing -> undone. A mixed one, for which no number of answers is enough, is split in
two (splitting -> split) or closed. A state is changed only from the state that it was read in. The order of the draw is fixed when a
proposal is made: the first `asked` members are answered blind. As long as a proposal goes on its items belong to no other one.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, exists, func, select, update

from annotriage.errors import UnknownError
from annotriage.states import AnswerState, ProposalState, Route, Time
from annotriage.store.blindness import was_told
from annotriage.store.counters import chunks
from annotriage.store.database import columns_of, insert, texts
from annotriage.store.projects import Project
from annotriage.store.schema import delivery, group_member, item, point, proposal, proposal_member, spot_check, verdict

AT_WORK = (ProposalState.ASKING, ProposalState.SPLITTING, ProposalState.LABELLING, ProposalState.UNDOING)  # of the service
AT_ONCE = 20_000  # points in memory
MEMBERS = (Route.OUTLIER, Route.UNCERTAIN)  # routes of those that may become members


@dataclass(frozen=True, slots=True)
class Proposal:
    """A group of look-alikes.

    reason: what makes them a group. members: how many there are; group_error, confidence: of the statement about those nobody answered.
    asked: so many of the first are answered blind; in_tab: so many the labeling tool has in a tab. labels: the group's, once it is shown.
    note: what keeps it from going on, "" if nothing does. acceptance_id: the batch by which its labels became annotations.
    """

    id: int
    parent_id: int | None
    reason: str
    members: int
    group_error: float
    confidence: float
    state: ProposalState
    asked: int
    in_tab: int
    labels: tuple[str, ...] | None
    note: str
    acceptance_id: int | None
    rerouting_id: int | None
    by: str
    at: Time
    labelled_by: str | None
    labelled_at: Time | None


@dataclass(frozen=True, slots=True)
class Member:
    """An item of a group. place: in the order of the draw, from 0. labels: what people answered, None while they have not. gone: the task
    was deleted. at_once: it got the group's label without an answer; machine: as an annotation. judged: the model's route for it.
    disputed: people's answers contradict each other."""

    item_id: int
    place: int
    task: str
    labels: tuple[str, ...] | None
    gone: bool
    at_once: bool
    machine: bool
    judged: str | None
    disputed: bool = False

    @property
    def untouched(self) -> bool:
        """Whether nobody has answered it, and somebody can."""
        return self.labels is None and not (self.gone or self.machine or self.disputed)


@dataclass(frozen=True, slots=True)
class Rest:
    """Members that nobody answered. unasked: those behind the members that are asked; at_once: those that got the group's label;
    annotations: of them as an annotation."""

    unasked: int
    at_once: int
    annotations: int


_COLUMNS = columns_of(proposal, Proposal)


def free_items(
    connection: Connection, project: Project, item_ids: Collection[int] | None = None, routes: Collection[Route] = MEMBERS
) -> list[int]:
    """Items that may become members: they wait for a person, could be judged, and nobody drew them at random or has seen an answer of
    theirs. None: all of the project. routes: those that they may have."""
    query = select(item.c.id).where(*_free(project, routes))
    if item_ids is None:
        return list(connection.execute(query.order_by(item.c.id)).scalars())
    return [id for ids in chunks(sorted(set(item_ids))) for id in connection.execute(query.where(item.c.id.in_(ids))).scalars()]


def free_count(connection: Connection, project: Project, most: int) -> int:
    """How many items may become members; so many at most are counted."""
    some = select(item.c.id).where(*_free(project, MEMBERS)).limit(most).subquery()
    return int(connection.execute(select(func.count()).select_from(some)).scalar_one())


@dataclass(frozen=True, slots=True)
class FreeMembers:
    """So many items of a group may become members. attempts: in how many groups any of them was before, as `attempts`."""

    items: int
    attempts: int


def free_in_groups(connection: Connection, project: Project, dataset_id: int, numbers: Collection[int]) -> dict[int, FreeMembers]:
    """What may become members of each of these groups among the outliers of a dataset; of those that have any."""
    tried = _begun(proposal_member.c.item_id == item.c.id).correlate(item).scalar_subquery()
    query = select(group_member.c.number, func.count(), func.max(tried))
    query = query.join(item, item.c.id == group_member.c.item_id).group_by(group_member.c.number)
    query = query.where(group_member.c.dataset_id == dataset_id, group_member.c.number.in_(sorted(numbers)), *_free(project, MEMBERS))
    return {number: FreeMembers(n, attempts) for number, n, attempts in connection.execute(query)}


def free_points(
    connection: Connection, project: Project, most: int, routes: Collection[Route] = MEMBERS
) -> Iterator[tuple[list[int], list[bytes]]]:
    """The latest items that may become members and where they lie, (n,) float16 as bytes each: so many at most, some at a time.

    routes: those that they may have.
    """
    query = select(item.c.id, point.c.compressed).join(point, point.c.item_id == item.c.id)
    query = query.where(point.c.reference_id == project.reference_id, *_free(project, routes)).order_by(item.c.id.desc()).limit(most)
    for rows in connection.execute(query.execution_options(yield_per=AT_ONCE)).partitions():
        yield [row.id for row in rows], [row.compressed for row in rows]


def _free(project: Project, routes: Collection[Route]) -> tuple[ColumnElement[bool], ...]:
    others = (
        exists(select(spot_check.c.item_id).where(spot_check.c.item_id == item.c.id)),
        exists(select(proposal_member.c.item_id).where(proposal_member.c.item_id == item.c.id, proposal_member.c.active)),
    )
    return (
        item.c.project_id == project.id,
        item.c.answer == AnswerState.OPEN,
        ~item.c.dismissed,
        ~item.c.labelled,
        ~item.c.gone,
        item.c.route.in_(routes),
        item.c.external_id.is_not(None),
        *(~other for other in others),
        ~was_told(item.c.id),
    )


def attempts(connection: Connection, item_ids: Sequence[int]) -> int:
    """In how many groups, at most, any of these items was before, whose answers people had begun to give."""
    most = 0
    for ids in chunks(sorted(item_ids)):
        begun = _begun(proposal_member.c.item_id.in_(ids)).group_by(proposal_member.c.item_id)
        most = max(most, int(connection.execute(select(func.max(begun.subquery().c.n))).scalar_one() or 0))
    return most


def _begun(of_items: ColumnElement[bool]) -> Select[int]:
    """How many groups whose answers people had begun to give items were in."""
    begun = select(func.count().label("n")).select_from(proposal_member).join(proposal, proposal.c.id == proposal_member.c.proposal_id)
    return begun.where(of_items, proposal.c.asked > 0)


def add_proposal(
    connection: Connection,
    project: Project,
    drawn: Sequence[int],
    reason: str,
    by: str,
    *,
    group_error: float,
    confidence: float,
    parent_id: int | None = None,
) -> int:
    """Offer a group. drawn: its items in the order of the draw. Its id. Raises IntegrityError if one of them is in another group."""
    facts = {"reason": reason, "by": by, "group_error": group_error, "confidence": confidence, "parent_id": parent_id}
    values = {"project_id": project.id, "members": len(drawn), "state": ProposalState.OFFERED, "at": time.time(), **facts}
    id = int(connection.execute(proposal.insert().values(values).returning(proposal.c.id)).scalar_one())
    rows = [{"proposal_id": id, "item_id": item_id, "place": place, "active": True} for place, item_id in enumerate(drawn)]
    connection.execute(insert(connection, proposal_member), rows)
    return id


def proposals_page(connection: Connection, project: Project, *, after: int | None = None, limit: int) -> list[Proposal]:
    """A project's groups, the latest first; after: the id of the last one seen."""
    query = select(*_COLUMNS).where(proposal.c.project_id == project.id).order_by(proposal.c.id.desc()).limit(limit)
    return [_proposal(row) for row in connection.execute(query if after is None else query.where(proposal.c.id < after))]


def proposal_of(connection: Connection, project: Project, id: int) -> Proposal:
    """One of a project's groups. Raises UnknownError."""
    row = connection.execute(select(*_COLUMNS).where(proposal.c.project_id == project.id, proposal.c.id == id)).one_or_none()
    if row is None:
        raise UnknownError(
            f"project {project.external_id} has no group of look-alikes with the number {id}; its page Look-alikes lists them"
        )
    return _proposal(row)


def at_work(connection: Connection, project_id: int) -> list[Proposal]:
    """The groups with which the service goes on by itself, the earliest first."""
    query = select(*_COLUMNS).where(proposal.c.project_id == project_id, proposal.c.state.in_(AT_WORK)).order_by(proposal.c.id)
    return [_proposal(row) for row in connection.execute(query)]


def halves_of(connection: Connection, id: int) -> list[int]:
    """The groups that were made by splitting one."""
    return list(connection.execute(select(proposal.c.id).where(proposal.c.parent_id == id).order_by(proposal.c.id)).scalars())


def rest_of(connection: Connection, found: Proposal) -> Rest:
    """How many members of a group have no answer of a person."""
    open_, machine = item.c.answer == AnswerState.OPEN, (item.c.answer == AnswerState.RESOLVED) & item.c.machine
    of_it = (
        open_ & (proposal_member.c.place >= found.asked),
        proposal_member.c.at_once & (open_ | machine),
        proposal_member.c.at_once & machine,
    )
    query = select(*(func.count().filter(which) for which in of_it)).join(proposal_member, proposal_member.c.item_id == item.c.id)
    row = connection.execute(query.where(proposal_member.c.proposal_id == found.id, ~item.c.gone)).one()
    return Rest(row[0], row[1], row[2])


def members_of(connection: Connection, project: Project, id: int, *, first: int | None = None) -> list[Member]:
    """The members of a group in the order of the draw; those whose items were erased are left out. first: so many of the draw."""
    query = (
        select(
            proposal_member.c.item_id,
            proposal_member.c.place,
            item.c.external_id,
            item.c.labels,
            item.c.answer,
            item.c.gone,
            proposal_member.c.at_once,
            item.c.machine,
            verdict.c.judged,
        )
        .join(item, item.c.id == proposal_member.c.item_id)
        .outerjoin(verdict, (verdict.c.item_id == item.c.id) & (verdict.c.reference_id == project.reference_id))
        .where(proposal_member.c.proposal_id == id)
        .order_by(proposal_member.c.place)
    )
    found = []
    for row in connection.execute(query if first is None else query.where(proposal_member.c.place < first)):
        given = (texts(row.labels) or ()) if row.answer == AnswerState.RESOLVED and not row.machine else None
        of_it = (row.external_id or "", given, row.gone, row.at_once, row.answer == AnswerState.RESOLVED and row.machine, row.judged)
        found.append(Member(row.item_id, row.place, *of_it, row.answer == AnswerState.DISPUTED))
    return found


def move(connection: Connection, id: int, from_: ProposalState, to: ProposalState, **values: Any) -> bool:
    """Let a group go from one state to another, if it is still in the first: whether it was. values: of other columns."""
    mine = (proposal.c.id == id, proposal.c.state == from_)
    return connection.execute(update(proposal).where(*mine).values(state=to, **values)).rowcount > 0


def change(connection: Connection, id: int, **values: Any) -> None:
    """Write columns of a group."""
    connection.execute(update(proposal).where(proposal.c.id == id).values(values))


def let_go(connection: Connection, id: int) -> None:
    """The group goes on no more: its items may be in another one."""
    connection.execute(update(proposal_member).where(proposal_member.c.proposal_id == id).values(active=False))


def set_at_once(connection: Connection, id: int, item_ids: Sequence[int]) -> None:
    """These members get the group's label without an answer, and no others."""
    mine = proposal_member.c.proposal_id == id
    connection.execute(update(proposal_member).where(mine).values(at_once=False))
    for ids in chunks(item_ids):
        connection.execute(update(proposal_member).where(mine, proposal_member.c.item_id.in_(ids)).values(at_once=True))


def not_at_once(connection: Connection, id: int, item_ids: Sequence[int]) -> None:
    """These members did not get the group's label after all."""
    for ids in chunks(item_ids):
        mine = (proposal_member.c.proposal_id == id, proposal_member.c.item_id.in_(ids))
        connection.execute(update(proposal_member).where(*mine).values(at_once=False))


def seen_labels(connection: Connection, project: Project, item_ids: Sequence[int]) -> list[int]:
    """Those of these items of which the labeling tool shows, or is to show, what the model says."""
    found: set[int] = set()
    for ids in chunks(item_ids):
        query = select(delivery.c.item_id, delivery.c.labels)
        query = query.where(delivery.c.item_id.in_(ids), delivery.c.reference_id.in_(project.references))
        found.update(row.item_id for row in connection.execute(query) if row.labels is not None)
    return sorted(found)


def points_of(connection: Connection, project: Project, item_ids: Sequence[int]) -> dict[int, bytes]:
    """Where items lie, (n,) float16 as bytes each; those that have no place are left out."""
    found: dict[int, bytes] = {}
    for ids in chunks(item_ids):
        query = select(point.c.item_id, point.c.compressed).where(point.c.reference_id == project.reference_id, point.c.item_id.in_(ids))
        found |= {row.item_id: row.compressed for row in connection.execute(query)}
    return found


def group_of_item(connection: Connection, project: Project, item_id: int) -> tuple[Proposal, bool] | None:
    """The group of look-alikes that an item is in, as long as it goes on; and whether it labelled the item at once."""
    mine = (proposal_member.c.item_id == item_id, proposal_member.c.active)
    query = select(*_COLUMNS, proposal_member.c.at_once).join(proposal_member, proposal_member.c.proposal_id == proposal.c.id)
    row = connection.execute(query.where(*mine, proposal.c.project_id == project.id)).one_or_none()
    return None if row is None else (_proposal(row), bool(row.at_once))


def ids_of(connection: Connection, project_id: int) -> list[int]:
    """All groups of a project."""
    return list(connection.execute(select(proposal.c.id).where(proposal.c.project_id == project_id)).scalars())


def _proposal(row: Any) -> Proposal:
    values = {name: row._mapping[name] for name in Proposal.__dataclass_fields__}
    return Proposal(**values | {"state": ProposalState(row.state), "labels": texts(row.labels)})
