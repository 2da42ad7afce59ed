"""Verdicts: what was judged, written together with all that follows from it, and read again."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Insert, bindparam, select, update

from annotriage.states import HeldBack
from annotriage.store import deliveries, field_writes
from annotriage.store.counters import chunks, one_of, recounted
from annotriage.store.database import execute_columns, insert_on
from annotriage.store.first_answers import keep_those_answered
from annotriage.store.locks import lock_items
from annotriage.store.places import put_settled_in_place
from annotriage.store.projects import Project
from annotriage.store.schema import item, point, spot_check, thumbnail, verdict
from annotriage.store.spot_checks import drawn_for_none

if TYPE_CHECKING:  # the web process never loads what judges
    from annotriage.engine.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Judgement:
    """One item's verdict, and what is to happen with it.

    judged: the model's own route; `verdict.route` is what holds, and held_back says why if that is another one. shown: the labels that
    annotators see (None hides them) and trust: its place in the tool's queue: both differ from the verdict's for spot checks. spot_check:
    "sample" | "audit" | None. compressed: (n,) float16 as bytes, b"" of a failed item. thumbnail: b"" for none. media_hash: of the
    medium that was judged; None where it cannot have changed since. share: of the automatic items of
    its time that become spot checks.
    """

    item_id: int
    verdict: Verdict
    judged: str
    shown: tuple[str, ...] | None
    trust: float
    spot_check: str | None
    compressed: bytes
    thumbnail: bytes
    media_hash: str | None = None
    held_back: HeldBack | None = None
    share: float | None = None


def record(connection: Connection, project: Project, reference_id: int, judgements: Sequence[Judgement]) -> list[int]:
    """Write verdicts, counts, spot checks and deliveries; a repeat changes nothing. For the project's current reference the queue, too.

    Returns the items that this was done for: all but those that are gone, or show something else than what was judged, or are to be drawn
    anew, as an answer is on its way to them since they were drawn for a check.
    """
    judgements = _still_drawn(connection, _of_what_is_shown(connection, judgements))
    if not judgements:
        return []
    now = time.time()
    ids = [judgement.item_id for judgement in judgements]
    with recounted(connection, ids):
        _write_verdicts(connection, project, reference_id, judgements, now)
        if reference_id == project.reference_id:
            places: dict[str, Sequence[Any]] = {
                "to_route": [judgement.verdict.route for judgement in judgements],
                "to_trust": [judgement.trust for judgement in judgements],
            }
            execute_columns(connection, _ROUTED, {"of": ids, **places})
        _write_spot_checks(connection, project, reference_id, judgements, now)
        if reference_id == project.reference_id:
            elsewhere = [judgement.item_id for judgement in judgements if judgement.trust != judgement.verdict.trust]
            put_settled_in_place(connection, elsewhere)  # drawn before, and answered: nothing of it is hidden any more
    keep_those_answered(connection, ids)
    _write_pictures(connection, reference_id, judgements)
    if project.watch:
        return ids
    sent: dict[str, Sequence[Any]] = {
        "item_id": ids,
        "reference_id": [reference_id] * len(ids),
        "project_id": [project.id] * len(ids),
        "labels": [judgement.shown for judgement in judgements],
        "trust": [judgement.trust for judgement in judgements],
    }
    deliveries.enqueue_columns(connection, sent)
    if project.options.item_fields and reference_id == project.reference_id:
        for_people = {
            judgement.item_id: field_writes.FIRST if judgement.spot_check else judgement.trust
            for judgement in judgements
            if judgement.verdict.route != "auto" or judgement.spot_check
        }
        field_writes.queue(connection, project.id, for_people, [id for id in ids if id not in for_people])
    return ids


_SHOWN = select(item.c.id, item.c.media_hash)


def _of_what_is_shown(connection: Connection, judgements: Sequence[Judgement]) -> list[Judgement]:
    """The judgements on what their items show now, which nobody can change until the transaction ends."""
    shown: dict[int, str] = {}
    wanted = [judgement.item_id for judgement in judgements]
    lock_items(connection, wanted)
    for some in one_of(connection, item.c.id, wanted):
        shown.update(connection.execute(_SHOWN.where(some)).all())  # an attribute of a row takes longer than to find it
    return [
        judgement for judgement in judgements if judgement.item_id in shown and judgement.media_hash in (None, shown[judgement.item_id])
    ]


def _still_drawn(connection: Connection, judgements: list[Judgement]) -> list[Judgement]:
    """All but those whose check would not be blind."""
    told = drawn_for_none(connection, [judgement.item_id for judgement in judgements if judgement.spot_check])
    return [judgement for judgement in judgements if judgement.item_id not in told] if told else judgements


def _write_verdicts(connection: Connection, project: Project, reference_id: int, judgements: Sequence[Judgement], now: float) -> None:
    n, found = len(judgements), [judgement.verdict for judgement in judgements]
    columns: dict[str, Sequence[Any]] = {
        "item_id": [judgement.item_id for judgement in judgements],
        "reference_id": [reference_id] * n,
        "project_id": [project.id] * n,
        "route": [one.route for one in found],
        "judged": [judgement.judged for judgement in judgements],
        "held_back": [judgement.held_back for judgement in judgements],
        "labels": [one.labels for one in found],
        "label": [" + ".join(one.labels) for one in found],
        "cluster": [one.cluster for one in found],
        "confidence": [one.confidence for one in found],
        "sureness": [one.sureness for one in found],
        "score": [one.score for one in found],
        "class_score": [one.class_score for one in found],
        "source_score": [one.source_score for one in found],
        "members": [_plain(one.members) for one in found],
        "p_value": [one.p_value for one in found],
        "outlier_score": [one.outlier_score for one in found],
        "trust": [one.trust for one in found],
        "shown_trust": [judgement.trust for judgement in judgements],
        "reason": [one.reason for one in found],
        "failure": [one.failure for one in found],
        "seconds": [one.seconds for one in found],
        "at": [now] * n,
    }
    execute_columns(connection, _adding_verdicts(connection.dialect.name), columns)


def _plain(members: Mapping[str, float]) -> dict[str, float]:
    """The same as a dictionary. It is not copied: a thousand new ones let Python look for garbage among all that it holds."""
    return members if type(members) is dict else dict(members)


# Statements of each batch are made once: to make and compile them takes as long as to write a hundred rows.


@lru_cache(2)
def _adding_verdicts(dialect: str) -> Insert:
    add, kept = insert_on(dialect, verdict), ("item_id", "reference_id", "project_id")
    values = {column.name: add.excluded[column.name] for column in verdict.c if column.name not in kept}
    written: Insert = add.on_conflict_do_update(index_elements=["item_id", "reference_id"], set_=values)
    return written


@lru_cache(2)
def _adding_points(dialect: str) -> Insert:
    add = insert_on(dialect, point)
    values = {"compressed": add.excluded.compressed, "fingerprint": None}  # it may show something else now
    written: Insert = add.on_conflict_do_update(index_elements=["item_id", "reference_id"], set_=values)
    return written


@lru_cache(2)
def _adding_thumbnails(dialect: str) -> Insert:
    add = insert_on(dialect, thumbnail)
    written: Insert = add.on_conflict_do_update(index_elements=["item_id"], set_={"content": add.excluded.content})
    return written


_ROUTED = update(item).where(item.c.id == bindparam("of")).values(route=bindparam("to_route"), trust=bindparam("to_trust"))


def _write_pictures(connection: Connection, reference_id: int, judgements: Sequence[Judgement]) -> None:
    pointed = [judgement for judgement in judgements if judgement.compressed]
    if pointed:
        points: dict[str, Sequence[Any]] = {
            "item_id": [judgement.item_id for judgement in pointed],
            "reference_id": [reference_id] * len(pointed),
            "compressed": [judgement.compressed for judgement in pointed],
        }
        execute_columns(connection, _adding_points(connection.dialect.name), points)
    pictured = [judgement for judgement in judgements if judgement.thumbnail]
    if pictured:
        pictures: dict[str, Sequence[Any]] = {
            "item_id": [judgement.item_id for judgement in pictured],
            "content": [judgement.thumbnail for judgement in pictured],
        }
        execute_columns(connection, _adding_thumbnails(connection.dialect.name), pictures)


def _write_spot_checks(connection: Connection, project: Project, reference_id: int, judgements: Sequence[Judgement], now: float) -> None:
    """Draw spot checks; one that was drawn before stays as it is."""
    drawn = [judgement for judgement in judgements if judgement.spot_check]
    if not drawn:
        return
    shown: dict[int, int | None] = {}
    for ids in chunks([judgement.item_id for judgement in drawn]):
        query = select(item.c.id, item.c.shown_dataset_id).where(item.c.id.in_(ids))
        shown |= {row.id: row.shown_dataset_id for row in connection.execute(query)}
    rows = [
        {
            "item_id": judgement.item_id,
            "project_id": project.id,
            "reference_id": reference_id,
            "kind": judgement.spot_check,
            "route": judgement.judged,
            "share": judgement.share,
            "dataset_id": shown.get(judgement.item_id),
            "state": "open",
            "drawn_at": now,
        }
        for judgement in drawn
    ]
    connection.execute(_adding_spot_checks(connection.dialect.name), rows)


@lru_cache(2)
def _adding_spot_checks(dialect: str) -> Insert:
    written: Insert = insert_on(dialect, spot_check).on_conflict_do_nothing(index_elements=["item_id"])
    return written
