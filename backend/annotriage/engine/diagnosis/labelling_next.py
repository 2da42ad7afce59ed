"""Which of the items that nobody has labelled to label next: chosen by a sampler, beside the training items that a reference keeps.

Held-out items are never chosen this way: what a guarantee rests on is drawn at random alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.diagnosis.ratios import LARGEST_RATIO, told
from annotriage.diagnosis.samplers import FOR_UNLABELLED, choose_further, further_clusters
from annotriage.diagnosis.view import View
from annotriage.engine.diagnosis.sample import method_named
from annotriage.engine.reference import Reference

Array = NDArray[Any]

METHODS = tuple(map(str, FOR_UNLABELLED))
BY_ODDS = tuple(str(method) for method in FOR_UNLABELLED if method.by_ratio)  # those that rank all items


@dataclass(frozen=True)
class ToLabel:
    """An item to be labelled. ratio: odds that it belongs where it lies nearest to, at most 1,000, None where the method knows none.
    why: a word."""

    id: int
    ratio: float | None
    why: str


def choose_to_label(reference: Reference, ids: Sequence[int], points: Array, method: str, size: int, seed: int) -> list[ToLabel]:
    """Choose items to label next, those nearest to a boundary between classes first.

    ids: (N,). points: (N, n) compressed, as the reference compresses. method: one of `METHODS`; "max-margin" learns the classes from the
    kept training items. Raises SettingError for another method, DataError without items, FitError where the kept items show one class.
    """
    known = _kept(reference, reference.sample.compressed.astype(np.float32))
    found = choose_further(known, np.asarray(points, dtype=np.float32), method_named(method), size, np.random.default_rng(seed))
    return [
        ToLabel(ids[int(found.rows[place])], told(float(found.ratio[place])), str(found.why[place]))
        for place in found.boundary_first.tolist()
    ]


def odds_of_further(reference: Reference, points: Array, method: str, seed: int) -> Array:
    """How surely each of N further items belongs where it lies, (N,): odds, at most 1,000, small near a boundary between classes.

    points: (N, n) compressed, as the reference compresses. method: one of `BY_ODDS`. Raises FitError as `choose_to_label`.
    """
    known = _kept(reference, reference.sample.compressed.astype(np.float32))
    found = further_clusters(known, np.asarray(points, dtype=np.float32), method_named(method), np.random.default_rng(seed))
    return np.asarray(np.minimum(found.ratio, LARGEST_RATIO))


def _kept(reference: Reference, latent: Array) -> View:
    """The training items that a reference keeps. latent: of them, in their order, and perhaps of more."""
    sample, space = reference.sample, reference.space
    predicted = np.array([space.index(answer) for answer in space.predicted(sample.logits)], dtype=np.intp)
    return View(latent[: len(predicted)], predicted, np.asarray(sample.label_index), len(space.names))
