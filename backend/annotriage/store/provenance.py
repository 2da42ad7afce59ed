"""Where each label comes from: who or what gave it, and what was guaranteed at that time.

What held when is known from the project's history: which reference was in force. Blindness holds here, too: of an open spot check there is
nothing that the model says, not even its way for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, and_, case, func, literal, null, select

from annotriage.labeling_tool import Review
from annotriage.states import SETTLED, SPOT_CHECK, UNSETTLED, AnswerState, EventKind, Route, Time
from annotriage.store.blindness import is_blind, is_unnamed, shown_verdict
from annotriage.store.database import texts
from annotriage.store.gold import is_copy
from annotriage.store.projects import Project
from annotriage.store.reviews import reviews_of
from annotriage.store.schema import acceptance, accepted, event, item, proposal, proposal_member, reference, spot_check, verdict

PERSON, MACHINE, MODEL, LOOK_ALIKE, NOBODY = "person", "machine", "model", "look-alike", "nobody"


@dataclass(frozen=True, slots=True)
class Label:
    """An item with its label, and where that comes from.

    task: its id in the labeling tool, pushed: the id that it was pushed with; either may be null. label: what holds now, null if nothing
    does. source: `person`, `machine` (a model's label that became an annotation), `model` (its suggestion, which nobody has confirmed),
    `look-alike` (a group's label that it got without an answer of its own: `look_alikes` is the group's number) or `nobody`. by: who
    gave it, by the ids of their accounts in the labeling tool. at: when. answer: open, resolved, disputed or labelled (before triage saw
    it); answers: how many were given. route: the model's way for it, "spot check" while that is open; held_back: why that did not hold.
    model_label, confidence: what the model says, null while that is hidden; model: the hash of its files; reference, reference_version:
    what judged it, by name and hash, in force when the label was given. guaranteed: whether the label is the model's, and its error was
    limited: to max_error, with that probability, in the long run. spot_check: sample (drawn of all items) or audit (of automatic ones),
    null for none, and while it is open; check_state: open, disagreed, right or wrong. decided_by: who settled it in the
    place of a second answer.
    """

    task: str | None
    pushed: str | None
    label: tuple[str, ...] | None
    source: str
    by: tuple[str, ...]
    at: Time | None
    answer: str
    answers: int
    route: str | None
    held_back: str | None
    model_label: tuple[str, ...] | None
    confidence: float | None
    model: str | None
    reference: str | None
    reference_version: str | None
    guaranteed: bool
    max_error: float | None
    guarantee_confidence: float | None
    spot_check: str | None
    check_state: str | None
    decided_by: str | None
    judged_at: Time | None
    batch: int | None
    look_alikes: int | None


@dataclass(frozen=True, slots=True)
class LabelPage:
    """Labels in the order in which their items came. next: the last item's row, None after the last page."""

    labels: tuple[Label, ...]
    next: int | None


def labels_page(connection: Connection, project: Project, *, after: int | None = None, limit: int) -> LabelPage:
    """A project's labels, items without one included, those deleted in the labeling tool and gold tasks left out.

    after: `next` of the page before.
    """
    rows = connection.execute(_query(connection, project, after).limit(limit)).all()
    reviews = reviews_of(connection, [row.id for row in rows])
    facts = _facts(connection, {row.reference_id for row in rows if row.reference_id is not None})
    labels = tuple(_label(row, reviews.get(row.id, ()), facts.get(row.reference_id)) for row in rows)
    return LabelPage(labels, rows[-1].id if len(rows) == limit else None)


def _query(connection: Connection, project: Project, after: int | None) -> Select[Any]:
    undone = acceptance.c.undone_at.is_not(None)
    at_once = and_(proposal_member.c.item_id == item.c.id, proposal_member.c.active, proposal_member.c.at_once)
    blind = and_(spot_check.c.state.in_(UNSETTLED), verdict.c.judged.is_(None))
    in_force = case((and_(item.c.machine, ~undone), acceptance.c.reference_id), else_=_in_force(connection, project))
    query = (
        select(
            item.c.id,
            item.c.external_id.label("task"),
            item.c.marker.label("pushed"),
            item.c.answer,
            item.c.labelled,
            item.c.labels,
            item.c.machine,
            item.c.answered_at,
            verdict.c.reference_id,
            case((blind, SPOT_CHECK), else_=func.coalesce(verdict.c.route, item.c.route)).label("route"),
            verdict.c.judged,
            verdict.c.held_back,
            case((is_unnamed(item.c.id), null()), else_=verdict.c.labels).label("model_label"),
            case((is_unnamed(item.c.id), null()), else_=verdict.c.confidence).label("confidence"),
            verdict.c.at.label("judged_at"),
            case((spot_check.c.state.not_in(UNSETTLED), spot_check.c.kind)).label("kind"),
            spot_check.c.state,
            spot_check.c.decided_by,
            case((undone, None), else_=accepted.c.acceptance_id).label("batch"),
            proposal.c.id.label("look_alikes"),
            proposal.c.labels.label("group_labels"),
            proposal.c.labelled_at,
        )
        .select_from(item)
        .outerjoin(proposal_member, at_once)
        .outerjoin(proposal, proposal.c.id == proposal_member.c.proposal_id)
        .outerjoin(accepted, accepted.c.item_id == item.c.id)
        .outerjoin(acceptance, acceptance.c.id == accepted.c.acceptance_id)
        .outerjoin(spot_check, spot_check.c.item_id == item.c.id)
        .outerjoin(verdict, shown_verdict(in_force))
        .where(item.c.project_id == project.id, ~item.c.gone, ~is_copy(item.c.id))
        .order_by(item.c.id)
    )
    query = query.where(~is_blind(item.c.id)) if project.hides_checks else query
    return query if after is None else query.where(item.c.id > after)


def _in_force(connection: Connection, project: Project) -> Any:
    """The reference that was in force when an item was answered; for others the current one."""
    kinds = (EventKind.CONNECTED, EventKind.SWITCHED)
    mine = (event.c.project_id == project.id, event.c.kind.in_(kinds))
    told = connection.execute(select(event.c.kind, event.c.facts, event.c.at).where(*mine).order_by(event.c.id)).all()
    # The first `connect` began with its reference; one that came later told of a reference that was still to take over.
    begun = [row for number, row in enumerate(told) if number == 0 or row.kind == EventKind.SWITCHED]
    ids = {row.prediction_version: row.id for row in connection.execute(select(reference.c.prediction_version, reference.c.id))}
    since = [(row.at, ids[row.facts["version"]]) for row in reversed(begun) if row.facts.get("version") in ids]
    judged = select(verdict.c.item_id).where(verdict.c.item_id == item.c.id)
    whens = [
        (and_(item.c.answered_at >= at, judged.where(verdict.c.reference_id == id).correlate(item).exists()), literal(id))
        for at, id in since
    ]
    return case(*whens, else_=literal(project.reference_id)) if whens else literal(project.reference_id)


def _facts(connection: Connection, ids: set[int]) -> dict[int, Any]:
    """Name, version, model and guarantee of references."""
    facts = reference.c.facts
    guarantee = (facts["guarantee"][name] for name in ("max_error", "confidence", "auto", "own_limits"))
    query = select(reference.c.id, reference.c.name, reference.c.version, facts["model"]["hash"].label("model"), *guarantee)
    return {row[0]: row[1:] for row in connection.execute(query.where(reference.c.id.in_(ids)))}


def _label(row: Any, reviews: Sequence[Review], facts: Sequence[Any] | None) -> Label:
    name, version, model, max_error, confidence, automatic, own_limits = facts or (None,) * 7
    for limited in own_limits or ():
        called = texts(row.model_label) or ()
        if {limited["name"], *(part.strip() for part in limited["name"].split("|"))} & set(called):
            max_error = limited["max_error"]
    given = [review for review in reviews if review.labels is not None and not review.skipped and not review.empty]
    resolved = row.answer == AnswerState.RESOLVED or row.labelled
    said = texts(row.labels) if resolved else None
    agreeing = tuple(dict.fromkeys(review.annotator for review in given if said is not None and set(review.labels or ()) == set(said)))
    suggested = texts(row.model_label) if row.route in (Route.AUTO, Route.UNCERTAIN) else None
    source, label, at = NOBODY, said, row.answered_at
    if resolved:
        source = MACHINE if row.machine else PERSON
    elif suggested and row.answer == AnswerState.OPEN and row.route == Route.AUTO:
        source, label, at = MODEL, suggested, row.judged_at
    look_alikes = row.look_alikes if source != PERSON and row.answer != AnswerState.DISPUTED else None
    if look_alikes is not None:
        source, label, at = LOOK_ALIKE, texts(row.group_labels), row.labelled_at
    is_models = source in (MACHINE, MODEL)
    return Label(
        task=row.task,
        pushed=row.pushed,
        label=label,
        source=source,
        by=agreeing,
        at=at,
        answer="labelled" if row.labelled else row.answer,
        answers=len(given),
        route=row.route,
        held_back=row.held_back,
        model_label=texts(row.model_label),
        confidence=row.confidence,
        model=model,
        reference=name,
        reference_version=version,
        guaranteed=bool(is_models and automatic and row.route == Route.AUTO),
        max_error=max_error,
        guarantee_confidence=confidence,
        spot_check=row.kind,
        check_state=row.state,
        decided_by=row.decided_by if row.state in SETTLED else None,
        judged_at=row.judged_at,
        batch=row.batch if row.machine else None,
        look_alikes=look_alikes,
    )
