"""Units against concepts, on numbers made for it: thresholds, overlaps, areas under curves and their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from annotriage.diagnosis.dissection import LEAST, Overlap, count_overlap, enlarged, highest_iou, rankings, thresholds


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_a_unit_exceeds_its_threshold_at_the_share_asked_for(rng):
    values = rng.normal(size=(20_000, 3)) * [1, 10, 0.1]
    share = (values > thresholds(values, 0.005)).mean(axis=0)
    assert share == pytest.approx(0.005, abs=1e-4)
    assert not (np.zeros((10, 1)) > thresholds(np.zeros((10, 1)))).any()  # a dead unit is never active


def test_maps_are_enlarged_between_the_middles_of_their_places():
    np.testing.assert_allclose(enlarged(np.array([[[0.0, 4.0]]]), 1, 4)[0, 0], [0, 1, 3, 4])
    np.testing.assert_allclose(enlarged(np.full((1, 1, 1), 3.0), 5, 6), 3)


def test_a_unit_that_fires_where_a_concept_is_detects_it_and_no_other(rng):
    masks = np.zeros((30, 2, 8, 8), dtype=bool)
    masks[:, 0, 2:4, 2:4], masks[:15, 1, 6:, 6:] = True, True
    maps = rng.normal(scale=0.1, size=(30, 2, 8, 8))
    maps[:, 0] += masks[:, 0]
    counted = Overlap.of(2, 2)
    for start in (0, 10, 20):  # in batches
        count_overlap(counted, maps[start : start + 10], np.array([0.6, 0.6]), masks[start : start + 10])
    assert counted.iou[0] == pytest.approx([1, 0])
    assert counted.iou[1] == pytest.approx([0, 0])
    assert counted.coverage == pytest.approx([4 / 64, 2 / 64])


def test_two_large_areas_that_overlap_by_chance_are_no_detection(rng):
    masks, maps = rng.random((200, 1, 8, 8)) < 0.3, rng.random((200, 1, 8, 8))
    counted = Overlap.of(1, 1)
    count_overlap(counted, maps, np.array([0.7]), masks)
    assert LEAST < counted.iou[0, 0] < counted.limits[0, 0]
    small = Overlap(np.array([[0.0]]), np.array([5.0]), np.array([10.0]), 1_000)
    assert small.limits[0, 0] == LEAST  # with the published quantile the limit is the published one


def test_no_unit_can_match_what_is_many_times_larger_than_where_it_is_active():
    assert highest_iou(np.array([0.005, 0.1, 0.2])) == pytest.approx([1, 0.05, 0.025])
    assert highest_iou(np.array(0.2)) < LEAST < highest_iou(np.array(0.2), 0.1)


def test_the_area_is_that_of_the_roc_curve_and_ties_count_half(rng):
    there = rng.random(200) < 0.3
    values = np.stack([rng.normal(size=200) + there, np.round(rng.random(200) * 3), -there.astype(float)], axis=1)
    found = rankings(values, there)
    assert found.auroc == pytest.approx([roc_auc_score(there, column) for column in values.T])
    assert (found.low <= found.auroc).all()
    assert (found.auroc <= found.high).all()
    assert found.high[2] < 0.1  # a unit that tells all apart by falling


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(1)
    there = np.arange(60) < 25
    from scipy.stats import norm

    truth = norm.cdf(1 / np.sqrt(2))
    values = rng.normal(size=(60, 4_000)) + there[:, None]
    for level in (0.8, 0.95):
        found = rankings(values, there, level)
        assert ((found.low <= truth) & (truth <= found.high)).mean() == pytest.approx(level, abs=0.02)
    wide = rankings(values, there, 1 - 0.05 / 4_000)
    assert ((wide.low > truth) | (wide.high < truth)).sum() <= 2  # together they hold with 95%
