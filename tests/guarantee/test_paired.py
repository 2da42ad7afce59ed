"""Two models on the same items."""

import numpy as np
import pytest
from scipy.stats import binomtest

from annotriage.guarantee.paired import paired


def test_the_test_is_the_exact_one_of_mcnemar():
    old, new = np.array([True] * 80 + [False] * 20), np.array([True] * 77 + [False] * 3 + [True] * 12 + [False] * 8)
    pair = paired(old, new)
    assert (pair.gained, pair.lost, pair.difference) == (12, 3, 0.09)
    assert pair.p_different == pytest.approx(binomtest(12, 15).pvalue)
    assert pair.p_better == pytest.approx(binomtest(12, 15, alternative="greater").pvalue)


def test_the_interval_holds_the_true_difference():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(500):
        kind = rng.choice(4, 150, p=[0.8, 0.06, 0.09, 0.05])  # both, old alone, new alone, neither
        pair = paired(kind <= 1, (kind == 0) | (kind == 2))
        held += pair.low <= 0.03 <= pair.high
    assert held >= 465  # 95%, less two deviations


def test_without_items_nothing_is_said():
    nothing = paired(np.empty(0, bool), np.empty(0, bool))
    assert np.isnan(nothing.difference)
    assert (nothing.low, nothing.high, nothing.p_better) == (-1, 1, 1)
