"""Verdicts: what was judged, written together with all that follows from it, and read again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, bindparam, func, select, update

from annotriage.store import deliveries, field_writes
from annotriage.store.counters import chunks, recounted
from annotriage.store.database import insert
from annotriage.store.projects import Project
from annotriage.store.schema import counter, dataset, item, point, spot_check, thumbnail, verdict

if TYPE_CHECKING:  # the web process never loads what judges
    from annotriage.engine.verdict import Verdict

SEEN_AT_LEAST = 50  # outliers from which on the range of their trust is known
USUAL_TRUSTS = (0.02, 0.12)  # before that: where most outliers lie, whatever the model


@dataclass(frozen=True, slots=True)
class Judgement:
    """One item's verdict, and what is to happen with it.

    judged: the route before a pause took `auto` away; `verdict.route` is what holds. shown: the labels that annotators see (None
    hides them) and trust: by which the tool sorts it: both differ from the verdict's for spot checks. spot_check: "sample" | "audit" |
    None. compressed: (n,) float16 as bytes, b"" of a failed item. thumbnail: b"" for none. media_hash: of the medium that was judged;
    None where it cannot have changed since.
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


def record(connection: Connection, project: Project, reference_id: int, judgements: Sequence[Judgement]) -> list[int]:
    """Write verdicts, counts, spot checks and deliveries; a repeat changes nothing. For the project's present reference the queue, too.

    Returns the items that this was done for: all but those that are gone, or show something else than what was judged.
    """
    judgements = _of_what_is_shown(connection, judgements)
    if not judgements:
        return []
    now = time.time()
    ids = [one.item_id for one in judgements]
    with recounted(connection, ids):
        _write_verdicts(connection, project, reference_id, judgements, now)
        if reference_id == project.reference_id:
            rows = [{"of": one.item_id, "to_route": one.verdict.route, "to_trust": one.trust} for one in judgements]
            of_it = update(item).where(item.c.id == bindparam("of"))
            connection.execute(of_it.values(route=bindparam("to_route"), trust=bindparam("to_trust")), rows)
    _write_pictures(connection, reference_id, judgements)
    _write_spot_checks(connection, project, reference_id, judgements, now)
    if project.watch:
        return ids
    deliveries.enqueue(
        connection,
        [
            {
                "item_id": one.item_id,
                "reference_id": reference_id,
                "project_id": project.id,
                "labels": None if one.shown is None else list(one.shown),
                "trust": one.trust,
            }
            for one in judgements
        ],
    )
    if project.options.item_fields and reference_id == project.reference_id:
        for_people = {one.item_id: one.trust for one in judgements if one.verdict.route != "auto" or one.spot_check}
        field_writes.queue(connection, project.id, for_people, [id for id in ids if id not in for_people])
    return ids


def _of_what_is_shown(connection: Connection, judgements: Sequence[Judgement]) -> list[Judgement]:
    """The judgements on what their items show now, which nobody can change until the transaction ends."""
    shown: dict[int, str] = {}
    for ids in chunks([judgement.item_id for judgement in judgements]):
        query = select(item.c.id, item.c.media_hash).where(item.c.id.in_(ids)).order_by(item.c.id).with_for_update()
        shown |= {row.id: row.media_hash for row in connection.execute(query)}
    return [
        judgement for judgement in judgements if judgement.item_id in shown and judgement.media_hash in (None, shown[judgement.item_id])
    ]


def strange_trusts(connection: Connection, project_id: int, reference_id: int) -> tuple[float, float]:
    """The trust of the strangest outlier so far and that of the strangest tenth's last; of few outliers a usual range."""
    of_them = (verdict.c.project_id == project_id, verdict.c.reference_id == reference_id, verdict.c.route == "outlier")
    counted = select(func.sum(counter.c.n)).join(dataset, dataset.c.id == counter.c.dataset_id)
    every = (
        dataset.c.project_id == project_id,
        dataset.c.kind == "all",
        counter.c.reference_id == reference_id,
        counter.c.route == "outlier",
    )
    count = int(connection.execute(counted.where(*every)).scalar_one() or 0)
    if count < SEEN_AT_LEAST:
        return USUAL_TRUSTS
    ordered = select(verdict.c.trust).where(*of_them).order_by(verdict.c.trust)
    first, last = (connection.execute(ordered.offset(place).limit(1)).scalar_one_or_none() for place in (0, count // 10))
    return USUAL_TRUSTS if first is None or last is None else (float(first), float(last))


def _write_verdicts(connection: Connection, project: Project, reference_id: int, judgements: Sequence[Judgement], now: float) -> None:
    rows = [
        {
            "item_id": one.item_id,
            "reference_id": reference_id,
            "project_id": project.id,
            "route": one.verdict.route,
            "judged": one.judged,
            "labels": list(one.verdict.labels),
            "label": " + ".join(one.verdict.labels),
            "cluster": one.verdict.cluster,
            "confidence": one.verdict.confidence,
            "sureness": one.verdict.sureness,
            "score": one.verdict.score,
            "class_score": one.verdict.class_score,
            "source_score": one.verdict.source_score,
            "members": dict(one.verdict.members),
            "p_value": one.verdict.p_value,
            "outlier_score": one.verdict.outlier_score,
            "trust": one.verdict.trust,
            "shown_trust": one.trust,
            "reason": one.verdict.reason,
            "seconds": one.verdict.seconds,
            "at": now,
        }
        for one in judgements
    ]
    add = insert(connection, verdict)
    kept = ("item_id", "reference_id", "project_id")
    values = {name: add.excluded[name] for name in rows[0] if name not in kept}
    connection.execute(add.on_conflict_do_update(index_elements=["item_id", "reference_id"], set_=values), rows)


def _write_pictures(connection: Connection, reference_id: int, judgements: Sequence[Judgement]) -> None:
    points = [{"item_id": one.item_id, "reference_id": reference_id, "compressed": one.compressed} for one in judgements if one.compressed]
    if points:
        add = insert(connection, point)
        values = {"compressed": add.excluded.compressed}
        connection.execute(add.on_conflict_do_update(index_elements=["item_id", "reference_id"], set_=values), points)
    pictures = [{"item_id": one.item_id, "content": one.thumbnail} for one in judgements if one.thumbnail]
    if pictures:
        add = insert(connection, thumbnail)
        connection.execute(add.on_conflict_do_update(index_elements=["item_id"], set_={"content": add.excluded.content}), pictures)


def _write_spot_checks(connection: Connection, project: Project, reference_id: int, judgements: Sequence[Judgement], now: float) -> None:
    """Draw spot checks; one that was drawn before stays as it is."""
    drawn = [one for one in judgements if one.spot_check]
    if not drawn:
        return
    shown: dict[int, int | None] = {}
    for ids in chunks([one.item_id for one in drawn]):
        query = select(item.c.id, item.c.shown_dataset_id).where(item.c.id.in_(ids))
        shown |= {row.id: row.shown_dataset_id for row in connection.execute(query)}
    rows = [
        {
            "item_id": one.item_id,
            "project_id": project.id,
            "reference_id": reference_id,
            "kind": one.spot_check,
            "route": one.judged,
            "dataset_id": shown.get(one.item_id),
            "state": "open",
            "drawn_at": now,
        }
        for one in drawn
    ]
    connection.execute(insert(connection, spot_check).on_conflict_do_nothing(index_elements=["item_id"]), rows)
