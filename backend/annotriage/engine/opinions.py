"""What a method says of one set as a whole: its diversity score and its advice, by this reference or by the published method."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annotriage.advice.advice import Advice
from annotriage.advice.published_advice import THRESHOLD, published_advice
from annotriage.engine.assessment import Columns, Stranger, assess
from annotriage.engine.reference import Reference
from annotriage.guarantee.binomial import clopper_pearson
from annotriage.latent.published import Published, published_diversity
from annotriage.model import Outputs
from annotriage.settings import Settings


@dataclass(frozen=True)
class Opinion:
    """What a method says of one set as a whole. low, high: 95% limits of the diversity score; similarity = 1 - diversity."""

    set: str
    method: str
    items: int
    diversity: float
    low: float
    high: float
    similarity: float
    advice: tuple[Advice, ...]


def own_opinion(reference: Reference, name: str, outputs: Outputs, settings: Settings) -> Opinion:
    """What this reference says of N items, as `triage` would: by the rule that decides, with its calibrated advice."""
    judged = reference.judge(outputs)
    strangers = [
        Stranger(str(row), " + ".join(reference.space.texts(judged.labels[row])), judged.compressed[row])
        for row in np.flatnonzero(judged.outlier)
    ]
    columns = Columns(judged.outlier, judged.cluster, judged.score, None, 0, judged.compressed, judged.cluster, strangers)
    found = assess(reference, columns, settings)
    d = found.diversity
    return Opinion(name, reference.settings.score, d.n, d.share, d.low, d.high, 1 - d.share, found.advice)


def published_on(
    training: Outputs, labels: NDArray[np.intp], names: tuple[str, ...], incoming: Outputs, embedding: str, seed: int
) -> Published:
    """The published method on the deciding layer of two sets. labels: (N,) true class of the training items, index into names."""
    return published_diversity(training.activations[0], labels, names, incoming.activations[0], embedding=embedding, seed=seed)


def published_opinion(name: str, found: Published, above: float = THRESHOLD) -> Opinion:
    """What the published method says. above: the diversity score above which its advice turns."""
    n, outliers = len(found.outlier), int(found.outlier.sum())
    low, high = clopper_pearson(outliers, n)
    advice = published_advice(found.diversity, above)
    return Opinion(name, f"mean-sigma {found.embedding}", n, found.diversity, low, high, found.similarity, advice)
