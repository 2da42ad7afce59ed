"""Gold tasks: known answers that people are asked once more, blind, as copies that look like spot checks.

The copy is an item of its own without a verdict, in no dataset, and never answered as far as its row says: what counts, draws, trains,
certifies or exports finds nothing in it. People's reviews of it are all that is read. The task whose answer is known stays what it was,
but nothing is trained on it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, exists, func, literal, or_, select, update

from annotriage.errors import StateError, UnknownError
from annotriage.labeling_tool import Task
from annotriage.states import GoldState, Route, Time
from annotriage.store.counters import chunks
from annotriage.store.database import among, insert, texts
from annotriage.store.deliveries import enqueue
from annotriage.store.projects import Project
from annotriage.store.schema import delivery, gold, item, review, spot_check, thumbnail

UNASKED = (GoldState.WAITING, GoldState.SENDING, GoldState.OPEN)  # nobody has answered them yet


@dataclass(frozen=True, slots=True)
class GoldTask:
    """A known answer. task: whose it is; copy: the task that asks for it again, None before there is one. group: what it belongs to."""

    id: int
    task: str
    labels: tuple[str, ...]
    group: str | None
    state: GoldState
    fits: bool
    copy: str | None
    trust: float | None
    sent_at: Time | None
    brought_at: Time | None


@dataclass(frozen=True, slots=True)
class GoldAnswer:
    """What somebody said where the answer is known. task: that was asked; of: whose answer is known. fits: it is still offered."""

    item_id: int
    task: str
    of: str
    known: tuple[str, ...]
    person: str
    given: tuple[str, ...]
    at: Time
    fits: bool


@dataclass(frozen=True, slots=True)
class KeptKnown:
    """What became of known answers. added: so many are kept now; left: why others are not, with their numbers."""

    added: int
    left: Mapping[str, int]


def is_copy(item_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether an item is a gold task: the copy that people are asked."""
    own = gold.alias("gold_copy")
    return exists().where(own.c.item_id == item_id).correlate_except(own)


def is_open_copy(item_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether an item is a gold task that nobody has answered yet."""
    own = gold.alias("open_copy")
    return exists().where(own.c.item_id == item_id, own.c.state == GoldState.OPEN).correlate_except(own)


def is_source(item_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether the known answer of an item is kept."""
    own = gold.alias("gold_source")
    return exists().where(own.c.source_id == item_id, own.c.state != GoldState.WITHDRAWN).correlate_except(own)


def copies_among(connection: Connection, item_ids: Sequence[int]) -> frozenset[int]:
    """Which of these items are gold tasks."""
    return frozenset(id for ids in chunks(item_ids) for id in connection.execute(_COPIES, {"these": ids}).scalars())


_COPIES = select(gold.c.item_id).where(gold.c.item_id.in_(among("these")))


def source_of(connection: Connection, item_id: int) -> int | None:
    """The item whose answer a gold task asks for; None of other items."""
    return connection.execute(select(gold.c.source_id).where(gold.c.item_id == item_id)).scalar_one_or_none()


# -- keeping


def keep_known(connection: Connection, project: Project, known: Mapping[str, Sequence[str]], by: str) -> KeptKnown:
    """Keep known answers, by task. Spot checks stay what they are, and no answer is asked twice at a time."""
    rows: dict[str, Any] = {}
    drawn, taken = (
        exists().where(spot_check.c.item_id == item.c.id),
        exists().where(gold.c.source_id == item.c.id, gold.c.state.in_(UNASKED)),
    )
    query = select(item.c.id, item.c.external_id, is_copy(item.c.id).label("copy"), drawn.label("drawn"), taken.label("taken"))
    for some in chunks(list(known)):
        mine = (item.c.project_id == project.id, item.c.external_id.in_(some), ~item.c.gone)
        rows |= {row.external_id: row for row in connection.execute(query.where(*mine))}
    left: Counter[str] = Counter()
    values = []
    now = time.time()
    for task, labels in known.items():
        row = rows.get(task)
        if row is None or row.copy:  # whether a task is a copy is told to nobody
            left["no task of that number is here"] += 1
        elif row.drawn:
            left["a spot check, whose answers carry the guarantee"] += 1
        elif row.taken:
            left["kept already"] += 1
        elif not labels:
            left["without a label"] += 1
        else:
            values.append({"project_id": project.id, "source_id": row.id, "labels": sorted(labels), "by": by, "at": now})
    if values:
        connection.execute(gold.insert(), values)
    return KeptKnown(len(values), dict(left))


def ground_truths(connection: Connection, project: Project, limit: int) -> dict[str, tuple[str, ...]]:
    """Tasks whose answer somebody marked as ground truth in the labeling tool, and which are not kept yet: with that answer."""
    used = exists().where(gold.c.source_id == item.c.id)
    query = (
        select(item.c.external_id, review.c.labels)
        .join(item, item.c.id == review.c.item_id)
        .where(review.c.project_id == project.id, review.c.ground_truth, review.c.labels.is_not(None), ~review.c.machine)
        .where(~item.c.gone, item.c.external_id.is_not(None), ~used, ~is_copy(item.c.id))
        .where(~exists().where(spot_check.c.item_id == item.c.id))
        .order_by(review.c.updated_at.desc(), review.c.id.desc())
        .limit(limit)
    )
    found: dict[str, tuple[str, ...]] = {}
    for row in connection.execute(query):
        if labels := texts(row.labels):
            found.setdefault(row.external_id, labels)
    return found


def forget(connection: Connection, project: Project, gold_id: int) -> None:
    """A known answer is not to be asked. Raises UnknownError, StateError once it is on its way to people."""
    mine = (gold.c.id == gold_id, gold.c.project_id == project.id)
    state = connection.execute(select(gold.c.state).where(*mine)).scalar_one_or_none()
    if state is None:
        raise UnknownError(f"project {project.external_id}: this known answer is not kept; load the page again")
    if state != GoldState.WAITING:
        raise StateError("this known answer is with people already; its task cannot be told from the others until it is answered")
    connection.execute(gold.delete().where(*mine, gold.c.state == GoldState.WAITING))


# -- on the way to people


def gold_tasks(connection: Connection, project_id: int, *states: GoldState, limit: int = 1_000) -> list[GoldTask]:
    """The known answers of a project that are in one of these states, the earliest first."""
    source, copy = item.alias("source"), item.alias("copied")
    of_it = [gold.c[name] for name in ("state", "fits")]
    query = (
        select(gold.c.id, source.c.external_id.label("task"), gold.c.labels, source.c.group, *of_it, copy.c.external_id.label("copy"))
        .add_columns(gold.c.trust, gold.c.sent_at, gold.c.brought_at)
        .join(source, source.c.id == gold.c.source_id)
        .outerjoin(copy, copy.c.id == gold.c.item_id)
        .where(gold.c.project_id == project_id, gold.c.state.in_(states), ~source.c.gone)
        .order_by(gold.c.id)
        .limit(limit)
    )
    rows = connection.execute(query)
    return [GoldTask(row.id, row.task, tuple(row.labels), row.group, GoldState(row.state), row.fits, row.copy, *row[-3:]) for row in rows]


def brought_since(connection: Connection, project_id: int, at: float) -> list[tuple[float, tuple[str, ...], str | None]]:
    """When each gold task came before people since a moment, the latest first, with its answer and its group."""
    mine = (gold.c.project_id == project_id, gold.c.brought_at.is_not(None), gold.c.brought_at >= at)
    query = select(gold.c.brought_at, gold.c.labels, item.c.group).join(item, item.c.id == gold.c.source_id).where(*mine)
    return [(row[0], tuple(row.labels), row.group) for row in connection.execute(query.order_by(gold.c.brought_at.desc()))]


def answers_since(connection: Connection, project_id: int, at: float) -> int:
    """How many answers people have given since a moment, on whatever tasks."""
    mine = (review.c.project_id == project_id, review.c.updated_at >= at, ~review.c.skipped, ~review.c.empty, ~review.c.machine)
    return int(connection.execute(select(func.count()).select_from(review).where(*mine)).scalar_one())


def changed_fits(connection: Connection, project_id: int, labels: Sequence[str]) -> dict[int, bool]:
    """Known answers of which it changed whether the labeling config offers them: whether it does now. labels: its choices."""
    offered = set(labels)
    rows = connection.execute(select(gold.c.id, gold.c.labels, gold.c.fits).where(gold.c.project_id == project_id))
    return {row.id: fits for row in rows if (fits := set(row.labels) <= offered) != row.fits}


def set_fits(connection: Connection, fits: Mapping[int, bool]) -> None:
    """Write down which known answers the labeling config offers."""
    for id, offered in fits.items():
        connection.execute(update(gold).where(gold.c.id == id).values(fits=offered))


def send(connection: Connection, gold_id: int, trust: float) -> bool:
    """A copy is about to be made: whether nobody else is at it. trust: its place among the tasks that are handed out."""
    waits = (gold.c.id == gold_id, gold.c.state == GoldState.WAITING)
    values = {"state": GoldState.SENDING, "trust": trust, "sent_at": time.time()}
    return connection.execute(update(gold).where(*waits).values(values)).rowcount > 0


def put_back(connection: Connection, gold_id: int) -> None:
    """Nothing came of making a copy."""
    sent = (gold.c.id == gold_id, gold.c.state == GoldState.SENDING)
    connection.execute(update(gold).where(*sent).values(state=GoldState.WAITING, trust=None, sent_at=None))


def withdraw(connection: Connection, gold_id: int) -> None:
    """The task whose answer is known is gone."""
    connection.execute(update(gold).where(gold.c.id == gold_id, gold.c.state.in_(UNASKED)).values(state=GoldState.WITHDRAWN))


def withdraw_gone(connection: Connection, item_ids: Sequence[int]) -> None:
    """These items are gone: those that are copies are asked of nobody any more."""
    for ids in chunks(item_ids):
        connection.execute(update(gold).where(gold.c.item_id.in_(ids), gold.c.state == GoldState.OPEN).values(state=GoldState.WITHDRAWN))


def withdraw_changed(connection: Connection, item_ids: Sequence[int]) -> None:
    """These items show something else now: what was known of them, or asked, is about what they showed before."""
    for ids in chunks(item_ids):
        of_them = or_(gold.c.source_id.in_(ids), gold.c.item_id.in_(ids))
        connection.execute(update(gold).where(of_them, gold.c.state.in_(UNASKED)).values(state=GoldState.WITHDRAWN))


def adopt(connection: Connection, project: Project, tasks: Sequence[Task], media_hashes: Mapping[str, str]) -> list[Task]:
    """Those of new tasks that are copies on their way become gold tasks; the others. media_hashes: of the tasks, by id.

    A copy shows what its source shows, letter by letter, and nothing tells it in the labeling tool: so whoever reads it first, this or
    who made it, knows it by that, as long as it is on its way.
    """
    query = (
        select(
            gold.c.id, gold.c.trust, gold.c.source_id, item.c.media, item.c.media_hash, item.c.group, item.c.route, item.c.shown_dataset_id
        )
        .join(item, item.c.id == gold.c.source_id)
        .where(gold.c.project_id == project.id, gold.c.state == GoldState.SENDING)
        .order_by(gold.c.id)
    )
    if connection.execute(query.limit(1)).first() is None:  # as a rule: no lock, no more work
        return list(tasks)
    known = {row.external_id for row in _known(connection, project.id, [task.id for task in tasks])}
    coming: dict[str, list[Any]] = {}
    for row in connection.execute(query.with_for_update(of=gold)):
        coming.setdefault(row.media_hash, []).append(row)
    others = []
    for task in tasks:
        waiting = coming.get(media_hashes[task.id])
        if task.id in known or not waiting:
            others.append(task)
        else:
            _arrive(connection, project, task, waiting.pop(0))
    return others


def _known(connection: Connection, project_id: int, tasks: Sequence[str]) -> list[Any]:
    query = select(item.c.external_id).where(item.c.project_id == project_id)
    return [row for some in chunks(tasks) for row in connection.execute(query.where(item.c.external_id.in_(some)))]


def _arrive(connection: Connection, project: Project, task: Task, row: Any) -> None:
    """The copy is there: an item that looks like a spot check, and is none."""
    now = time.time()
    values = {
        "project_id": project.id,
        "external_id": task.id,
        "media": row.media,
        "media_hash": row.media_hash,
        "group": row.group,
        "wanted": task.wanted,
        "labelled": True,  # no prediction of a model, no part in any score
        "route": row.route or Route.UNCERTAIN,  # what its page shows of a spot check
        "trust": row.trust,
        "shown_dataset_id": row.shown_dataset_id,
        "at": task.created_at or now,
    }
    add = insert(connection, item).values(values).on_conflict_do_nothing(index_elements=["project_id", "external_id"])
    id = connection.execute(add.returning(item.c.id)).scalar_one_or_none()
    if id is None:
        return
    face = select(literal(id), thumbnail.c.content).where(thumbnail.c.item_id == row.source_id)
    connection.execute(thumbnail.insert().from_select(["item_id", "content"], face))
    connection.execute(update(gold).where(gold.c.id == row.id).values(state=GoldState.OPEN, item_id=id, brought_at=now))
    deliver(connection, project, {id: row.trust})


def deliver(connection: Connection, project: Project, trusts: Mapping[int, float]) -> None:
    """Let gold tasks have an empty prediction of each reference of the project, as spot checks have."""
    rows = [
        {"item_id": id, "reference_id": reference_id, "project_id": project.id, "labels": None, "trust": trust}
        for reference_id in project.references
        for id, trust in trusts.items()
    ]
    enqueue(connection, rows)


def unlinked(connection: Connection, project_id: int) -> list[str]:
    """The tasks of open copies that lack the link which spot checks have."""
    query = select(item.c.external_id).join(gold, gold.c.item_id == item.c.id).where(gold.c.project_id == project_id, ~gold.c.linked)
    return list(connection.execute(query.where(gold.c.state == GoldState.OPEN, ~item.c.gone).order_by(item.c.id)).scalars())


def set_linked(connection: Connection, project_id: int, task: str) -> None:
    """This copy has its link."""
    mine = select(item.c.id).where(item.c.project_id == project_id, item.c.external_id == task)
    connection.execute(update(gold).where(gold.c.item_id.in_(mine)).values(linked=True))


def undelivered(connection: Connection, project: Project) -> dict[int, float]:
    """Open gold tasks that lack a prediction of a reference of the project: their places, by item."""
    lacking = [
        ~exists().where(delivery.c.item_id == gold.c.item_id, delivery.c.reference_id == reference_id)
        for reference_id in project.references
    ]
    query = select(gold.c.item_id, gold.c.trust).join(item, item.c.id == gold.c.item_id)
    mine = (gold.c.project_id == project.id, gold.c.state == GoldState.OPEN, ~item.c.gone)
    return {row.item_id: row.trust for row in connection.execute(query.where(*mine, or_(*lacking)))}


# -- what people said


def settle(connection: Connection, answers: Mapping[int, tuple[tuple[str, ...], float] | None]) -> None:
    """What people said of gold tasks, and when; None: nothing any more."""
    for item_id, answer in answers.items():
        of_it = (gold.c.item_id == item_id, gold.c.state.in_((GoldState.OPEN, GoldState.ANSWERED)))
        values: dict[str, Any] = {"state": GoldState.OPEN, "given": None, "answered_at": None}
        if answer is not None:
            values = {"state": GoldState.ANSWERED, "given": list(answer[0]), "answered_at": answer[1]}
        connection.execute(update(gold).where(*of_it).values(values))


def gold_answers(connection: Connection, project_id: int) -> list[GoldAnswer]:
    """All that people said where the answer is known, each person's last word on a task, the latest first."""
    source, copy = item.alias("source"), item.alias("copied")
    query = (
        select(copy.c.id, copy.c.external_id, source.c.external_id.label("of"), gold.c.labels.label("known"), gold.c.fits)
        .add_columns(review.c.annotator, review.c.labels.label("given"), review.c.updated_at)
        .select_from(gold)
        .join(source, source.c.id == gold.c.source_id)
        .join(copy, copy.c.id == gold.c.item_id)
        .join(review, review.c.item_id == copy.c.id)
        .where(gold.c.project_id == project_id, gold.c.state == GoldState.ANSWERED)
        .where(~review.c.machine, ~review.c.skipped, ~review.c.empty, review.c.labels.is_not(None))
        .order_by(review.c.updated_at.desc(), review.c.id.desc())
    )
    last: dict[tuple[int, str], GoldAnswer] = {}
    for row in connection.execute(query):
        said = (row.external_id or "", row.of or "", tuple(row.known), row.annotator, tuple(row.given), row.updated_at, row.fits)
        last.setdefault((row.id, row.annotator), GoldAnswer(row.id, *said))
    return list(last.values())


def gold_counts(connection: Connection, project_id: int) -> dict[str, int]:
    """How many known answers are in each state; those that wait and whose task is gone are never asked, and left out."""
    query = select(gold.c.state, func.count()).join(item, item.c.id == gold.c.source_id).group_by(gold.c.state)
    asked = query.where(gold.c.project_id == project_id, or_(gold.c.state != GoldState.WAITING, ~item.c.gone))
    return {state: int(n) for state, n in connection.execute(asked)}


def unfit_count(connection: Connection, project_id: int) -> int:
    """How many known answers the labeling config does not offer any more."""
    query = select(func.count()).select_from(gold).where(gold.c.project_id == project_id, ~gold.c.fits)
    return int(connection.execute(query.where(gold.c.state != GoldState.WITHDRAWN)).scalar_one())


def copies_in_tool(connection: Connection, project_id: int, *states: GoldState) -> list[str]:
    """The copies that stand in the labeling tool, by their tasks."""
    query = select(item.c.external_id).join(gold, gold.c.item_id == item.c.id).where(gold.c.project_id == project_id, ~item.c.gone)
    return list(connection.execute(query.where(gold.c.state.in_(states)).order_by(item.c.id)).scalars())
