"""Snapshots of datasets: their whole diversity score, the groups among their outliers and the advice, from what the store holds.

What `triage` finds of a run over files, found again of a dataset that grows: the columns come out of the store, `assess` is the same.
"""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from annotriage.engine.assessment import FACES, MMD_SAMPLE, Assessment, Columns, Stranger, assess, diversity_facts
from annotriage.guarantee.audit import Probation, probation
from annotriage.guarantee.conformal import hashed_places
from annotriage.states import SpotCheckState
from annotriage.store import columns, spot_checks
from annotriage.store import snapshots as queries
from annotriage.store.columns import Scored
from annotriage.store.datasets import dataset_of_project
from annotriage.store.projects import Project
from annotriage.store.references import get_reference

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from annotriage.engine.reference import Reference
    from annotriage.service.operations.process import Process

Array = NDArray[Any]

GROUP_SAMPLE = 5_000  # outliers that are searched for groups: a few seconds


def snapshot(process: Process, project: Project, dataset_id: int) -> None:
    """Assess a dataset under the project's reference and keep what was found. Raises UnknownError, MismatchError."""
    assessed, scored, items = assessment(process, project, dataset_id)
    found = assessed.diversity
    with process.store.writing() as connection:
        queries.save(
            connection,
            dataset_id,
            project.reference_id,
            n=found.n,
            outliers=found.outliers,
            failed=found.failed,
            low=float(found.low),
            high=float(found.high),
            facts=_facts(assessed, scored),
        )
        queries.keep_groups(connection, dataset_id, {items[name]: group.number for group in assessed.groups for name in group.ids})


def assessment(process: Process, project: Project, dataset_id: int) -> tuple[Assessment, Scored, dict[str, int]]:
    """What is to be said of a dataset, the columns that it is said from, and the items of the outliers by the names that groups have."""
    reference = process.reference(project.reference_id)
    with process.store.reading() as connection:
        scored = columns.of_dataset(connection, dataset_id, project.reference_id, reference.detector.clusters.names)
        gathered, items = _columns(connection, project.reference_id, reference, scored)
        audited = _probation(connection, project, dataset_id)
        whole = dataset_of_project(connection, project, dataset_id).kind == "all"
    return assess(reference, gathered, reference.settings, probation=audited, whole=whole), scored, items


def _columns(connection: Connection, reference_id: int, reference: Reference, scored: Scored) -> tuple[Columns, dict[str, int]]:
    """The columns, with the points of seeded samples: the same items each time as long as they belong to the dataset.

    And the items of the outliers among them, by the names that they have there.
    """
    seed = reference.settings.seed
    sample = sampled(scored, np.arange(len(scored.ids)), seed, "map", MMD_SAMPLE)
    strange = sampled(scored, np.flatnonzero(scored.outliers), seed, "groups", GROUP_SAMPLE)
    points = columns.points_of(connection, reference_id, np.union1d(scored.ids[sample], scored.ids[strange]).tolist())
    sample = np.array([row for row in sample if int(scored.ids[row]) in points], dtype=np.intp)
    strangers = [points[id] for id in scored.ids[strange].tolist() if id in points]
    gathered = Columns(
        outliers=scored.outliers,
        clusters=scored.clusters,
        scores=scored.scores,
        groups=scored.groups,
        failed=scored.counts["failed"],
        points=np.stack([_point(points[id].compressed) for id in scored.ids[sample].tolist()]) if sample.size else np.empty((0, 0)),
        point_clusters=scored.clusters[sample],
        strangers=[Stranger(row.name, " + ".join(row.labels), np.frombuffer(row.compressed, np.float16)) for row in strangers],
    )
    return gathered, {row.name: row.item_id for row in strangers}


def sampled(scored: Scored, rows: Array, seed: int, purpose: str, size: int) -> Array:
    """The `size` rows with the smallest seeded places, in the order of their places."""
    places = hashed_places(scored.ids[rows], seed, purpose)
    return np.asarray(rows[np.argsort(places, kind="stable")[:size]])


def _point(compressed: bytes) -> Array:
    return np.frombuffer(compressed, np.float16).astype(np.float32)


def _facts(assessed: Assessment, scored: Scored) -> dict[str, Any]:
    groups = [
        {"number": group.number, "size": group.size, "medoid": group.medoid, "ids": list(group.ids[:FACES])} for group in assessed.groups
    ]
    facts = {
        "diversity": diversity_facts(assessed.diversity),
        "advice": [asdict(advice) for advice in assessed.advice],
        "groups": groups,
        "searched": assessed.searched,
        "counts": dict(scored.counts),
    }
    return {key: _plain(value) for key, value in facts.items()}


def _plain(value: Any) -> Any:
    """As JSON has it: what is not known is null."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _probation(connection: Connection, project: Project, dataset_id: int) -> Probation | None:
    """How the dataset's audited labels stand, a contradiction counted as wrong; passed only if all that are not answered may be wrong."""
    from annotriage.service.guarantee.spot_checks import error_limit, passed_probation

    drawn = spot_checks.drawn_by_dataset(connection, project.id, project.reference_id).get(dataset_id, [])
    wrong = np.array([state != SpotCheckState.RIGHT for state, _ in drawn if state != SpotCheckState.OPEN], dtype=bool)
    if not wrong.size:
        return None
    guarantee = get_reference(connection, project.reference_id).facts["guarantee"]
    so_far = probation(wrong, error_limit(guarantee), guarantee["confidence"])
    return replace(so_far, passed=dataset_id in passed_probation(connection, project))
