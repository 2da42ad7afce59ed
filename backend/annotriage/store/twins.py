"""Twins: items of a project that repeat an earlier one, exactly or nearly, and the answers that they inherit.

Each points at the first of those that are alike, never at one that points elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, exists, func, or_, select, update

from annotriage.states import AnswerState, TwinKind, TwinState
from annotriage.store.blindness import is_hidden
from annotriage.store.counters import chunks
from annotriage.store.database import among, insert, stored, texts
from annotriage.store.locks import lock_items
from annotriage.store.projects import Project
from annotriage.store.schema import item, point, proposal_member, thumbnail, twin

MOST = 100_000  # of the latest items, with which new ones are compared
AT_ONCE = 10_000  # rows in memory
EMPTY = ("[]", "null")  # labels as they are stored, where somebody answered that none applies


@dataclass(frozen=True, slots=True)
class Placed:
    """Where an item lies, (n,) float16 as bytes. fingerprint: 8 bytes, b"" without a picture, None while it was not compared."""

    item_id: int
    compressed: bytes
    fingerprint: bytes | None


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """That an item repeats another one. task: the other's; labels: what people answered on that, null while they have not. inherited:
    the answer that the item got from it as a prediction, null for none: people may have answered otherwise since."""

    item_id: int
    task: str
    kind: TwinKind
    labels: tuple[str, ...] | None
    inherited: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Repeat:
    """An item of a project that repeats another one. task: its own; of: what it repeats."""

    task: str
    of: NearDuplicate


@dataclass(frozen=True, slots=True)
class Heir:
    """An item that is to inherit an answer. task: its own."""

    item_id: int
    task: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Claimed:
    """What is done with predictions of inherited answers now.

    given: items that nobody draws for a blind check from now on. taken: those of which what they inherited, or may have, is to be taken
    back, each with its task.
    """

    given: tuple[Heir, ...]
    taken: Mapping[int, str]


def uncompared(connection: Connection, project: Project, limit: int) -> list[tuple[Placed, bytes | None]]:
    """Items that were not compared with the others yet, the earliest first, each with its small picture."""
    query = (
        select(point.c.item_id, point.c.compressed, point.c.fingerprint, thumbnail.c.content)
        .join(item, item.c.id == point.c.item_id)
        .outerjoin(thumbnail, thumbnail.c.item_id == point.c.item_id)
        .where(point.c.reference_id == project.reference_id, point.c.fingerprint.is_(None), item.c.project_id == project.id)
        .order_by(point.c.item_id)
        .limit(limit)
    )
    return [(Placed(*row[:3]), row.content) for row in connection.execute(query)]


def compared(connection: Connection, project: Project) -> Iterator[Placed]:
    """Items that were compared already, the latest of them, the latest first."""
    query = (
        select(point.c.item_id, point.c.compressed, point.c.fingerprint)
        .join(item, item.c.id == point.c.item_id)
        .where(point.c.reference_id == project.reference_id, point.c.fingerprint.is_not(None))
        .where(item.c.project_id == project.id, ~item.c.gone)
        .order_by(point.c.item_id.desc())
        .limit(MOST)
    )
    return (Placed(*row) for row in connection.execute(query.execution_options(yield_per=AT_ONCE)))


def roots_of(connection: Connection, item_ids: Sequence[int]) -> dict[int, int]:
    """Of items that repeat another one: the first of those that are alike."""
    query = select(twin.c.item_id, twin.c.twin_id)
    return {row.item_id: row.twin_id for ids in chunks(item_ids) for row in connection.execute(query.where(twin.c.item_id.in_(ids)))}


def hold(connection: Connection, project: Project, item_ids: Collection[int]) -> set[int]:
    """Those of these items that are still there, which nobody erases until the transaction ends."""
    lock_items(connection, item_ids)
    query = select(item.c.id).where(item.c.project_id == project.id)
    return {id for ids in chunks(sorted(item_ids)) for id in connection.execute(query.where(item.c.id.in_(ids))).scalars()}


def keep_compared(
    connection: Connection, project: Project, fingerprints: Mapping[int, bytes], found: Mapping[int, tuple[int, TwinKind, float]]
) -> None:
    """These items were compared. found: those that repeat another one: which, how, and at which distance."""
    if fingerprints:
        mine = (point.c.item_id == bindparam("id"), point.c.reference_id == project.reference_id)
        rows_of = [{"id": item_id, "bits": bits} for item_id, bits in fingerprints.items()]
        connection.execute(update(point).where(*mine).values(fingerprint=bindparam("bits")), rows_of)
    for ids in chunks(list(fingerprints)):  # it may have shown something else before
        connection.execute(twin.delete().where(twin.c.item_id.in_(ids), twin.c.state == TwinState.FOUND))
    now = time.time()
    rows = [
        {"item_id": id, "twin_id": other, "project_id": project.id, "kind": kind, "distance": distance, "state": TwinState.FOUND, "at": now}
        for id, (other, kind, distance) in found.items()
    ]
    if rows:
        connection.execute(insert(connection, twin).on_conflict_do_nothing(index_elements=["item_id"]), rows)


def near_duplicates(connection: Connection, item_ids: Sequence[int]) -> dict[int, NearDuplicate]:
    """Those of these items that repeat another one, but for those that are answered blind, or whose other one is: what is said of the one
    would be said of both."""
    rows = (row for ids in chunks(item_ids) for row in connection.execute(_told_of_some(), {"these": ids}))
    return {row.item_id: _near_duplicate(row) for row in rows}


def latest_repeats(connection: Connection, project: Project, limit: int) -> list[Repeat]:
    """The latest items of a project that repeat another one, told of as by `near_duplicates`."""
    mine = item.alias("mine")
    query = _with_other().join(mine, mine.c.id == twin.c.item_id).where(twin.c.project_id == project.id, ~mine.c.gone, *_TOLD)
    query = query.add_columns(func.coalesce(mine.c.external_id, mine.c.marker).label("own")).order_by(twin.c.item_id.desc()).limit(limit)
    return [Repeat(row.own or "", _near_duplicate(row)) for row in connection.execute(query)]


def anything_to_do(connection: Connection, project: Project) -> bool:
    """Whether `claim` may find anything."""
    if project.options.inherit_answers and heirs(connection, project, 1):
        return True
    left = select(twin.c.item_id).where(twin.c.project_id == project.id, twin.c.state.in_((TwinState.SENDING, TwinState.STALE)))
    return connection.execute(left.limit(1)).one_or_none() is not None


def claim(connection: Connection, project: Project, limit: int) -> Claimed:
    """Take the next items that are to inherit, and those whose prediction is to go. Whoever draws one of them first keeps it: both lock
    it, and look again. What an earlier call took and did not end is taken again.
    """
    wanted = heirs(connection, project, limit) if project.options.inherit_answers else []
    mine = twin.c.project_id == project.id
    left = select(twin.c.item_id).where(mine, twin.c.state.in_((TwinState.SENDING, TwinState.STALE))).order_by(twin.c.item_id).limit(limit)
    ids = {heir.item_id for heir in wanted} | set(connection.execute(left).scalars())
    lock_items(connection, ids)
    again = [_heirs(project).where(twin.c.item_id.in_(some)) for some in chunks(sorted(ids))] if project.options.inherit_answers else []
    given = tuple(heir for query in again for heir in _read_heirs(connection, query))
    for heir in given:
        values = {"state": TwinState.SENDING, "labels": list(heir.labels)}
        connection.execute(update(twin).where(twin.c.item_id == heir.item_id).values(values))
    going = select(twin.c.item_id, item.c.external_id).join(item, item.c.id == twin.c.item_id)
    going = going.where(twin.c.state.in_((TwinState.SENDING, TwinState.STALE)), item.c.external_id.is_not(None))
    others = chunks(sorted(ids - {heir.item_id for heir in given}))
    return Claimed(given, {id: task for some in others for id, task in connection.execute(going.where(twin.c.item_id.in_(some)))})


def heirs(connection: Connection, project: Project, limit: int) -> list[Heir]:
    """Items without an answer that repeat one that people have answered, and have not inherited that yet.

    A member of a group of look-alikes may be answered blind any time: it inherits nothing. What is answered blind itself is inherited once
    that is settled.
    """
    return _read_heirs(connection, _heirs(project).limit(limit))


def _heirs(project: Project) -> Select[Any]:
    mine = item.alias("mine")
    query = _with_other().join(mine, mine.c.id == twin.c.item_id).add_columns(mine.c.external_id.label("own"))
    return query.where(
        twin.c.project_id == project.id,
        twin.c.state.in_((TwinState.FOUND, TwinState.SENDING)),
        item.c.answer == AnswerState.RESOLVED,
        stored(item.c.labels).not_in(EMPTY),  # "none of them" is not inherited
        ~item.c.machine,
        mine.c.answer == AnswerState.OPEN,
        mine.c.external_id.is_not(None),
        ~mine.c.labelled,
        ~mine.c.gone,
        *_TOLD,
        ~exists().where(proposal_member.c.item_id == twin.c.item_id, proposal_member.c.active),
    ).order_by(twin.c.item_id)


def _read_heirs(connection: Connection, query: Select[Any]) -> list[Heir]:
    return [Heir(row.item_id, row.own, texts(row.labels) or ()) for row in connection.execute(query)]


def set_inherited(connection: Connection, item_ids: Collection[int]) -> set[int]:
    """These items, which were claimed, have inherited their answers: those of which that still holds. The others' are to be taken back."""
    return _from(connection, item_ids, TwinState.SENDING, TwinState.INHERITED)


def set_undone(connection: Connection, item_ids: Collection[int]) -> None:
    """These items, which were claimed, inherit nothing after all: not now, and not later."""
    _from(connection, item_ids, TwinState.SENDING, TwinState.UNDONE)
    stale = [id for ids in chunks(sorted(item_ids)) for id in connection.execute(_STALE.where(twin.c.item_id.in_(ids))).scalars()]
    _compare_anew(connection, stale)


def undo_inherited(connection: Connection, project: Project) -> int:
    """No inherited answer holds any more, and none of them is given again: how many there were, those on their way among them."""
    mine = (twin.c.project_id == project.id, twin.c.state.in_((TwinState.SENDING, TwinState.INHERITED)))
    return int(connection.execute(update(twin).where(*mine).values(state=TwinState.UNDONE)).rowcount)


def shows_another(connection: Connection, item_id: int) -> None:
    """An item shows something else by now: it repeats what it did no more, nor do others repeat it, and what it inherited is to go."""
    inherited = (twin.c.item_id == item_id, twin.c.state.in_((TwinState.SENDING, TwinState.INHERITED)))
    connection.execute(update(twin).where(*inherited).values(state=TwinState.STALE))
    other = (twin.c.twin_id == item_id, twin.c.state == TwinState.FOUND)
    own = (twin.c.item_id == item_id, twin.c.state.in_((TwinState.FOUND, TwinState.UNDONE)))
    _compare_anew(connection, list(connection.execute(select(twin.c.item_id).where(or_(and_(*other), and_(*own)))).scalars()))


def repeats_of(connection: Connection, item_ids: Sequence[int]) -> set[int]:
    """The items that repeat any of these."""
    query = select(twin.c.item_id)
    return {id for ids in chunks(item_ids) for id in connection.execute(query.where(twin.c.twin_id.in_(ids))).scalars()}


def twin_counts(connection: Connection, project: Project) -> dict[str, int]:
    """How many items repeat another one, by what became of that."""
    query = select(twin.c.state, func.count()).where(twin.c.project_id == project.id).group_by(twin.c.state)
    return {state: int(n) for state, n in connection.execute(query)}


_STALE = select(twin.c.item_id).where(twin.c.state == TwinState.STALE)


def _from(connection: Connection, item_ids: Collection[int], before: TwinState, after: TwinState) -> set[int]:
    """Let what is still in the one state go to the other: the items of which it was."""
    change = update(twin).where(twin.c.state == before).values(state=after).returning(twin.c.item_id)
    return {id for ids in chunks(sorted(item_ids)) for id in connection.execute(change.where(twin.c.item_id.in_(ids))).scalars()}


def _compare_anew(connection: Connection, item_ids: Sequence[int]) -> None:
    for ids in chunks(item_ids):
        connection.execute(twin.delete().where(twin.c.item_id.in_(ids)))
        connection.execute(update(point).where(point.c.item_id.in_(ids)).values(fingerprint=None))


_TOLD = (~is_hidden(twin.c.item_id), ~is_hidden(twin.c.twin_id))


def _near_duplicate(row: Any) -> NearDuplicate:
    labels = None if row.labels is None else tuple(row.labels)
    given = labels if row.answer == AnswerState.RESOLVED and not row.machine else None
    inherited = texts(row.inherited) if row.state == TwinState.INHERITED else None
    return NearDuplicate(row.item_id, row.task or "", TwinKind(row.kind), given, inherited)


@cache
def _told_of_some() -> Select[Any]:
    return _with_other().where(*_TOLD, twin.c.item_id.in_(among("these")))


@cache
def _with_other() -> Select[Any]:
    """Twins, each with the item that it repeats, which is still there."""
    columns = (twin.c.item_id, twin.c.kind, twin.c.state, twin.c.labels.label("inherited"), item.c.labels, item.c.answer, item.c.machine)
    query = select(*columns, func.coalesce(item.c.external_id, item.c.marker).label("task"))
    return query.join(item, item.c.id == twin.c.twin_id).where(~item.c.gone)
