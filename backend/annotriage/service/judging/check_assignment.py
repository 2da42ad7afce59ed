"""What happens with a verdict: whether the item becomes a spot check, and what annotators see of it.

That a task is a spot check may be known. What the model says of it stays hidden until people have answered: the prediction is empty, and
the place in the queue is drawn at random, whatever the trust, so that it tells nothing either.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from sqlalchemy import Connection

from annotriage.engine.reference import Judged
from annotriage.engine.verdict import Verdict
from annotriage.guarantee.audit import in_audit, in_sample
from annotriage.guarantee.conformal import FloatArray, hashed_places
from annotriage.model.inputs import Loaded, thumbnail
from annotriage.service.guarantee.spot_checks import SEED, audit_shares, draw_name, paused_under
from annotriage.states import AUTOMATIC_FROM, MARGIN, SHOWN, THIRD, HeldBack, Route
from annotriage.store import work
from annotriage.store.projects import Project
from annotriage.store.queue import DAYS_WORK, front_of_queue, places_of_checks
from annotriage.store.reroutings import trust_out_of_queue
from annotriage.store.spot_checks import drawn_for_none, unsettled
from annotriage.store.verdicts import Judgement
from annotriage.store.work import ClaimedItem

DRAWN_AMONG = 256  # items to come, at most, among which the least number of spot checks a week is drawn

# Where more tasks than so many wait, a worker keeps in mind how they are mixed, and reads it again after so many times what that took: in a
# large project it is read more slowly than a quick model judges.
READ_ANEW, READING_SHARE = 1_000, 20


@dataclass
class Mix:
    """How spot checks stand among the tasks that are handed out, as trusts in ascending order.

    checks: the places of those that wait; others: the trusts of the others at the front of the queue; until: when both are read again,
    on the clock of `time.monotonic`. What is placed meanwhile is added.
    """

    checks: FloatArray = field(default_factory=lambda: np.empty(0))
    others: FloatArray = field(default_factory=lambda: np.empty(0))
    until: float = 0.0

    def add(self, checks: Sequence[float], others: Sequence[float]) -> None:
        """Tasks that are handed out from now on."""
        self.checks = np.sort(np.append(self.checks, checks))
        self.others = np.sort(np.append(self.others, others))[:DAYS_WORK]


@dataclass
class DrawState:
    """What a worker keeps from one draw to the next.

    blocks: by project, reference and setting audit_share for how many more items a share holds, and the share: how many items are claimed
    at a time depends on how fast they are judged, and how many become spot checks must not. mixes: by project.
    """

    blocks: dict[tuple[int, int, float], tuple[int, float]] = field(default_factory=dict)
    mixes: dict[int, Mix] = field(default_factory=dict)


@dataclass(frozen=True)
class Draw:
    """How spot checks are drawn at the moment.

    sample, audit: shares of all items and of automatic ones. probation: datasets of whose next automatic items so many are all audited;
    counts down. handed_out: the share of spot checks among the tasks that are handed out; mix: how they stand there. paused: whether
    nothing may be automatic. drawn: items that are spot checks already and wait for people; told: of which somebody may have seen an answer
    that is no person's own. again: the items were judged before, by another reference: what people have answered since then followed its
    labels, and is no spot check any more.
    """

    sample: float
    audit: float
    probation: dict[int, int]
    handed_out: float
    mix: Mix
    paused: bool
    drawn: frozenset[int]
    told: frozenset[int]
    again: bool


def current_draw(connection: Connection, project: Project, reference_id: int, item_ids: Sequence[int], state: DrawState) -> Draw:
    """The draw for these items of the project. state: the caller's, for one draw at a time."""
    block = project.id, reference_id, project.options.audit_share
    left, share = state.blocks.get(block, (0, 0.0))
    waiting = work.waiting(connection, project.id, reference_id, DRAWN_AMONG)
    coming = left if left > 0 else max(len(item_ids), waiting)
    now, probation = audit_shares(connection, project, reference_id, coming)
    share = share if left > 0 else now
    # Where nothing else waits the block has ended, whoever judged the rest of it: what comes next week gets a share of its own.
    state.blocks[block] = coming - len(item_ids) if waiting > len(item_ids) else 0, share
    again = reference_id != project.reference_id
    return Draw(
        sample=project.options.sample_share,
        audit=share,
        probation=probation,
        handed_out=project.options.checks_handed_out,
        mix=Mix() if again else _mix(connection, project, state),  # of a reference that has not taken over nothing is handed out yet
        paused=paused_under(project, reference_id),
        drawn=unsettled(connection, item_ids),
        told=drawn_for_none(connection, item_ids),
        again=again,
    )


def _mix(connection: Connection, project: Project, state: DrawState) -> Mix:
    kept = state.mixes.get(project.id)
    began = time.monotonic()
    if kept is not None and began < kept.until:
        return kept
    checks, others = np.sort(places_of_checks(connection, project)), np.array(front_of_queue(connection, project))
    mix = state.mixes[project.id] = Mix(checks, others)
    if checks.size + others.size > READ_ANEW:
        ended = time.monotonic()
        mix.until = ended + READING_SHARE * (ended - began)
    return mix


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
    ids = [draw_name(project, row.marker, row.external_id) for row in rows]
    sample = in_sample(ids, SEED, draw.sample)
    audit = in_audit(ids, SEED, draw.audit)
    points = judged.compressed.astype(np.float16)
    found = []
    for place, (row, verdict) in enumerate(zip(rows, verdicts, strict=True)):
        dataset = row.shown_dataset_id or 0  # an id that no dataset has
        owed = draw.probation.get(dataset, 0) if verdict.route == "auto" else 0
        audited = verdict.route == "auto" and (audit[place] or owed > 0)
        spot_check = "sample" if sample[place] else "audit" if audited or row.id in draw.drawn else None
        if row.id in draw.told or (draw.again and row.answer != "open" and row.id not in draw.drawn):
            spot_check = None
        if owed and spot_check:
            draw.probation[dataset] = owed - 1
        held_back = _held_back(draw, row) if verdict.route == "auto" else None
        holds = verdict if held_back is None else replace(verdict, route=Route.UNCERTAIN, trust=verdict.trust - THIRD)
        out = row.dismissed and holds.route in ("outlier", "uncertain")
        hides = bool(spot_check) or holds.route not in SHOWN
        trust = trust_out_of_queue(holds.trust) if out else holds.trust
        shown = None if hides else holds.labels
        picture = loaded[place].picture
        face = b"" if picture is None else thumbnail(picture, side)
        point = points[place].tobytes()
        share = None if verdict.route != "auto" else 1.0 if owed > 0 else draw.audit
        found.append(Judgement(row.id, holds, verdict.route, shown, trust, spot_check, point, face, row.media_hash, held_back, share))
    return _placed(draw, ids, found)


def _placed(draw: Draw, ids: Sequence[str], found: Sequence[Judgement]) -> list[Judgement]:
    """Give spot checks their places in the queue, at random among themselves: from the front on, wherever too few stand so far."""
    checks = np.array([place for place, judgement in enumerate(found) if judgement.spot_check], dtype=int)
    checks = checks[np.argsort(hashed_places([ids[place] for place in checks], SEED, "handed out"))]
    draw.mix.add([], [one.trust for one in found if not one.spot_check and one.trust < AUTOMATIC_FROM])
    others = draw.mix.others
    before = np.searchsorted(draw.mix.checks, others)  # spot checks that stand before each of them
    wanted = np.floor(np.arange(1, others.size + 1) * draw.handed_out / max(1 - draw.handed_out, 1e-9))
    gaps = np.diff(np.maximum.accumulate([0.0, *np.clip(wanted - before, 0, checks.size)])).astype(int)
    behind = np.repeat(np.arange(others.size), gaps)[: checks.size]  # the task before which each comes
    # Where too few others wait for all of them: anywhere before what is automatic.
    low, high = np.full(checks.size, MARGIN), np.full(checks.size, AUTOMATIC_FROM - MARGIN)
    low[: behind.size], high[: behind.size] = np.concatenate([[0.0], others])[behind], others[behind]
    trusts = np.clip(low + (high - low) * hashed_places([ids[place] for place in checks], SEED, "between"), MARGIN, AUTOMATIC_FROM - MARGIN)
    placed = list(found)
    for place, trust in zip(checks.tolist(), trusts.tolist(), strict=True):
        placed[place] = replace(placed[place], trust=trust)
    draw.mix.add(trusts.tolist(), [])
    return placed


def _held_back(draw: Draw, row: ClaimedItem) -> HeldBack | None:
    """Why a person is to look at an automatic item all the same: as the surest of the uncertain ones."""
    if draw.paused:
        return HeldBack.PAUSE
    return HeldBack.PERSON if row.sent_by else None


def failed(row: ClaimedItem, verdict: Verdict) -> Judgement:
    """A failed item: nothing to show, and no spot check."""
    return Judgement(row.id, verdict, "failed", None, 0.0, None, b"", b"", row.media_hash)
