"""Reviews: what people (and accepted machine labels) answered, as the labeling tool holds it, and the answer that follows for an item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update

from annotriage.labeling_tool import Review
from annotriage.store.counters import chunks, recounted
from annotriage.store.database import AnyRow, insert
from annotriage.store.schema import item, review


@dataclass(frozen=True, slots=True)
class Known:
    """What the store has on a task that was read again: columns of its item, and its reviews by their ids in the tool."""

    id: int
    media_hash: str
    wanted: int
    labelled: bool
    answer: str
    labels: tuple[str, ...] | None
    machine: bool
    reviews: dict[str, Review]


@dataclass(frozen=True, slots=True)
class Answer:
    """What an item's reviews come to.

    state: open | resolved | disputed. labels: the answer of a resolved item. machine: nobody but the machine gave it.
    at: when the last review that counts was given, in seconds since 1970.
    """

    state: str
    labels: tuple[str, ...] | None = None
    machine: bool = False
    at: float | None = None


def known(connection: Connection, project_id: int, external_ids: Sequence[str]) -> dict[str, Known]:
    """What the store has on these tasks, by task id; those that have no item, or are gone, are left out."""
    found: dict[str, Known] = {}
    columns = (
        item.c.id,
        item.c.external_id,
        item.c.media_hash,
        item.c.wanted,
        item.c.labelled,
        item.c.answer,
        item.c.labels,
        item.c.machine,
    )
    for ids in chunks(external_ids):
        rows = connection.execute(select(*columns).where(item.c.project_id == project_id, item.c.external_id.in_(ids), ~item.c.gone)).all()
        reviews = reviews_of(connection, [row.id for row in rows])
        for row in rows:
            labels = None if row.labels is None else tuple(row.labels)
            flags = (row.media_hash, row.wanted, row.labelled, row.answer, labels, row.machine)
            found[row.external_id] = Known(row.id, *flags, {one.id: one for one in reviews.get(row.id, ())})
    return found


def reviews_of(connection: Connection, item_ids: Sequence[int]) -> dict[int, list[Review]]:
    """The reviews of items, the earliest first; items without any are left out."""
    found: dict[int, list[Review]] = {}
    for ids in chunks(item_ids):
        query = select(review).where(review.c.item_id.in_(ids)).order_by(review.c.updated_at, review.c.id)
        for row in connection.execute(query):
            found.setdefault(row.item_id, []).append(_review(row))
    return found


def keep_reviews(connection: Connection, project_id: int, reviews: Mapping[int, Sequence[Review]]) -> None:
    """Write reviews of items, those that are known already anew."""
    rows = [
        {
            "project_id": project_id,
            "item_id": item_id,
            "external_id": one.id,
            "annotator": one.annotator,
            "labels": None if one.labels is None else list(one.labels),
            "skipped": one.skipped,
            "empty": one.empty,
            "ground_truth": one.ground_truth,
            "machine": one.machine,
            "updated_at": one.updated_at,
        }
        for item_id, given in reviews.items()
        for one in given
    ]
    if rows:
        add = insert(connection, review)
        values = {name: add.excluded[name] for name in rows[0] if name not in ("project_id", "external_id")}
        connection.execute(add.on_conflict_do_update(index_elements=["project_id", "external_id"], set_=values), rows)


def drop_reviews(connection: Connection, project_id: int, external_ids: Sequence[str]) -> None:
    """Forget reviews that were deleted in the labeling tool."""
    for ids in chunks(external_ids):
        connection.execute(review.delete().where(review.c.project_id == project_id, review.c.external_id.in_(ids)))


def set_answers(connection: Connection, answers: Mapping[int, Answer], ordinary: Sequence[int] = ()) -> None:
    """Write the answers of items, and count them anew. ordinary: items that were labelled at first sight and are not any more."""
    ids = sorted({*answers, *ordinary})
    if not ids:
        return
    with recounted(connection, ids):
        for some in chunks(ordinary):
            connection.execute(update(item).where(item.c.id.in_(some)).values(labelled=False))
        rows = [
            {
                "of": id,
                "to_answer": one.state,
                "to_labels": None if one.labels is None else list(one.labels),
                "to_machine": one.machine,
                "to_at": one.at,
            }
            for id, one in answers.items()
        ]
        if rows:
            values: dict[str, Any] = {name: bindparam(f"to_{name}") for name in ("answer", "labels", "machine")} | {
                "answered_at": bindparam("to_at")
            }
            connection.execute(update(item).where(item.c.id == bindparam("of")).values(values), rows)


def people_since(connection: Connection, project_id: int, at: float) -> int:
    """How many people have answered in a project since a moment, in seconds since 1970."""
    given = (review.c.project_id == project_id, review.c.updated_at >= at, ~review.c.skipped, ~review.c.empty, ~review.c.machine)
    return int(connection.execute(select(func.count(func.distinct(review.c.annotator))).where(*given)).scalar_one())


def set_wanted(connection: Connection, wanted: Mapping[int, int]) -> None:
    """How many answers the labeling tool asks for, of items where that changed."""
    rows = [{"of": id, "to": number} for id, number in wanted.items()]
    if rows:
        connection.execute(update(item).where(item.c.id == bindparam("of")).values(wanted=bindparam("to")), rows)


def _review(row: AnyRow) -> Review:
    labels = None if row.labels is None else tuple(row.labels)
    return Review(row.external_id, row.annotator, labels, row.skipped, row.empty, row.ground_truth, row.machine, row.updated_at)
