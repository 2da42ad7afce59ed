"""What is certified of datasets, as it stands now: how many labels are wrong at most, by which checks, and what more checks would show."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from annotriage.advice import certificate_words as words
from annotriage.advice.page_words import stamp
from annotriage.states import SpotCheckState, Time
from annotriage.store.certificates import CheckedLabel, StoredCertificate, certificate_of, certificates_page, checks_of
from annotriage.store.datasets import Dataset, dataset_of_project
from annotriage.store.projects import Project
from annotriage.store.references import get_reference

if TYPE_CHECKING:
    from annotriage.guarantee.certificate import Checks

FORMAT = "annotriage certificate 1"
STEPS = 4  # how many smaller numbers of wrong labels are named


@dataclass(frozen=True, slots=True)
class Step:
    """So many further random checks, all of them right, would show that at most so many labels are wrong."""

    most: int
    checks: int


@dataclass(frozen=True, slots=True)
class Certificate:
    """At most `most` of `labels` automatic labels are wrong, with this confidence, strangers included.

    until: of items that came in before. gone: labels whose tasks were deleted by then; they count all the same. whole: labels in parts that
    were checked completely, whole_wrong: of them wrong or open. checks: random checks of the rest, right, wrong (contradicted ones among
    them, and those that one person alone decided), open, lost (nobody can
    answer them blind any more). Only right ones do not count as wrong. method: how `most` follows. wanted: as it was asked for, else null.
    sentence: all of it for people. data_hash: SHA-256 over the tasks and what they show.
    """

    id: int
    project: str
    title: str
    dataset: Dataset
    until: Time
    labels: int
    gone: int
    most: int
    confidence: float
    whole: int
    whole_wrong: int
    checks: int
    right: int
    wrong: int
    open: int
    lost: int
    wanted: int | None
    steps: tuple[Step, ...]
    sentence: str
    method: str
    reference: str
    model_hash: str
    data_hash: str
    made_by: str
    made_at: Time
    as_of: Time


def certificate_now(connection: Connection, project: Project, id: int) -> Certificate:
    """A certificate as it stands now. Raises UnknownError."""
    return _now(connection, project, certificate_of(connection, project, id))


def certificates_now(
    connection: Connection, project: Project, *, dataset_id: int | None = None, after: int | None = None, limit: int
) -> tuple[Certificate, ...]:
    """A project's certificates as they stand now, the latest first."""
    found = certificates_page(connection, project, dataset_id=dataset_id, after=after, limit=limit)
    return tuple(_now(connection, project, row) for row in found)


def facts_of(certificate: Certificate) -> dict[str, Any]:
    """A certificate as plain values, moments in ISO 8601: what is signed, and what the printed page is made of."""
    facts = asdict(certificate)
    for name in ("until", "made_at", "as_of"):
        facts[name] = stamp(facts[name])
    dataset = certificate.dataset
    facts["dataset"] = {"id": dataset.id, "kind": dataset.kind, "name": dataset.name}
    facts["steps"] = [asdict(step) for step in certificate.steps]
    return {"format": FORMAT, **facts}


def _now(connection: Connection, project: Project, found: StoredCertificate) -> Certificate:
    from annotriage.guarantee.certificate import Checks  # loads scipy: only for whoever asks

    reference = get_reference(connection, found.reference_id)
    rows = checks_of(connection, found)
    random, whole = [row for row in rows if not row.whole], [row for row in rows if row.whole]
    right, still_open, lost = _counts(random)
    all_right, all_open, all_lost = _counts(rows)
    lost, all_lost = lost + found.random - len(random), all_lost + found.random + found.whole - len(rows)  # erased ones
    checks = Checks(found.labels, found.whole, found.whole - _counts(whole)[0], found.random, found.random - right)
    guarantee = reference.facts["guarantee"]
    confidence = float(guarantee["confidence"])
    most = checks.most_wrong(confidence, fixed=found.fixed)
    return Certificate(
        id=found.id,
        project=project.external_id,
        title=project.title,
        dataset=dataset_of_project(connection, project, found.dataset_id),
        until=found.until,
        labels=found.labels,
        gone=found.gone,
        most=most,
        confidence=confidence,
        whole=checks.whole,
        whole_wrong=checks.whole_wrong,
        checks=checks.random,
        right=right,
        wrong=checks.random - right - still_open - lost,
        open=still_open,
        lost=lost,
        wanted=found.wanted,
        steps=_steps(checks, confidence, found.fixed, still_open),
        sentence=words.certified(
            most,
            found.labels,
            confidence,
            found.random + found.whole,
            found.random + found.whole - all_right - all_open - all_lost,
            all_open,
            all_lost,
        ),
        method=words.method(found.fixed, alike=not (guarantee.get("dearest") or guarantee.get("own_limits"))),
        reference=reference.version,
        model_hash=str(reference.facts["model"].get("hash", "")),
        data_hash=found.data_hash,
        made_by=found.by,
        made_at=found.at,
        as_of=time.time(),
    )


def _counts(rows: Sequence[CheckedLabel]) -> tuple[int, int, int]:
    """How many checks are right, still open, and such that nobody can answer them blind any more."""
    lost = sum(row.state is None or (row.state == SpotCheckState.OPEN and row.gone) for row in rows)
    return sum(row.right for row in rows), sum(row.open for row in rows), lost


def _steps(checks: Checks, confidence: float, fixed: bool, still_open: int) -> tuple[Step, ...]:
    """What it takes to show less: first that the open ones are right; then, if more are drawn, ever fewer wrong ones."""
    from annotriage.guarantee.certificate import checks_needed

    found = replace(checks, random_wrong=checks.random_wrong - still_open)
    after = found.most_wrong(confidence, fixed=fixed)
    steps = [Step(after, still_open)] if still_open else []
    answered, rest = checks.random - still_open, checks.n - checks.whole
    target = after
    while len(steps) < STEPS and target > checks.whole_wrong + found.random_wrong:
        target = max(target // 2, checks.whole_wrong + found.random_wrong)
        needed = checks_needed(rest, target - checks.whole_wrong, found.random_wrong, confidence, at_any_time=True)
        if needed is None:
            break
        steps.append(Step(target, needed - answered))
    return tuple(steps)
