"""Spot checks: random items that people answer blind, drawn with the verdict (`store.verdicts`) and counted by the alarm."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, case, exists, func, or_, select, update

from annotriage.states import SETTLED, UNSETTLED, AnswerState, Route, SpotCheckKind, SpotCheckState, Time
from annotriage.store.blindness import has_answer, shown_verdict
from annotriage.store.counters import chunks, recounted
from annotriage.store.database import among, texts
from annotriage.store.gold import is_copy, is_source
from annotriage.store.items import AnsweredItem
from annotriage.store.places import put_in_place
from annotriage.store.projects import Project
from annotriage.store.schema import DISAGREED, dataset, delivery, item, review, spot_check, verdict

WEEK = 7 * 86_400.0
COUNTED = 2_000


@dataclass(frozen=True, slots=True)
class SpotCheck:
    """A spot check. labels: the model's; given: people's, once it is settled. again: the item had been judged under another reference
    before it was drawn, so that people may have seen that one's label. decided_by: who settled it in the place of a second answer."""

    item_id: int
    kind: str
    route: str
    state: str
    drawn_at: float
    answered_at: float | None
    given: tuple[str, ...] | None
    labels: tuple[str, ...]
    again: bool
    decided_by: str | None


@dataclass(frozen=True, slots=True)
class SpotCheckLine:
    """A task that people answer blind.

    kind: sample (drawn of all) or audit (of automatic ones); route: the true one; labels: the model's. All three are null until people have
    answered; answered: people's; state: open, disagreed (a second answer is wanted), right or wrong.
    """

    item_id: int
    task: str | None
    kind: str | None
    route: str | None
    state: str
    labels: tuple[str, ...] | None
    answered: tuple[str, ...] | None
    drawn_at: Time
    answered_at: Time | None


@dataclass(frozen=True, slots=True)
class SpotCheckCount:
    """How many spot checks of a kind are in a state, and when the last of them was answered."""

    kind: str
    state: str
    n: int
    answered_at: Time | None


@dataclass(frozen=True, slots=True)
class Move:
    """A spot check goes from one state to the next, or stays in it with other labels. labels, at: what people say, and since when."""

    item_id: int
    from_: str
    to: str
    labels: tuple[str, ...] | None
    at: float | None


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """A spot check on which a second answer is wanted. wanted: how many the labeling tool asks for; people: how many have answered."""

    item_id: int
    external_id: str
    wanted: int
    people: int


@dataclass(frozen=True, slots=True)
class Contradicted:
    """A spot check on which one person contradicted the model. labels: the model's."""

    item_id: int
    external_id: str | None
    marker: str | None
    labels: tuple[str, ...]


def spot_checks_of(connection: Connection, item_ids: Sequence[int], *, lock: bool = False) -> list[SpotCheck]:
    """The spot checks among these items. lock: until the transaction ends nobody else moves them; for those who mean to."""
    other = verdict.alias()
    earlier = (
        other.c.item_id == spot_check.c.item_id,
        other.c.reference_id != spot_check.c.reference_id,
        other.c.at < spot_check.c.drawn_at,
    )
    columns = [spot_check.c[name] for name in ("item_id", "kind", "route", "state", "drawn_at", "answered_at")]
    query = select(
        *columns,
        spot_check.c.labels.label("given"),
        verdict.c.labels,
        exists(select(other.c.item_id).where(*earlier)).label("again"),
        spot_check.c.decided_by,
    ).join(verdict, (verdict.c.item_id == spot_check.c.item_id) & (verdict.c.reference_id == spot_check.c.reference_id))
    query = query.order_by(spot_check.c.item_id)
    if lock:
        query = query.with_for_update(of=spot_check)
    rows = [row for ids in chunks(sorted(item_ids)) for row in connection.execute(query.where(spot_check.c.item_id.in_(ids)))]
    return [SpotCheck(*row[:6], texts(row.given), tuple(row.labels), bool(row.again), row.decided_by) for row in rows]


def spot_checks_page(connection: Connection, project: Project, *, state: str | None, after: int | None, limit: int) -> list[SpotCheckLine]:
    """The spot checks of a project with their tasks, the latest items first; after: the last one's item id.

    Gold tasks are in this list as little as in any other. Where the project hides them, open ones are left out.
    """
    settled = spot_check.c.state.in_(SETTLED)
    of_it = [*(case((settled, spot_check.c[name])) for name in ("kind", "route")), spot_check.c.state]
    query = (
        select(item.c.id, item.c.external_id, *of_it, verdict.c.labels, item.c.labels, spot_check.c.drawn_at, spot_check.c.answered_at)
        .select_from(item)
        .join(spot_check, spot_check.c.item_id == item.c.id)
        .outerjoin(verdict, shown_verdict(spot_check.c.reference_id))
        .where(spot_check.c.project_id == project.id, ~item.c.gone)
        .order_by(spot_check.c.item_id.desc())
        .limit(limit)
    )
    if state is not None:
        query = query.where(spot_check.c.state == state)
    if project.hides_checks:
        query = query.where(spot_check.c.state.not_in(UNSETTLED))
    rows = connection.execute(query if after is None else query.where(spot_check.c.item_id < after))
    return [
        SpotCheckLine(*(*own, texts(labels), texts(answered), drawn_at, answered_at))
        for *own, labels, answered, drawn_at, answered_at in rows
    ]


def spot_check_counts(connection: Connection, project: Project) -> list[SpotCheckCount]:
    """How many spot checks there are of each kind and state; both are few. Where the project hides them, those on which a second answer is
    wanted are open like the others: their kind tells the route."""
    state: ColumnElement[Any] = spot_check.c.state
    answered_at: ColumnElement[Any] = spot_check.c.answered_at
    if project.hides_checks:
        settled = state.in_(SETTLED)
        state, answered_at = case((settled, state), else_=SpotCheckState.OPEN.value), case((settled, answered_at))
    rows = select(spot_check.c.kind, state.label("state"), answered_at.label("at")).where(spot_check.c.project_id == project.id).subquery()
    query = select(rows.c.kind, rows.c.state, func.count(), func.max(rows.c.at))
    keys = (rows.c.kind, rows.c.state)
    return [SpotCheckCount(*row) for row in connection.execute(query.group_by(*keys).order_by(*keys))]


def move(connection: Connection, moves: Sequence[Move]) -> list[int]:
    """Move spot checks that are still in the states from which they are to go: the items of those that were."""
    moved = []
    with recounted(connection, [step.item_id for step in moves]):
        for step in moves:
            seen = (spot_check.c.item_id == step.item_id, spot_check.c.state == step.from_)
            labels = None if step.labels is None else list(step.labels)
            if connection.execute(update(spot_check).where(*seen).values(state=step.to, labels=labels, answered_at=step.at)).rowcount:
                moved.append(step.item_id)
        put_in_place(connection, moved)
    return moved


def unsettled(connection: Connection, item_ids: Sequence[int]) -> frozenset[int]:
    """Which of these items are spot checks that wait for people's answers."""
    return frozenset(id for ids in chunks(item_ids) for id in connection.execute(_UNSETTLED, {"these": ids}).scalars())


def drawn_for_none(connection: Connection, item_ids: Sequence[int]) -> frozenset[int]:
    """Which of these items may become no spot check, as another answer than a person's own stands on their tasks, or did, or is to."""
    return frozenset(id for ids in chunks(item_ids) for id in connection.execute(_FOR_NONE, {"these": ids}).scalars())


# Made once, as every claim of the worker asks: to make them takes longer than to answer them.
_UNSETTLED = select(spot_check.c.item_id).where(spot_check.c.state.in_(UNSETTLED), spot_check.c.item_id.in_(among("these")))
_FOR_NONE = select(item.c.id).where(
    has_answer(item.c.id), ~exists().where(spot_check.c.item_id == item.c.id), item.c.id.in_(among("these"))
)


def waiting(connection: Connection, project_id: int) -> list[int]:
    """The items of a project's spot checks that wait for people's answers."""
    mine = (spot_check.c.project_id == project_id, spot_check.c.state.in_(UNSETTLED))
    return list(connection.execute(select(spot_check.c.item_id).where(*mine)).scalars())


def answered_meanwhile(connection: Connection, project_id: int) -> list[int]:
    """Items of open spot checks that people have answered: before they were drawn, as it happens between import and verdict."""
    given = exists(
        select(review.c.id).where(review.c.item_id == spot_check.c.item_id, ~review.c.skipped, ~review.c.empty, ~review.c.machine)
    )
    query = select(spot_check.c.item_id).where(spot_check.c.project_id == project_id, spot_check.c.state == SpotCheckState.OPEN, given)
    return list(connection.execute(query).scalars())


def forget_spot_checks(connection: Connection, item_ids: Sequence[int]) -> None:
    """These items are no spot checks any more."""
    with recounted(connection, item_ids):
        for ids in chunks(item_ids):
            connection.execute(spot_check.delete().where(spot_check.c.item_id.in_(ids)))


def unconfirmed(connection: Connection, project_id: int) -> list[Unconfirmed]:
    """Spot checks on which a second answer is wanted."""
    people = select(func.count(func.distinct(review.c.annotator))).where(
        review.c.item_id == spot_check.c.item_id, ~review.c.skipped, ~review.c.empty, ~review.c.machine
    )
    query = (
        select(spot_check.c.item_id, item.c.external_id, item.c.wanted, people.scalar_subquery().label("people"))
        .join(item, item.c.id == spot_check.c.item_id)
        .where(
            spot_check.c.project_id == project_id,
            spot_check.c.state == SpotCheckState.DISAGREED,
            ~item.c.gone,
            item.c.external_id.is_not(None),
        )
        .order_by(spot_check.c.item_id)
    )
    return [Unconfirmed(*row) for row in connection.execute(query)]


def asked_again(connection: Connection, item_id: int, wanted: int) -> None:
    """The labeling tool wants so many answers on this item now."""
    connection.execute(update(item).where(item.c.id == item_id).values(wanted=wanted))


def automatic_answers(connection: Connection, project_id: int, reference_id: int) -> list[SpotCheckState]:
    """What people's answers on each spot check of an automatic label come to, in the order in which they were given; never OPEN."""
    query = (
        select(spot_check.c.state)
        .where(_automatic(project_id, reference_id), spot_check.c.state != SpotCheckState.OPEN)
        .order_by(spot_check.c.answered_at, spot_check.c.item_id)
    )
    states = {str(state): state for state in SpotCheckState}  # there may be tens of thousands
    return [states[state] for state in connection.execute(query).scalars().all()]


def automatic_counts(connection: Connection, project_id: int, reference_id: int) -> dict[SpotCheckState, int]:
    """How many spot checks of automatic labels are in each state; those in which there is none are left out."""
    query = select(spot_check.c.state, func.count()).where(_automatic(project_id, reference_id)).group_by(spot_check.c.state)
    return {SpotCheckState(state): int(n) for state, n in connection.execute(query)}


def settled_sureness(connection: Connection, project_id: int, reference_id: int) -> list[tuple[float, bool]]:
    """How sure each automatic label is whose spot check people settled, and whether it was wrong."""
    query = (
        select(verdict.c.sureness, spot_check.c.state)
        .join(verdict, (verdict.c.item_id == spot_check.c.item_id) & (verdict.c.reference_id == spot_check.c.reference_id))
        .where(_automatic(project_id, reference_id), spot_check.c.state.in_(SETTLED), verdict.c.sureness.is_not(None))
        .order_by(spot_check.c.item_id)
    )
    return [(float(row.sureness), row.state == SpotCheckState.WRONG) for row in connection.execute(query)]


def contradicted(connection: Connection, project_id: int, before: float) -> list[Contradicted]:
    """Spot checks on which one person contradicted the model before that moment, and nobody else has answered; the earliest first."""
    rows = connection.execute(_CONTRADICTED, {"of_project": project_id, "before": before})
    return [Contradicted(*row[:3], tuple(row.labels)) for row in rows]


_CONTRADICTED = (
    select(spot_check.c.item_id, item.c.external_id, item.c.marker, verdict.c.labels)
    .join(item, item.c.id == spot_check.c.item_id)
    .join(verdict, (verdict.c.item_id == spot_check.c.item_id) & (verdict.c.reference_id == spot_check.c.reference_id))
    .where(
        spot_check.c.project_id == bindparam("of_project"),
        DISAGREED,
        spot_check.c.answered_at < bindparam("before"),
        ~item.c.gone,
    )
    .order_by(spot_check.c.answered_at, spot_check.c.item_id)
)


def decide(connection: Connection, item_id: int, state: SpotCheckState, labels: Sequence[str], by: str) -> None:
    """Somebody decides a spot check in the place of a second answer, if it still waits for one."""
    waiting = (spot_check.c.item_id == item_id, spot_check.c.state == SpotCheckState.DISAGREED)
    values = {"state": state, "labels": list(labels), "answered_at": time.time(), "decided_by": by}
    with recounted(connection, [item_id]):
        if connection.execute(update(spot_check).where(*waiting).values(values)).rowcount:
            put_in_place(connection, [item_id])


def outstanding(connection: Connection, project_id: int, reference_id: int) -> tuple[int, float | None]:
    """How many spot checks of automatic labels are not settled, and when the oldest of them was drawn."""
    waiting = _there(connection, project_id, _automatic(project_id, reference_id), spot_check.c.state.in_(UNSETTLED))
    first = select(spot_check.c.drawn_at).join(item, item.c.id == spot_check.c.item_id).order_by(spot_check.c.drawn_at).limit(1)
    first = first.where(_automatic(project_id, reference_id), ~item.c.gone)
    drawn = [connection.execute(first.where(spot_check.c.state == state)).scalar_one_or_none() for state in UNSETTLED]
    return waiting, min((at for at in drawn if at is not None), default=None)


def open_since(connection: Connection, project_id: int, reference_id: int, before: float) -> int:
    """How many spot checks of automatic labels were drawn before that moment and have no answer, not even one that contradicts."""
    late = (spot_check.c.state == SpotCheckState.OPEN, spot_check.c.drawn_at < before)
    return _there(connection, project_id, _automatic(project_id, reference_id), *late)


def drawn_by_dataset(connection: Connection, project_id: int, reference_id: int) -> dict[int, list[tuple[str, float]]]:
    """(state, drawn_at) of the spot checks of automatic labels, per dataset, in the order in which they were drawn."""
    query = (
        select(spot_check.c.dataset_id, spot_check.c.state, spot_check.c.drawn_at)
        .join(item, item.c.id == spot_check.c.item_id)
        .where(_automatic(project_id, reference_id), spot_check.c.dataset_id.is_not(None), ~item.c.gone | spot_check.c.state.in_(SETTLED))
        .order_by(spot_check.c.drawn_at, spot_check.c.item_id)
    )
    found: dict[int, list[tuple[str, float]]] = {}
    for row in connection.execute(query):
        found.setdefault(row.dataset_id, []).append((row.state, row.drawn_at))
    return found


def datasets_of(connection: Connection, project_id: int) -> list[int]:
    """All datasets of a project."""
    return list(connection.execute(select(dataset.c.id).where(dataset.c.project_id == project_id)).scalars())


def automatic_per_week(connection: Connection, project_id: int, reference_id: int) -> int:
    """How many items a reference labelled by itself in the last seven days; counted among the last 2,000, which is enough to know."""
    given = {"of_project": project_id, "of_reference": reference_id, "since": time.time() - WEEK}
    return int(connection.execute(_AUTOMATIC, given).scalar_one())


_LAST = (
    select(verdict.c.judged)
    .where(verdict.c.project_id == bindparam("of_project"), verdict.c.reference_id == bindparam("of_reference"))
    .where(verdict.c.at > bindparam("since"))
    .order_by(verdict.c.at.desc())
    .limit(COUNTED)
    .subquery()
)
_AUTOMATIC = select(func.count()).select_from(_LAST).where(_LAST.c.judged == Route.AUTO)


def sample_size(connection: Connection, project_id: int) -> tuple[int, int]:
    """How many spot checks of the sample are answered, one per group, and how many were drawn."""
    group = func.coalesce(func.nullif(item.c.group, ""), item.c.media_hash)
    query = select(func.count(func.distinct(group))).join(spot_check, spot_check.c.item_id == item.c.id).where(*_sample(project_id))
    drawn = (
        select(func.count()).select_from(spot_check).where(spot_check.c.project_id == project_id, spot_check.c.kind == SpotCheckKind.SAMPLE)
    )
    answered = connection.execute(query.where(spot_check.c.state.in_(SETTLED))).scalar_one()
    return int(answered), int(connection.execute(drawn).scalar_one())


def sample_answers(connection: Connection, project_id: int) -> list[AnsweredItem]:
    """The answered spot checks of the sample."""
    columns = [item.c[name] for name in ("id", "external_id", "marker", "media", "media_hash", "group")]
    query = select(*columns, spot_check.c.labels).join(spot_check, spot_check.c.item_id == item.c.id)
    rows = connection.execute(query.where(*_sample(project_id), spot_check.c.state.in_(SETTLED)).order_by(item.c.id))
    return [AnsweredItem(*row[:6], tuple(row.labels or ())) for row in rows]


def other_answers(connection: Connection, project_id: int) -> list[AnsweredItem]:
    """Items that people answered, that nobody drew at random and whose answer is not kept as known: what may be trained on."""
    columns = [item.c[name] for name in ("id", "external_id", "marker", "media", "media_hash", "group")]
    drawn = select(spot_check.c.item_id).where(spot_check.c.project_id == project_id)
    query = select(*columns, item.c.labels).where(item.c.project_id == project_id, item.c.id.not_in(drawn), ~is_source(item.c.id))
    query = query.where(item.c.answer == AnswerState.RESOLVED)
    rows = connection.execute(query.where(~item.c.machine, ~item.c.gone, item.c.labels.is_not(None)).order_by(item.c.id))
    return [AnsweredItem(*row[:6], tuple(row.labels or ())) for row in rows]


def unanswered_items(connection: Connection, project_id: int) -> list[AnsweredItem]:
    """Tasks that wait for a person and that nobody drew at random, without labels."""
    columns = [item.c[name] for name in ("id", "external_id", "marker", "media", "media_hash", "group")]
    drawn = select(spot_check.c.item_id).where(spot_check.c.project_id == project_id)
    query = select(*columns).where(item.c.project_id == project_id, item.c.answer == AnswerState.OPEN, item.c.id.not_in(drawn))
    rows = connection.execute(query.where(~item.c.gone, ~item.c.labelled, item.c.external_id.is_not(None)).order_by(item.c.id))
    return [AnsweredItem(**row._mapping, given=()) for row in rows]


def labels_of_tasks(connection: Connection, project_id: int, external_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """What people answered on these tasks, by task; those without an answer, and machine labels, are not in it."""
    query = select(item.c.external_id, item.c.labels).where(item.c.project_id == project_id, item.c.answer == AnswerState.RESOLVED)
    found: dict[str, tuple[str, ...]] = {}
    for some in chunks(external_ids):
        for row in connection.execute(query.where(~item.c.machine, item.c.external_id.in_(some))):
            found[str(row.external_id)] = tuple(row.labels or ())
    return found


def learnable(connection: Connection, project_id: int, most: int) -> int:
    """How many items `other_answers` would give, counted up to `most`."""
    drawn = exists().where(spot_check.c.item_id == item.c.id)
    mine = (item.c.project_id == project_id, item.c.answer == AnswerState.RESOLVED, ~drawn, ~is_source(item.c.id))
    some = select(item.c.id).where(*mine, ~item.c.machine, ~item.c.gone, item.c.labels.is_not(None))
    # along the index of people's answers: in the queue's, all spot checks may come first
    some = some.order_by(item.c.answered_at.desc()).limit(most)
    return int(connection.execute(select(func.count()).select_from(some.subquery())).scalar_one())


def all_drawn(connection: Connection, project_id: int) -> list[AnsweredItem]:
    """All spot checks, of both kinds, answered or not, and known answers, without their labels: what must never be trained on."""
    columns = [item.c[name] for name in ("id", "external_id", "marker", "media", "media_hash", "group")]
    drawn = or_(exists().where(spot_check.c.item_id == item.c.id), is_source(item.c.id), is_copy(item.c.id))
    rows = connection.execute(select(*columns).where(item.c.project_id == project_id, drawn, ~item.c.gone).order_by(item.c.id))
    return [AnsweredItem(**row._mapping, given=()) for row in rows]


def answered_under(connection: Connection, project_id: int, reference_id: int) -> list[int]:
    """The items of a reference's spot checks that people have settled."""
    mine = (spot_check.c.project_id == project_id, spot_check.c.reference_id == reference_id, spot_check.c.state.in_(SETTLED))
    return list(connection.execute(select(spot_check.c.item_id).where(*mine)).scalars())


def take_over(connection: Connection, project_id: int, reference_id: int, held: Collection[int]) -> list[int]:
    """Let what is still to be answered test the reference that takes over now; their items.

    A spot check on which annotators see the new reference's label is blind no more: it is given up.

    held: items that were locked before the project was changed. What was drawn since then stays with the former reference: to wait for
    its item now may be to wait for somebody who waits for the project.
    """
    query = (
        select(spot_check.c.item_id, verdict.c.judged, delivery.c.labels)
        .join(verdict, verdict.c.item_id == spot_check.c.item_id)
        .outerjoin(delivery, (delivery.c.item_id == spot_check.c.item_id) & (delivery.c.reference_id == reference_id))
        .where(
            spot_check.c.project_id == project_id,
            spot_check.c.reference_id != reference_id,
            spot_check.c.state.in_(UNSETTLED),
            verdict.c.reference_id == reference_id,
        )
        .order_by(spot_check.c.item_id)
        .with_for_update(of=spot_check)
    )
    rows = [row for ids in chunks(sorted(held)) for row in connection.execute(query.where(spot_check.c.item_id.in_(ids)))]
    forget_spot_checks(connection, [row.item_id for row in rows if row.labels is not None])
    kept = [{"of": row.item_id, "to": row.judged} for row in rows if row.labels is None]
    if kept:
        values = {"reference_id": reference_id, "route": bindparam("to"), "state": SpotCheckState.OPEN}
        waits = (spot_check.c.item_id == bindparam("of"), or_(*(spot_check.c.state == state for state in UNSETTLED)))
        connection.execute(update(spot_check).where(*waits).values(values), kept)
    return [row["of"] for row in kept]


def keep_answered(connection: Connection, project_id: int, former_id: int, reference_id: int, held: Collection[int]) -> int:
    """Let the answered spot checks of a former reference count for the one that takes over, where that says the same: how many.

    For a reference that differs in its limits alone: people compared the very label that it gives, by its own route.
    held: as of `take_over`.
    """
    former = verdict.alias()
    query = (
        select(spot_check.c.item_id, verdict.c.judged)
        .join(verdict, (verdict.c.item_id == spot_check.c.item_id) & (verdict.c.reference_id == reference_id))
        .join(former, (former.c.item_id == spot_check.c.item_id) & (former.c.reference_id == former_id))
        .where(spot_check.c.project_id == project_id, spot_check.c.reference_id == former_id, spot_check.c.state.in_(SETTLED))
        .where(former.c.label == verdict.c.label)
        .order_by(spot_check.c.item_id)
        .with_for_update(of=spot_check)
    )
    found = (row for ids in chunks(sorted(held)) for row in connection.execute(query.where(spot_check.c.item_id.in_(ids))))
    kept = [{"of": row.item_id, "to": row.judged} for row in found]
    if kept:
        values = {"reference_id": reference_id, "route": bindparam("to")}
        connection.execute(update(spot_check).where(spot_check.c.item_id == bindparam("of")).values(values), kept)
    return len(kept)


def automatic_drawn(connection: Connection, project_id: int, reference_id: int) -> int:
    """How many spot checks of automatic labels were drawn, of the sample and of the audit."""
    return _there(connection, project_id, _automatic(project_id, reference_id))


def _there(connection: Connection, project_id: int, *which: ColumnElement[bool]) -> int:
    """How many of these spot checks have an item that is there: counted along an index, without those, which are few, that are gone."""
    drawn = select(func.count()).select_from(spot_check).where(*which)
    gone = drawn.join(item, item.c.id == spot_check.c.item_id).where(item.c.project_id == project_id, item.c.gone)
    return int(connection.execute(drawn).scalar_one()) - int(connection.execute(gone).scalar_one())


def _automatic(project_id: int, reference_id: int) -> ColumnElement[bool]:
    """Spot checks of labels that this reference would give by itself, of the sample and of the audit."""
    of_it: ColumnElement[bool] = (spot_check.c.project_id == project_id) & (spot_check.c.reference_id == reference_id)
    return of_it & (spot_check.c.route == Route.AUTO)


def _sample(project_id: int) -> tuple[ColumnElement[bool], ...]:
    return (spot_check.c.project_id == project_id, spot_check.c.kind == SpotCheckKind.SAMPLE, ~item.c.gone)
