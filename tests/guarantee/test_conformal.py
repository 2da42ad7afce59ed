import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotriage.errors import FitError
from annotriage.guarantee.conformal import conformal_p_values, empirical_cdf, flagged_rank, hashed_places, one_per_group, outlier_threshold

few_values = st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0, float("inf")]), min_size=1, max_size=60)


def test_p_value_counts_held_out_scores_at_least_as_large():
    p = conformal_p_values(np.array([0.0, 2.0, 2.5, 9.0]), np.array([3.0, 1.0, 2.0]))
    assert p.tolist() == [1.0, 0.75, 0.5, 0.25]


@given(held_out=few_values, scores=few_values, alpha=st.floats(0.001, 0.5))
def test_threshold_and_p_value_agree_with_ties(held_out, scores, alpha):
    p = conformal_p_values(np.array(scores), np.array(held_out))
    assert np.array_equal(np.array(scores) > outlier_threshold(np.array(held_out), alpha), p <= alpha)


@pytest.mark.parametrize("n", [18, 19, 28, 99, 199, 399])
@pytest.mark.parametrize("alpha", [0.05, 0.07, 0.29, 0.1, 1 / 3])
def test_rank_is_the_number_of_p_values_up_to_alpha(n, alpha):
    assert flagged_rank(n, alpha) == sum(i / (n + 1) <= alpha for i in range(1, n + 2))


def test_nothing_is_an_outlier_with_too_few_held_out_items():
    assert outlier_threshold(np.arange(18.0), 0.05) == np.inf
    assert outlier_threshold(np.arange(19.0), 0.05) == 18.0


def test_normal_items_are_flagged_at_the_guaranteed_rate():
    rng = np.random.default_rng(0)
    shares = [np.mean(conformal_p_values(rng.random(200), rng.random(99)) <= 0.05) for _ in range(2000)]
    assert abs(np.mean(shares) - 0.05) < 3 * np.std(shares) / 2000**0.5


def test_without_held_out_items_there_is_no_p_value():
    with pytest.raises(FitError, match="held-out"):
        conformal_p_values(np.zeros(3), np.zeros(0))
    with pytest.raises(FitError, match="not numbers"):
        outlier_threshold(np.array([1.0, np.nan]), 0.05)


def test_one_item_of_each_group_is_kept_whatever_the_order():
    ids = [f"i{k}" for k in range(100)]
    groups = [f"g{k % 7}" if k < 70 else None for k in range(100)]
    kept = one_per_group(ids, groups, seed=3)
    assert kept.sum() == 7 + 30
    assert len({groups[k] for k in np.flatnonzero(kept) if groups[k]}) == 7
    backwards = one_per_group(ids[::-1], groups[::-1], seed=3)[::-1]
    assert np.array_equal(kept, backwards)
    assert not np.array_equal(kept, one_per_group(ids, groups, seed=4))


def test_hashed_places_are_uniform_and_the_same_in_every_process():
    places = hashed_places([str(k) for k in range(20_000)], 1, "sample")
    counts = np.bincount((places * 20).astype(int), minlength=20)
    assert abs(counts - 1000).max() < 4 * 1000**0.5
    code = "from annotriage.guarantee.conformal import hashed_places; print(repr(float(hashed_places(['a'], 1, 'sample')[0])))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": ":".join(sys.path)})
    assert float(other.stdout) == hashed_places(["a"], 1, "sample")[0]


def test_empirical_cdf_counts_ties():
    assert empirical_cdf(np.array([1.0, 2.0, 2.0, 3.0]), np.array([0.0, 2.0, 3.0])).tolist() == [0.0, 0.75, 1.0]
