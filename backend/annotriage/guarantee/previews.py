"""What other limits would decide: the gate's thresholds on the same held-out items, for a grid of settings. Nothing is guaranteed of them.

Beside `gate`, which makes one guarantee. A limit that was chosen after looking at many was tested as often as there were limits to look
at; so these say what to expect, and a calibration, tested more strictly, says what holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annotriage.guarantee.binomial import passing_sizes, spent_confidence
from annotriage.guarantee.gate import class_rankings, class_taus
from annotriage.guarantee.ranking import Ranking

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Answered:
    """Labelled held-out items as the gate sees them. All (n,): sureness, correct, predicted (index of the class), true (the same, by
    people; -1 for none of them), miss (1 - largest probability), scores (deciding), clusters (index of the nearest)."""

    sureness: FloatArray
    correct: BoolArray
    predicted: IntArray
    true: IntArray
    miss: FloatArray
    scores: FloatArray
    clusters: IntArray


def preview_taus(
    answered: Answered,
    typical: BoolArray,
    never: BoolArray,
    *,
    max_errors: Sequence[float],
    confidences: Sequence[float],
    attempt: int = 1,
    max_error_per: str = "all",
) -> FloatArray:
    """The sureness that automatic items of each class would have to reach: (len(max_errors), len(confidences), m), inf for none.

    typical: (n,), by the threshold in question. never: (m,), classes that are never automatic. attempt: as for `calibrate_gate`.
    """
    eligible = typical & ~never[answered.predicted] if never.size else typical
    columns = (answered.sureness, answered.correct, eligible, answered.predicted, answered.miss)
    if max_error_per == "class":
        rankings = class_rankings(*columns, len(never))
    else:
        rankings = [Ranking.of(answered.sureness[eligible], ~answered.correct[eligible], answered.miss[eligible])]
    taus = np.full((len(max_errors), len(confidences), len(never)), np.inf)
    for row, max_error in enumerate(max_errors):
        for column, confidence in enumerate(confidences):
            sizes = passing_sizes(max_error, spent_confidence(confidence, attempt), len(typical))
            found = class_taus(rankings, answered.sureness, eligible, answered.predicted, never, sizes, max_error)
            taus[row, column] = found
    return taus
