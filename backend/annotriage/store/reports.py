"""Pages about datasets that open from files, report.html and atlas.html: what goes into them, and where they are kept once made."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, ScalarSelect, func, select

from annotriage.states import Time
from annotriage.store.blindness import is_hidden, keeps_class, shown_verdict
from annotriage.store.browsing import OF_VERDICT, Judged, judged_of, unnamed
from annotriage.store.counters import chunks
from annotriage.store.database import insert
from annotriage.store.files import drop_unused, store_file
from annotriage.store.projects import Project
from annotriage.store.schema import item, item_dataset, point, report, stored_file, thumbnail, verdict

REPORT, ATLAS = "report", "atlas"  # the kinds of pages, and of the jobs that make them


@dataclass(frozen=True, slots=True)
class Full:
    """An item with its verdict, its point and its picture. name: of the task, or of what was pushed. compressed: (n,) float16 as bytes."""

    item_id: int
    name: str
    media: str
    route: str
    compressed: bytes | None
    picture: bytes | None
    verdict: Judged


@dataclass(frozen=True, slots=True)
class ReportFile:
    """The latest page of a kind about a dataset. size: of the file, in bytes."""

    stored_file_id: int
    at: Time
    size: int


def items_in_full(connection: Connection, reference_id: int, item_ids: Sequence[int]) -> dict[int, Full]:
    """Items with all that a report shows of them, by id, those left out whose verdict is hidden."""
    found: dict[int, Full] = {}
    placed = (point.c.item_id == item.c.id) & (point.c.reference_id == reference_id)
    name = func.coalesce(item.c.external_id, item.c.marker)
    of_item = (item.c.id, name, item.c.media, verdict.c.route, point.c.compressed, thumbnail.c.content)
    query = (
        select(*of_item, item.c.sent_by, item.c.answer, *OF_VERDICT)
        .select_from(item)
        .join(verdict, shown_verdict(reference_id))
        .outerjoin(point, placed)
        .outerjoin(thumbnail, thumbnail.c.item_id == item.c.id)
    )
    for ids in chunks(item_ids):
        for row in connection.execute(query.where(item.c.id.in_(ids))):
            id, called, media, route, compressed, picture, sent_by, answer, *of_verdict = tuple(row)
            judged = judged_of(of_verdict, sent_by=sent_by)
            shown = unnamed(judged) if keeps_class(route, answer) else judged
            found[id] = Full(id, called, media, route, compressed, picture, shown)
    return found


def hidden_among(connection: Connection, item_ids: Sequence[int]) -> frozenset[int]:
    """Those of the items that people are asked about blind."""
    query = select(item.c.id).where(is_hidden(item.c.id))
    return frozenset(id for ids in chunks(item_ids) for id in connection.execute(query.where(item.c.id.in_(ids))).scalars())


def waiting_in(connection: Connection, project: Project, dataset_id: int | ScalarSelect[int], limit: int) -> list[int]:
    """The items of a dataset that wait for a person, those that could not be judged first, then the strangest."""
    query = (
        select(item.c.id)
        .join(item_dataset, item_dataset.c.item_id == item.c.id)
        .join(verdict, (verdict.c.item_id == item.c.id) & (verdict.c.reference_id == project.reference_id))
        .where(item_dataset.c.dataset_id == dataset_id, verdict.c.route != "auto")
        .where(item.c.answer != "resolved", ~item.c.labelled, ~item.c.gone)
        .order_by(verdict.c.trust, item.c.id)
        .limit(limit)
    )
    return list(connection.execute(query).scalars())


def keep_report(connection: Connection, dataset_id: int, kind: str, file: Path) -> None:
    """Keep a page of a kind about a dataset in the place of the one before."""
    values = {"dataset_id": dataset_id, "kind": kind, "stored_file_id": store_file(connection, file), "at": time.time()}
    add = insert(connection, report).values(values)
    connection.execute(add.on_conflict_do_update(index_elements=["dataset_id", "kind"], set_=values))
    drop_unused(connection)


def report_of(connection: Connection, dataset_id: int, kind: str) -> ReportFile | None:
    """The latest page of a kind about a dataset; None before the first."""
    query = select(report.c.stored_file_id, report.c.at, stored_file.c.size).join(stored_file, stored_file.c.id == report.c.stored_file_id)
    row = connection.execute(query.where(report.c.dataset_id == dataset_id, report.c.kind == kind)).one_or_none()
    return None if row is None else ReportFile(*row)
