"""Certifying a dataset: fix its automatic labels and which of them are checked, draw what is still unchecked, wait for people's answers.

What was drawn while the labels came in is a random sample of them: the sample and the audit draw by hashes (`draw_places`). A beginning
that was drawn completely, as on probation, is a part of its own and counted as it is. So is what people had answered before the present
reference took over: they may have shaped it, so that only later answers speak for labels that were not checked.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from annotriage.errors import DataError, StateError, UnknownError
from annotriage.service.guarantee.spot_checks import SEED, draw_name
from annotriage.service.operations.log import log
from annotriage.service.operations.process import Process
from annotriage.states import AUTOMATIC_FROM, MARGIN, EventKind
from annotriage.store import certificates
from annotriage.store.certificates import AutomaticLabel, CheckedLabel, StoredCertificate
from annotriage.store.datasets import Dataset, datasets_page
from annotriage.store.events import note
from annotriage.store.locks import lock_items
from annotriage.store.projects import Project
from annotriage.store.references import get_reference

if TYPE_CHECKING:
    from annotriage.guarantee.certificate import FloatArray

MOST_DATASETS = 10_000  # that a name is looked for in
NAMED = 8  # datasets in a message


def certify(process: Process, project: Project, dataset: Dataset, *, until: float | None = None, wanted: int | None = None, by: str) -> int:
    """Fix a certificate of the automatic labels of a dataset, and draw the checks that it lacks: its id.

    until: of items that came in before, by default and at most all until now. wanted: draw so many checks that at most so many wrong labels
    are left if the checks find no further one; by default those that are drawn of everything that comes in. by: who makes it.
    Raises DataError if there is no automatic label, or if `wanted` cannot be shown; StateError while another reference takes over, or if
    somebody else certifies the dataset at this moment.
    """
    import numpy as np

    from annotriage.guarantee.certificate import front_share, random_checks
    from annotriage.guarantee.conformal import hashed_places

    if project.next_reference_id is not None:
        raise StateError(f"project {project.external_id}: a new reference is taking over; certify once it has, as labels may change")
    if wanted is not None and wanted < 0:
        raise DataError(f"{wanted} wrong labels at most cannot be shown: give 0 or more")
    until = min(time.time() if until is None else until, time.time())
    with process.store.reading() as connection:
        labels = certificates.automatic_labels(connection, project, dataset.id, until)
        checks = certificates.checks_among(connection, project, dataset.id)
        since = certificates.took_over_at(connection, project)
        guarantee = get_reference(connection, project.reference_id).facts["guarantee"]
        earlier = certificates.certificates_page(connection, project, dataset_id=dataset.id, limit=1)
    if not labels:
        raise DataError(
            f"project {project.external_id}: {dataset.title!r} has no automatic label"
            " of that time under the current reference, so there is nothing to certify"
        )
    whole, rest = _parts(labels, checks, since)
    shares = _shares(project, [checks[label.id] for label in rest if label.id in checks])
    names = [draw_name(project, label.marker, label.external_id) for label in rest]
    places = _places(project, rest, names, shares, since)
    lost = [_is_lost(label, checks.get(label.id)) for label in rest]
    front, confidence = front_share(*shares), float(guarantee["confidence"])
    answered = any(place < front and _is_answered(checks.get(label.id)) for label, place in zip(rest, places, strict=True))
    fixed = not any(found.reference_id == project.reference_id for found in earlier) and not (wanted is not None and answered)
    hopeless = sum(not check.right for check in whole)
    most = None if wanted is None else wanted - hopeless
    chosen = random_checks(places, front, np.array(lost, dtype=bool), most, confidence, fixed=fixed)
    if chosen is None:
        raise DataError(_why_not(project, dataset, wanted or 0, hopeless + sum(lost), len(labels)))
    order = np.argsort(places, kind="stable")[:chosen]
    random = [rest[place] for place in order]
    undrawn = [label.id for label in random if label.id not in checks and not label.seen and not label.gone]
    spots = dict(zip((label.id for label in rest), hashed_places(names, SEED, "between").tolist(), strict=True))
    with process.store.writing() as connection:
        lock_items(connection, undrawn)
        _refuse_meanwhile(connection, project, dataset, earlier)
        drawn = certificates.still_unseen(connection, undrawn)
        certificates.draw(connection, project, {id: MARGIN + spots[id] * (AUTOMATIC_FROM - 2 * MARGIN) for id in drawn})
        facts = {
            "dataset_id": dataset.id,
            "until": until,
            "labels": len(labels),
            "gone": sum(label.gone for label in labels),
            "wanted": wanted,
            "fixed": fixed,
            "data_hash": _data_hash(labels),
            "by": by,
        }
        id = certificates.add_certificate(connection, project, facts, [label.id for label in random], [check.item_id for check in whole])
        note(connection, project.id, EventKind.CERTIFIED, dataset=dataset.title, labels=len(labels), drawn=len(drawn), by=by)
    log("certified", project=project.external_id, dataset=dataset.id, labels=len(labels), checks=len(random), drawn=len(drawn), by=by)
    return id


def _refuse_meanwhile(connection: Connection, project: Project, dataset: Dataset, earlier: Sequence[StoredCertificate]) -> None:
    """Two at once would both be taken for the first, and labels are hidden of the current reference alone. Raises StateError."""
    present = certificates.hold_project(connection, project.id)
    if (present.reference_id, present.next_reference_id) != (project.reference_id, None):
        raise StateError(f"project {project.external_id}: a new reference is taking over; certify once it has, as labels may change")
    if certificates.certificates_page(connection, project, dataset_id=dataset.id, limit=1) != list(earlier):
        raise StateError(
            f"project {project.external_id}: {dataset.title!r} was certified by somebody else at this moment; look at that certificate"
        )


def certify_again(
    process: Process, project: Project, dataset: Dataset, *, until: float | None, wanted: int | None, anew: bool, by: str
) -> int:
    """The latest certificate of a dataset under the current reference, if nothing else is asked for; else as `certify`."""
    if until is None and wanted is None and not anew:
        with process.store.reading() as connection:
            latest = certificates.certificates_page(connection, project, dataset_id=dataset.id, limit=1)
        if latest and latest[0].reference_id == project.reference_id:
            return latest[0].id
    return certify(process, project, dataset, until=until, wanted=wanted, by=by)


def dataset_called(connection: Connection, project: Project, name: str) -> Dataset:
    """The dataset of that name, or with that value of its field: B for scanner=B. Raises UnknownError, DataError."""
    every = datasets_page(connection, project, limit=MOST_DATASETS)
    found = [dataset for dataset in every if name in (dataset.name, dataset.title)]
    found = found or [dataset for dataset in every if dataset.kind == "field" and dataset.name.partition("=")[2] == name]
    found = found or [dataset for dataset in every if str(dataset.id) == name]
    if len(found) == 1:
        return found[0]
    if found:
        both = ", ".join(f"{dataset.name} (number {dataset.id})" for dataset in found[:NAMED])
        raise DataError(f"project {project.external_id} has {len(found)} datasets that {name!r} may mean: {both}; give the number")
    there = ", ".join(dataset.name for dataset in every[:NAMED]) + (", ..." if len(every) > NAMED else "")
    raise UnknownError(f"project {project.external_id} has no dataset {name!r}; there are {there or 'none yet'}")


def _shares(project: Project, checks: Sequence[CheckedLabel]) -> tuple[float, float]:
    """What was drawn of everything that came in: the share of the sample, and the smallest one of the audit, which changes by the week.

    The smallest one that a check was drawn with. A time of a still smaller share from which nothing was drawn does not count, so that
    its labels are drawn now as far as they stand in front: checks are more, and still blind. Shares follow how many labels came in, and
    which of them a check shows follows from the draw: neither looks at an answer. That the number of checks depends on the draw itself
    costs nothing that simulation shows: in 96 made-up datasets, with all errors in the time of the smaller share or outside it, at most
    5% of the limits fail.
    """
    from annotriage.guarantee.audit import AUDIT_SHARE

    audit = project.options.audit_share
    usual = max(audit, AUDIT_SHARE) if audit else 0.0
    return project.options.sample_share, min((check.share for check in checks if check.share is not None), default=usual)


def _parts(
    labels: Sequence[AutomaticLabel], checks: dict[int, CheckedLabel], since: float
) -> tuple[list[CheckedLabel], list[AutomaticLabel]]:
    """The checks of what is counted as it is, and the labels of which the random checks speak."""
    whole, rest = [], []
    for label in labels:
        check = checks.get(label.id)
        before = check is not None and check.answered and (check.answered_at or 0.0) < since
        if check is not None and (check.whole or before):
            whole.append(check)
        else:
            rest.append(label)
    return whole, rest


def _places(
    project: Project, rest: Sequence[AutomaticLabel], names: Sequence[str], shares: tuple[float, float], since: float
) -> FloatArray:
    """The places of labels in the draw: a new one for what came in before the current reference, as some of that was answered."""
    import numpy as np

    from annotriage.guarantee.certificate import draw_places
    from annotriage.guarantee.conformal import hashed_places

    places = draw_places(names, SEED, *shares)
    former = np.array([label.at < since for label in rest], dtype=bool)
    return np.where(former, hashed_places(names, SEED, f"certificate under {project.version}"), places) if former.any() else places


def _is_lost(label: AutomaticLabel, check: CheckedLabel | None) -> bool:
    """Whether the label counts as wrong for good: people said so, or it cannot be checked blind any more."""
    if check is None or check.state is None:
        return label.seen or label.gone
    if check.answered:
        return not check.right
    return label.gone or check.state == "disagreed"


def _is_answered(check: CheckedLabel | None) -> bool:
    return check is not None and check.state not in (None, "open")


def _data_hash(labels: Sequence[AutomaticLabel]) -> str:
    """SHA-256 over the tasks and what they show, in the order of their ids: which labels the certificate is about."""
    digest = hashlib.sha256()
    for label in labels:
        digest.update(f"{label.marker or label.external_id}\t{label.media_hash}\n".encode())
    return digest.hexdigest()


def _why_not(project: Project, dataset: Dataset, wanted: int, lost: int, labels: int) -> str:
    return (
        f"project {project.external_id}, {dataset.title!r}: that at most {wanted:,} of {labels:,} labels are wrong cannot be shown:"
        f" {lost:,} of them were found wrong, or can be checked blind no more (answered with the label in view, accepted, or deleted)."
        " Allow more wrong ones; and certify the next dataset before people work through its automatic labels"
    )
