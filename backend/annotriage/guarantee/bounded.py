"""Whether the mean of bounded losses is below a limit: what `gate` concludes where errors cost unlike amounts.

A bet against "the mean is above the limit" wins on small losses and loses on large ones; while that is true, its wealth is 1 on average at
most, so that a wealth of 1 / (1 - confidence) shows the limit (Markov). Several shares of the stake are bet side by side, none of
which depends on the losses; so their order does not matter, and the wealth follows how much the losses vary. Source: Waudby-Smith and
Ramdas, Estimating means of bounded random variables by betting, JRSS-B 2024 (diversified Kelly betting).
Errors that all cost the same are better served by the exact limits of `binomial`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

STAKES = np.array([0.25, 0.5, 0.75, 0.999])  # shares of the largest stake that a loss of 1 can cover
WEIGHTS = np.array([0.1, 0.15, 0.25, 0.5])  # of each: most on the largest, which wins soonest where hardly anything is lost
HALVINGS = 40


def log_factors(losses: FloatArray, limit: float) -> FloatArray:
    """By what each loss multiplies the wealth of each stake, in logarithms: (n,) in [0, 1] -> (n, stakes)."""
    return np.asarray(np.log1p(STAKES / (1 - limit) * (limit - losses[:, None])), dtype=np.float64)


def is_shown(log_wealth: FloatArray, confidence: float) -> BoolArray:
    """Whether stakes that came to so much, (..., stakes), show the limit together."""
    # scipy's logsumexp says the same, and takes thirty times as long for these few values
    return np.asarray(np.logaddexp.reduce(log_wealth + np.log(WEIGHTS), axis=-1) >= -math.log1p(-confidence))


def shown_by_first(losses: FloatArray, limit: float, confidence: float) -> BoolArray:
    """Whether the first 1, 2, ... losses show that their mean is at most `limit`: (n,) in [0, 1] -> (n,)."""
    return is_shown(np.cumsum(log_factors(losses, limit), axis=0), confidence)


def passing_sizes(limit: float, confidence: float, largest: int) -> IntArray:
    """The smallest numbers of losses at which 0, 1, ... of 1 among losses of 0 still show `limit`: those up to `largest`, ascending."""
    lost = np.arange(int(max(largest, 0) * limit) + 1)
    right, wrong = log_factors(np.array([0.0, 1.0]), limit)
    fails: IntArray = lost.astype(np.int64)
    passes: IntArray = np.full_like(fails, largest + 1)
    while np.any(passes - fails > 1):
        middle = (passes + fails) // 2
        shown = is_shown((middle - lost)[:, None] * right + lost[:, None] * wrong, confidence)
        open_ = passes - fails > 1
        passes, fails = np.where(open_ & shown, middle, passes), np.where(open_ & ~shown, middle, fails)
    return np.asarray(passes[passes <= largest], dtype=np.int64)


def first_size(limit: float, confidence: float) -> int:
    """How many losses of 0 it takes to show a mean of at most `limit`."""
    most = math.ceil((-math.log1p(-confidence) - math.log(WEIGHTS[-1])) / float(log_factors(np.zeros(1), limit)[0, -1]))
    return int(passing_sizes(limit, confidence, max(1, most))[0])


def upper_mean(values: FloatArray, counts: FloatArray, confidence: float) -> FloatArray:
    """One-sided upper limit of the mean of losses, 1 where there are none.

    values: (V,) in [0, 1]. counts: (..., V), how often each occurred. Returns (...).
    """
    low, high = np.zeros(counts.shape[:-1]), np.ones(counts.shape[:-1])
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        steps = np.log1p(STAKES / (1 - middle)[..., None, None] * (middle[..., None, None] - values[:, None]))
        shown = is_shown((counts[..., None] * steps).sum(axis=-2), confidence)
        low, high = np.where(shown, low, middle), np.where(shown, middle, high)
    return high
