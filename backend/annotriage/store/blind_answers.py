"""What people say beside what the model says: answered blind, with a suggestion in view, and several people on one task.

Blind are spot checks, and strange items, of which nobody sees the class before it is answered. Gold tasks are in none of these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from operator import itemgetter

from sqlalchemy import Connection, and_, exists, func, select

from annotriage.states import SETTLED, SHOWN, AnswerState, EventKind, Route, SpotCheckState, Time
from annotriage.store.blindness import has_answer
from annotriage.store.counters import one_of
from annotriage.store.database import labels_of, read_once, stored
from annotriage.store.gold import is_copy
from annotriage.store.projects import Project
from annotriage.store.reviews import reviews_of
from annotriage.store.schema import DISAGREED, delivery, event, item, review, spot_check, verdict

MOST_ITEMS = 5_000  # of the latest, of one kind: a page is made of them each time, and shares are known to a point and a half by so many
LOOKED_AT = 10_000  # of the latest answers, among which those of a rare kind are looked for
DAY = 86_400
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
    counts = Counter((int(at // DAY), route, said, answered) for _, _, route, said, answered, at in _blind(connection, project))
    return [
        AlikeAnswers(day, route, labels_of(said) or (), labels_of(answered) or (), n) for (day, route, said, answered), n in counts.items()
    ]


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


@read_once
def _blind(connection: Connection, project: Project) -> list[tuple[int, str, str, str | None, str | None, float]]:
    """What people answered blind, as values of `BlindAnswer`, labels as they are stored."""
    name = func.coalesce(item.c.external_id, item.c.marker)
    judged = and_(verdict.c.item_id == spot_check.c.item_id, verdict.c.reference_id == spot_check.c.reference_id)
    checks = (
        select(item.c.id, name, spot_check.c.route, stored(verdict.c.labels), stored(spot_check.c.labels), spot_check.c.answered_at)
        .select_from(spot_check)
        .join(item, item.c.id == spot_check.c.item_id)
        .join(verdict, judged)
        .where(spot_check.c.project_id == project.id, spot_check.c.state.in_(SETTLED), ~item.c.gone)
        .order_by(spot_check.c.answered_at.desc(), item.c.id.desc())
        .limit(MOST_ITEMS)
    )
    own = and_(verdict.c.item_id == item.c.id, verdict.c.reference_id == project.reference_id)
    seen = verdict.alias("seen")  # another reference may have shown its label before
    was_shown = exists().where(seen.c.item_id == item.c.id, seen.c.route.in_(SHOWN), seen.c.at < item.c.answered_at)
    given = (item.c.project_id == project.id, ~item.c.machine, item.c.answered_at.is_not(None))
    latest = select(item.c.id).where(*given).order_by(item.c.answered_at.desc()).limit(LOOKED_AT).subquery("latest")
    strangers = (
        select(item.c.id, name, verdict.c.judged, stored(verdict.c.labels), stored(item.c.labels), item.c.answered_at)
        .select_from(latest)
        .join(item, item.c.id == latest.c.id)
        .join(verdict, own)
        .where(item.c.answer == AnswerState.RESOLVED, verdict.c.route == Route.OUTLIER)
        .where(~item.c.gone, ~item.c.labelled, ~was_shown)
        .where(~exists().where(spot_check.c.item_id == item.c.id), ~has_answer(item.c.id))
        .order_by(item.c.answered_at.desc(), item.c.id.desc())
        .limit(MOST_ITEMS)
    )
    revealed = _revealed(connection, project)
    rows = [*connection.execute(checks).all(), *(row for row in connection.execute(strangers).all() if row[1] not in revealed)]
    found = [(id, name or "", route, said, answered, at or 0.0) for id, name, route, said, answered, at in rows]
    found.sort(key=itemgetter(5, 0), reverse=True)
    return found


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
    recent = select(review.c.item_id).where(review.c.project_id == project.id).order_by(review.c.updated_at.desc()).limit(LOOKED_AT)
    latest = select(recent.subquery().c.item_id).distinct().subquery("latest")
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
    delivered = and_(delivery.c.item_id == item.c.id, delivery.c.reference_id == project.reference_id)
    drawn = and_(spot_check.c.item_id == item.c.id, spot_check.c.reference_id == project.reference_id)
    judged = and_(verdict.c.item_id == item.c.id, verdict.c.reference_id == project.reference_id)
    answered = exists().where(review.c.item_id == item.c.id, ~review.c.machine, review.c.labels.is_not(None))
    query = (
        select(
            item.c.id,
            verdict.c.judged,
            stored(verdict.c.labels).label("labels"),
            verdict.c.at,
            spot_check.c.state,
            spot_check.c.answered_at,
            stored(delivery.c.labels).label("shown"),
        )
        .select_from(item)
        .join(verdict, judged)
        .outerjoin(delivery, delivered)
        .outerjoin(spot_check, drawn)
        .where(item.c.project_id == project.id, ~item.c.labelled, ~item.c.gone, verdict.c.route.in_(SHOWN), answered)
        .where(spot_check.c.item_id.is_not(None) | delivery.c.item_id.is_not(None))
        .order_by(item.c.id.desc())
        .limit(MOST_ITEMS)
    )
    read = connection.execute(query).all()
    awaited = min((row.answered_at or 0.0 for row in read if row.state == SpotCheckState.DISAGREED), default=inf)
    rows = [
        row
        for row in read
        if (labels_of(row.shown) is not None if row.state is None else row.state in SETTLED and (row.answered_at or 0.0) < awaited)
    ]  # hidden: null, or the null of JSON
    first = _first(connection, [row[0] for row in rows])
    counts: Counter[tuple[str, bool, str, str]] = Counter()
    for id, judged_as, labels, at, state, *_ in rows:
        given, given_at = first.get(id, ("", -inf))
        if given_at >= at - SKEW_SECONDS:
            counts[judged_as, state is not None, labels, given] += 1
    return [FirstAnswer(route, blind, _in_order(said), _in_order(given), n) for (route, blind, said, given), n in counts.items()]


def _first(connection: Connection, item_ids: Sequence[int]) -> dict[int, tuple[str, float]]:
    """The first answer of a person on each of these items that has one, as it is stored, and when it was given."""
    query = select(review.c.item_id, stored(review.c.labels), review.c.updated_at).where(~review.c.machine, review.c.labels.is_not(None))
    query = query.order_by(review.c.updated_at.desc(), review.c.id.desc())
    found: dict[int, tuple[str, float]] = {}
    for some in one_of(connection, review.c.item_id, item_ids):
        for item_id, labels, at in connection.execute(query.where(some)).all():
            if labels_of(labels) is not None:
                found[item_id] = labels, at
    return found


@lru_cache(10_000)
def _in_order(text: str) -> tuple[str, ...]:
    return tuple(sorted(labels_of(text) or ()))


def answers_of(connection: Connection, project: Project) -> dict[str, dict[tuple[str, ...], int]]:
    """How often each person gave which answer, by person; gold tasks included, machines, skips and empty ones left out."""
    counted = (review.c.project_id == project.id, ~review.c.machine, ~review.c.skipped, ~review.c.empty, review.c.labels.is_not(None))
    latest = select(review.c.annotator, stored(review.c.labels)).where(*counted).order_by(review.c.updated_at.desc()).limit(MOST_ITEMS)
    found: dict[str, dict[tuple[str, ...], int]] = {}
    for person, labels in connection.execute(latest).all():
        if labels_of(labels) is None:
            continue
        mine = found.setdefault(person, {})
        said = _in_order(labels)
        mine[said] = mine.get(said, 0) + 1
    return found
