"""What people say beside what the model says: answered blind, with a suggestion in view, and several people on one task.

Blind are spot checks, and strange items, of which nobody sees the class before it is answered. Gold tasks are in none of these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from operator import itemgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, or_, select

from annotriage.states import SETTLED, SHOWN, EventKind, Route, Time
from annotriage.store.blindness import has_answer
from annotriage.store.counters import chunks
from annotriage.store.database import labels_of, read_once, stored, whole
from annotriage.store.first_answers import JSON_NULL
from annotriage.store.gold import is_copy
from annotriage.store.projects import Project
from annotriage.store.reviews import reviews_of
from annotriage.store.schema import DISAGREED, IS_STRANGE, delivery, event, first_answer, item, review, spot_check, verdict

MOST_ITEMS = 5_000  # of the latest, of one kind: a page is made of them each time, and shares are known to a point and a half by so many
LOOKED_AT = 10_000  # of the latest answers, among which those of a rare kind are looked for
DAY = 86_400


@dataclass(frozen=True, slots=True)
class BlindAnswer:
    """An item that people answered blind. route: the model's; said: its labels; answered: people's."""

    item_id: int
    name: str
    route: str
    said: tuple[str, ...]
    answered: tuple[str, ...]
    at: Time

    @property
    def right(self) -> bool:
        """Whether both say the same."""
        return set(self.said) == set(self.answered)


@dataclass(frozen=True, slots=True)
class AlikeAnswers:
    """How many items of one day and route people answered alike, blind, where the model says the same. day: from 1970-01-01 on (UTC)."""

    day: int
    route: str
    said: tuple[str, ...]
    answered: tuple[str, ...]
    n: int

    @property
    def right(self) -> bool:
        """Whether both say the same."""
        return set(self.said) == set(self.answered)


@dataclass(frozen=True, slots=True)
class SeveralAnswers:
    """What several people said of one task, each once."""

    item_id: int
    given: dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class FirstAnswer:
    """People's first answers on items of a route that are alike. blind: the suggestion was hidden; said: the model's labels; n: items."""

    route: str
    blind: bool
    said: tuple[str, ...]
    answered: tuple[str, ...]
    n: int


def blind_answers(
    connection: Connection, project: Project, passes: Callable[[AlikeAnswers], bool] | None = None, limit: int | None = None
) -> list[BlindAnswer]:
    """What people answered blind, the latest first, most of the latest if there are many. passes: what is wanted of it, None for all;
    limit: how many."""
    columns = (spot_check.c.item_id, spot_check.c.route, _SAID, stored(spot_check.c.labels), func.coalesce(spot_check.c.answered_at, 0.0))
    found = [_values(row) for row in connection.execute(_checks(project, *columns)).all()] + _strangers(connection, project)
    found = sorted(found if passes is None else _passing(found, passes), key=itemgetter(4, 0), reverse=True)[:limit]
    names: dict[int, str] = {}
    for ids in chunks([id for id, *_ in found]):
        names.update(
            connection.execute(select(item.c.id, func.coalesce(item.c.external_id, item.c.marker, "")).where(item.c.id.in_(ids))).all()
        )
    return [
        BlindAnswer(id, names[id], route, labels_of(said) or (), labels_of(answered) or (), at) for id, route, said, answered, at in found
    ]


def alike_answers(connection: Connection, project: Project) -> list[AlikeAnswers]:
    """The same, counted: of ten thousand answers few differ."""
    day = whole(whole(func.coalesce(spot_check.c.answered_at, 0.0)) / DAY).label("day")
    columns = (day, spot_check.c.route, _SAID.label("said"), stored(spot_check.c.labels).label("answered"))
    each = _checks(project, *columns).subquery()
    counted = select(*each.c, func.count()).group_by(*each.c)
    counts = Counter({(int(day), *key): n for day, *key, n in connection.execute(counted).all()})
    counts.update(_kind(row) for row in _strangers(connection, project))
    return [_alike(kind, n) for kind, n in counts.items()]


def contradicted_checks(connection: Connection, project: Project) -> Counter[int]:
    """Spot checks on which one person contradicted the model and a second answer is awaited, by day as in `AlikeAnswers`.

    Counted alone: who answers next must not find out which they are, of which route, or what was said.
    """
    query = (
        select(spot_check.c.answered_at)
        .join(item, item.c.id == spot_check.c.item_id)
        .where(spot_check.c.project_id == project.id, DISAGREED, ~item.c.gone)
    )
    return Counter(int((at or 0.0) // DAY) for at in connection.execute(query).scalars())


_Values = tuple[int, str, str | None, str | None, float]  # of a `BlindAnswer` without its name, labels as they are stored
_Kind = tuple[int, str, str | None, str | None]  # of an `AlikeAnswers`, likewise


def _values(row: Sequence[Any]) -> _Values:
    id, route, said, answered, at = row
    return id, route, said, answered, at


def _kind(row: _Values) -> _Kind:
    _, route, said, answered, at = row
    return int(at // DAY), route, said, answered


def _alike(kind: _Kind, n: int) -> AlikeAnswers:
    day, route, said, answered = kind
    return AlikeAnswers(day, route, labels_of(said) or (), labels_of(answered) or (), n)


def _passing(found: Sequence[_Values], passes: Callable[[AlikeAnswers], bool]) -> Iterator[_Values]:
    """Those that pass; of each kind one is tried."""
    known: dict[_Kind, bool] = {}
    for row in found:
        kind = _kind(row)
        if kind not in known:
            known[kind] = passes(_alike(kind, 1))
        if known[kind]:
            yield row


_JUDGED = and_(verdict.c.item_id == spot_check.c.item_id, verdict.c.reference_id == spot_check.c.reference_id)
_LABELS = select(stored(verdict.c.labels)).where(_JUDGED).correlate(spot_check).scalar_subquery()
_SAID = func.coalesce(first_answer.c.said, _LABELS)  # kept of those that people have answered, but for what somebody decided without them


def _checks(project: Project, *columns: ColumnElement[Any]) -> Select[Any]:
    """Of the latest settled spot checks these columns."""
    gone = item.alias("gone_item")  # few, and read once: not the item of each check
    there = spot_check.c.item_id.not_in(select(gone.c.id).where(gone.c.project_id == project.id, gone.c.gone))
    kept = and_(
        first_answer.c.project_id == spot_check.c.project_id,
        first_answer.c.reference_id == spot_check.c.reference_id,
        first_answer.c.item_id == spot_check.c.item_id,
    )
    return (
        select(*columns)
        .select_from(spot_check)
        .outerjoin(first_answer, kept)
        .where(spot_check.c.project_id == project.id, spot_check.c.state.in_(SETTLED), there, _SAID.is_not(None))
        .order_by(spot_check.c.answered_at.desc(), spot_check.c.item_id.desc())
        .limit(MOST_ITEMS)
    )


@read_once
def _strangers(connection: Connection, project: Project) -> list[_Values]:
    """The strange items that people answered before they could know the class."""
    seen = verdict.alias("seen")  # another reference may have shown its label before
    was_shown = exists().where(seen.c.item_id == item.c.id, seen.c.route.in_(SHOWN), seen.c.at < item.c.answered_at)
    given = (item.c.project_id == project.id, ~item.c.machine, item.c.answered_at.is_not(None))
    since = select(item.c.answered_at).where(*given).order_by(item.c.answered_at.desc()).offset(LOOKED_AT - 1).limit(1).scalar_subquery()
    own = and_(verdict.c.item_id == item.c.id, verdict.c.reference_id == project.reference_id, verdict.c.route == Route.OUTLIER)
    name = func.coalesce(item.c.external_id, item.c.marker)
    query = (
        select(name, item.c.id, verdict.c.judged, stored(verdict.c.labels), stored(item.c.labels), item.c.answered_at)
        .select_from(item)
        .join(verdict, own)
        .where(item.c.project_id == project.id, IS_STRANGE, item.c.answered_at >= func.coalesce(since, 0.0))
        .where(~item.c.gone, ~item.c.labelled, ~was_shown)
        .where(~exists().where(spot_check.c.item_id == item.c.id), ~has_answer(item.c.id))
        .order_by(item.c.answered_at.desc(), item.c.id.desc())
        .limit(MOST_ITEMS)
    )
    revealed = _revealed(connection, project)
    return [_values(row) for name, *row in connection.execute(query).all() if name not in revealed]


def _revealed(connection: Connection, project: Project) -> set[str]:
    """Tasks whose class somebody had told before answering."""
    told = select(event.c.facts).where(event.c.project_id == project.id, event.c.kind == EventKind.REVEALED)
    return {str(value) for facts in connection.execute(told).scalars() for value in (facts or {}).values()}


def several_answers(connection: Connection, project: Project) -> tuple[list[SeveralAnswers], int]:
    """Tasks that several people answered, the latest first; and how many are left out because a second answer was asked for. Those of the
    latest answers.

    A second answer is asked for where the first contradicted the model: such tasks are the hard ones, and would make people look divided.
    """
    people, newest = func.count(func.distinct(review.c.annotator)), func.max(review.c.updated_at).label("newest")
    counted = (review.c.project_id == project.id, ~review.c.machine, ~review.c.skipped, ~review.c.empty, review.c.labels.is_not(None))
    mine = select(review.c.id, review.c.item_id).where(review.c.project_id == project.id)
    recent = mine.order_by(review.c.updated_at.desc()).limit(LOOKED_AT).subquery("recent")
    other = review.alias("other")
    again = exists().where(other.c.item_id == recent.c.item_id, other.c.id != recent.c.id)  # few: the others' rows are not read
    latest = select(recent.c.item_id).where(again).distinct().subquery("latest")
    answered = select(review.c.item_id, newest).select_from(latest).join(review, review.c.item_id == latest.c.item_id).where(*counted)
    several = answered.group_by(review.c.item_id).having(people > 1).subquery("several")  # few: their items are looked up alone
    query = (
        select(several.c.item_id, item.c.wanted)
        .join(item, item.c.id == several.c.item_id)
        .where(~item.c.gone, ~is_copy(item.c.id))
        .order_by(several.c.newest.desc(), several.c.item_id.desc())
        .limit(MOST_ITEMS)
    )
    rows = connection.execute(query).all()
    kept = [row.item_id for row in rows if row.wanted <= max(project.wanted, 1)]
    given = reviews_of(connection, kept)
    found = []
    for id in kept:
        last = {one.annotator: tuple(sorted(one.labels)) for one in given.get(id, ()) if one.labels is not None and not one.machine}
        if len(last) > 1:
            found.append(SeveralAnswers(id, last))
    return found, len(rows) - len(kept)


def first_answers(connection: Connection, project: Project) -> list[FirstAnswer]:
    """People's first answers on items whose suggestion is shown, and on spot checks of the same routes, under the current reference.

    Counted, as few differ. The latest items if there are many; answers from before the verdict are left out. So are blind ones from the
    first on that contradicts the model and awaits a second answer: of that nothing may be told, and without it alone the others would
    make the model look better than it is.
    """
    each = (
        select(first_answer.c.item_id, first_answer.c.route, first_answer.c.said, first_answer.c.given)
        .where(first_answer.c.project_id == project.id, first_answer.c.reference_id == project.reference_id)
        .where(first_answer.c.route.in_(SHOWN), first_answer.c.given.is_not(None))
        .where(~exists().where(item.c.id == first_answer.c.item_id, item.c.gone))
        .order_by(first_answer.c.item_id.desc())
        .limit(MOST_ITEMS)
        .subquery("each")
    )
    delivered = and_(delivery.c.item_id == each.c.item_id, delivery.c.reference_id == project.reference_id)
    drawn = and_(spot_check.c.item_id == each.c.item_id, spot_check.c.reference_id == project.reference_id)
    in_view = and_(spot_check.c.state.is_(None), stored(delivery.c.labels) != JSON_NULL)
    earliest = _first_contradicted(connection, project)
    known = and_(spot_check.c.state.in_(SETTLED), func.coalesce(spot_check.c.answered_at, 0.0) < earliest)
    alike = (each.c.route, spot_check.c.state.is_not(None).label("drawn"), each.c.said, each.c.given)
    counted = (
        select(*alike, func.count())
        .select_from(each)
        .outerjoin(delivery, delivered)
        .outerjoin(spot_check, drawn)
        .where(or_(in_view, known))
        .group_by(*alike)
    )
    return [
        FirstAnswer(route, bool(blind), _in_order(said), _in_order(given), n)
        for route, blind, said, given, n in connection.execute(counted).all()
    ]


def _first_contradicted(connection: Connection, project: Project) -> float:
    """When the first of the checks was answered that contradict the model and await a second answer; infinity without one."""
    query = (
        select(func.min(func.coalesce(spot_check.c.answered_at, 0.0)))
        .select_from(spot_check)
        .join(item, item.c.id == spot_check.c.item_id)
        .join(verdict, _JUDGED)
        .where(spot_check.c.project_id == project.id, spot_check.c.reference_id == project.reference_id, DISAGREED)
        .where(~item.c.labelled, ~item.c.gone, verdict.c.route.in_(SHOWN))
    )
    found = connection.execute(query).scalar()
    return inf if found is None else float(found)


@lru_cache(10_000)
def _in_order(text: str) -> tuple[str, ...]:
    return tuple(sorted(labels_of(text) or ()))


def answers_of(connection: Connection, project: Project) -> dict[str, dict[tuple[str, ...], int]]:
    """How often each person gave which answer, by person; gold tasks included, machines, skips and empty ones left out."""
    counted = (review.c.project_id == project.id, ~review.c.machine, ~review.c.skipped, ~review.c.empty, review.c.labels.is_not(None))
    columns = (review.c.annotator, stored(review.c.labels).label("labels"))
    latest = select(*columns).where(*counted).order_by(review.c.updated_at.desc()).limit(MOST_ITEMS).subquery("latest")
    found: dict[str, dict[tuple[str, ...], int]] = {}
    alike = (latest.c.annotator, latest.c.labels)
    for person, labels, n in connection.execute(select(*alike, func.count()).group_by(*alike)).all():
        if labels_of(labels) is None:
            continue
        mine = found.setdefault(person, {})
        said = _in_order(labels)
        mine[said] = mine.get(said, 0) + n
    return found
