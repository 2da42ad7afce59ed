"""Certificates: what was fixed of the automatic labels of a dataset, and how the checks on which it rests stand.

Fixed are the labels (those that a reference judged automatic among the items that came in until then) and the items that are checked.
Whatever happens to them later, corrected, sent to people or deleted, they stay in it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, exists, func, select, update

from annotriage.errors import UnknownError
from annotriage.states import SETTLED, EventKind, Route, SpotCheckKind, SpotCheckState
from annotriage.store import deliveries, field_writes
from annotriage.store.blindness import has_answer
from annotriage.store.counters import chunks, recounted
from annotriage.store.database import columns_of, insert, texts
from annotriage.store.projects import Project, get_project
from annotriage.store.schema import accepted, certificate, certificate_item, event, item, item_dataset, review, spot_check, verdict
from annotriage.store.schema import project as project_rows

AT_ONCE = 20_000  # rows in memory


@dataclass(frozen=True, slots=True)
class AutomaticLabel:
    """An item with an automatic label. at: when it came in. seen: people may have seen the label (they answered, or it was accepted)."""

    id: int
    external_id: str | None
    marker: str | None
    media_hash: str
    at: float
    gone: bool
    seen: bool


@dataclass(frozen=True, slots=True)
class CheckedLabel:
    """A check of a label. state: None if the item is no spot check any more; given: people's labels, labels: the model's; decided_by: who
    settled it alone. share: of the labels of its time that were drawn. gone: the task is
    deleted. whole: it belongs to a part that was drawn completely."""

    item_id: int
    state: str | None
    given: tuple[str, ...] | None
    labels: tuple[str, ...] | None
    decided_by: str | None
    answered_at: float | None
    share: float | None
    gone: bool
    whole: bool

    @property
    def open(self) -> bool:
        """Whether people may still answer it blind."""
        return self.state == SpotCheckState.OPEN and not self.gone

    @property
    def answered(self) -> bool:
        """Whether it is settled, by people or by the person who manages."""
        return self.state in SETTLED

    @property
    def right(self) -> bool:
        """Whether people's blind answers say what the model says. What one person decided alone says nothing."""
        settled = self.answered and self.decided_by is None
        return settled and self.labels is not None and sorted(self.given or ()) == sorted(self.labels)


@dataclass(frozen=True, slots=True)
class StoredCertificate:
    """What was fixed. labels: how many automatic ones, gone: of them deleted by then. random, whole: checks, drawn at random and in parts
    that were checked completely. wanted: wrong ones at most, for which checks were drawn. fixed: nobody could know the answers when the
    number of checks was chosen."""

    id: int
    dataset_id: int
    reference_id: int
    until: float
    labels: int
    gone: int
    random: int
    whole: int
    wanted: int | None
    fixed: bool
    data_hash: str
    by: str
    at: float


_COLUMNS = columns_of(certificate, StoredCertificate)


def automatic_labels(connection: Connection, project: Project, dataset_id: int, until: float) -> list[AutomaticLabel]:
    """The items of a dataset that came in before `until` and that the project's reference judged automatic, deleted ones among them."""
    columns = [item.c[name] for name in ("id", "external_id", "marker", "media_hash", "at", "gone")]
    others = [exists(select(table.c.item_id).where(table.c.item_id == item.c.id)) for table in (review, accepted)]
    query = (
        select(*columns, (item.c.answer != "open") | others[0] | others[1])
        .join(item_dataset, item_dataset.c.item_id == item.c.id)
        .join(verdict, (verdict.c.item_id == item.c.id) & (verdict.c.reference_id == project.reference_id))
        .where(item_dataset.c.dataset_id == dataset_id, item.c.at < until, ~item.c.labelled, verdict.c.judged == Route.AUTO)
        .order_by(item.c.id)
    )
    return [AutomaticLabel(*row[:6], bool(row[6])) for row in connection.execute(query.execution_options(yield_per=AT_ONCE))]


def checks_among(connection: Connection, project: Project, dataset_id: int) -> dict[int, CheckedLabel]:
    """The spot checks of a dataset, by item, beside the labels of the project's reference."""
    query = _checked(spot_check.c.item_id, func.coalesce(spot_check.c.share, 0.0) >= 1)
    query = query.select_from(spot_check).join(item, item.c.id == spot_check.c.item_id)
    query = query.join(item_dataset, item_dataset.c.item_id == spot_check.c.item_id)
    query = query.outerjoin(verdict, (verdict.c.item_id == spot_check.c.item_id) & (verdict.c.reference_id == project.reference_id))
    rows = connection.execute(query.where(item_dataset.c.dataset_id == dataset_id))
    return {row.item_id: _checked_label(row) for row in rows}


def checks_of(connection: Connection, found: StoredCertificate) -> list[CheckedLabel]:
    """The checks of a certificate, as they stand now, beside the labels that it is about."""
    query = _checked(certificate_item.c.item_id, certificate_item.c.whole).select_from(certificate_item)
    query = query.join(item, item.c.id == certificate_item.c.item_id)
    query = query.outerjoin(spot_check, spot_check.c.item_id == certificate_item.c.item_id)
    of_it = (verdict.c.item_id == certificate_item.c.item_id) & (verdict.c.reference_id == found.reference_id)
    rows = connection.execute(query.outerjoin(verdict, of_it).where(certificate_item.c.certificate_id == found.id))
    return [_checked_label(row) for row in rows]


def took_over_at(connection: Connection, project: Project) -> float:
    """Since when the project's reference is the current one; 0 if it was the first."""
    query = select(func.max(event.c.at)).where(event.c.project_id == project.id, event.c.kind == EventKind.SWITCHED)
    return float(connection.execute(query).scalar_one() or 0.0)


def draw(connection: Connection, project: Project, places: Mapping[int, float]) -> None:
    """Make spot checks of automatic items that nobody has answered: their labels are hidden. places: by item, in the queue."""
    if not places:
        return
    now = time.time()
    shown: dict[int, tuple[int | None, str | None]] = {}
    for ids in chunks(sorted(places)):
        query = select(item.c.id, item.c.shown_dataset_id).where(item.c.id.in_(ids))
        shown |= {row.id: row.shown_dataset_id for row in connection.execute(query)}
    rows = [
        {
            "item_id": id,
            "project_id": project.id,
            "reference_id": project.reference_id,
            "kind": SpotCheckKind.AUDIT,
            "route": Route.AUTO,
            "dataset_id": shown.get(id),
            "state": SpotCheckState.OPEN,
            "drawn_at": now,
        }
        for id in places
    ]
    with recounted(connection, list(places)):
        connection.execute(insert(connection, spot_check).on_conflict_do_nothing(index_elements=["item_id"]), rows)
    moved = [{"of": id, "to": place} for id, place in places.items()]
    mine = (verdict.c.item_id == bindparam("of"), verdict.c.reference_id == project.reference_id)
    connection.execute(update(verdict).where(*mine).values(shown_trust=bindparam("to")), moved)
    connection.execute(update(item).where(item.c.id == bindparam("of")).values(trust=bindparam("to")), moved)
    if project.watch:
        return
    hidden = [
        {"item_id": id, "reference_id": project.reference_id, "project_id": project.id, "labels": None, "trust": place}
        for id, place in places.items()
    ]
    deliveries.enqueue(connection, hidden)
    if project.options.item_fields:
        field_writes.queue(connection, project.id, dict.fromkeys(places, field_writes.FIRST), ())


def still_unseen(connection: Connection, item_ids: Sequence[int]) -> list[int]:
    """Those of these items that nobody has answered, that have no other answer and are no spot checks: they can be checked blind.

    Lock them first: an answer may be on its way to them.
    """
    seen = [exists(select(table.c.item_id).where(table.c.item_id == item.c.id)) for table in (review, spot_check)]
    query = select(item.c.id).where(item.c.answer == "open", ~item.c.gone, *(~known for known in seen), ~has_answer(item.c.id))
    return [id for ids in chunks(sorted(item_ids)) for id in connection.execute(query.where(item.c.id.in_(ids))).scalars()]


def hold_project(connection: Connection, project_id: int) -> Project:
    """The project as it is at present; nobody else changes it, or certifies anything of it, until the transaction ends."""
    connection.execute(select(project_rows.c.id).where(project_rows.c.id == project_id).with_for_update(key_share=True))
    return get_project(connection, project_id)


def add_certificate(
    connection: Connection, project: Project, facts: Mapping[str, object], random: Iterable[int], whole: Iterable[int]
) -> int:
    """Fix a certificate of labels of the project's reference: its id. facts: columns of its table; random, whole: checked items."""
    random, whole = list(random), list(whole)
    checks = {"random": len(random), "whole": len(whole)}
    values = {"project_id": project.id, "reference_id": project.reference_id, "at": time.time(), **checks, **facts}
    id = int(connection.execute(certificate.insert().values(values).returning(certificate.c.id)).scalar_one())
    parts = ((random, False), (whole, True))
    rows = [{"certificate_id": id, "item_id": item_id, "whole": part} for item_ids, part in parts for item_id in item_ids]
    if rows:
        connection.execute(certificate_item.insert(), rows)
    return id


def certificates_page(
    connection: Connection, project: Project, *, dataset_id: int | None = None, after: int | None = None, limit: int
) -> list[StoredCertificate]:
    """A project's certificates, the latest first; after: the id of the last one seen."""
    query = select(*_COLUMNS).where(certificate.c.project_id == project.id).order_by(certificate.c.id.desc()).limit(limit)
    if dataset_id is not None:
        query = query.where(certificate.c.dataset_id == dataset_id)
    return [StoredCertificate(*row) for row in connection.execute(query if after is None else query.where(certificate.c.id < after))]


def certificate_of(connection: Connection, project: Project, id: int) -> StoredCertificate:
    """One of the project's certificates. Raises UnknownError."""
    row = connection.execute(select(*_COLUMNS).where(certificate.c.project_id == project.id, certificate.c.id == id)).one_or_none()
    if row is None:
        raise UnknownError(f"project {project.external_id} has no certificate {id}; its page Certificates lists them")
    return StoredCertificate(*row)


def _checked(item_id: ColumnElement[int], whole: ColumnElement[bool]) -> Select[Any]:
    of_check = (
        spot_check.c.state,
        spot_check.c.labels.label("given"),
        spot_check.c.decided_by,
        spot_check.c.answered_at,
        spot_check.c.share,
        item.c.gone,
    )
    return select(item_id.label("item_id"), *of_check, verdict.c.labels.label("said"), whole.label("whole"))


def _checked_label(row: Any) -> CheckedLabel:
    of_check = (row.state, texts(row.given), texts(row.said), row.decided_by, row.answered_at, row.share)
    return CheckedLabel(row.item_id, *of_check, bool(row.gone), bool(row.whole))
