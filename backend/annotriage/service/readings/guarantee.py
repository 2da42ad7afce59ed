"""How guarantees stand: what they rest on, the spot checks that watch them, the labels accepted under them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from annotriage.advice import guarantee_words as words
from annotriage.advice.answer_words import PERSON_FIRST
from annotriage.advice.diversity_words import clear_excess
from annotriage.advice.state_words import why_paused
from annotriage.service.readings.dataset import snapshot_of
from annotriage.service.readings.people import people_error
from annotriage.store.datasets import dataset_of_all
from annotriage.store.projects import Project, standing_of
from annotriage.store.references import get_reference
from annotriage.store.snapshots import Snapshot

DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class GuaranteeNow:
    """What is guaranteed of automatic labels, and how it stands. evidence: what it rests on; standing: what blind answers
    say since, null until it was found. people: how often those are wrong whose labels it takes as truth."""

    sentence: str
    version: str
    paused: str | None
    evidence: dict[str, Any]
    standing: dict[str, Any] | None
    people: str


@dataclass(frozen=True, slots=True)
class GuaranteeState:
    """How automatic labels stand. word: on, off, paused or stopped; headline, what to do next ("" if nothing). there, needed: labelled
    held-out answers, None where no number helps. can_recalibrate: enough of the sample is answered. beyond: what the limit does not speak
    of, "" where the data is like the held-out items."""

    word: str
    headline: str
    todo: str
    there: int | None = None
    needed: int | None = None
    can_recalibrate: bool = False
    beyond: str = ""


def guarantee_state(
    project: Project, evidence: dict[str, Any], standing: dict[str, Any] | None, latest: Snapshot | None = None
) -> GuaranteeState:
    """evidence: what the reference's facts say of the guarantee; standing: as it was kept, None if it was not yet. latest: of all items."""
    answers, wanted = (standing or {}).get("sample_answers", 0), (standing or {}).get("sample_needed")
    enough = wanted is not None and answers >= wanted
    if project.alarm is not None and project.alarm.unconfirmed:
        return GuaranteeState("stopped", words.STOPPED, words.second_answers(project.alarm.unconfirmed), can_recalibrate=enough)
    if project.alarm is not None:
        return GuaranteeState("stopped", words.STOPPED, words.calibrate_anew(answers, wanted), answers, wanted, enough)
    if project.pause is not None:
        return GuaranteeState("paused", words.paused(project.pause.reason), words.RESUME)
    if evidence["auto"]:
        checks = standing or {"wrong": 0, "answers": 0}
        said = words.checked(checks["wrong"], checks["answers"], checks.get("contradicted", 0), checks.get("wrong_until_alarm"))
        passed = words.strangers_pass(words.ANSWER_CHECKS) if beyond_the_limit(evidence, standing, latest) else ""
        beyond = " ".join(filter(None, (passed, words.GO_ON if _person_first(latest) else "")))  # what checks say of them is said already
        return GuaranteeState("on", words.holds(evidence), said, can_recalibrate=enough, beyond=beyond)
    if evidence["needed"] is None and evidence.get("stricter") is not None:
        return GuaranteeState("off", words.TOO_STRICT, words.calibrate_anew(answers, wanted), can_recalibrate=enough)
    if evidence["needed"] is None:
        return GuaranteeState("off", words.HOPELESS, words.TRAIN_FURTHER, can_recalibrate=enough)
    labelled, needed = evidence["labelled"], evidence["needed"]
    return GuaranteeState("off", words.not_yet(needed, labelled), words.label_more(answers, wanted), labelled, needed, enough)


def _person_first(latest: Snapshot | None) -> bool:
    """Whether the advice is that a person looks before anything of the data is annotated automatically."""
    advice = () if latest is None else latest.facts["advice"]
    return any(piece["question"] == "annotate" and piece["headline"] == PERSON_FIRST for piece in advice)


def beyond_the_limit(evidence: dict[str, Any], standing: dict[str, Any] | None, latest: Snapshot | None) -> str:
    """What is to be said with the limit where the data differs from the held-out items: strangers that look familiar pass; else ""."""
    if not evidence["auto"] or latest is None:
        return ""
    diversity = latest.facts["diversity"]
    if not clear_excess(diversity["calibrated"], diversity["excess_low"], diversity["p_value"]):
        return ""
    checks = standing or {"wrong": 0, "answers": 0}
    return words.strangers_pass(words.ANSWER_CHECKS, words.seen_in_checks(checks["wrong"], checks["answers"]))


def oldest_days(standing: dict[str, Any]) -> float | None:
    """Since how many days the oldest unanswered spot check waits."""
    at = standing.get("oldest_at")
    return None if at is None else max(0.0, time.time() - at) / DAY


def guarantee_now(connection: Connection, project: Project) -> GuaranteeNow:
    """What is guaranteed of a project's automatic labels, and how it stands."""
    evidence = get_reference(connection, project.reference_id).facts["guarantee"]
    standing = standing_of(connection, project)
    beyond = beyond_the_limit(evidence, standing, snapshot_of(connection, project, dataset_of_all(connection, project)))
    sentence = " ".join(filter(None, (evidence["sentence"], beyond)))
    paused = why_paused(project.pause, project.alarm, project.external_id)
    return GuaranteeNow(sentence, project.version, paused, evidence, standing, people_error(connection, project))
