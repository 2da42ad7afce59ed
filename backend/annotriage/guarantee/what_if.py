"""The gate's limits under other settings, for the same held-out items. Nothing is guaranteed of them.

A limit that was chosen after looking at many was tested as often as there were limits to look at; so these say what to expect, and a
calibration, tested more strictly, says what holds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from annotriage.guarantee.answered import Answered
from annotriage.guarantee.binomial import passing_sizes, spent_confidence
from annotriage.guarantee.gate import class_taus, eligible_items, rankings_of

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


def what_if_taus(
    answered: Answered,
    never: BoolArray,
    *,
    max_errors: Sequence[float],
    confidences: Sequence[float],
    attempt: int = 1,
    max_error_per: str = "all",
) -> FloatArray:
    """The sureness that automatic items of each class would have to reach: (len(max_errors), len(confidences), m), inf for none.

    answered: typical by the threshold in question. never: (m,), classes that are never automatic. attempt: as for `calibrate_gate`.
    """
    eligible = eligible_items(answered, never)
    rankings = rankings_of(answered, eligible, len(never), max_error_per)
    taus = np.full((len(max_errors), len(confidences), len(never)), np.inf)
    for row, max_error in enumerate(max_errors):
        for column, confidence in enumerate(confidences):
            sizes = passing_sizes(max_error, spent_confidence(confidence, attempt), len(answered))
            taus[row, column] = class_taus(rankings, answered, eligible, never, sizes, max_error)
    return taus
