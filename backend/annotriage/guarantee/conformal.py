"""Conformal p-values: how usual an outlier score is among held-out items, and the threshold that follows.

Scores must not be NaN: an item without a score has failed and has no p-value.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from annotriage.errors import FitError

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


def conformal_p_values(scores: FloatArray, held_out: FloatArray) -> FloatArray:
    """How usual each score is among held-out ones: small means strange.

    p = (1 + #{held_out >= score}) / (n + 1), so that P(p <= a) <= a for items like the held-out ones.
    Source: Vovk et al., Algorithmic Learning in a Random World, 2005, ch. 2.

    scores: (N,). held_out: (n,), unsorted. Returns (N,) in (0, 1].
    Raises FitError if `held_out` is empty or has a NaN: without held-out items there is no guarantee to make.
    """
    ordered = _ordered(held_out)
    at_least = ordered.size - np.searchsorted(ordered, scores, side="left")
    return np.asarray((1.0 + at_least) / (ordered.size + 1.0), dtype=np.float64)


def outlier_threshold(held_out: FloatArray, alpha: float) -> float:
    """The score above which an item is an outlier: the j-th largest held-out score, j = `flagged_rank(n, alpha)`.

    score > threshold if and only if its conformal p-value is <= alpha, ties included. With j = 0 (fewer than
    1 / alpha - 1 held-out items) the threshold is infinite: nothing can be called an outlier at this alpha.
    Raises FitError if `held_out` is empty or has a NaN.
    """
    ordered = _ordered(held_out)
    rank = flagged_rank(ordered.size, alpha)
    return float(ordered[-rank]) if rank else float("inf")


def flagged_rank(n: int, alpha: float) -> int:
    """j = floor(alpha * (n + 1)), free of rounding: the largest whole number with j / (n + 1) <= alpha."""
    rank = int(alpha * (n + 1)) + 1
    while rank / (n + 1) > alpha:
        rank -= 1
    return rank


def one_per_group(ids: Sequence[str], groups: Sequence[str | None] | None, seed: int) -> BoolArray:
    """One item of each group (patient, series, video), chosen by a seeded hash of its id: (N,) bool.

    The choice depends on nothing but the seed and the group's ids: not on their order, the process or other groups.
    An item whose group is None or "" stands for itself; `groups` None keeps all.
    """
    chosen = np.ones(len(ids), dtype=bool)
    if groups is None:
        return chosen
    places = hashed_places(ids, seed, "group")
    best: dict[str, int] = {}
    for item, group in enumerate(groups):
        if not group:
            continue
        rival = best.setdefault(group, item)
        if rival != item:
            loser, best[group] = (rival, item) if (places[item], ids[item]) < (places[rival], ids[rival]) else (item, rival)
            chosen[loser] = False
    return chosen


def hashed_places(ids: Iterable[object], seed: int, purpose: str) -> FloatArray:
    """A place in [0, 1) for each id, as if drawn at random, always the same for the same seed and purpose: (N,).

    ids: each counts as it is written, so that 7 is "7".
    """
    key = f"{purpose}:{seed}".encode()
    digests = (hashlib.blake2b(str(id_).encode("utf-8", "surrogatepass"), key=key, digest_size=8).digest() for id_ in ids)
    words = np.fromiter((int.from_bytes(digest, "big") >> 11 for digest in digests), dtype=np.float64)  # of 53 bits: held exactly
    return words * 2.0**-53


def empirical_cdf(sorted_reference: FloatArray, values: FloatArray) -> FloatArray:
    """Share of the reference that is <= each value (right-continuous): (N,) in [0, 1]. `sorted_reference` ascends."""
    at_most = np.searchsorted(sorted_reference, values, side="right")
    return np.asarray(at_most / max(1, sorted_reference.size), dtype=np.float64)


def _ordered(held_out: FloatArray) -> FloatArray:
    ordered = np.sort(np.asarray(held_out, dtype=np.float64))
    if ordered.size == 0:
        raise FitError("no held-out items: give labelled items that the model was not trained on (--calibration)")
    if np.isnan(ordered[-1]):
        raise FitError(f"{int(np.isnan(ordered).sum())} held-out scores are not numbers: leave items out that could not be scored")
    return ordered
