"""Items as people and other programs look at them. Lists are paged by key, which is the id of the last item seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import ColumnElement, Connection, Select, TextClause, and_, case, false, func, or_, select, union_all

from annotriage.advice.verdict_words import blind_outlier_sentence, reason_sentence
from annotriage.errors import UnknownError
from annotriage.states import FOR_PEOPLE, SPOT_CHECK, UNANSWERED, UNSETTLED, AnswerState, Failure, GoldState, Route, SpotCheckState, Time
from annotriage.store.blindness import is_asked, is_blind, is_hidden, keeps_class, shown_verdict
from annotriage.store.counters import chunks
from annotriage.store.database import among, columns_of, texts
from annotriage.store.gold import is_copy, is_open_copy
from annotriage.store.projects import Project
from annotriage.store.schema import IS_ANSWERED, IS_LABELLED, gold, item, item_dataset, project_of_marked, spot_check, thumbnail, verdict
from annotriage.store.schema import project as project_table

ADDRESS = 500  # characters of what an item shows, in which the host of its address stands
LABELLED = "labelled"  # in the place of an answer: before triage saw it
LOOKED_THROUGH = 2_000  # of the latest items, among which the strangest are looked for


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict on an item under the project's reference, which nobody sees while the item is an open spot check.

    judged: the model's own route, whatever people said since. labels: what the model says, none for a failed item; trust: the true one.
    labels, cluster, confidence and sureness of an outlier are hidden until it is answered: none and null.
    class_score, source_score: how rare it is on each axis, 3: stranger than 95% of the held-out items. members: score of each member.
    reason: of the route that holds, in a sentence; held_back: a states.HeldBack, where that is another one than the model's.
    failure: what kept it from being judged.
    """

    judged: str
    labels: tuple[str, ...]
    confidence: float | None
    cluster: str | None
    score: float | None
    class_score: float | None
    source_score: float | None
    members: Mapping[str, float | None]
    p_value: float | None
    outlier_score: float | None
    sureness: float | None
    trust: float
    reason: str
    failure: Failure | None
    held_back: str | None
    seconds: float
    at: Time


@dataclass(frozen=True, slots=True)
class BlindCheck:
    """The spot check that an item is. kind: sample (drawn of all) or audit (of automatic ones, which says what the model thinks: null until
    it is settled). state: open, disagreed, right or wrong."""

    kind: str | None
    state: str
    drawn_at: Time
    answered_at: Time | None


@dataclass(frozen=True, slots=True)
class Item:
    """An item. task: its id in the labeling tool, pushed: the id that it got when it was pushed; either may be null.

    group: what it belongs to, such as a patient. route: null until it is judged, "spot check" while that is answered blind; trust: by which
    annotators' tasks are sorted (another one than the verdict's for a spot check). answer: open, resolved, disputed or labelled (before
    triage saw it); answered: people's labels; machine: the model's label was accepted. dismissed: a person took it out of the queue without
    an answer; sent_by: who wants people to look at it. gone: deleted in the labeling tool. pictured: there is a small picture of it. asked:
    people are asked to answer it blind, for a group of look-alikes.
    """

    id: int
    task: str | None
    pushed: str | None
    at: Time
    group: str | None
    route: str | None
    trust: float | None
    answer: str
    answered: tuple[str, ...] | None
    machine: bool
    dismissed: bool
    sent_by: str | None
    rerouting_id: int | None
    shown_dataset_id: int | None
    gone: bool
    pictured: bool
    asked: bool
    verdict: Judged | None
    spot_check: BlindCheck | None

    @property
    def name(self) -> str:
        """What people call it."""
        return self.task or self.pushed or ""

    @property
    def unnamed(self) -> bool:
        """Whether its class is hidden: an outlier that nobody has answered."""
        return keeps_class(self.route, self.answer)


@dataclass(frozen=True, slots=True)
class Medium:
    """What an item shows. media: as its task holds it."""

    task: str | None
    pushed: str | None
    media: str
    gone: bool


@dataclass(frozen=True, slots=True)
class Face:
    """An item by its picture. item_id: None once the item is not there any more."""

    name: str
    item_id: int | None


@dataclass(frozen=True, slots=True)
class FailedItem:
    """An item that could not be judged, and why: the kind of failure, and the sentence. host: what its address names, if it is one."""

    task: str | None
    failure: Failure | None
    host: str | None
    reason: str
    at: Time


_OF_ITEM = (
    item.c.id,
    item.c.external_id,
    item.c.marker,
    item.c.at,
    item.c.group,
    item.c.route,
    item.c.trust,
    case((item.c.labelled, LABELLED), else_=item.c.answer),
    item.c.labels,
    item.c.machine,
    item.c.dismissed,
    item.c.sent_by,
    item.c.rerouting_id,
    item.c.shown_dataset_id,
    item.c.gone,
    thumbnail.c.item_id.is_not(None),
    is_asked(item.c.id),
)
_SENT_BY = _OF_ITEM.index(item.c.sent_by)
OF_VERDICT = columns_of(verdict, Judged)
_OF_SPOT_CHECK = columns_of(spot_check, BlindCheck)
_OF_GOLD = (gold.c.state, gold.c.given, gold.c.brought_at)


_NAMES = ((item.c.external_id, item.c.project_id), (item.c.marker, project_of_marked))  # with the project beside it, an index each


def items_page(
    connection: Connection,
    project: Project,
    *,
    route: str | None = None,
    dataset_id: int | None = None,
    answer: str | None = None,
    after: int | None = None,
    limit: int,
) -> list[Item]:
    """A project's items in the order in which they came, those deleted in the labeling tool and gold tasks left out; after: the last one's
    id."""
    wanted = select(item.c.id).where(item.c.project_id == project.id, ~item.c.gone, ~is_copy(item.c.id), *in_sight(project))
    if route is not None:
        wanted = wanted.where(item.c.route == route)
        wanted = wanted if route == Route.FAILED else wanted.where(~is_blind(item.c.id))
    if answer is not None:
        wanted = wanted.where(item.c.labelled if answer == LABELLED else and_(item.c.answer == answer, ~item.c.labelled))
    if dataset_id is not None:
        member = and_(item_dataset.c.item_id == item.c.id, item_dataset.c.dataset_id == dataset_id)
        ids = wanted.join(item_dataset, member).order_by(item_dataset.c.item_id)
        ids = ids if after is None else ids.where(item_dataset.c.item_id > after)
    else:
        mine = wanted.order_by(item.c.id) if after is None else wanted.where(item.c.id > after).order_by(item.c.id)
        parts = [mine.where(*within).limit(limit).subquery() for within in _ranges(route, answer)]
        every = union_all(*(select(part) for part in parts)).subquery()
        ids = select(every.c.id).order_by(every.c.id)
    return items_of(connection, project, connection.execute(ids.limit(limit)).scalars().all())


def _ranges(route: str | None, answer: str | None) -> list[tuple[ColumnElement[bool] | TextClause, ...]]:
    """A condition for each range of an index in which the items of a route, or those answered so far, follow one another: where they are
    few, all others would be read."""
    if route is None:
        rare = {LABELLED: IS_LABELLED, AnswerState.RESOLVED.value: IS_ANSWERED, AnswerState.DISPUTED.value: IS_ANSWERED}
        return [(rare[answer],)] if answer in rare else [()]
    return [
        (item.c.answer == state, item.c.dismissed if out else ~item.c.dismissed, item.c.labelled if labelled else ~item.c.labelled)
        for state in (AnswerState if answer in (None, LABELLED) else (answer,))
        for out in (False, True)
        for labelled in ((False, True) if answer is None else (answer == LABELLED,))
    ]


def items_of(connection: Connection, project: Project, ids: Sequence[int]) -> list[Item]:
    """These items, in this order; those that are not there are left out."""
    query = _among(project.reference_id, project.hides_checks)
    found = {row.id: row for some in chunks(ids) for row in _items(connection, query, these=some)}
    return [found[id] for id in ids if id in found]


def item_of_task(connection: Connection, project: Project, task: str) -> Item:
    """One item by its task, or by the id that it was given when it was pushed. Raises UnknownError."""
    for column in (item.c.external_id, item.c.marker):  # one after the other: either of them at once is looked for along all items
        found = _items(connection, _query(project).where(item.c.project_id == project.id, column == task))
        if found:
            return found[0]
    later = f"what was imported a moment ago takes a few seconds{_unless_check(project)}"
    raise UnknownError(f"project {project.external_id} has no task {task} here; {later}")


def item_of_id(connection: Connection, project: Project, item_id: int) -> Item:
    """One item by its row's id. Raises UnknownError."""
    found = _items(connection, _query(project).where(item.c.project_id == project.id, item.c.id == item_id))
    if not found:
        raise _unknown(project, item_id)
    return found[0]


def is_item_hidden(connection: Connection, item_id: int) -> bool:
    """Whether nobody may see what the model says of an item (`blindness.is_hidden`); so of a gold task, as of a spot check."""
    hidden = or_(is_hidden(item.c.id), is_open_copy(item.c.id))
    return bool(connection.execute(select(item.c.id).where(item.c.id == item_id, hidden)).first())


def revealed(connection: Connection, project: Project, item_id: int) -> Judged | None:
    """The whole verdict on an item, its class included; None while it is an open spot check. Raises UnknownError."""
    item_of_id(connection, project, item_id)
    query = (
        select(item.c.sent_by, *OF_VERDICT).select_from(item).join(verdict, shown_verdict(project.reference_id)).where(item.c.id == item_id)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else judged_of(tuple(row)[1:], sent_by=row[0])


def medium_of(connection: Connection, project: Project, item_id: int) -> Medium:
    """What an item shows. Raises UnknownError."""
    query = select(item.c.external_id, item.c.marker, item.c.media, item.c.gone)
    mine = (item.c.project_id == project.id, item.c.id == item_id, *in_sight(project))
    row = connection.execute(query.where(*mine)).one_or_none()
    if row is None:
        raise _unknown(project, item_id)
    return Medium(*row)


def thumbnail_of(connection: Connection, project: Project, item_id: int) -> bytes | None:
    """The small picture of one of the project's items; None if it has none, or is not of this project."""
    query = select(thumbnail.c.content).join(item, item.c.id == thumbnail.c.item_id)
    mine = (item.c.id == item_id, item.c.project_id == project.id, *in_sight(project))
    return connection.execute(query.where(*mine)).scalar_one_or_none()


def drop_thumbnails(connection: Connection, before: float, most: int) -> int:
    """Forget thumbnails of items that came before a moment and do not wait for a person, so many at most: how many."""
    waits = and_(item.c.route.in_(FOR_PEOPLE), item.c.answer.in_(UNANSWERED), ~item.c.dismissed, ~item.c.labelled, ~item.c.gone)
    old = select(thumbnail.c.item_id).join(item, item.c.id == thumbnail.c.item_id).where(item.c.at < before, ~func.coalesce(waits, false()))
    ids = connection.execute(old.order_by(thumbnail.c.item_id).limit(most)).scalars().all()
    for some in chunks(ids):
        connection.execute(thumbnail.delete().where(thumbnail.c.item_id.in_(some)))
    return len(ids)


def items_named(connection: Connection, project: Project, names: Sequence[str]) -> dict[str, int]:
    """The row of each item that goes by one of these names, of its task or the one that it was pushed with."""
    found: dict[str, int] = {}
    for column, of in _NAMES:
        for some in chunks([name for name in names if name not in found]):
            query = select(column, item.c.id).where(of == project.id, column.in_(some), *in_sight(project))
            found |= {row[0]: row.id for row in connection.execute(query)}
    return found


def blind_among(connection: Connection, project: Project, names: Sequence[str]) -> frozenset[str]:
    """Those of the names that are spot checks which people have not answered yet."""
    found: set[str] = set()
    for column, of in _NAMES:
        for some in chunks(list(names)):
            query = select(column).where(of == project.id, column.in_(some), is_blind(item.c.id))
            found.update(connection.execute(query).scalars())
    return frozenset(found)


def strangest_of(connection: Connection, project: Project, dataset_id: int, limit: int) -> list[Face]:
    """The strangest outliers among the latest items of a dataset."""
    latest = select(item_dataset.c.item_id).where(item_dataset.c.dataset_id == dataset_id).order_by(item_dataset.c.item_id.desc())
    return _strangest(connection, project, latest, limit)


def strangest_between(connection: Connection, project: Project, start: float, end: float, limit: int) -> list[Face]:
    """The strangest outliers among those that were judged last in a stretch of time."""
    mine = (verdict.c.project_id == project.id, verdict.c.reference_id == project.reference_id)
    latest = select(verdict.c.item_id).where(*mine, verdict.c.at >= start, verdict.c.at < end).order_by(verdict.c.at.desc())
    return _strangest(connection, project, latest, limit)


def _strangest(connection: Connection, project: Project, latest: Select[Any], limit: int) -> list[Face]:
    found = latest.limit(LOOKED_THROUGH).subquery()
    judged = (verdict.c.item_id == found.c.item_id) & (verdict.c.reference_id == project.reference_id)
    query = (
        select(func.coalesce(item.c.external_id, item.c.marker), item.c.id)
        .select_from(found)
        .join(item, item.c.id == found.c.item_id)
        .join(verdict, judged)
        .where(verdict.c.route == "outlier", ~item.c.gone, ~is_blind(item.c.id), *in_sight(project))
        .order_by(verdict.c.trust)
        .limit(limit)
    )
    return [Face(*row) for row in connection.execute(query)]


def failures(connection: Connection, project: Project, limit: int, of: Failure | None = None) -> list[FailedItem]:
    """The latest items that could not be judged; of one kind, where that is given."""
    query = (
        select(item.c.external_id, verdict.c.failure, func.substr(item.c.media, 1, ADDRESS), verdict.c.reason, verdict.c.at)
        .join(item, item.c.id == verdict.c.item_id)
        .where(verdict.c.project_id == project.id, verdict.c.reference_id == project.reference_id, verdict.c.failure.is_not(None))
        .where(item.c.answer != "resolved", ~item.c.gone, *in_sight(project))
        .order_by(verdict.c.item_id.desc())
        .limit(limit)
    )
    if of is not None:
        query = query.where(verdict.c.failure == of)
    return [FailedItem(task, failure, _host(media), *rest) for task, failure, media, *rest in connection.execute(query)]


def _host(media: str) -> str | None:
    try:
        return urlsplit(media).hostname
    except ValueError:
        return None


def in_sight(project: Project) -> tuple[ColumnElement[bool], ...]:
    """The condition of what may be seen of a project at all: a gold task and a spot check are in sight or out of it together."""
    return _seen(project.hides_checks)


def _seen(hides_checks: bool) -> tuple[ColumnElement[bool], ...]:
    return (~is_blind(item.c.id), ~is_open_copy(item.c.id)) if hides_checks else ()


def last_import(connection: Connection, project: Project) -> float | None:
    """When the latest task was made in the labeling tool, if that was after the project was connected."""
    imported = (item.c.project_id == project.id, item.c.external_id.is_not(None), ~is_copy(item.c.id))
    latest = select(item.c.at).where(*imported).order_by(item.c.id.desc()).limit(1)
    connected = select(project_table.c.at).where(project_table.c.id == project.id)
    at, since = connection.execute(latest).scalar_one_or_none(), connection.execute(connected).scalar_one()
    return at if at is not None and at > since else None


def _query(project: Project) -> Select[Any]:
    """Items with their verdict under the project's reference, if there is one yet, and their spot check."""
    return _under(project.reference_id).where(*in_sight(project))


@lru_cache(64)
def _among(reference_id: int, hides_checks: bool) -> Select[Any]:
    return _under(reference_id).where(item.c.id.in_(among("these")), *_seen(hides_checks))


@lru_cache(64)
def _under(reference_id: int) -> Select[Any]:
    return (
        select(*_OF_ITEM, *OF_VERDICT, *_OF_SPOT_CHECK, *_OF_GOLD)
        .select_from(item)
        .outerjoin(verdict, shown_verdict(reference_id))
        .outerjoin(spot_check, spot_check.c.item_id == item.c.id)
        .outerjoin(thumbnail, thumbnail.c.item_id == item.c.id)
        .outerjoin(gold, gold.c.item_id == item.c.id)
    )


def _items(connection: Connection, query: Select[Any], **given: Any) -> list[Item]:
    return [_item(tuple(row)) for row in connection.execute(query, given)]


def _item(values: tuple[Any, ...]) -> Item:
    values, of_gold = values[: -len(_OF_GOLD)], values[-len(_OF_GOLD) :]
    own, of_verdict, of_check = values[: len(_OF_ITEM)], values[len(_OF_ITEM) : -len(_OF_SPOT_CHECK)], values[-len(_OF_SPOT_CHECK) :]
    judged = None if of_verdict[0] is None else judged_of(of_verdict, sent_by=own[_SENT_BY])
    drawn = None if of_check[0] is None else BlindCheck(*of_check)
    found = Item(*(*own[:8], texts(own[8]), *own[9:], judged, drawn))
    if of_gold[0] is not None:
        return _as_check(found, *of_gold)
    if drawn is not None and drawn.state in UNSETTLED:
        found = replace(found, route=found.route if judged is not None else SPOT_CHECK, spot_check=replace(drawn, kind=None))
    return replace(found, verdict=unnamed(found.verdict)) if found.verdict is not None and found.unnamed else found


def _as_check(found: Item, state: str, given: Any, brought_at: float) -> Item:
    """A gold task as a spot check; once it is answered, as an item that people answered before it was judged."""
    if state == GoldState.ANSWERED:
        return replace(found, answer="resolved", answered=texts(given), route=None, trust=None)
    return replace(found, answer="open", route=SPOT_CHECK, spot_check=BlindCheck(None, SpotCheckState.OPEN, brought_at, None))


def judged_of(values: Sequence[Any], *, sent_by: str | None) -> Judged:
    """A verdict of the values of its columns, which are `OF_VERDICT`. sent_by: who sent its item to review."""
    judged, labels, *rest = values
    found = Judged(judged, tuple(labels), *rest)
    return found if found.held_back is None else replace(found, reason=reason_sentence(found.reason, found.held_back, sent_by))


def unnamed(judged: Judged) -> Judged:
    """A verdict on an outlier without the class."""
    reason = "Unlike the training data."
    if judged.outlier_score is not None:
        compared = "training" if judged.p_value is None else "held-out"
        reason = blind_outlier_sentence(judged.outlier_score, compared, judged.class_score, judged.source_score)
    return replace(judged, labels=(), confidence=None, sureness=None, cluster=None, reason=reason)


def _unknown(project: Project, item_id: int) -> UnknownError:
    return UnknownError(f"project {project.external_id} has no item {item_id}; load the page again{_unless_check(project)}")


def _unless_check(project: Project) -> str:
    return ", and a spot check is shown once it is answered" if project.hides_checks else ""
