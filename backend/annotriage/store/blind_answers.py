"""What people say beside what the model says: answered blind, with a suggestion in view, and several people on one task.

Blind are spot checks, and strange items, of which nobody sees the class before it is answered. Gold tasks are in none of these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, or_, select

from annotriage.states import SETTLED, SHOWN, AnswerState, EventKind, Route, Time
from annotriage.store.database import labels_of, read_once, stored, whole
from annotriage.store.gold import is_copy
from annotriage.store.projects import Project
from annotriage.store.reviews import reviews_of
from annotriage.store.schema import DISAGREED, delivery, event, item, proposal_member, review, spot_check, verdict
from annotriage.store.twins import was_told

MOST_ITEMS = 5_000  # of the latest, of one kind: a page is made of them each time, and shares are known to a point and a half by so many
LOOKED_AT = 10_000  # of the latest answers, among which those of a rare kind are looked for
DAY = 86_400
JSON_NULL = "null"  # as it is stored: no labels
SKEW_SECONDS = 5.0  # that the labeling tool's clock may be behind


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


def blind_answers(connection: Connection, project: Project) -> list[BlindAnswer]:
    """All that people answered blind, the latest first, most of the latest if there are many."""
    return [
        BlindAnswer(id, name, route, labels_of(said) or (), labels_of(answered) or (), at)
        for id, name, route, said, answered, at in _blind(connection, project)
    ]


def alike_answers(connection: Connection, project: Project) -> list[AlikeAnswers]:
    """The same, counted: of ten thousand answers few differ."""
    day = whole(whole(func.coalesce(spot_check.c.answered_at, 0.0)) / DAY).label("day")
    columns = (day, spot_check.c.route, stored(verdict.c.labels).label("said"), stored(spot_check.c.labels).label("answered"))
    each = _checks(project, *columns).subquery()
    counted = select(*each.c, func.count()).group_by(*each.c)
    counts = Counter({(int(day), *key): n for day, *key, n in connection.execute(counted).all()})
    counts.update((int(at // DAY), route, said, answered) for _, _, route, said, answered, at in _strangers(connection, project))
    return [
        AlikeAnswers(day, route, labels_of(said) or (), labels_of(answered) or (), n) for (day, route, said, answered), n in counts.items()
    ]


def contradicted_checks(connection: Connection, project: Project) -> Counter[tuple[int, str]]:
    """Spot checks on which one person contradicted the model and a second answer is awaited, by (day, route) as in `AlikeAnswers`.

    Counted alone: who answers next must not find out which they are, nor what was said.
    """
    query = (
        select(spot_check.c.answered_at, spot_check.c.route)
        .join(item, item.c.id == spot_check.c.item_id)
        .where(spot_check.c.project_id == project.id, DISAGREED, ~item.c.gone)
    )
    return Counter((int((at or 0.0) // DAY), route) for at, route in connection.execute(query))


_Values = tuple[int, str, str, str | None, str | None, float]  # of a `BlindAnswer`, labels as they are stored


def _blind(connection: Connection, project: Project) -> list[_Values]:
    """What people answered blind."""
    name = func.coalesce(item.c.external_id, item.c.marker)
    columns = (item.c.id, name, spot_check.c.route, stored(verdict.c.labels), stored(spot_check.c.labels), spot_check.c.answered_at)
    checks = _checks(project, *columns).join(item, item.c.id == spot_check.c.item_id)
    found = [_values(row) for row in connection.execute(checks).all()] + _strangers(connection, project)
    found.sort(key=itemgetter(5, 0), reverse=True)
    return found


def _values(row: Sequence[Any]) -> _Values:
    id, name, route, said, answered, at = row
    return id, name or "", route, said, answered, at or 0.0


def _checks(project: Project, *columns: ColumnElement[Any]) -> Select[Any]:
    """Of the latest settled spot checks these columns."""
    judged = and_(verdict.c.item_id == spot_check.c.item_id, verdict.c.reference_id == spot_check.c.reference_id)
    gone = item.alias("gone_item")  # few, and read once: not the item of each check
    there = spot_check.c.item_id.not_in(select(gone.c.id).where(gone.c.project_id == project.id, gone.c.gone))
    return (
        select(*columns)
        .select_from(spot_check)
        .join(verdict, judged)
        .where(spot_check.c.project_id == project.id, spot_check.c.state.in_(SETTLED), there)
        .order_by(spot_check.c.answered_at.desc(), spot_check.c.item_id.desc())
        .limit(MOST_ITEMS)
    )


@read_once
def _strangers(connection: Connection, project: Project) -> list[_Values]:
    """The strange items that people answered before they could know the class."""
    name = func.coalesce(item.c.external_id, item.c.marker)
    seen = verdict.alias("seen")  # another reference may have shown its label before
    was_shown = exists().where(seen.c.item_id == item.c.id, seen.c.route.in_(SHOWN), seen.c.at < item.c.answered_at)
    at_once = exists().where(proposal_member.c.item_id == item.c.id, proposal_member.c.at_once)
    given = (item.c.project_id == project.id, ~item.c.machine, item.c.answered_at.is_not(None))
    latest = select(item.c.id).where(*given).order_by(item.c.answered_at.desc()).limit(LOOKED_AT).subquery("latest")
    own = and_(verdict.c.item_id == latest.c.id, verdict.c.reference_id == project.reference_id)
    labels = stored(verdict.c.labels).label("labels")
    strange = select(latest.c.id, verdict.c.judged, labels).join(verdict, own).where(verdict.c.route == Route.OUTLIER)
    few = strange.limit(LOOKED_AT).subquery("strange")  # all of them: with a limit SQLite asks for the rest of these alone
    query = (
        select(item.c.id, name, few.c.judged, few.c.labels, stored(item.c.labels), item.c.answered_at)
        .select_from(few)
        .join(item, item.c.id == few.c.id)
        .where(item.c.answer == AnswerState.RESOLVED)
        .where(~item.c.gone, ~item.c.labelled, ~was_shown)
        .where(~exists().where(spot_check.c.item_id == item.c.id), ~was_told(item.c.id), ~at_once)
        .order_by(item.c.answered_at.desc(), item.c.id.desc())
        .limit(MOST_ITEMS)
    )
    revealed = _revealed(connection, project)
    return [_values(row) for row in connection.execute(query).all() if row[1] not in revealed]


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

    Counted, as few differ. The latest items if there are many; answers from before the verdict are left out.
    """
    delivered = and_(delivery.c.item_id == item.c.id, delivery.c.reference_id == project.reference_id)
    drawn = exists().where(spot_check.c.item_id == item.c.id, spot_check.c.reference_id == project.reference_id)
    judged = and_(verdict.c.item_id == item.c.id, verdict.c.reference_id == project.reference_id)
    query = (  # along the reviews: items may be a hundred times as many
        select(
            review.c.item_id,
            verdict.c.judged,
            stored(verdict.c.labels).label("labels"),
            verdict.c.at,
            drawn.label("drawn"),
            stored(delivery.c.labels).label("shown"),
        )
        .distinct()
        .select_from(review)
        .join(item, item.c.id == review.c.item_id)
        .join(verdict, judged)
        .outerjoin(delivery, delivered)
        .where(~review.c.machine, review.c.labels.is_not(None))
        .where(item.c.project_id == project.id, ~item.c.labelled, ~item.c.gone, verdict.c.route.in_(SHOWN))
        .where(drawn | delivery.c.item_id.is_not(None))
        .order_by(review.c.item_id.desc())
        .limit(MOST_ITEMS)
    )
    each = query.subquery("each")
    hidden = or_(each.c.shown.is_(None), each.c.shown == JSON_NULL)
    given = review.alias("given")
    earlier = select(given.c.id).where(given.c.item_id == each.c.item_id, ~given.c.machine, stored(given.c.labels) != JSON_NULL)
    first = earlier.order_by(given.c.updated_at, given.c.id).limit(1).correlate(each).scalar_subquery()
    alike = (each.c.judged, each.c.drawn, each.c.labels, stored(review.c.labels).label("given"))
    counted = (
        select(*alike, func.count())
        .select_from(each)
        .join(review, review.c.id == first)
        .where(or_(each.c.drawn, ~hidden), review.c.updated_at >= each.c.at - SKEW_SECONDS)
        .group_by(*alike)
    )
    return [
        FirstAnswer(route, bool(blind), _in_order(said), _in_order(said_first), n)
        for route, blind, said, said_first, n in connection.execute(counted).all()
    ]


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
