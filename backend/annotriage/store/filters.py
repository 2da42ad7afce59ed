"""What items can be narrowed to, and the conditions that say so: the same for the queue, lists of items, the map and groups."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, exists, false, literal, select

from annotriage.states import FOR_PEOPLE, ROUTES, SPOT_CHECK, UNANSWERED, AnswerState, Route, Standing
from annotriage.store.blindness import is_blind, is_hidden, is_unnamed
from annotriage.store.projects import Project
from annotriage.store.schema import item, item_dataset, verdict

SCORE_STEPS = (0.0, 0.5, 0.8, 0.95, 0.99)  # where each step of the outlier score begins
SINCE = {"day": 86_400.0, "week": 7 * 86_400.0, "month": 30 * 86_400.0}  # seconds

Test = Callable[[ColumnElement[int]], ColumnElement[bool]]  # of an item's id

_STANDS: dict[
    Standing | None, tuple[tuple[str, ...], tuple[bool, ...], tuple[str, ...]]
] = {  # what each standing says of answers, of being taken out, and of routes
    Standing.WAITING: (UNANSWERED, (False,), FOR_PEOPLE),
    Standing.OUT: (UNANSWERED, (True,), FOR_PEOPLE),
    Standing.ANSWERED: ((AnswerState.RESOLVED,), (False, True), ROUTES),
    Standing.UNASKED: (UNANSWERED, (False, True), (Route.AUTO,)),
    None: (tuple(AnswerState), (False, True), ROUTES),
}


@dataclass(frozen=True, slots=True)
class Filters:
    """What is wanted of the judged items of a project; None: all of it.

    dataset: its row's id. label: what the model says, of items of which that may be known. route: states.SPOT_CHECK for what is answered
    blind, which has no other one as long. group: number of a group among the outliers of the dataset, or of all items. state: where it
    stands with people. score: one of SCORE_STEPS, up to the next. since: one of SINCE, in which it arrived. proposal: members of this group
    of look-alikes that people are asked about.
    """

    dataset: int | None = None
    label: str | None = None
    route: str | None = None
    group: int | None = None
    state: Standing | None = Standing.WAITING
    score: float | None = None
    since: str | None = None
    proposal: int | None = None

    @property
    def routes(self) -> tuple[str, ...]:
        """The routes of what is wanted, spot checks left out."""
        every = _STANDS[self.state][2]
        return tuple(every) if self.route is None else tuple(route for route in every if route == self.route)

    @property
    def blind(self) -> bool:
        """Whether open spot checks are wanted."""
        return (self.route == SPOT_CHECK and self.state != Standing.UNASKED) or (self.route is None and self.state is None)


def ranges(filters: Filters, routes: Sequence[str] | None = None) -> list[tuple[ColumnElement[bool], ...]]:
    """One condition for each range of the queue's index in which wanted items lie; spot checks may be among them. routes: in the place of
    those that are wanted."""
    answers, dismissed, _ = _STANDS[filters.state]
    return [
        (item.c.answer == answer, item.c.dismissed if out else ~item.c.dismissed, item.c.route == route)
        for route in (filters.routes if routes is None else routes)
        for answer in answers
        for out in dismissed
    ]


def stands(filters: Filters) -> tuple[ColumnElement[bool], ...]:
    """Where wanted items stand, whichever route they have: for queries that come from elsewhere than the queue's index."""
    answers, dismissed, _ = _STANDS[filters.state]
    there = (~item.c.labelled, ~item.c.gone, item.c.route.is_not(None))
    if filters.state is None:
        return there
    wanted = (item.c.answer.in_(answers),)
    return (*there, *wanted) if len(dismissed) > 1 else (*there, *wanted, item.c.dismissed if dismissed[0] else ~item.c.dismissed)


def standing_of(answer: str, dismissed: bool, route: str) -> Standing | None:
    """Where an item stands that `stands` lets pass and that is no open spot check; None: nowhere."""
    for state, (answers, outs, routes) in _STANDS.items():
        if answer in answers and dismissed in outs and route in routes:
            return state
    return None


def of_routes(query: Select[Any], filters: Filters) -> Select[Any]:
    """The rows of a query on items that have a wanted route."""
    if filters.route is None and filters.state is None:
        return query
    if filters.route == SPOT_CHECK:
        return query.where(is_blind(item.c.id) if filters.blind else false())
    return query.where(item.c.route.in_(filters.routes), ~is_blind(item.c.id))


def tests(project: Project, filters: Filters, *, dataset: bool) -> list[Test]:
    """What items have still to pass for which there is no index. dataset: whether they may be of others than the one that is wanted."""
    found: list[Test] = []
    if filters.blind and project.hides_checks:
        found.append(lambda id: ~is_blind(id))
    if filters.label is not None:
        found.append(lambda id: exists(select(literal(1)).where(*named(project, id), verdict.c.label == filters.label)))
    if filters.score is not None:
        later = [step for step in SCORE_STEPS if step > filters.score]
        limits = (verdict.c.outlier_score >= filters.score, *(verdict.c.outlier_score < step for step in later[:1]))
        scored = (verdict.c.reference_id == project.reference_id, *limits)
        found.append(lambda id: exists(select(literal(1)).where(verdict.c.item_id == id, *scored, ~is_hidden(id))))
    if filters.since is not None:
        moment, arrived = time.time() - SINCE[filters.since], item.alias("arrived")
        found.append(lambda id: exists(select(literal(1)).where(arrived.c.id == id, arrived.c.at >= moment)))
    if dataset and filters.dataset is not None:
        of_it = item_dataset.c.dataset_id == filters.dataset
        found.append(lambda id: exists(select(literal(1)).where(of_it, item_dataset.c.item_id == id)))
    return found


def named(project: Project, id: ColumnElement[int]) -> tuple[ColumnElement[bool], ...]:
    """The conditions on the verdict of an item whose class may be known."""
    return (verdict.c.item_id == id, verdict.c.reference_id == project.reference_id, ~is_hidden(id), ~is_unnamed(id))
