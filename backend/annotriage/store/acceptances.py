"""Acceptances: batches of automatic labels that became annotations without a person, each of which can be undone as a whole.

A row of `accepted` is written before the labeling tool is asked, and stays: an item is accepted once, and never again after an undo.
asked -> made -> undoing -> undone; what was asked for and not made goes. While it is asked for, an annotation may appear at any moment,
also after the batch was taken back: it is looked for later.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, bindparam, exists, func, or_, select, update

from annotriage.errors import UnknownError
from annotriage.states import DeliveryState, Time
from annotriage.store.counters import chunks
from annotriage.store.database import insert
from annotriage.store.projects import Project
from annotriage.store.schema import acceptance, accepted, delivery, item, review, spot_check, verdict

OPEN = ("asked", "undoing")  # states in which nobody knows whether an annotation stands


@dataclass(frozen=True, slots=True)
class Acceptable:
    """An item whose automatic label may become an annotation."""

    id: int
    external_id: str


@dataclass(frozen=True, slots=True)
class Undecided:
    """An item of a batch of which it is not known whether an annotation stands. undone: the batch was taken back: none may stand."""

    item_id: int
    external_id: str
    batch: int
    undone: bool


@dataclass(frozen=True, slots=True)
class Batch:
    """Automatic labels that became annotations at once, and how many. undone_at: when they were taken back; null if they were not."""

    id: int
    at: Time
    undone_at: Time | None
    items: int


def acceptable(connection: Connection, project: Project, datasets: Collection[int], limit: int) -> list[Acceptable]:
    """Items whose automatic label may become an annotation.

    Open ones of these datasets that want one answer and have none, not even a skip; with a confirmed prediction; never spot checks.
    """
    judged = (verdict.c.item_id == item.c.id) & (verdict.c.reference_id == project.reference_id)
    delivered = (delivery.c.item_id == item.c.id) & (delivery.c.reference_id == project.reference_id)
    others = (table.c.item_id for table in (spot_check, accepted, review))
    query = (
        select(item.c.id, item.c.external_id, verdict.c.labels)
        .join(verdict, judged)
        .join(delivery, delivered)
        .where(
            item.c.project_id == project.id,
            item.c.answer == "open",
            item.c.route == "auto",
            ~item.c.dismissed,
            item.c.wanted == 1,
            ~item.c.labelled,
            ~item.c.gone,
            item.c.external_id.is_not(None),
            item.c.shown_dataset_id.in_(sorted(datasets)),
            verdict.c.route == "auto",
            delivery.c.state == DeliveryState.CONFIRMED,
            *(~exists(select(column).where(column == item.c.id)) for column in others),
        )
        .order_by(item.c.id)
        .limit(limit)
    )
    return [Acceptable(row.id, row.external_id) for row in connection.execute(query) if row.labels]


def begin_batch(connection: Connection, project: Project, item_ids: Sequence[int], batch: int | None = None) -> tuple[int, set[int]]:
    """Ask for these items: the batch's number, and those that are asked for now. What was asked for before, by anybody, is in no other
    batch. batch: that they are added to, asked for from now on; None makes one."""
    now = time.time()
    if batch is None:
        values = {"project_id": project.id, "reference_id": project.reference_id, "at": now}
        batch = int(connection.execute(acceptance.insert().values(values).returning(acceptance.c.id)).scalar_one())
    else:
        connection.execute(update(acceptance).where(acceptance.c.id == batch).values(at=now))
    add = insert(connection, accepted).on_conflict_do_nothing(index_elements=["item_id"]).returning(accepted.c.item_id)
    rows = [{"item_id": id, "acceptance_id": batch, "state": "asked"} for id in item_ids]
    taken = set(connection.execute(add, rows).scalars()) if rows else set()
    if not taken:
        _drop_empty(connection, [batch])
    return batch, taken


def end_batch(connection: Connection, reviews: Mapping[int, str]) -> None:
    """These items were accepted: item id -> review id. Where their batch was taken back meanwhile, the annotation is still looked for."""
    rows = [{"of": id, "to": review_id} for id, review_id in reviews.items()]
    if rows:
        asked = (accepted.c.item_id == bindparam("of"), accepted.c.state == "asked", _present())
        connection.execute(update(accepted).where(*asked).values(state="made", review=bindparam("to")), rows)


def not_accepted(connection: Connection, item_ids: Iterable[int]) -> None:
    """These items were not accepted after all: they may be another time. Batches that hold nothing any more go, too."""
    batches: set[int] = set()
    for ids in chunks(list(item_ids)):
        asked = (accepted.c.item_id.in_(ids), accepted.c.state == "asked", _present())
        batches.update(connection.execute(accepted.delete().where(*asked).returning(accepted.c.acceptance_id)).scalars())
    _drop_empty(connection, sorted(batches))


def is_undecided(connection: Connection, batch: int) -> bool:
    """Whether it is not known of every item of a batch what became of it."""
    asked = select(accepted.c.item_id).where(accepted.c.acceptance_id == batch, accepted.c.state.in_(OPEN))
    return connection.execute(asked.limit(1)).one_or_none() is not None


def undecided(connection: Connection, project_id: int, before: float, limit: int) -> list[Undecided]:
    """Items asked for, or to be taken back, since before that time, and nobody has seen what became of them."""
    query = (
        select(accepted.c.item_id, item.c.external_id, accepted.c.acceptance_id, acceptance.c.undone_at.is_not(None))
        .join(acceptance, acceptance.c.id == accepted.c.acceptance_id)
        .join(item, item.c.id == accepted.c.item_id)
        .where(accepted.c.state.in_(OPEN), acceptance.c.project_id == project_id)
        .where(or_(and_(acceptance.c.undone_at.is_(None), acceptance.c.at < before), acceptance.c.undone_at < before))
    )
    return [Undecided(*row) for row in connection.execute(query.order_by(accepted.c.item_id).limit(limit))]


def batches(connection: Connection, project_id: int, limit: int = 100) -> list[Batch]:
    """The batches of a project, the latest first."""
    items = select(func.count()).where(accepted.c.acceptance_id == acceptance.c.id).scalar_subquery()
    query = select(acceptance.c.id, acceptance.c.at, acceptance.c.undone_at, items).where(acceptance.c.project_id == project_id)
    return [Batch(*row) for row in connection.execute(query.order_by(acceptance.c.id.desc()).limit(limit))]


def begin_undo(connection: Connection, project: Project, batch: int) -> dict[str, int]:
    """The batch is taken back from now on; its items are never accepted again. Those on which an annotation may stand: item by task id.

    Raises UnknownError if the project has no such batch.
    """
    mine = (acceptance.c.project_id == project.id, acceptance.c.id == batch)
    undone_at = func.coalesce(acceptance.c.undone_at, time.time())
    if not connection.execute(update(acceptance).where(*mine).values(undone_at=undone_at)).rowcount:
        known = [str(row.id) for row in batches(connection, project.id, 5)]
        raise UnknownError(
            f"project {project.external_id} has no batch {batch} of accepted labels; the latest are {', '.join(known) or 'none'}"
        )
    of_it = accepted.c.acceptance_id == batch
    connection.execute(update(accepted).where(of_it, accepted.c.state == "made").values(state="undoing"))
    query = select(item.c.external_id, item.c.id).join(accepted, accepted.c.item_id == item.c.id).where(of_it, accepted.c.state.in_(OPEN))
    return {row.external_id: row.id for row in connection.execute(query.order_by(item.c.id))}


def end_undo(connection: Connection, item_ids: Iterable[int], *, asked: bool = False) -> None:
    """No accepted annotation stands on these items any more. asked: nor can one appear that was asked for."""
    for ids in chunks(list(item_ids)):
        mine = (accepted.c.item_id.in_(ids), accepted.c.state.in_(OPEN if asked else ("undoing",)), ~_present())
        connection.execute(update(accepted).where(*mine).values(state="undone"))


def _present() -> ColumnElement[bool]:
    """Whether the batch was not taken back."""
    return exists(select(acceptance.c.id).where(acceptance.c.id == accepted.c.acceptance_id, acceptance.c.undone_at.is_(None)))


def _drop_empty(connection: Connection, batches: Sequence[int]) -> None:
    kept = exists(select(accepted.c.item_id).where(accepted.c.acceptance_id == acceptance.c.id))
    connection.execute(acceptance.delete().where(acceptance.c.id.in_(batches), ~kept))
