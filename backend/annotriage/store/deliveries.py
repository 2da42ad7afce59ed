"""Deliveries: an outbox of predictions, each exactly once.

pending -> sending -> confirmed. An unknown outcome (a call that broke off, a process that died) is read back before anything
is sent again; `answered` (the labeling tool took the prediction from us itself) is read back, too. `stale`: another verdict has
replaced the one that was sent, which is withdrawn first. `refused`: the tool did not take it.

Whoever works on a delivery holds it as its `owner`: nobody else takes it. A state is changed only from the state that it was read in.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    Insert,
    Select,
    and_,
    bindparam,
    case,
    exists,
    func,
    null,
    or_,
    select,
    tuple_,
    update,
)

from annotriage.states import DeliveryState, Time
from annotriage.store.blindness import is_hidden, is_unnamed
from annotriage.store.counters import chunks
from annotriage.store.database import among, execute_columns, insert, insert_on, texts
from annotriage.store.projects import Project
from annotriage.store.schema import delivery, item, proposal_member, reference, spot_check, verdict
from annotriage.store.schema import project as project_table

ANSWERED_SECONDS = 10.0  # until a prediction that the tool took itself can be read back,
ANSWERED_EACH = 0.3  # and more for each further one of the same request: it stores them one after the other
FRESH_SECONDS = 3.0  # for which one such mark is as good as the next: what is answered within them is stored long before it is read back
AGREED_SECONDS = 5.0  # between two readings of an unknown outcome that must agree
UNFINISHED = (DeliveryState.PENDING, DeliveryState.SENDING, DeliveryState.UNKNOWN, DeliveryState.ANSWERED, DeliveryState.STALE)


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery that somebody has taken. task_id: "" while the item has no task. labels: None hides the model's answer."""

    item_id: int
    task_id: str
    marker: str
    reference_id: int
    version: str
    labels: tuple[str, ...] | None
    trust: float
    attempts: int


@dataclass(frozen=True, slots=True)
class Uncreated(Due):
    """A delivery of a pushed item, whose task is to be created with it. data: the other fields of the task."""

    media: str
    data: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many deliveries wait, and since when the oldest of them does."""

    count: int
    since: float


@dataclass(frozen=True, slots=True)
class Trouble:
    """A delivery that met an error."""

    external_id: str | None
    state: str
    error: str
    at: Time


@dataclass(frozen=True, slots=True)
class Delivery:
    """A prediction on its way. labels: what annotators see, null hides the model's answer. error: what the last attempt met."""

    version: str
    state: str
    labels: tuple[str, ...] | None
    trust: float
    attempts: int
    error: str | None
    at: Time


def enqueue(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Let predictions be delivered; one that was sent already, or is being sent, becomes stale.

    What may still arrive of an earlier call has the time to do so before it is withdrawn. rows: columns item_id, reference_id,
    project_id, labels, trust.
    """
    if rows:
        enqueue_columns(connection, {name: [row[name] for row in rows] for name in rows[0]})


def enqueue_columns(connection: Connection, columns: Mapping[str, Sequence[Any]]) -> None:
    """The same, with the values of each column at once: for many."""
    count = len(columns["item_id"])
    every = {"state": DeliveryState.PENDING.value, "attempts": 0, "not_before": 0.0, "at": time.time()}
    execute_columns(connection, _adding(connection.dialect.name), {**{name: [value] * count for name, value in every.items()}, **columns})
    _read_back_first(connection, columns)


@lru_cache(2)
def _adding(dialect: str) -> Insert:
    add, state = insert_on(dialect, delivery), delivery.c.state
    values = {name: add.excluded[name] for name in ("labels", "trust", "at")} | {
        "state": case((state == DeliveryState.PENDING, DeliveryState.PENDING), else_=DeliveryState.STALE),
        "attempts": 0,
        "not_before": case(
            (or_(state == DeliveryState.ANSWERED, state == DeliveryState.STALE), delivery.c.not_before),
            (state == DeliveryState.UNKNOWN, add.excluded.at + AGREED_SECONDS),
            else_=0.0,
        ),
        "error": None,
    }
    written: Insert = add.on_conflict_do_update(index_elements=["item_id", "reference_id"], set_=values)
    return written


def expect_former(connection: Connection, project: Project, item_ids: Sequence[int]) -> None:
    """Tasks that were held for deleted may show a prediction from before: the next one becomes stale, so that it is withdrawn first."""
    if project.watch or not item_ids:
        return
    every = {"project_id": project.id, "state": DeliveryState.UNKNOWN, "trust": 0.0, "not_before": math.inf, "at": time.time()}
    rows = [{"item_id": id, "reference_id": reference, **every} for id in item_ids for reference in project.references]
    connection.execute(insert(connection, delivery).on_conflict_do_nothing(index_elements=["item_id", "reference_id"]), rows)


def _read_back_first(connection: Connection, columns: Mapping[str, Sequence[Any]]) -> None:
    """Of tasks from before the store was restored nobody knows whether they have their prediction already."""
    if connection.execute(_RESTORED, {"these": list(set(columns["project_id"]))}).first() is None:
        return
    older = select(item.c.id).join(project_table, project_table.c.id == item.c.project_id)
    older = older.where(item.c.at < project_table.c.restored_at, item.c.external_id.is_not(None))
    for some in chunks(list(zip(columns["item_id"], columns["reference_id"], strict=True))):
        pending = (tuple_(delivery.c.item_id, delivery.c.reference_id).in_(some), delivery.c.state == DeliveryState.PENDING)
        may_be_there = delivery.c.item_id.in_(older.where(item.c.id.in_([id for id, _ in some])))
        connection.execute(update(delivery).where(*pending, may_be_there).values(state=DeliveryState.UNKNOWN))


_RESTORED = select(project_table.c.id).where(project_table.c.id.in_(among("these")), project_table.c.restored_at > 0).limit(1)


def waiting(connection: Connection, project_id: int) -> dict[str, Waiting]:
    """The deliveries of a project that are due and not finished yet, by their states."""
    given = {"of_project": project_id, "now": time.time()}
    return {state: Waiting(int(count), float(since)) for state, count, since in connection.execute(_WAITING, given)}


# Made once, as they are asked several times a second while items stream in: to make one takes longer than to execute it.
_OF_PROJECT = delivery.c.project_id == bindparam("of_project")
_IS_DUE = delivery.c.not_before <= bindparam("now", type_=Float)
_WAITING = (
    select(delivery.c.state, func.count(), func.min(delivery.c.at))
    .where(_OF_PROJECT, delivery.c.state.in_(UNFINISHED), _IS_DUE)
    .group_by(delivery.c.state)
)
_ANY_SENT = (
    select(delivery.c.item_id).where(_OF_PROJECT, delivery.c.state == DeliveryState.SENDING, delivery.c.owner == bindparam("by")).limit(1)
)
_ANY_UNCREATED = (
    select(delivery.c.item_id)
    .join(item, item.c.id == delivery.c.item_id)
    .where(_OF_PROJECT, delivery.c.state == DeliveryState.PENDING, _IS_DUE, delivery.c.reference_id == bindparam("of_reference"))
    .where(item.c.external_id.is_(None))
    .limit(1)
)


def due_items(connection: Connection, project_id: int, state: str, owner: str, most: int) -> tuple[int, list[int]]:
    """A reference, and items whose deliveries under it are due in a state, to tasks that are there; (0, []) if none is.

    To find them among many that wait takes longer than to take them, and needs no writing.
    """
    return _due_items(connection, _due_to_tasks(project_id, state, owner), most)


def take_due(connection: Connection, project_id: int, state: str, reference_id: int, item_ids: Sequence[int], owner: str) -> list[Due]:
    """Take those of these items' deliveries that are still due. Pending ones are `sending` from now on."""
    due = _due_to_tasks(project_id, state, owner)
    return _take(connection, due, reference_id, item_ids, owner, sending=state == DeliveryState.PENDING)


def take(connection: Connection, project_id: int, state: str, owner: str, most: int) -> list[Due]:
    """The same for what `due_items` finds."""
    return take_due(connection, project_id, state, *due_items(connection, project_id, state, owner, most), owner)


def take_unlinked(connection: Connection, project_id: int, owner: str, most: int) -> list[Due]:
    """Take deliveries, all of one reference, whose task may have been created or not."""
    due = (*_due(project_id, (DeliveryState.UNKNOWN, DeliveryState.STALE), owner), item.c.external_id.is_(None))
    return _take(connection, due, *_due_items(connection, due, most), owner)


def any_sent_by(connection: Connection, project_id: int, owner: str) -> bool:
    """Whether this owner is sending anything, as far as the store knows."""
    return connection.execute(_ANY_SENT, {"of_project": project_id, "by": owner}).first() is not None


def any_unlinked(connection: Connection, project_id: int) -> bool:
    """Whether `take_unlinked` may find something."""
    due = _due(project_id, (DeliveryState.UNKNOWN, DeliveryState.STALE), None)
    query = select(delivery.c.item_id).join(item, item.c.id == delivery.c.item_id).where(*due, item.c.external_id.is_(None))
    return connection.execute(query.limit(1)).first() is not None


def any_uncreated(connection: Connection, project: Project) -> bool:
    """Whether `take_uncreated` may find something."""
    given = {"of_project": project.id, "of_reference": project.reference_id, "now": time.time()}
    return connection.execute(_ANY_UNCREATED, given).first() is not None


def take_uncreated(connection: Connection, project: Project, owner: str, most: int, most_bytes: int) -> list[Uncreated]:
    """Take pushed items that are judged under the project's reference and have no task yet; they are `sending` from now on."""
    query = _uncreated(project, owner).add_columns(item.c.media, item.c.data).limit(most).with_for_update(skip_locked=True, of=delivery)
    taken: list[Uncreated] = []
    size = 0
    for row in connection.execute(query):
        size += len(row.media)
        if taken and size > most_bytes:
            break
        taken.append(Uncreated(*(*_values(row), row.media, row.data or {})))
    _hold(connection, taken, owner, sending=True)
    return taken


def move(
    connection: Connection,
    reference_id: int,
    item_ids: Iterable[int],
    from_: Collection[str],
    to: str,
    *,
    held_by: str | None = None,
    not_before: float = 0.0,
    error: str | None = None,
    attempts: int | None = None,
) -> set[int]:
    """Bring deliveries from one of these states into another, and let go of them: the items whose deliveries really moved.

    held_by: only those that this owner holds. error, attempts: None leaves them as they are; what is confirmed has no error.
    """
    values: dict[str, Any] = {"state": to, "owner": None, "not_before": not_before}
    if error is not None or to == DeliveryState.CONFIRMED:
        values["error"] = error
    if to == DeliveryState.CONFIRMED:
        values["at"] = time.time()
    if attempts is not None:
        values["attempts"] = attempts
    moved: set[int] = set()
    for ids in chunks(list(item_ids)):
        there = [delivery.c.reference_id == reference_id, delivery.c.item_id.in_(ids), delivery.c.state.in_(from_)]
        if held_by is not None:
            there.append(delivery.c.owner == held_by)
        moved.update(connection.execute(update(delivery).where(*there).values(values).returning(delivery.c.item_id)).scalars())
    return moved


def release(connection: Connection, owners: Sequence[str]) -> None:
    """These owners work on nothing any more: what they were sending has an unknown outcome, all else is free."""
    held = delivery.c.owner.in_(owners)
    sending = delivery.c.state == DeliveryState.SENDING
    connection.execute(update(delivery).where(held, sending).values(state=DeliveryState.UNKNOWN, owner=None, not_before=time.time()))
    stale = case((delivery.c.state == DeliveryState.STALE, time.time() + AGREED_SECONDS), else_=delivery.c.not_before)
    connection.execute(update(delivery).where(held).values(owner=None, not_before=stale))


def answered(connection: Connection, reference_id: int, item_ids: Sequence[int]) -> list[int]:
    """The labeling tool takes these predictions from us at this moment: the ids of those that it may take.

    Those that are being sent or read back, or whose outcome is unknown, are not among them.
    """
    taken: list[int] = []
    until = time.time() + ANSWERED_SECONDS + ANSWERED_EACH * len(item_ids)
    for ids in chunks(item_ids):
        mine = {"of_reference": reference_id, "these": ids}
        taken += connection.execute(_ANSWER, mine | {"until": until}).scalars()
        taken += connection.execute(_OVER, mine).scalars()
    return taken


# Made once, as people wait for them.
_MINE = (delivery.c.reference_id == bindparam("of_reference"), delivery.c.item_id.in_(among("these")))
_ANSWER = (
    update(delivery)
    .where(*_MINE, delivery.c.state.in_((DeliveryState.PENDING, DeliveryState.ANSWERED)), delivery.c.owner.is_(None))
    .values(state=DeliveryState.ANSWERED, not_before=bindparam("until"))
    .returning(delivery.c.item_id)
)
_OVER = select(delivery.c.item_id).where(*_MINE, delivery.c.state.in_((DeliveryState.CONFIRMED, DeliveryState.REFUSED)))


def any_confirmed(connection: Connection, project_id: int, reference_id: int) -> bool:
    """Whether any prediction under a reference is known to have arrived."""
    query = select(delivery.c.item_id).where(
        delivery.c.project_id == project_id, delivery.c.state == DeliveryState.CONFIRMED, delivery.c.reference_id == reference_id
    )
    return connection.execute(query.limit(1)).scalar_one_or_none() is not None


def last_times(connection: Connection, project: Project, count: int) -> list[tuple[float, float, float | None]]:
    """When the last tasks came, when they were judged, and when their prediction was seen in the labeling tool, None if it was not.

    Of those alone that came under the project's reference: a new one judges all the others again. What was there when the project was
    connected came then. Left out is what was judged again since, and what may have been sent again: what people sent to review or took
    out of it, what became a spot check later, and members of groups of look-alikes.
    """
    came = case((item.c.at < project_table.c.at, project_table.c.at), else_=item.c.at)
    drawn_later = exists().where(spot_check.c.item_id == item.c.id, spot_check.c.drawn_at > verdict.c.at)
    alike = exists().where(proposal_member.c.item_id == item.c.id)
    once = (item.c.rerouting_id.is_(None), item.c.sent_by.is_(None), ~item.c.dismissed, ~drawn_later, ~alike)
    of_it = delivery.c.item_id == item.c.id, delivery.c.reference_id == project.reference_id
    query = (
        select(came, verdict.c.at, delivery.c.at)
        .join(verdict, and_(verdict.c.item_id == item.c.id, verdict.c.reference_id == project.reference_id))
        .join(reference, reference.c.id == project.reference_id)
        .join(project_table, project_table.c.id == item.c.project_id)
        .outerjoin(delivery, and_(*of_it, delivery.c.state == DeliveryState.CONFIRMED))
        .where(item.c.project_id == project.id, item.c.at >= reference.c.at, *once)
        .where(or_(delivery.c.at.is_(None), delivery.c.at >= verdict.c.at))
        .order_by(item.c.id.desc())
        .limit(count)
    )
    return [(arrived, judged, seen) for arrived, judged, seen in connection.execute(query)]


def troubles(connection: Connection, project_id: int, limit: int = 20) -> list[Trouble]:
    """The latest deliveries that met an error."""
    query = (
        select(item.c.external_id, delivery.c.state, delivery.c.error, delivery.c.at)
        .join(item, item.c.id == delivery.c.item_id)
        .where(delivery.c.project_id == project_id, delivery.c.error.is_not(None))
        .order_by(delivery.c.at.desc())
        .limit(limit)
    )
    return [Trouble(*row) for row in connection.execute(query)]


def undelivered(connection: Connection, project_id: int, reference_id: int | None = None) -> dict[str, int]:
    """How many predictions are not confirmed yet, by the state of their delivery."""
    states = [state for state in DeliveryState if state is not DeliveryState.CONFIRMED]
    query = select(delivery.c.state, func.count()).where(delivery.c.project_id == project_id, delivery.c.state.in_(states))
    if reference_id is not None:
        query = query.where(delivery.c.reference_id == reference_id)
    return {state: int(count) for state, count in connection.execute(query.group_by(delivery.c.state))}


def deliveries_of_item(connection: Connection, item_id: int) -> list[Delivery]:
    """An item's deliveries. What an earlier reference said they tell neither of an open spot check nor of an outlier without an answer."""
    hidden = case((or_(is_hidden(delivery.c.item_id), is_unnamed(delivery.c.item_id)), null()), else_=delivery.c.labels)
    of_it = (hidden if name == "labels" else delivery.c[name] for name in list(Delivery.__dataclass_fields__)[1:])
    columns = (reference.c.prediction_version.label("version"), *of_it)
    query = select(*columns).join(reference, reference.c.id == delivery.c.reference_id).where(delivery.c.item_id == item_id)
    rows = connection.execute(query.order_by(delivery.c.reference_id))
    return [Delivery(version, state, texts(labels), *rest) for version, state, labels, *rest in rows]


def retry(connection: Connection, project: Project) -> int:
    """Let predictions that were refused be sent again, and those that wait after an error at once: how many."""
    now: dict[str, Any] = {"not_before": 0.0, "attempts": 0}
    mine = delivery.c.project_id == project.id
    refused = (mine, delivery.c.state == DeliveryState.REFUSED, delivery.c.reference_id.in_(project.references))
    again = connection.execute(update(delivery).where(*refused).values(state=DeliveryState.PENDING, error=None, **now)).rowcount
    late = (mine, delivery.c.state == DeliveryState.PENDING, delivery.c.error.is_not(None), delivery.c.not_before > 0)
    return int(again + connection.execute(update(delivery).where(*late).values(**now)).rowcount)


def _due(project_id: int, states: Sequence[str], owner: str | None) -> tuple[ColumnElement[bool], ...]:
    """What this owner may take: nobody else holds it. owner: None for what anybody holds."""
    due = (delivery.c.project_id == project_id, delivery.c.state.in_(states), delivery.c.not_before <= time.time())
    return due if owner is None else (*due, or_(delivery.c.owner.is_(None), delivery.c.owner == owner))


def _due_to_tasks(project_id: int, state: str, owner: str) -> tuple[ColumnElement[bool], ...]:
    return (*_due(project_id, (state,), owner), item.c.external_id.is_not(None))


def _due_items(connection: Connection, due: Sequence[ColumnElement[bool]], most: int) -> tuple[int, list[int]]:
    """A reference, and the items that are due under it; (0, []) if none is."""
    of_delivery = (delivery.c.reference_id, delivery.c.item_id)
    query = select(*of_delivery).join(item, item.c.id == delivery.c.item_id).where(*due).order_by(*of_delivery).limit(most)
    found = connection.execute(query).all()
    first = found[0].reference_id if found else 0
    return first, [row.item_id for row in found if row.reference_id == first]


def _take(
    connection: Connection,
    due: Sequence[ColumnElement[bool]],
    reference_id: int,
    item_ids: Sequence[int],
    owner: str,
    *,
    sending: bool = False,
) -> list[Due]:
    """Take those of these items' deliveries under a reference that are due."""
    taken: list[Due] = []
    for ids in chunks(item_ids):
        query = _rows().where(*due, delivery.c.reference_id == reference_id, delivery.c.item_id.in_(ids)).order_by(delivery.c.item_id)
        taken += [Due(*_values(row)) for row in connection.execute(query.with_for_update(skip_locked=True, of=delivery))]
    _hold(connection, taken, owner, sending=sending)
    return taken


def _hold(connection: Connection, taken: Sequence[Due], owner: str, *, sending: bool) -> None:
    values = {"owner": owner} | ({"state": DeliveryState.SENDING, "at": time.time()} if sending else {})
    for some in chunks(taken):
        mine = (delivery.c.reference_id == some[0].reference_id, delivery.c.item_id.in_([due.item_id for due in some]))
        connection.execute(update(delivery).where(*mine).values(values))


def _uncreated(project: Project, owner: str) -> Select[*tuple[Any, ...]]:
    due = (
        *_due(project.id, (DeliveryState.PENDING,), owner),
        delivery.c.reference_id == project.reference_id,
        item.c.external_id.is_(None),
    )
    return _rows().where(*due).order_by(delivery.c.item_id)


def _rows() -> Select[*tuple[Any, ...]]:
    """Deliveries with what sending them takes: the columns of `Due`."""
    return (
        select(
            delivery.c.item_id,
            func.coalesce(item.c.external_id, ""),
            func.coalesce(item.c.marker, ""),
            delivery.c.reference_id,
            reference.c.prediction_version.label("version"),
            delivery.c.labels,
            delivery.c.trust,
            delivery.c.attempts,
        )
        .join(item, item.c.id == delivery.c.item_id)
        .join(reference, reference.c.id == delivery.c.reference_id)
    )


def _values(row: Sequence[Any]) -> tuple[Any, ...]:
    """A row's values for the fields of `Due`."""
    return (*row[:5], texts(row[5]), *row[6:8])
