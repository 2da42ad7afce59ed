"""Label audits: which answered items are looked through, what an audit doubted, and what people made of its findings."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, exists, func, select, update

from annotriage.errors import UnknownError
from annotriage.states import FindingState, IssueKind, Time
from annotriage.store.counters import chunks
from annotriage.store.database import insert, labels_of, read_once, stored
from annotriage.store.items import AnsweredItem
from annotriage.store.projects import Project
from annotriage.store.schema import finding, item, label_audit, spot_check

KEPT = 1_000  # of the most doubtful findings


@dataclass(frozen=True, slots=True)
class Finding:
    """A label that an audit doubted.

    name: of the task. given: the labels then; now: what they are today, None without an answer that holds. shown: whether the labeling
    tool shows what is likely, too.
    """

    item_id: int
    name: str
    place: int
    kind: IssueKind
    given: tuple[str, ...]
    likely: tuple[str, ...]
    score: float
    reason: str
    agree: bool
    state: FindingState
    decided_by: str | None = None
    shown: bool = False
    now: tuple[str, ...] | None = None

    @property
    def waits(self) -> bool:
        """Whether it is to be decided. Not while the item has no answer, or two that differ: it is in the queue again then, and what is
        likely may be hidden there."""
        return self.state == FindingState.OPEN and self.now is not None


@dataclass(frozen=True, slots=True)
class KeptAudit:
    """The latest audit of a project. facts: its summary."""

    facts: Mapping[str, Any]
    at: Time


def answered_items(connection: Connection, project_id: int, limit: int) -> list[AnsweredItem]:
    """Items that people have answered, the latest answers if there are many.

    Spot checks take no part: to doubt their answers beside what the model says would end their being blind.
    """
    columns = [item.c[name] for name in ("id", "external_id", "marker", "media", "media_hash", "group")]
    is_check = exists().where(spot_check.c.item_id == item.c.id)
    query = (
        select(*columns, item.c.labels)
        .where(item.c.project_id == project_id, item.c.answer == "resolved", ~item.c.machine, ~item.c.gone, ~is_check)
        .order_by(item.c.answered_at.desc(), item.c.id)
        .limit(limit)
    )
    return [AnsweredItem(*row[:6], tuple(row.labels or ())) for row in connection.execute(query)]


def keep_audit(connection: Connection, project_id: int, facts: Mapping[str, Any], findings: Sequence[Finding]) -> None:
    """Keep an audit and its findings in the place of the one before. What people decided stays, and is not asked again."""
    settle(connection, project_id)
    decided = {found.item_id for found in findings_of(connection, project_id) if found.state != FindingState.OPEN}
    values = {"project_id": project_id, "facts": dict(facts), "at": time.time()}
    add = insert(connection, label_audit).values(values)
    connection.execute(add.on_conflict_do_update(index_elements=["project_id"], set_=values))
    connection.execute(finding.delete().where(finding.c.project_id == project_id, finding.c.state == FindingState.OPEN))
    new = [found for found in findings if found.item_id not in decided][:KEPT]
    rows = [
        {name: getattr(found, name) for name in ("item_id", "place", "kind", "score", "reason", "agree")}
        | {"project_id": project_id, "given": list(found.given), "likely": list(found.likely), "state": FindingState.OPEN}
        for found in new
    ]
    if rows:
        connection.execute(finding.insert(), rows)


def settle(connection: Connection, project_id: int) -> None:
    """Findings whose items people have answered otherwise since are corrected, for good."""
    corrected = [found.item_id for found in findings_of(connection, project_id) if found.state == FindingState.CORRECTED]
    for ids in chunks(corrected):
        connection.execute(update(finding).where(finding.c.item_id.in_(ids)).values(state=FindingState.CORRECTED))


def audit_of(connection: Connection, project: Project) -> KeptAudit | None:
    """The latest audit of a project; None before the first."""
    row = connection.execute(select(label_audit.c.facts, label_audit.c.at).where(label_audit.c.project_id == project.id)).one_or_none()
    return None if row is None else KeptAudit(*row)


@read_once
def findings_of(connection: Connection, project_id: int) -> Sequence[Finding]:
    """All findings that are kept, in the order in which to look; a few thousand at most."""
    columns = [finding.c[name] for name in ("item_id", "place", "kind", "score", "reason", "agree", "state", "decided_by", "shown")]
    texts = [stored(column).label(column.name) for column in (finding.c.given, finding.c.likely, item.c.labels)]
    query = select(*columns, *texts, func.coalesce(item.c.external_id, item.c.marker).label("name"), item.c.answer)
    query = query.join(item, item.c.id == finding.c.item_id).where(finding.c.project_id == project_id, ~item.c.gone)
    found = []
    for row in connection.execute(query.order_by(finding.c.place, finding.c.item_id)):
        now = labels_of(row.labels) if row.answer == "resolved" else None
        given, likely = labels_of(row.given) or (), labels_of(row.likely) or ()
        state = FindingState(row.state)
        if state == FindingState.OPEN and now is not None and set(now) != set(given):
            state = FindingState.CORRECTED
        doubted = (row.place, IssueKind(row.kind), given, likely, row.score, row.reason, row.agree)
        found.append(Finding(row.item_id, row.name, *doubted, state, row.decided_by, row.shown, now))
    return found


def set_shown(connection: Connection, item_ids: Sequence[int], shown: bool) -> None:
    """Whether the labeling tool shows what is likely for these items."""
    for ids in chunks(item_ids):
        connection.execute(update(finding).where(finding.c.item_id.in_(ids)).values(shown=shown))


def any_shown(connection: Connection, project_id: int) -> bool:
    """Whether the labeling tool shows any finding of a project."""
    query = select(finding.c.item_id).where(finding.c.project_id == project_id, finding.c.shown).limit(1)
    return connection.execute(query).scalar_one_or_none() is not None


def keep_label(connection: Connection, project: Project, item_id: int, by: str) -> None:
    """Somebody looked, and the label is right. Raises UnknownError if the item has no open finding."""
    mine = (finding.c.project_id == project.id, finding.c.item_id == item_id, finding.c.state == FindingState.OPEN)
    if not connection.execute(update(finding).where(*mine).values(state=FindingState.RIGHT, decided_by=by)).rowcount:
        raise UnknownError(f"project {project.external_id}: this item's label is not in doubt any more; load the page again")
