"""Routes and trust: what happens with an item, and the one number that sorts the queue.

`conformal` says what is an outlier, `gate` how sure is sure enough.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from annotriage.states import AUTOMATIC_FROM, FAMILIAR_FROM, MARGIN, THIRD, Route

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
StringArray = NDArray[np.str_]

LEAST_SURENESS, MOST_SURENESS = 0.5, 2.0


def route(outlier: BoolArray, sureness: FloatArray, tau: ArrayLike) -> StringArray:
    """The route of each item: a `Route`.

    outlier: (N,), p <= alpha or whatever rule decides. sureness: (N,), NaN for items that could not be scored: they are
    `failed`. tau: scalar or (N,), the least sureness of an automatic item (inf: none). Returns (N,) of str.
    """
    sure = sureness >= np.asarray(tau, dtype=np.float64)
    routes = np.array([Route.FAILED, Route.OUTLIER, Route.AUTO, Route.UNCERTAIN], dtype=np.str_)
    return np.asarray(routes[np.where(np.isnan(sureness), 0, np.where(outlier, 1, np.where(sure, 2, 3)))], dtype=np.str_)


def trust(
    routes: StringArray,
    sureness: FloatArray,
    scores: FloatArray,
    tau: ArrayLike,
    *,
    origin: float = 0.0,
    scale: float = 1.0,
    least: float = LEAST_SURENESS,
) -> FloatArray:
    """One number in [0, 1] that sorts all items: failed 0, then outliers (strangest first), uncertain, auto (surest last).

    auto 2/3 + c/3 with c from 0 at tau to 1 at sureness 2; uncertain 1/3 + c/3 with c from 0 at `least` to 1 at tau
    (at 2 where tau is larger); outlier (1 - r)/3 with r = `squashed(score)`. Each third is shrunk by 1e-4 at both ends.

    routes: (N,) of `Route`. sureness, scores: (N,), NaN where failed. tau: scalar or (N,), as for `route`.
    origin, scale: an ordinary outlier's score and spread (the threshold and the held-out spread); any positive scale keeps the order.
    least: the least sureness there can be: lower where something is taken off it.
    """
    limit = np.minimum(np.broadcast_to(np.asarray(tau, dtype=np.float64), sureness.shape), MOST_SURENESS)
    with np.errstate(invalid="ignore", divide="ignore"):
        above = np.where(limit < MOST_SURENESS, (sureness - limit) / (MOST_SURENESS - limit), 0.0)
        below = np.where(limit > least, (sureness - least) / (limit - least), 0.0)
        usual = 1.0 - squashed((scores - origin) / scale)
    automatic, uncertain = routes == Route.AUTO, routes == Route.UNCERTAIN
    place = np.where(automatic, above, np.where(uncertain, below, usual))
    base = np.where(automatic, AUTOMATIC_FROM, np.where(uncertain, FAMILIAR_FROM, 0.0))
    inside = base + MARGIN + np.clip(place, 0.0, 1.0) * (THIRD - 2 * MARGIN)
    return np.where(routes == Route.FAILED, 0.0, inside)


def squashed(values: FloatArray) -> FloatArray:
    """Any numbers into (0, 1), order kept: 0 -> 1/2. Logarithmic in size, so that 1e300 and 1.001e300 still differ.

    With y = log(1 + |x|): 1 - 1/(2 + 2y) for x >= 0 and 1/(2 + 2y) below. s/(s + 1) or 1 - exp(-s) round to ties among far strangers.
    """
    half = 0.5 / (1.0 + np.log1p(np.abs(values)))
    return np.where(values >= 0, 1.0 - half, half)
