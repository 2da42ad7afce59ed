"""What happens with a verdict: whether the item becomes a spot check, and what annotators see of it.

Spot checks must not be recognisable: they get an empty prediction and a trust among the strangest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from sqlalchemy import Connection

from annotriage.engine.reference import Judged
from annotriage.engine.verdict import Verdict
from annotriage.guarantee.audit import in_audit, in_sample
from annotriage.guarantee.conformal import hashed_places
from annotriage.model.inputs import Loaded, thumbnail
from annotriage.service.guarantee.spot_checks import audit_shares, paused_under
from annotriage.states import SHOWN, THIRD, HeldBack, Route
from annotriage.store.projects import Project
from annotriage.store.reroutings import trust_out_of_queue
from annotriage.store.spot_checks import unsettled
from annotriage.store.verdicts import Judgement, strange_trusts
from annotriage.store.work import ClaimedItem

SEED = 0  # of the draws: an item is a spot check or none, whichever reference judges it


@dataclass(frozen=True)
class Draw:
    """How spot checks are drawn at the moment.

    sample, audit: shares of all items and of automatic ones. probation: datasets of whose next automatic items so many are all audited;
    counts down. strangest: the range of trust among which a spot check hides. paused: whether nothing may be automatic. drawn: items that
    are spot checks already and wait for people. again: the items were judged before, by another reference: what people have answered since
    then followed its labels, and is no spot check any more.
    """

    sample: float
    audit: float
    probation: dict[int, int]
    strangest: tuple[float, float]
    paused: bool
    drawn: frozenset[int]
    again: bool


def current_draw(connection: Connection, project: Project, reference_id: int, item_ids: Sequence[int]) -> Draw:
    """The draw for these items of the project."""
    share, probation = audit_shares(connection, project, reference_id, len(item_ids))
    return Draw(
        sample=project.options.sample_share,
        audit=share,
        probation=probation,
        strangest=strange_trusts(connection, project.id, reference_id),
        paused=paused_under(project, reference_id),
        drawn=unsettled(connection, item_ids),
        again=reference_id != project.reference_id,
    )


def judgements(
    project: Project,
    draw: Draw,
    rows: Sequence[ClaimedItem],
    verdicts: Sequence[Verdict],
    judged: Judged,
    loaded: Sequence[Loaded],
    side: int,
) -> list[Judgement]:
    """What is to be stored and shown of N scored items. rows: their items; side: of a thumbnail, in pixels."""
    ids = [draw_id(project, row) for row in rows]
    sample = in_sample(ids, SEED, draw.sample)
    audit = in_audit(ids, SEED, draw.audit)
    low, high = draw.strangest
    hidden = low + (high - low) * hashed_places(ids, SEED, "shown")
    points = judged.compressed.astype(np.float16)
    found = []
    for place, (row, verdict) in enumerate(zip(rows, verdicts, strict=True)):
        dataset = row.shown_dataset_id or 0  # an id that no dataset has
        owed = draw.probation.get(dataset, 0) if verdict.route == "auto" else 0
        audited = verdict.route == "auto" and (audit[place] or owed > 0)
        spot_check = "sample" if sample[place] else "audit" if audited or row.id in draw.drawn else None
        if draw.again and row.answer != "open" and row.id not in draw.drawn:
            spot_check = None
        if owed and spot_check:
            draw.probation[dataset] = owed - 1
        held_back = _held_back(draw, row) if verdict.route == "auto" else None
        holds = verdict if held_back is None else replace(verdict, route=Route.UNCERTAIN, trust=verdict.trust - THIRD)
        out = row.dismissed and holds.route in ("outlier", "uncertain")
        hides = bool(spot_check) or not (out or holds.route in SHOWN)
        trust = float(hidden[place]) if spot_check else trust_out_of_queue(holds.trust) if out else holds.trust
        shown = None if hides else holds.labels
        picture = loaded[place].picture
        face = b"" if picture is None else thumbnail(picture, side)
        point = points[place].tobytes()
        found.append(Judgement(row.id, holds, verdict.route, shown, trust, spot_check, point, face, row.media_hash, held_back))
    return found


def _held_back(draw: Draw, row: ClaimedItem) -> HeldBack | None:
    """Why a person is to look at an automatic item all the same: as the surest of the uncertain ones."""
    if draw.paused:
        return HeldBack.PAUSE
    return HeldBack.PERSON if row.sent_by else None


def failed(row: ClaimedItem, verdict: Verdict) -> Judgement:
    """A failed item: nothing to show, and no spot check."""
    return Judgement(row.id, verdict, "failed", None, 0.0, None, b"", b"", row.media_hash)


def draw_id(project: Project, row: ClaimedItem) -> str:
    """The name of an item in draws: the same however often the database is made anew."""
    return f"{project.external_id}:{row.marker or row.external_id}"
