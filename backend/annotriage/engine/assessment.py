"""The state of a dataset: its diversity score, the groups among its outliers, and the advice that follows.

A run over files and the running service gather the columns in their own ways, and assess them here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.advice.advice import Advice, Thresholds, advise
from annotriage.advice.diversity_words import diversity_sentence
from annotriage.engine.reference import Reference
from annotriage.engine.verdict import OutlierGroup
from annotriage.guarantee.audit import Probation
from annotriage.guarantee.diversity import Diversity, diversity
from annotriage.latent.groups import find_groups
from annotriage.latent.mmd import SAMPLE, Mmd, mmd_test
from annotriage.settings import Settings

Array = NDArray[Any]

MMD_SAMPLE = SAMPLE
FACES = 12  # members of a group that have a picture


@dataclass(frozen=True, slots=True)
class Stranger:
    """An outlier that is searched for groups. point: (n,) float16. label: what the model says. picture: b"" if none."""

    id: str
    label: str
    point: Array
    picture: bytes = b""


@dataclass(frozen=True)
class Columns:
    """A dataset's N scored items, column by column, with samples of their points.

    outliers, clusters, scores: (N,) flag, index of the nearest cluster, deciding score. groups: (N,) names or numbers of what
    belongs together; None if nothing is named. failed: how many could not be scored. points, point_clusters: (s, n) and (s,) of a seeded
    sample of the scored items, of which the first `MMD_SAMPLE` are used. strangers: a seeded sample of the outliers.
    """

    outliers: Array
    clusters: Array
    scores: Array
    groups: Sequence[str] | Array | None
    failed: int
    points: Array
    point_clusters: Array
    strangers: Sequence[Stranger]


@dataclass(frozen=True)
class Assessment:
    """What is to be said of a dataset. groups: among the `searched` outliers."""

    diversity: Diversity
    advice: tuple[Advice, ...]
    groups: tuple[OutlierGroup, ...]
    searched: int


def assess(
    reference: Reference, columns: Columns, settings: Settings, *, probation: Probation | None = None, whole: bool = False
) -> Assessment:
    """The state of a dataset, compared with the reference's held-out items.

    settings: the thresholds of the advice, and the seed. probation: of this dataset; None before its first audit answer.
    whole: whether it is all of a project.
    """
    groups = _groups(columns.strangers)
    measured = diversity(
        columns.outliers,
        columns.clusters,
        reference.held_out_outliers,
        reference.held_out.clusters,
        reference.detector.clusters.names,
        rank=reference.expected_rank,
        groups=columns.groups,
        failed=columns.failed,
        scores=columns.scores,
        held_out_scores=reference.held_out.scores if reference.calibrated else None,
        mmd=_mmd(reference, columns, settings.seed),
    )
    thresholds = Thresholds(
        train_above=settings.train_above,
        deploy_below=settings.deploy_below,
        augmentation_above=settings.augmentation_above,
        augmentation_below=settings.augmentation_below,
    )
    searched = len(columns.strangers)
    advice = advise(
        measured,
        reference.guarantee if reference.calibrated else None,
        thresholds,
        largest_group_share=groups[0].size / searched if groups else 0.0,
        probation=probation,
        whole=whole,
    )
    return Assessment(measured, advice, groups, searched)


def diversity_facts(found: Diversity) -> dict[str, Any]:
    """A diversity score as plain values, and what it says in a sentence."""
    return {**asdict(found), "sentence": diversity_sentence(found)}


def _mmd(reference: Reference, columns: Columns, seed: int) -> Mmd | None:
    """Do incoming and held-out points differ within the clusters? On samples, whitened by the training points' spread."""
    kept = reference.held_out_sample
    if kept is None or not reference.calibrated or len(columns.points) < 2:
        return None
    spread = reference.sample.compressed.astype(np.float32).std(axis=0)
    spread = np.maximum(spread, 1e-3 * max(float(spread.max()), 1e-12))
    points = columns.points[:MMD_SAMPLE] / spread
    held_out = kept.compressed[:MMD_SAMPLE].astype(np.float32) / spread
    strata = columns.point_clusters[:MMD_SAMPLE]
    return mmd_test(points, held_out, strata, kept.clusters[:MMD_SAMPLE], np.random.default_rng(seed))


def _groups(strangers: Sequence[Stranger]) -> tuple[OutlierGroup, ...]:
    if not strangers:
        return ()
    groups = []
    for number, group in enumerate(find_groups(np.stack([stranger.point for stranger in strangers]).astype(np.float32)), start=1):
        members = [strangers[row] for row in group.members]
        label = Counter(member.label for member in members).most_common(1)[0][0]
        faces = tuple(member.picture for member in members[:FACES] if member.picture)
        ids = tuple(member.id for member in members)
        groups.append(OutlierGroup(number, len(members), label, ids[0], faces, ids))
    return tuple(groups)
