"""The gate's limits under other settings, for the same held-out items. Nothing is guaranteed of them.

A limit that was chosen after looking at many was tested as often as there were limits to look at; so these say what to expect, and a
calibration, tested more strictly, says what holds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from annotriage.guarantee.answered import Answered
from annotriage.guarantee.binomial import attempt_confidence
from annotriage.guarantee.error_limits import ErrorLimits
from annotriage.guarantee.gate import class_taus, eligible_items, rankings_of

FloatArray = NDArray[np.float64]


def what_if_taus(
    answered: Answered,
    limits: ErrorLimits,
    *,
    max_errors: Sequence[float],
    confidences: Sequence[float],
    attempt: int = 1,
    stricter: float | None = None,
) -> FloatArray:
    """The sureness that automatic items of each class would have to reach: (len(max_errors), len(confidences), m), inf for none.

    answered: typical by the threshold in question. limits: what holds beside max_error. attempt, stricter: as for
    `calibrate_gate`.
    """
    eligible = eligible_items(answered, limits.never)
    rankings = rankings_of(answered, eligible, limits)
    taus = np.full((len(max_errors), len(confidences), limits.never.size), np.inf)
    for row, max_error in enumerate(max_errors):
        for column, confidence in enumerate(confidences):
            tested = attempt_confidence(confidence, attempt)
            taus[row, column] = class_taus(rankings, answered, eligible, limits, max_error, tested, stricter)
    return taus
