"""Where training items are rare: regions of low density among what is wanted, as "collect more like these".

Not to be confused with strangers: an outlier may be junk, a rare training item is known to be wanted. Source: US 2020/0302273,
paragraph 53 and claim 13.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.engine.collecting import Collected
from annotriage.engine.diagnosis.labelling_next import BY_ODDS, odds_of_further
from annotriage.engine.kept_rows import blocks
from annotriage.engine.labels import LabelSpace
from annotriage.engine.reference import Reference
from annotriage.latent.density import Density, fit_density
from annotriage.latent.groups import find_groups
from annotriage.latent.maps import nearest_training
from annotriage.model import Outputs

Array = NDArray[Any]

RAREST = "rarest"
COLLECT = (RAREST, *BY_ODDS)  # how a pool may be ranked
RARE = 0.05  # of the training items lie in regions of low density
LEAST = 20
FACES = 8
FEWEST = 5  # scattered items of one label that are shown as a region
REGIONS = 12


@dataclass(frozen=True)
class Region:
    """Training items that lie together where few do. number: from 1; members: their rows, the most typical first. classes: the labels of
    most of them. surprise: median -ln density. ids: of the members; faces: pictures of some.
    """

    number: int
    members: Array
    ids: tuple[str, ...]
    classes: tuple[str, ...]
    surprise: float
    faces: tuple[bytes, ...]


@dataclass(frozen=True)
class Candidate:
    """An item of a pool that could be collected.

    surprise: -ln density, in nats, larger = rarer. region: the nearest one's number, 0 if none was found. label: what the new model says
    of it. outlier_score: how strange it is, 1 = stranger than all held-out items. ratio: odds that it belongs to the class or cluster where
    it lies, at most 1,000, None unless a sampler ranked it.
    """

    id: str
    surprise: float
    region: int
    label: str
    outlier_score: float
    ratio: float | None = None


def wanted_density(trained: Collected, classes: int, kind: str, seed: int) -> Density:
    """The density of what was trained on, over the deciding layer. kind: as of `fit_density`; "gmm" unless "gaussian" was asked for."""
    return fit_density(trained.activations[0], "gaussian" if kind == "gaussian" else "gmm", classes, seed)


def low_density_regions(trained: Collected, density: Density, space: LabelSpace) -> tuple[Region, ...]:
    """The rarest 5% of the training items (20 at least) in groups that lie together, by falling size.

    Those that lie scattered are taken together by their label, and what is left as one last region.
    """
    surprise = density.surprise(trained.activations[0])
    count = min(len(surprise), max(LEAST, round(RARE * len(surprise))))
    rare = np.argsort(-surprise, kind="stable")[:count]
    points = density.pca.transform(trained.activations[0][rare])
    groups = [rare[group.members] for group in find_groups(points)][: REGIONS - 1]
    groups += _by_label(np.setdiff1d(rare, np.concatenate(groups)) if groups else rare, trained, surprise)
    regions = []
    for number, members in enumerate(groups, start=1):
        names = [" + ".join(space.texts(labels)) for labels in (trained.labels[row] for row in members) if labels is not None]
        common = [name for name, _ in sorted(((name, names.count(name)) for name in set(names)), key=lambda pair: (-pair[1], pair[0]))]
        faces = tuple(trained.pictures[int(row)] for row in members if int(row) in trained.pictures)[:FACES]
        ids = tuple(trained.ids[row] for row in members)
        regions.append(Region(number, members, ids, tuple(common[:3]), float(np.median(surprise[members])), faces))
    return tuple(regions)


def _by_label(scattered: Array, trained: Collected, surprise: Array) -> list[Array]:
    """The scattered ones of each label that has some, the rarest first; those of other labels together at the end."""
    rarest = scattered[np.argsort(-surprise[scattered], kind="stable")]
    labels = [trained.labels[row] for row in rarest]
    frequent = [label for label, number in Counter(labels).most_common() if label is not None and number >= FEWEST]
    groups = [rarest[[mine == label for mine in labels]] for label in frequent]
    rest = rarest[[label not in frequent for label in labels]]
    return [*groups, rest] if len(rest) else groups


def rank_pool(
    pool: Collected,
    reference: Reference,
    density: Density,
    trained: Collected,
    regions: tuple[Region, ...],
    collect: str = RAREST,
) -> list[Candidate]:
    """Candidates of a pool, the one from the rarest region first, or by a sampler the one nearest to a boundary between classes.

    pool: what the new model makes of them. collect: one of `COLLECT`. Raises FitError where a sampler finds one class alone.
    """
    surprise = density.surprise(pool.activations[0])
    ratios = None
    if collect != RAREST:
        parts = ([layer[some] for layer in pool.activations] for some in blocks(len(pool.ids)))
        points = np.concatenate([reference.detector.placed(part) for part in parts])
        ratios = odds_of_further(reference, points, collect, reference.settings.seed)
    judged = reference.judge(Outputs(pool.logits, pool.activations))
    near = np.zeros(len(surprise), dtype=int)
    if regions:
        members = np.concatenate([region.members for region in regions])
        numbers = np.concatenate([np.full(len(region.members), region.number) for region in regions])
        anchors = density.pca.transform(trained.activations[0][members])
        near = numbers[nearest_training(density.pca.transform(pool.activations[0]), anchors, 1)[:, 0]]
    return [
        Candidate(
            pool.ids[row],
            float(surprise[row]),
            int(near[row]),
            " + ".join(reference.space.texts(judged.labels[row])),
            float(judged.outlier_score[row]),
            None if ratios is None else float(ratios[row]),
        )
        for row in np.argsort(-surprise if ratios is None else ratios, kind="stable")
    ]
