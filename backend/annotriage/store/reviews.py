"""Reviews: what people (and accepted machine labels) answered, as the labeling tool holds it, and the answer that follows for an item."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update

from annotriage.labeling_tool import Review
from annotriage.states import Time
from annotriage.store.counters import chunks, recounted
from annotriage.store.database import insert, read_once, texts
from annotriage.store.first_answers import keep_first_answers
from annotriage.store.projects import Project
from annotriage.store.schema import item, review

DAY = 86_400.0
COUNTED = 500  # of the latest answers, from which people's speed is taken
RECENT_DAYS = 14.0
SHORTEST, BREAK = 0.5, 600.0  # seconds between answers that tell how long one takes
MOST_PEOPLE = 50  # that are listed
FEW = 10  # such answers from which on they do
_KNOWN = ("external_id", "id", "media_hash", "changed_at", "wanted", "labelled", "answer", "labels", "machine")
_GIVEN = ("annotator", "labels", "skipped", "empty", "ground_truth", "machine", "updated_at")


@dataclass(frozen=True, slots=True)
class Known:
    """What the store has on a task that was read again: columns of its item, and its reviews by their ids in the tool."""

    id: int
    media_hash: str
    changed_at: float
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
    columns = [item.c[name] for name in _KNOWN]
    for ids in chunks(external_ids):
        rows = connection.execute(select(*columns).where(item.c.project_id == project_id, item.c.external_id.in_(ids), ~item.c.gone)).all()
        reviews = reviews_of(connection, [row.id for row in rows])
        for row in rows:
            given = {review.id: review for review in reviews.get(row.id, ())}
            flags = (row.wanted, row.labelled, row.answer, texts(row.labels), row.machine)
            found[row.external_id] = Known(row.id, row.media_hash, row.changed_at, *flags, given)
    return found


def reviews_of(connection: Connection, item_ids: Sequence[int]) -> dict[int, list[Review]]:
    """The reviews of items, the earliest first; items without any are left out."""
    found: dict[int, list[Review]] = {}
    for ids in chunks(item_ids):
        query = select(*(review.c[name] for name in ("item_id", "external_id", *_GIVEN))).where(review.c.item_id.in_(ids))
        for item_id, id, annotator, labels, *rest in connection.execute(query.order_by(review.c.updated_at, review.c.id)):
            found.setdefault(item_id, []).append(Review(id, annotator, texts(labels), *rest))
    return found


def keep_reviews(connection: Connection, project_id: int, reviews: Mapping[int, Sequence[Review]]) -> None:
    """Write reviews of items, those that are known already anew."""
    rows = [
        {"project_id": project_id, "item_id": item_id, "external_id": review.id} | {name: getattr(review, name) for name in _GIVEN}
        for item_id, given in reviews.items()
        for review in given
    ]
    if rows:
        add = insert(connection, review)
        values = {name: add.excluded[name] for name in rows[0] if name not in ("project_id", "external_id")}
        connection.execute(add.on_conflict_do_update(index_elements=["project_id", "external_id"], set_=values), rows)
        keep_first_answers(connection, list(reviews))


def drop_reviews(connection: Connection, project_id: int, external_ids: Sequence[str]) -> None:
    """Forget reviews that were deleted in the labeling tool."""
    for ids in chunks(external_ids):
        mine = (review.c.project_id == project_id, review.c.external_id.in_(ids))
        keep_first_answers(connection, connection.execute(review.delete().where(*mine).returning(review.c.item_id)).scalars().all())


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
                "to_answer": answer.state,
                "to_labels": None if answer.labels is None else list(answer.labels),
                "to_machine": answer.machine,
                "to_at": answer.at,
            }
            for id, answer in answers.items()
        ]
        if rows:
            values: dict[str, Any] = {name: bindparam(f"to_{name}") for name in ("answer", "labels", "machine")} | {
                "answered_at": bindparam("to_at")
            }
            connection.execute(update(item).where(item.c.id == bindparam("of")).values(values), rows)
    keep_first_answers(connection, ordinary)


@read_once
def people_since(connection: Connection, project_id: int, at: float) -> int:
    """How many people have answered in a project since a moment, in seconds since 1970."""
    given = (review.c.project_id == project_id, review.c.updated_at >= at, ~review.c.skipped, ~review.c.empty, ~review.c.machine)
    return int(connection.execute(select(func.count(func.distinct(review.c.annotator))).where(*given)).scalar_one())


def set_wanted(connection: Connection, wanted: Mapping[int, int]) -> None:
    """How many answers the labeling tool asks for, of items where that changed."""
    rows = [{"of": id, "to": number} for id, number in wanted.items()]
    if rows:
        connection.execute(update(item).where(item.c.id == bindparam("of")).values(wanted=bindparam("to")), rows)


def set_changed(connection: Connection, changed: Mapping[int, float]) -> None:
    """When the labeling tool changed the tasks of these items, by its clock: readings from before come too late."""
    rows = [{"of": id, "to": at} for id, at in changed.items()]
    if rows:
        connection.execute(update(item).where(item.c.id == bindparam("of")).values(changed_at=bindparam("to")), rows)


def empty_answers(connection: Connection, project: Project, limit: int) -> list[str]:
    """Tasks with an annotation that holds no answer, the latest first; some, if there are many."""
    query = (
        select(item.c.external_id)
        .join(review, review.c.item_id == item.c.id)
        .where(review.c.project_id == project.id, review.c.empty, ~item.c.gone)
        .order_by(review.c.id.desc())
        .limit(limit)
    )
    return list(dict.fromkeys(connection.execute(query).scalars()))


@read_once
def answers_per_day(connection: Connection, project: Project) -> float | None:
    """How many items people answer a day, by the latest few hundred answers of the last two weeks; 0 without any.

    None while the first of them is younger than a day: nobody knows the rate of a project that has just begun.
    """
    now = time.time()
    count, first = connection.execute(_ANSWERED, {"of_project": project.id, "since": now - RECENT_DAYS * DAY}).one()
    if not count:
        return 0.0
    return None if now - first < DAY and count < COUNTED else float(count) * DAY / max(now - first, 1.0)


_LATEST = (
    select(item.c.answered_at.label("at"))
    .where(item.c.project_id == bindparam("of_project"), ~item.c.machine, item.c.answered_at > bindparam("since"))
    .order_by(item.c.answered_at.desc())
    .limit(COUNTED)
    .subquery()
)
_ANSWERED = select(func.count(), func.min(_LATEST.c.at))


@dataclass(frozen=True, slots=True)
class AnswersOfPerson:
    """How many answers somebody gave lately. person: as the labeling tool calls them."""

    person: str
    answers: int
    last_at: Time


def answers_by_person(connection: Connection, project: Project) -> list[AnswersOfPerson]:
    """Who answered how much in the last two weeks, the busiest first."""
    given = (review.c.project_id == project.id, review.c.updated_at > time.time() - RECENT_DAYS * DAY, ~review.c.machine, ~review.c.skipped)
    query = select(review.c.annotator, func.count().label("n"), func.max(review.c.updated_at)).where(*given).group_by(review.c.annotator)
    return [AnswersOfPerson(*row) for row in connection.execute(query.order_by(func.count().desc(), review.c.annotator).limit(MOST_PEOPLE))]


@read_once
def seconds_per_answer(connection: Connection, project: Project) -> float | None:
    """How long a person takes for an answer: the median time between two answers of the same person, by the latest few hundred.

    Longer breaks and answers that a program gives at once are left out. None before there are a few.
    """
    before: dict[str, float] = {}
    gaps = []
    for annotator, at in connection.execute(_TIMES, {"of_project": project.id}).all():  # one by one takes three times as long
        gap = before.get(annotator, math.inf) - at
        if SHORTEST <= gap <= BREAK:
            gaps.append(gap)
        before[annotator] = at
    return median(gaps) if len(gaps) >= FEW else None


_TIMES = (
    select(review.c.annotator, review.c.updated_at)
    .where(review.c.project_id == bindparam("of_project"), ~review.c.machine, ~review.c.skipped)
    .order_by(review.c.updated_at.desc())
    .limit(COUNTED)
)
