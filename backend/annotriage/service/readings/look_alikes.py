"""Groups of look-alikes as people and programs read them: what people are asked, what their answers allow, what was labelled at once."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from annotriage.advice.look_alike_words import proposal_sentence
from annotriage.service.guarantee.proposals import answers_of
from annotriage.states import ProposalState
from annotriage.store import proposals
from annotriage.store.browsing import Face
from annotriage.store.projects import Project
from annotriage.store.proposals import Proposal

FACES = 12
DEEDS = {  # what a person may do in a state
    ProposalState.OFFERED: ("ask", "close"),
    ProposalState.ASKING: ("split", "close"),
    ProposalState.SHOWN: ("label", "close"),
    ProposalState.MIXED: ("split", "close"),
    ProposalState.LABELLED: ("undo",),
}


@dataclass(frozen=True, slots=True)
class FixedLook:
    """After `answers` answers the rest may be labelled if at most `disagreements` of them are another label."""

    answers: int
    disagreements: int


@dataclass(frozen=True, slots=True)
class ProposalNow:
    """A group of look-alikes as it stands.

    sentence: that, in words. label: what most people said; answers: on the first members of the draw, disagreements: of them. waiting:
    members that people are asked about and have not answered. rest: members that get the label, or got it, without an answer, if nobody is
    asked about more than now or, before anybody is asked, than at the first look;
    annotations: of them that became annotations. looks: when it is looked. can: what a person may do with it. halves: the groups that
    it was split into.
    """

    proposal: Proposal
    sentence: str
    label: str | None
    answers: int
    disagreements: int
    waiting: int
    rest: int
    annotations: int
    looks: tuple[FixedLook, ...]
    can: tuple[str, ...]
    halves: tuple[int, ...]
    faces: tuple[Face, ...]


def proposal_now(connection: Connection, project: Project, found: Proposal) -> ProposalNow:
    """How a group stands."""
    from annotriage.guarantee.look_alikes import looks  # heavy: loaded with the first of these pages

    members = proposals.members_of(connection, project, found.id, first=max(found.asked, FACES))
    others = proposals.rest_of(connection, found)
    so_far = answers_of(found, members)
    given = found.labels if found.labels is not None else so_far.labels
    label = None if given is None else " + ".join(given) or "none of the classes"
    planned = looks(found.members, found.group_error, found.confidence)
    done = found.state in (ProposalState.LABELLING, ProposalState.LABELLED)
    if done:
        rest = others.at_once
    elif found.state == ProposalState.OFFERED:
        rest = found.members - planned[0].size
    else:
        rest = others.unasked + sum(member.place < found.asked for member in so_far.rest)
        rest -= len(so_far.asked) if found.state == ProposalState.ASKING else 0
    shown = (so_far.standing, planned[0], len(so_far.asked), rest, found.group_error, found.confidence)
    can = DEEDS.get(found.state, ())
    if found.state == ProposalState.ASKING and not so_far.standing.disagreements:
        can = tuple(deed for deed in can if deed != "split")
    return ProposalNow(
        found,
        proposal_sentence(found.state, label, *shown),
        label,
        so_far.standing.answers,
        so_far.standing.disagreements,
        len(so_far.asked),
        rest,
        others.annotations if done else 0,
        tuple(FixedLook(look.size, look.allowed) for look in planned),
        can,
        tuple(proposals.halves_of(connection, found.id)),
        tuple(Face(member.task, None if member.gone else member.item_id) for member in members[:FACES]),
    )


def proposals_now(connection: Connection, project: Project, *, after: int | None = None, limit: int) -> tuple[ProposalNow, ...]:
    """A project's groups, the latest first; after: the id of the last one seen."""
    found = proposals.proposals_page(connection, project, after=after, limit=limit)
    return tuple(proposal_now(connection, project, one) for one in found)
