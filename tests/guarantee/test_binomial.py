import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from annotriage.guarantee.binomial import clopper_pearson, first_size, passing_sizes, spent_confidence, upper_bound


def test_sizes_at_two_percent_are_the_known_ones():
    assert passing_sizes(0.02, 0.95, 400).tolist() == [149, 236, 313, 386]
    assert first_size(0.02, 0.95) == 149


@given(max_error=st.floats(0.001, 0.5), confidence=st.floats(0.5, 0.999), n=st.integers(1, 400))
def test_passing_sizes_say_what_the_beta_bound_says(max_error, confidence, n):
    allowed = int(np.searchsorted(passing_sizes(max_error, confidence, 400), n, side="right")) - 1
    for errors in range(n):
        bound = beta.ppf(confidence, errors + 1, n - errors)
        if abs(bound - max_error) > 1e-9:
            assert (bound <= max_error) == (errors <= allowed)
        if errors > allowed + 1:
            break
    if n >= first_size(max_error, confidence):
        assert allowed >= 0


def test_bounds_at_the_ends():
    assert upper_bound([0, 5], [0, 5], 0.95).tolist() == [1.0, 1.0]
    assert clopper_pearson(0, 10) == (0.0, pytest.approx(1 - 0.025**0.1))
    assert clopper_pearson(10, 10) == (pytest.approx(0.025**0.1), 1.0)
    assert clopper_pearson(0, 0) == (0.0, 1.0)


def test_all_attempts_together_spend_what_may_fail():
    spent = sum(1 - spent_confidence(0.95, attempt) for attempt in range(1, 100_000))
    assert spent == pytest.approx(0.05, rel=1e-5)
    assert spent < 0.05
