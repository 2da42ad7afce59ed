"""Spot checks watch the guarantee: answers settle them, the alarm listens to them, and datasets pass their probation by them.

What computes is imported where it is used, so that whoever only asks for a share stays light.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from annotriage.errors import ToolGone
from annotriage.labeling_tool import Review
from annotriage.service.intake.answers import Checked, checked
from annotriage.service.operations.log import log
from annotriage.states import SHOWN, Alarm, EventKind, SpotCheckState
from annotriage.store import spot_checks
from annotriage.store.events import note
from annotriage.store.locks import lock_items
from annotriage.store.projects import Project, end_alarm, raise_alarm
from annotriage.store.references import get_reference
from annotriage.store.reviews import reviews_of
from annotriage.store.spot_checks import Move, SpotCheck

if TYPE_CHECKING:
    from annotriage.guarantee.audit import BoolArray, Probation
    from annotriage.service.operations.process import Process

SKEW_SECONDS = 5.0  # that the labeling tool's clock may be behind
MOST_OUTSTANDING = 50  # unanswered spot checks of automatic labels with which machine labels still become annotations
OLDEST_DAYS = 7.0
DAY = 86_400.0
SEED = 0  # of the draws: an item is a spot check or none, whichever reference judges it


@dataclass(frozen=True)
class Standing:
    """How the guarantee stands by the spot checks of labels that the current reference gives by itself.

    answers, wrong: what people said; contradicted: of the wrong ones, those on which one person's word awaits a second answer. low, high:
    limits of the error that hold at all times. recent_*: the last 500 on their own. bound: one-sided upper limit of the error, those that
    nobody has answered for a week counted as wrong (`late` ones: skipped or left); bound_if_wrong: should all unanswered ones be wrong.
    level: of the alarm, 0 at rest, 1 rings;
    ringing: it stopped `auto`; wrong_until_alarm: how many wrong ones in a row would; until_alarm: answers it usually takes until a
    doubled error is found (None: too many to say). outstanding: spot checks not settled; oldest_days: since when, None without any.
    sample_answers, sample_drawn: spot checks of the sample, whatever their route; sample_needed: how many answers a recalibration
    takes, in all.
    """

    max_error: float
    answers: int
    wrong: int
    contradicted: int
    low: float
    high: float
    recent_answers: int
    recent_wrong: int
    recent_low: float
    recent_high: float
    bound: float
    bound_if_wrong: float
    late: int
    level: float
    ringing: bool
    wrong_until_alarm: int
    until_alarm: float | None
    outstanding: int
    oldest_days: float | None
    sample_answers: int
    sample_drawn: int
    sample_needed: int


def standing(connection: Connection, project: Project) -> Standing:
    """How the guarantee stands at this moment."""
    from annotriage.guarantee.audit import alarm_levels, recent, time_uniform_interval, wrong_until_alarm
    from annotriage.guarantee.binomial import upper_bound

    guarantee = _guarantee(connection, project.reference_id)
    max_error, confidence = error_limit(guarantee), float(guarantee["confidence"])
    heard = _heard(connection, project)
    wrong, contradicted = heard.wrong, int((~heard.confirmed).sum())
    errors, n = int(wrong.sum()), len(wrong)
    low, high = time_uniform_interval(errors, n, confidence)
    latest = recent(wrong, confidence=confidence)
    waiting, oldest = spot_checks.outstanding(connection, project.id, project.reference_id)
    unanswered = max(0, waiting - contradicted)
    late = spot_checks.open_since(connection, project.id, project.reference_id, time.time() - OLDEST_DAYS * DAY)
    answered, drawn = spot_checks.sample_size(connection, project.id)
    return Standing(
        max_error=max_error,
        answers=n,
        wrong=errors,
        contradicted=contradicted,
        low=low,
        high=high,
        recent_answers=latest.n,
        recent_wrong=latest.wrong,
        recent_low=latest.low,
        recent_high=latest.high,
        bound=float(upper_bound(errors + late, n + late, confidence)),
        bound_if_wrong=float(upper_bound(errors + unanswered, n + unanswered, confidence)),
        late=late,
        level=float(alarm_levels(wrong, max_error)[-1]) if n else 0.0,
        ringing=project.alarm is not None,
        wrong_until_alarm=wrong_until_alarm(wrong, max_error),
        until_alarm=_answers_until_alarm(max_error),
        outstanding=waiting,
        oldest_days=None if oldest is None else max(0.0, time.time() - oldest) / DAY,
        sample_answers=answered,
        sample_drawn=drawn,
        sample_needed=sample_needed(guarantee),
    )


def settle(connection: Connection, project: Project, item_ids: Sequence[int]) -> None:
    """Compare people's answers on the spot checks among these items with the model's; a settled one moves the alarm."""
    changed = _changed(connection, item_ids, lock=True)
    spot_checks.move(connection, [Move(row.item_id, row.state, now.state, now.labels, now.at) for row, now in changed])
    if any(row.route == "auto" for row, _ in changed):
        listen(connection, project)


def listen(connection: Connection, project: Project) -> None:
    """Stop `auto` if the alarm rings: by what people confirmed until a recalibration, by one person's word until others say otherwise."""
    heard = _heard(connection, project)
    confirmed = _alarm(connection, project, heard.wrong[heard.confirmed])
    alarm = confirmed or _alarm(connection, project, heard.wrong, unconfirmed=int((~heard.confirmed).sum()))
    if alarm is None:
        if end_alarm(connection, project.id):
            note(connection, project.id, EventKind.ALARM_OVER)
            log("alarm over", project=project.external_id)
    elif raise_alarm(connection, project.id, alarm):
        note(connection, project.id, EventKind.ALARM, project=project.external_id, **asdict(alarm))
        log("alarm", project=project.external_id, **asdict(alarm))


def _alarm(connection: Connection, project: Project, wrong: BoolArray, unconfirmed: int = 0) -> Alarm | None:
    """The alarm, if it has rung while it heard these answers. unconfirmed: so many of them rest on one person's word."""
    from annotriage.guarantee.audit import alarm_levels, time_uniform_interval

    guarantee = _guarantee(connection, project.reference_id)
    max_error = error_limit(guarantee)
    if not len(wrong) or alarm_levels(wrong, max_error).max() < 1:
        return None
    errors = int(wrong.sum())
    low, high = time_uniform_interval(errors, len(wrong), float(guarantee["confidence"]))
    return Alarm(errors, len(wrong), low, high, max_error, time.time(), unconfirmed)


def draw_name(project: Project, marker: str | None, external_id: str | None) -> str:
    """The name of an item in draws: the same however often the database is made anew."""
    return f"{project.external_id}:{marker or external_id}"


def paused_under(project: Project, reference_id: int) -> bool:
    """Whether labels of that reference may not be automatic now. The alarm says nothing of the reference that will take over."""
    return project.pause is not None if reference_id == project.next_reference_id else project.paused


def tend_spot_checks(process: Process, project: Project) -> None:
    """Settle spot checks that people had answered before they were drawn, and ask for second answers. Raises ToolError."""
    with process.store.reading() as connection:
        early = spot_checks.answered_meanwhile(connection, project.id)
        settled = bool(_changed(connection, early))
    if settled:
        with process.store.writing() as connection:
            lock_items(connection, early)
            settle(connection, project, early)
    ask_for_second_answers(process, project)


def ask_for_second_answers(process: Process, project: Project) -> None:
    """Let a second person answer the spot checks on which one disagreed with the model. Raises ToolError."""
    if project.watch or project.gone:
        return
    with process.store.reading() as connection:
        rows = [row for row in spot_checks.unconfirmed(connection, project.id) if row.wanted <= row.people]
    for row in rows:
        try:
            process.tool_project(project).ask_again(row.external_id, row.people + 1)
        except ToolGone:  # a task was deleted: following finds out which
            continue
        with process.store.writing() as connection:
            spot_checks.asked_again(connection, row.item_id, row.people + 1)
        log("second answer wanted", project=project.external_id, item=row.external_id)


def audit_shares(
    connection: Connection, project: Project, reference_id: int | None = None, coming: int = 0
) -> tuple[float, dict[int, int]]:
    """The share of automatic items that people check blind; and, of datasets on probation, how many of the next ones they all check.

    reference_id: the reference whose labels are checked, by default the current one. coming: items that the share is for, so
    that the first thousand of a project are not all checked. The setting audit_share = 0 switches the audit off.
    """
    from annotriage.guarantee.audit import audit_share

    reference_id = reference_id or project.reference_id
    per_week = spot_checks.automatic_per_week(connection, project.id, reference_id) + coming
    share = max(project.options.audit_share, audit_share(per_week)) if project.options.audit_share else 0.0
    if project.options.accept != "annotate":
        return share, {}
    return share, _owed(connection, project, reference_id)


def passed_probation(connection: Connection, project: Project) -> frozenset[int]:
    """The datasets whose machine labels may become annotations: their error limit is shown, what is still open counted as wrong."""
    guarantee = _guarantee(connection, project.reference_id)
    drawn = spot_checks.drawn_by_dataset(connection, project.id, project.reference_id)
    return frozenset(id for id, states in drawn.items() if _probation([state != "right" for state, _ in states], guarantee).passed)


def error_limit(guarantee: dict[str, Any]) -> float:
    """The largest share of wrong labels that keeps the guarantee: what spot checks are held against. guarantee: of the reference's facts.

    Less than what is guaranteed where errors cost unlike amounts: a dear error counts as one.
    """
    most = guarantee.get("most_wrong")
    return float(guarantee["max_error"] if most is None else most)


def sample_needed(guarantee: dict[str, Any]) -> int:
    """How many answers on the sample a recalibration takes: so many that the limit can be shown if none of them is wrong.

    guarantee: of the reference's facts. The surest n_0 must be automatic: a share like that under the current reference, or half.
    """
    from math import ceil

    from annotriage.guarantee.binomial import attempt_confidence
    from annotriage.guarantee.ranking import EXPECTED_COVERAGE, least_items

    least = least_items(float(guarantee["max_error"]), guarantee.get("dearest"), attempt_confidence(float(guarantee["confidence"]), 1))
    share = float(guarantee["coverage"]) if guarantee["auto"] else EXPECTED_COVERAGE
    return ceil(least / max(share, EXPECTED_COVERAGE / 2))


def _changed(connection: Connection, item_ids: Sequence[int], *, lock: bool = False) -> list[tuple[SpotCheck, Checked]]:
    """The spot checks among these items whose state is not the one that their reviews come to, with that one."""
    rows = spot_checks.spot_checks_of(connection, item_ids, lock=lock)  # before the reviews: what another worker just wrote is read
    given = reviews_of(connection, [row.item_id for row in rows])
    found = [(row, _state(row, given)) for row in rows]
    return [(row, now) for row, now in found if (now.state, now.labels, now.at) != (row.state, row.given, row.answered_at)]


def _state(row: SpotCheck, given: dict[int, list[Review]]) -> Checked:
    reviews = given.get(row.item_id, [])
    if row.decided_by is not None and not any(review.ground_truth for review in reviews):
        return Checked(row.state, row.given, row.answered_at)
    if row.again:  # an answer from before the draw may have followed an earlier reference's label
        reviews = [review for review in reviews if review.updated_at >= row.drawn_at - SKEW_SECONDS]
    return checked(reviews, row.labels, confirmed=row.route in SHOWN)  # elsewhere the model claims nothing: one person's word is enough


@dataclass(frozen=True)
class _Heard:
    """Answers on automatic labels, in their order. wrong: (n,) bool; confirmed: (n,) bool, False where it is one person's word so far."""

    wrong: BoolArray
    confirmed: BoolArray


def _heard(connection: Connection, project: Project) -> _Heard:
    import numpy as np

    states = spot_checks.automatic_answers(connection, project.id, project.reference_id)
    wrong = np.array([state != SpotCheckState.RIGHT for state in states], dtype=bool)
    return _Heard(wrong, np.array([state != SpotCheckState.DISAGREED for state in states], dtype=bool))


def _owed(connection: Connection, project: Project, reference_id: int) -> dict[int, int]:
    """How many more spot checks datasets need for their probation, should those that are out be right; too old ones count as wrong."""
    guarantee = _guarantee(connection, reference_id)
    old = time.time() - OLDEST_DAYS * DAY
    drawn = spot_checks.drawn_by_dataset(connection, project.id, reference_id)
    owed = {}
    for id in spot_checks.datasets_of(connection, project.id):
        lost = [state in ("wrong", "disagreed") or (state != "right" and at < old) for state, at in drawn.get(id, ())]
        next_at = _probation(lost, guarantee).next_at
        if next_at is not None:
            owed[id] = next_at - len(lost)
    return owed


def _probation(wrong: Sequence[bool], guarantee: dict[str, Any]) -> Probation:
    return _probation_of(bytes(wrong), error_limit(guarantee), float(guarantee["confidence"]))


@lru_cache(maxsize=4096)
def _probation_of(wrong: bytes, max_error: float, confidence: float) -> Probation:
    import numpy as np

    from annotriage.guarantee.audit import probation

    return probation(np.frombuffer(wrong, dtype=bool), max_error, confidence)


@lru_cache(maxsize=64)
def _answers_until_alarm(max_error: float) -> float | None:
    from math import isfinite

    from annotriage.guarantee.audit import answers_until_alarm

    answers = answers_until_alarm(min(2 * max_error, 0.9), max_error)
    return answers if isfinite(answers) else None


def _guarantee(connection: Connection, reference_id: int) -> dict[str, Any]:
    guarantee: dict[str, Any] = get_reference(connection, reference_id).facts["guarantee"]
    return guarantee
