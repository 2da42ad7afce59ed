"""How many items there are of each kind that lists can be narrowed to: of a project or a dataset that is small enough to be counted."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import Connection, and_, case, func, null, or_, select

from annotriage.states import SPOT_CHECK, UNSETTLED, AnswerState, Route, Standing
from annotriage.store.blindness import hides_class, is_asked
from annotriage.store.datasets import id_of_all
from annotriage.store.filters import SCORE_STEPS, SINCE, Filters
from annotriage.store.projects import Project
from annotriage.store.schema import group_member, item, item_dataset, spot_check, verdict


@dataclass(frozen=True, slots=True)
class Alike:
    """So many items that nothing tells apart by which they can be narrowed.

    route: states.SPOT_CHECK of what is answered blind; label: "" where it is hidden, or there is none; score: of SCORE_STEPS, null where it
    is hidden, or there is none; since: the shortest of SINCE in which they arrived, "" before; group: likewise, among outliers.
    """

    route: str
    state: str
    label: str
    score: float | None
    since: str
    group: int | None
    n: int

    def passes(self, filters: Filters, without: str = "") -> bool:
        """Whether these are among what is wanted. without: a filter that is left out, by its name."""
        blind = self.route == SPOT_CHECK
        wanted = {
            "route": filters.route in (None, self.route) and (not blind or filters.blind or without == "route"),
            "state": filters.state in (None, self.state),
            "label": filters.label in (None, self.label),
            "score": filters.score in (None, self.score),
            "since": filters.since is None or self.since in _within(filters.since),
            "group": filters.group in (None, self.group),
        }
        return all(right for name, right in wanted.items() if name != without)


def _within(since: str) -> tuple[str, ...]:
    """The names of the stretches that lie within one."""
    return tuple(name for name, seconds in SINCE.items() if seconds <= SINCE[since])


def tally(connection: Connection, project: Project, dataset_id: int | None = None, *, grouped: bool = False) -> list[Alike]:
    """The judged items of a project, or of a dataset, counted by kind. grouped: those that belong to a group among its outliers alone, and
    no spot check, of which that would say that it is strange.

    It reads each of them: for few thousands.
    """
    of_group, check = group_member.alias("of_group"), spot_check.alias("open_check")
    blind, now = check.c.item_id.is_not(None), time.time()
    steps = [(verdict.c.outlier_score >= step, step) for step in reversed(SCORE_STEPS)]
    state = case(
        (item.c.answer == AnswerState.RESOLVED, Standing.ANSWERED.value),
        (and_(item.c.route == Route.AUTO, ~blind), Standing.UNASKED.value),
        (item.c.dismissed, Standing.OUT.value),
        else_=Standing.WAITING.value,
    )
    hidden = or_(blind, is_asked(item.c.id))
    columns = (
        case((blind, SPOT_CHECK), else_=item.c.route).label("route"),
        state.label("state"),
        case((or_(hidden, hides_class()), ""), else_=verdict.c.label).label("label"),
        case((hidden, null()), *steps, else_=null()).label("score"),
        case(*((item.c.at >= now - seconds, name) for name, seconds in SINCE.items()), else_="").label("since"),
        case((blind, null()), else_=of_group.c.number).label("group"),
    )
    chosen = dataset_id if dataset_id is not None else id_of_all(project.id)
    member = and_(of_group.c.dataset_id == chosen, of_group.c.item_id == item.c.id)
    query = select(*columns).select_from(item)
    query = query.join(verdict, and_(verdict.c.item_id == item.c.id, verdict.c.reference_id == project.reference_id))
    query = query.outerjoin(check, and_(check.c.item_id == item.c.id, check.c.state.in_(UNSETTLED)))
    query = query.join(of_group, member, isouter=not grouped).where(*((~blind,) if grouped else ()))
    if dataset_id is not None and not grouped:
        query = query.join(item_dataset, and_(item_dataset.c.item_id == item.c.id, item_dataset.c.dataset_id == dataset_id))
    each = query.where(item.c.project_id == project.id, item.c.route.is_not(None), ~item.c.labelled, ~item.c.gone).subquery()
    found = connection.execute(select(*each.c, func.count()).group_by(*each.c)).all()
    return [Alike(*tuple(row)) for row in found]
