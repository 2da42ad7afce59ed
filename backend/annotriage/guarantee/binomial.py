"""Limits of a share from counts: what `gate`, `audit` and `diversity` may conclude from k of n.

All limits are exact binomial ones (Clopper and Pearson, Biometrika 1934), written with the incomplete beta function.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, betaincinv

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def upper_bound(errors: ArrayLike, n: ArrayLike, confidence: float) -> FloatArray:
    """One-sided upper limit of an error rate, `beta.ppf(confidence, errors + 1, n - errors)`; 1 where all are wrong.

    errors, n: broadcast against each other. Returns an array of their shape.
    """
    wrong, size = np.broadcast_arrays(np.asarray(errors, dtype=np.float64), np.asarray(n, dtype=np.float64))
    right = size - wrong
    return np.where(right > 0, betaincinv(wrong + 1, np.maximum(right, 1.0), confidence), 1.0)


def clopper_pearson(k: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Two-sided limits of the share behind k of n, each end missed with probability (1 - confidence) / 2 at most.

    k and n may be real numbers: effective sizes of grouped data are (Korn and Graubard, Survey Methodology 1998).
    """
    tail = (1 - confidence) / 2
    low = float(betaincinv(k, n - k + 1, tail)) if k > 0 else 0.0
    high = float(betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0
    return low, high


def passing_sizes(max_error: float, confidence: float, largest: int) -> IntArray:
    """n_0, n_1, ...: the smallest sizes at which 0, 1, ... errors still show an error rate of at most `max_error`.

    c errors among n pass if and only if `upper_bound(c, n, confidence) <= max_error`, that is n >= n_c. At 2% and 95%:
    149, 236, 313, 386, ... Returns those up to `largest`, ascending; so `searchsorted(sizes, n, "right") - 1` errors
    pass at n, and none at all where that is -1.
    """
    allowed = np.arange(math.floor(max(largest, 0) * max_error) + 1)
    fails: IntArray = allowed.copy()
    passes: IntArray = np.full_like(allowed, largest + 1)
    while np.any(passes - fails > 1):
        middle = (passes + fails) // 2
        open_ = passes - fails > 1
        shown = betainc(allowed + 1.0, np.maximum(middle - allowed, 1.0), max_error) >= confidence
        passes, fails = np.where(open_ & shown, middle, passes), np.where(open_ & ~shown, middle, fails)
    return passes[passes <= largest].astype(np.int64)


def first_size(max_error: float, confidence: float) -> int:
    """n_0: how many items without one error it takes to show an error rate of at most `max_error`."""
    size = max(1, math.ceil(math.log1p(-confidence) / math.log1p(-max_error)))
    return size if float(upper_bound(0, size, confidence)) <= max_error else size + 1


def attempt_confidence(confidence: float, attempt: int) -> float:
    """The confidence of the r-th calibration on the same held-out items: as `spent_confidence`, but 9/10 for the first.

    Most projects calibrate once on the same items, and nothing else that was tried made more of its labels automatic.
    """
    return spent_confidence(confidence, attempt, first=0.9)


def spent_confidence(confidence: float, look: int, first: float = 0.8) -> float:
    """The confidence of the r-th look at the same question, r = 1, 2, ...: each spends a part of the 1 - confidence that may fail.

    The first spends `first` of it, the r-th one (1 - first) * 6 / (pi (r - 1))^2 (sum of 1/r^2 is pi^2/6): however many looks there are,
    one of them goes wrong with probability 1 - confidence at most. The first gets most because it usually is the only one.
    """
    part = first if look == 1 else (1 - first) * 6 / (math.pi * (look - 1)) ** 2
    return 1 - (1 - confidence) * part
