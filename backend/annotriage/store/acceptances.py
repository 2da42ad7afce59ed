"""Acceptances: batches of automatic labels that became annotations without a person, each of which can be undone as a whole.

A row of `accepted` is written before the labeling tool is asked, and stays: an item is accepted once, and never again after an undo.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection, bindparam, exists, func, select, update

from annotriage.errors import UnknownError
from annotriage.store.counters import chunks
from annotriage.store.database import AnyRow
from annotriage.store.projects import Project
from annotriage.store.schema import acceptance, accepted, delivery, item, review, spot_check, verdict


def acceptable(connection: Connection, project: Project, datasets: Collection[int], limit: int) -> list[AnyRow]:
    """Items whose automatic label may become an annotation: id, external_id, labels.

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
            delivery.c.state == "confirmed",
            *(~exists(select(column).where(column == item.c.id)) for column in others),
        )
        .order_by(item.c.id)
        .limit(limit)
    )
    return [row for row in connection.execute(query) if row.labels]


def begin_batch(connection: Connection, project: Project, item_ids: Sequence[int]) -> int:
    """Note that these items are going to be accepted: the batch's number."""
    values = {"project_id": project.id, "reference_id": project.reference_id, "at": time.time()}
    batch = int(connection.execute(acceptance.insert().values(values).returning(acceptance.c.id)).scalar_one())
    connection.execute(accepted.insert(), [{"item_id": id, "acceptance_id": batch} for id in item_ids])
    return batch


def end_batch(connection: Connection, reviews: Mapping[int, str]) -> None:
    """These items were accepted: item id -> review id."""
    rows = [{"of": id, "to": review_id} for id, review_id in reviews.items()]
    if rows:
        connection.execute(update(accepted).where(accepted.c.item_id == bindparam("of")).values(review=bindparam("to")), rows)


def not_accepted(connection: Connection, item_ids: Sequence[int]) -> None:
    """These items were not accepted after all: they may be another time. Batches that hold nothing any more go, too."""
    for ids in chunks(item_ids):
        connection.execute(accepted.delete().where(accepted.c.item_id.in_(ids), accepted.c.review.is_(None)))
    kept = exists(select(accepted.c.item_id).where(accepted.c.acceptance_id == acceptance.c.id))
    connection.execute(acceptance.delete().where(~kept))


def undecided(connection: Connection, project_id: int, before: float, limit: int) -> Sequence[AnyRow]:
    """Items asked for before that time of which it is not known whether they were accepted: item_id, external_id."""
    query = (
        select(accepted.c.item_id, item.c.external_id)
        .join(acceptance, acceptance.c.id == accepted.c.acceptance_id)
        .join(item, item.c.id == accepted.c.item_id)
        .where(acceptance.c.project_id == project_id, acceptance.c.at < before, acceptance.c.undone_at.is_(None))
        .where(accepted.c.review.is_(None))
    )
    return connection.execute(query.order_by(accepted.c.item_id).limit(limit)).all()


def batches(connection: Connection, project_id: int, limit: int = 100) -> Sequence[AnyRow]:
    """The batches of a project, the latest first: id, at, undone_at, items."""
    items = select(func.count()).where(accepted.c.acceptance_id == acceptance.c.id).scalar_subquery()
    query = select(acceptance.c.id, acceptance.c.at, acceptance.c.undone_at, items.label("items"))
    return connection.execute(query.where(acceptance.c.project_id == project_id).order_by(acceptance.c.id.desc()).limit(limit)).all()


def items_of_batch(connection: Connection, project: Project, batch: int) -> dict[str, int]:
    """The items of a batch: item ids by task id. Raises UnknownError if the project has no such batch."""
    mine = (acceptance.c.project_id == project.id, acceptance.c.id == batch)
    if connection.execute(select(acceptance.c.id).where(*mine)).scalar_one_or_none() is None:
        known = [str(row.id) for row in batches(connection, project.id, 5)]
        raise UnknownError(
            f"project {project.external_id} has no batch {batch} of accepted labels; the latest are {', '.join(known) or 'none'}"
        )
    query = select(item.c.external_id, item.c.id).join(accepted, accepted.c.item_id == item.c.id).where(accepted.c.acceptance_id == batch)
    return {row.external_id: row.id for row in connection.execute(query.where(~item.c.gone))}


def mark_undone(connection: Connection, batch: int) -> None:
    """The batch was taken back; its items are never accepted again."""
    connection.execute(update(acceptance).where(acceptance.c.id == batch).values(undone_at=time.time()))
