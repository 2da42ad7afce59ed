"""What people and other programs look at: projects, datasets, items, the queue. Lists are paged by key; counts are read, never made.

A page's key is that of its last row: an item's id, or its trust and id in the queue, which is ordered by trust.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, and_, case, func, select

from annotriage.errors import UnknownError
from annotriage.states import FOR_PEOPLE, DeliveryState
from annotriage.store import queue
from annotriage.store.blindness import shown_verdict
from annotriage.store.counters import chunks
from annotriage.store.database import AnyRow
from annotriage.store.projects import Project
from annotriage.store.schema import counter, dataset, delivery, inbox, item, item_dataset, reference, review, spot_check, verdict, work
from annotriage.store.schema import project as project_table


@dataclass(frozen=True, slots=True)
class RouteCount:
    """How many items of one route there are, and how many of them are not answered yet."""

    route: str
    items: int
    open: int


# -- counts


def routes_of(connection: Connection, project: Project) -> list[RouteCount]:
    """The items of a project by route, under its reference."""
    found = dataset_routes(connection, project, [_every(connection, project)])
    return next(iter(found.values()), [])


def dataset_routes(connection: Connection, project: Project, dataset_ids: Sequence[int]) -> dict[int, list[RouteCount]]:
    """The items of datasets by route; of each dataset that has any."""
    found: dict[int, list[RouteCount]] = {}
    query = (
        select(counter.c.dataset_id, counter.c.route, func.sum(counter.c.n), func.sum(counter.c.open))
        .where(counter.c.reference_id == project.reference_id, counter.c.n > 0)
        .group_by(counter.c.dataset_id, counter.c.route)
        .order_by(counter.c.dataset_id, counter.c.route)
    )
    for ids in chunks(dataset_ids):
        for id, route, items, open_ in connection.execute(query.where(counter.c.dataset_id.in_(ids))):
            found.setdefault(id, []).append(RouteCount(route, int(items), int(open_)))
    return found


def queue_length(connection: Connection, project: Project) -> int:
    """How many items wait for a person: all that are not automatic, and the spot checks among those that are."""
    queued = sum(one.open for one in routes_of(connection, project) if one.route in FOR_PEOPLE)
    return queued + queue.spot_checks_waiting(connection, project)


def waiting(connection: Connection, project: Project, reference_id: int | None = None) -> int:
    """How many items are still to be judged under a reference, by default the project's present one."""
    of_it = (work.c.project_id == project.id, work.c.reference_id == (reference_id or project.reference_id))
    return int(connection.execute(select(func.count()).select_from(work).where(*of_it)).scalar_one())


def undelivered(connection: Connection, project_id: int, reference_id: int | None = None) -> dict[str, int]:
    """How many predictions are not confirmed yet, by the state of their delivery."""
    states = [state for state in DeliveryState if state is not DeliveryState.CONFIRMED]
    query = select(delivery.c.state, func.count()).where(delivery.c.project_id == project_id, delivery.c.state.in_(states))
    if reference_id is not None:
        query = query.where(delivery.c.reference_id == reference_id)
    return {state: int(count) for state, count in connection.execute(query.group_by(delivery.c.state))}


def inbox_states(connection: Connection) -> dict[str, int]:
    """How many webhooks were not read yet (new), and how many cannot be (failed)."""
    query = select(inbox.c.state, func.count()).where(inbox.c.state.in_(("new", "failed"))).group_by(inbox.c.state)
    return {"new": 0, "failed": 0} | {state: int(count) for state, count in connection.execute(query)}


def routes_between(connection: Connection, project: Project, start: float, end: float) -> list[RouteCount]:
    """The items that were judged in a time window (start <= at < end), by route; `labelled` and deleted ones are not among them."""
    still_open = func.sum(case((item.c.answer == "resolved", 0), (item.c.dismissed, 0), else_=1))
    query = (
        select(verdict.c.route, func.count(), still_open)
        .join(item, item.c.id == verdict.c.item_id)
        .where(
            verdict.c.project_id == project.id,
            verdict.c.reference_id == project.reference_id,
            verdict.c.at >= start,
            verdict.c.at < end,
            ~item.c.labelled,
            ~item.c.gone,
        )
        .group_by(verdict.c.route)
        .order_by(verdict.c.route)
    )
    return [RouteCount(route, int(count), int(open_)) for route, count, open_ in connection.execute(query)]


# -- datasets


def datasets_page(connection: Connection, project: Project, *, kind: str | None, after: int | None, limit: int) -> Sequence[AnyRow]:
    """A project's datasets, the latest made first; after: the id of the last one seen."""
    query = select(dataset).where(dataset.c.project_id == project.id).order_by(dataset.c.id.desc()).limit(limit)
    if kind is not None:
        query = query.where(dataset.c.kind == kind)
    return connection.execute(query if after is None else query.where(dataset.c.id < after)).all()


def dataset_of_project(connection: Connection, project: Project, dataset_id: int) -> AnyRow:
    """One of the project's datasets. Raises UnknownError."""
    row = connection.execute(select(dataset).where(dataset.c.project_id == project.id, dataset.c.id == dataset_id)).one_or_none()
    if row is None:
        raise UnknownError(
            f"project {project.external_id} has no dataset {dataset_id}; /api/projects/{project.external_id}/datasets lists them"
        )
    return row


# -- items


def items_page(
    connection: Connection,
    project: Project,
    *,
    route: str | None = None,
    dataset_id: int | None = None,
    answer: str | None = None,
    after: int | None = None,
    limit: int,
) -> Sequence[AnyRow]:
    """A project's items in the order in which they came, those deleted in the labeling tool left out; after: the last one's id."""
    query = _lines(project).where(item.c.project_id == project.id, ~item.c.gone).order_by(item.c.id).limit(limit)
    if dataset_id is not None:
        member = and_(item_dataset.c.item_id == item.c.id, item_dataset.c.dataset_id == dataset_id)
        query = query.join(item_dataset, member).order_by(None).order_by(item_dataset.c.item_id)
        query = query if after is None else query.where(item_dataset.c.item_id > after)
    elif after is not None:
        query = query.where(item.c.id > after)
    if route is not None:
        query = query.where(item.c.route == route)
    if answer is not None:
        query = query.where(item.c.labelled if answer == "labelled" else and_(item.c.answer == answer, ~item.c.labelled))
    return connection.execute(query).all()


def queue_page(connection: Connection, project: Project, *, after: tuple[float, int] | None, limit: int) -> Sequence[AnyRow]:
    """The items that wait for a person, the least trusted first; after: trust and id of the last one seen."""
    page = queue.queue_page(connection, project, after=after, limit=limit)
    return items_of(connection, project, [row.id for row in page.rows])


def items_of(connection: Connection, project: Project, ids: Sequence[int]) -> Sequence[AnyRow]:
    """These items, in this order."""
    found = {row.id: row for some in chunks(ids) for row in connection.execute(_lines(project).where(item.c.id.in_(some)))}
    return [found[id] for id in ids]


def item_of_task(connection: Connection, project: Project, task: str) -> AnyRow:
    """One item by its task, or by the id that it was given when it was pushed. Raises UnknownError."""
    for column in (item.c.external_id, item.c.marker):  # one after the other: either of them at once is looked for along all items
        row = connection.execute(_lines(project).where(item.c.project_id == project.id, column == task)).first()
        if row is not None:
            return row
    raise UnknownError(f"project {project.external_id} has no task {task} here; what was imported a moment ago takes some seconds")


def item_of_id(connection: Connection, project: Project, item_id: int) -> AnyRow:
    """One item by its row's id. Raises UnknownError."""
    row = connection.execute(_lines(project).where(item.c.project_id == project.id, item.c.id == item_id)).one_or_none()
    if row is None:
        raise UnknownError(f"project {project.external_id} has no item {item_id}; load the page again")
    return row


def datasets_of_item(connection: Connection, item_id: int) -> Sequence[AnyRow]:
    """The datasets that an item belongs to."""
    query = select(dataset).join(item_dataset, item_dataset.c.dataset_id == dataset.c.id).where(item_dataset.c.item_id == item_id)
    return connection.execute(query.order_by(dataset.c.id)).all()


def deliveries_of_item(connection: Connection, item_id: int) -> Sequence[AnyRow]:
    """Its deliveries with the versions that they are of."""
    query = select(delivery, reference.c.prediction_version.label("version")).join(reference, reference.c.id == delivery.c.reference_id)
    return connection.execute(query.where(delivery.c.item_id == item_id).order_by(delivery.c.reference_id)).all()


def reviews_of_item(connection: Connection, item_id: int) -> Sequence[AnyRow]:
    """What people answered on it, the first first."""
    return connection.execute(select(review).where(review.c.item_id == item_id).order_by(review.c.id)).all()


# -- spot checks


def spot_checks_page(connection: Connection, project: Project, *, state: str | None, after: int | None, limit: int) -> Sequence[AnyRow]:
    """The spot checks of a project with their tasks, the latest items first; after: the last one's item id."""
    query = (
        select(spot_check, item.c.external_id, item.c.labels.label("answer_labels"), verdict.c.labels.label("model_labels"))
        .select_from(spot_check)
        .join(item, item.c.id == spot_check.c.item_id)
        .outerjoin(verdict, shown_verdict(spot_check.c.reference_id))
        .where(spot_check.c.project_id == project.id, ~item.c.gone)
        .order_by(spot_check.c.item_id.desc())
        .limit(limit)
    )
    if state is not None:
        query = query.where(spot_check.c.state == state)
    return connection.execute(query if after is None else query.where(spot_check.c.item_id < after)).all()


def spot_check_states(connection: Connection, project: Project) -> dict[tuple[str, str], int]:
    """How many spot checks there are of each kind and state; spot checks are few."""
    query = select(spot_check.c.kind, spot_check.c.state, func.count()).where(spot_check.c.project_id == project.id)
    return {(kind, state): int(count) for kind, state, count in connection.execute(query.group_by(spot_check.c.kind, spot_check.c.state))}


# -- what is wrong


def failures(connection: Connection, project: Project, limit: int) -> Sequence[AnyRow]:
    """The latest items that could not be judged: external_id, reason, at."""
    query = (
        select(item.c.external_id, verdict.c.reason, verdict.c.at)
        .join(item, item.c.id == verdict.c.item_id)
        .where(verdict.c.project_id == project.id, verdict.c.reference_id == project.reference_id, verdict.c.route == "failed")
        .where(item.c.answer != "resolved", ~item.c.gone)
        .order_by(verdict.c.item_id.desc())
        .limit(limit)
    )
    return connection.execute(query).all()


def empty_answers(connection: Connection, project: Project, limit: int) -> Sequence[str]:
    """Tasks with an annotation that holds no answer, the latest first; some, if there are many."""
    query = (
        select(item.c.external_id)
        .join(review, review.c.item_id == item.c.id)
        .where(review.c.project_id == project.id, review.c.empty, ~item.c.gone)
        .order_by(review.c.id.desc())
        .limit(limit)
    )
    return list(dict.fromkeys(connection.execute(query).scalars()))


def last_import(connection: Connection, project: Project) -> float | None:
    """When the latest task was made in the labeling tool, if that was after the project was connected."""
    latest = select(item.c.at).where(item.c.project_id == project.id, item.c.external_id.is_not(None)).order_by(item.c.id.desc()).limit(1)
    connected = select(project_table.c.at).where(project_table.c.id == project.id)
    at, since = connection.execute(latest).scalar_one_or_none(), connection.execute(connected).scalar_one()
    return at if at is not None and at > since else None


def is_answering(connection: Connection) -> None:
    """Asks the database for nothing. Raises whatever its driver does if it does not answer."""
    connection.execute(select(1)).scalar_one()


# -- inside


def _every(connection: Connection, project: Project) -> int:
    """The id of the dataset of all items; 0 before there is one."""
    query = select(dataset.c.id).where(dataset.c.project_id == project.id, dataset.c.kind == "all")
    return int(connection.execute(query).scalar_one_or_none() or 0)


def _lines(project: Project) -> Select[Any]:
    """Items with their verdict under the project's reference, if there is one yet, and their spot check."""
    of_verdict = [column for column in verdict.c if column.name not in ("item_id", "project_id", "labels", "at", "trust", "route")]
    return (
        select(
            item,
            *of_verdict,
            verdict.c.labels.label("model_labels"),
            verdict.c.trust.label("true_trust"),
            verdict.c.at.label("judged_at"),
            spot_check.c.kind.label("spot_check"),
            spot_check.c.state.label("spot_check_state"),
            spot_check.c.drawn_at,
            spot_check.c.answered_at.label("spot_check_answered_at"),
        )
        .select_from(item)
        .outerjoin(verdict, shown_verdict(project.reference_id))
        .outerjoin(spot_check, spot_check.c.item_id == item.c.id)
    )
