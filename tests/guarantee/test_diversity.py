import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import betabinom, fisher_exact, mannwhitneyu

from annotriage.guarantee.conformal import flagged_rank, outlier_threshold
from annotriage.guarantee.diversity import diversity, expected_share, holm, rank_sum
from annotriage.latent.mmd import mmd_test


def measured(k, n, held_out=1000, **more):
    """The diversity of a batch with k outliers of n, against `held_out` items of one cluster at alpha 5%."""
    rank = flagged_rank(held_out, 0.05)
    flags, calibration = np.arange(n) < k, np.arange(held_out) < rank
    zeros = np.zeros(n, int), np.zeros(held_out, int)
    return diversity(flags, zeros[0], calibration, zeros[1], ("all",), rank=rank, **more)


def test_figures_of_a_foreign_batch():
    found = measured(124, 1000)
    assert found.share == 0.124
    assert found.expected == pytest.approx(50 / 1001)
    assert found.p_value == pytest.approx(betabinom.sf(123, 1000, 50, 951))
    assert found.low < found.share < found.high
    assert 0.03 < found.excess_low < found.excess < found.excess_high < 0.12


@pytest.mark.parametrize(("k", "n", "most"), [(122, 369, 1e-20), (369, 369, 1e-80), (20_000, 20_000, 1e-300)])
def test_a_p_value_is_small_but_never_nothing(k, n, most):
    assert 0 < measured(k, n, held_out=399).p_value < most


def test_without_held_out_items_nothing_is_calibrated():
    found = measured(3, 100, held_out=0)
    assert not found.calibrated
    assert found.share == 0.03
    assert math.isnan(found.expected)
    assert math.isnan(found.p_value)
    assert math.isnan(found.excess_low)


def test_an_empty_dataset_could_be_anything():
    found = measured(0, 0)
    assert (found.low, found.high) == (0, 1)
    assert all(math.isnan(figure) for figure in (found.share, found.excess, found.excess_low, found.excess_high, found.p_value))


@given(st.integers(0, 300), st.integers(1, 300), st.integers(0, 500))
def test_intervals_hold_their_estimate(k, n, held_out):
    found = measured(min(k, n), n, held_out)
    assert 0 <= found.low <= found.share <= found.high <= 1
    if found.calibrated:
        assert found.excess_low <= found.excess <= found.excess_high
        assert 0 <= found.p_value <= 1


def test_items_of_a_group_count_less():
    flags = np.repeat(np.arange(50) < 10, 20)
    groups = np.repeat([f"patient {g}" for g in range(50)], 20).tolist()
    rank = flagged_rank(500, 0.05)
    arguments = flags, np.zeros(1000, int), np.arange(500) < rank, np.zeros(500, int), ("all",)
    single, grouped = diversity(*arguments, rank=rank), diversity(*arguments, rank=rank, groups=groups)
    assert 45 <= grouped.effective_n <= 50
    assert grouped.high - grouped.low > 3 * (single.high - single.low)
    assert grouped.p_value > single.p_value
    loners = diversity(*arguments, rank=rank, groups=[str(k) for k in range(1000)])
    assert loners.effective_n in (999, 1000)


def test_groups_without_any_outlier_count_as_groups():
    rank = flagged_rank(500, 0.05)
    found = diversity(
        np.zeros(40, bool), np.zeros(40, int), np.arange(500) < rank, np.zeros(500, int), ("a",), rank=rank, groups=["a", "b"] * 20
    )
    assert found.effective_n == 2


def test_the_changed_cluster_is_found_by_fishers_test_with_holm():
    rank = flagged_rank(399, 0.05)
    clusters, held_clusters = np.repeat([0, 1], [100, 300]), np.repeat([0, 1], [200, 199])
    flags = (np.arange(400) < 30) | (np.arange(400) >= 390)
    held_flags = (np.arange(399) < 10) | (np.arange(399) >= 389)
    found = diversity(flags, clusters, held_flags, held_clusters, ("a", "b", "empty"), rank=rank)
    a, b, empty = found.clusters
    assert (a.n, a.outliers, a.held_out, a.held_out_outliers) == (100, 30, 200, 10)
    assert a.p_value == pytest.approx(2 * fisher_exact([[30, 70], [10, 190]], alternative="greater")[1])
    assert a.p_value < 1e-5 < 0.5 < b.p_value
    assert a.mix_change == pytest.approx(0.25 - 200 / 399)
    assert (empty.n, empty.low, empty.high) == (0, 0, 1)
    assert math.isnan(empty.share)


def test_the_mix_is_not_compared_with_nothing():
    rank = flagged_rank(100, 0.05)
    flags, held = np.zeros(10, bool), np.arange(100) < rank
    known, nobody, nothing = (
        diversity(flags[:n], np.zeros(n, int), held[:m], np.zeros(m, int), ("a",), rank=rank if m else 0).clusters[0].mix_change
        for n, m in ((10, 100), (10, 0), (0, 100))
    )
    assert known == 0
    assert math.isnan(nobody)
    assert math.isnan(nothing)


def test_holm_steps_down_and_skips_what_is_unknown():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    adjusted = holm([0.01, math.nan, 0.5])
    assert adjusted[[0, 2]] == pytest.approx([0.02, 0.5])
    assert math.isnan(adjusted[1])
    assert holm([]).size == 0


def test_normal_data_alarm_in_one_run_of_twenty():
    rng = np.random.default_rng(0)
    rank, alarms = flagged_rank(200, 0.05), 0
    for _ in range(500):
        threshold = outlier_threshold(held := rng.random(200), 0.05)
        flags = rng.random(1000) > threshold
        alarms += diversity(flags, np.zeros(1000, int), held >= threshold, np.zeros(200, int), ("a",), rank=rank).p_value <= 0.05
    assert alarms <= 40  # 25 expected at most


def test_the_expected_share_is_itself_uncertain():
    share, low, high = expected_share(10, 200)
    assert low < share == 10 / 201 < high
    assert high - low > 0.04


@pytest.mark.parametrize("step", [None, 1.0, 4.0], ids=["no ties", "ties", "many ties"])
@pytest.mark.parametrize(("incoming", "held_out"), [(1, 5), (5, 1), (40, 30), (70_000, 200)])
def test_rank_sum_is_that_of_scipy(incoming, held_out, step):
    rng = np.random.default_rng(0)
    scores, others = rng.normal(0.2, 4, incoming), rng.normal(0, 4, held_out)
    if step is not None:
        scores, others = np.round(scores / step), np.round(others / step)
    assert rank_sum(scores, others) == pytest.approx(mannwhitneyu(scores, others, alternative="greater", method="asymptotic").pvalue)


def test_rank_sum_sees_a_shift_and_survives_ties():
    rng = np.random.default_rng(0)
    assert rank_sum(rng.normal(0.5, 1, 300), rng.normal(0, 1, 300)) < 0.001
    assert rank_sum(rng.normal(-0.5, 1, 300), rng.normal(0, 1, 300)) > 0.99
    assert rank_sum(np.zeros(5), np.zeros(9)) == 1.0


def test_mmd_sees_a_shift_within_clusters_but_not_a_change_of_mix():
    rng = np.random.default_rng(0)
    centers = rng.normal(0, 3, (3, 10))
    strata, held_strata = rng.choice(3, 400, p=[0.8, 0.1, 0.1]), rng.choice(3, 400, p=[0.1, 0.1, 0.8])
    points, held_out = centers[strata] + rng.normal(size=(400, 10)), centers[held_strata] + rng.normal(size=(400, 10))
    same = mmd_test(points, held_out, strata, held_strata, np.random.default_rng(1))
    moved = mmd_test(points + 0.4, held_out, strata, held_strata, np.random.default_rng(1))
    assert same.p_value > 0.05
    assert moved.p_value == 0.002
    assert moved.distance > same.distance
    assert mmd_test(points, held_out, strata, held_strata, np.random.default_rng(1)) == same


def test_mmd_alarms_on_normal_data_at_its_level():
    rng = np.random.default_rng(0)
    p = []
    for _ in range(300):
        strata = rng.integers(0, 3, 80), rng.integers(0, 3, 80)
        p.append(mmd_test(rng.normal(size=(80, 4)), rng.normal(size=(80, 4)), *strata, rng, permutations=99).p_value)
    assert np.mean(np.array(p) <= 0.05) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)
    assert abs(np.mean(p) - 0.5) < 0.06


def test_mmd_of_identical_points_finds_nothing_and_of_no_shared_cluster_is_none():
    points, strata = np.ones((30, 2)), np.zeros(30, int)
    assert mmd_test(points, points, strata, strata, np.random.default_rng(0)).p_value == 1.0
    assert mmd_test(points, points, strata, strata + 1, np.random.default_rng(0)) is None
    assert mmd_test(points[:0], points, strata[:0], strata, np.random.default_rng(0)) is None


def test_mmd_of_two_full_samples_takes_about_a_second():
    rng = np.random.default_rng(0)
    points, strata = rng.normal(size=(6000, 50)), rng.integers(0, 8, 6000)
    began = time.thread_time()
    mmd_test(points[:3000], points[3000:], strata[:3000], strata[3000:], rng)
    assert time.thread_time() - began < 3
