"""Samplers: what each promises about what it chooses, on points made for it."""

from __future__ import annotations

import numpy as np
import pytest

from annotriage.diagnosis.quotas import equal, proportional, spread_evenly
from annotriage.diagnosis.ratios import told
from annotriage.diagnosis.samplers import FOR_UNLABELLED, Method, choose, choose_further
from annotriage.diagnosis.view import UNLABELLED, View, Why
from annotriage.errors import DataError, FitError, SettingError

CENTERS = np.array([[0.0, 0, 0], [6, 0, 0], [0, 6, 0]])


@pytest.fixture(scope="module")
def crowds():
    """900 points in three crowds; the answer is the nearest center, the truth their crowd, so that errors lie on the boundaries."""
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(3), 300)
    latent = CENTERS[truth] + rng.normal(0, 1.5, (900, 3))
    predicted = np.linalg.norm(latent[:, None] - CENTERS, axis=2).argmin(axis=1)
    return View(latent, predicted, truth, 3)


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("method", [method for method in Method if method not in (Method.BOUNDARY_TREE, Method.LATENT_GRID)])
@pytest.mark.parametrize("share", [0.05, 0.4, 1.0])
def test_a_sample_has_the_size_asked_for_and_no_item_twice(crowds, method, share):
    rows = choose(crowds, method, share, rng=rng()).rows
    assert len(rows) == len(set(rows.tolist())) == round(share * 900)
    assert (np.diff(rows) > 0).all()


@pytest.mark.parametrize("method", Method)
def test_the_same_seed_chooses_the_same_items(crowds, method):
    one, other = (choose(crowds, method, rng=rng(3)) for _ in range(2))
    assert one.rows.tolist() == other.rows.tolist()


def test_a_uniform_sample_takes_every_item_equally_often(crowds):
    drawn = np.bincount(np.concatenate([choose(crowds, Method.UNIFORM, 0.1, rng=rng(seed)).rows for seed in range(300)]), minlength=900)
    assert drawn.mean() == pytest.approx(30)
    assert drawn.std() == pytest.approx(np.sqrt(300 * 0.1 * 0.9), rel=0.15)  # binomial


def test_cells_of_the_confusion_matrix_are_sampled_in_proportion(crowds):
    rows = choose(crowds, Method.CONFUSION_MATRIX, 0.2, rng=rng()).rows
    for truth in range(3):
        for answer in range(3):
            cell = (crowds.truth == truth) & (crowds.predicted == answer)
            assert abs(cell[rows].sum() - 0.2 * cell.sum()) <= 1


def test_the_grid_takes_equally_from_each_cell_and_all_of_small_ones(crowds):
    found = choose(crowds, Method.LATENT_GRID, 0.2, rng=rng())
    sizes = np.unique(found.cluster, return_counts=True)[1]
    assert len(found.rows) <= 180
    assert sizes.max() - np.median(sizes) <= 1


@pytest.mark.parametrize("method", [Method.GMM_SPHERICAL, Method.GMM_FULL, Method.MAX_MARGIN])
def test_doubtful_items_are_the_low_end_of_their_cluster(crowds, method):
    found = choose(crowds, method, 0.1, rng=rng())
    why = np.array(found.why)
    assert (why == Why.DOUBTFUL).mean() == pytest.approx(0.7, abs=0.03)
    for cluster in np.unique(found.cluster):
        here = found.cluster == cluster
        assert found.ratio[here & (why == Why.DOUBTFUL)].max() <= found.ratio[here & (why == Why.TYPICAL)].min()


def test_max_margin_finds_errors_that_chance_does_not(crowds):
    margin = crowds.wrong[choose(crowds, Method.MAX_MARGIN, 0.1, rng=rng()).rows].sum()
    chance = np.mean([crowds.wrong[choose(crowds, Method.UNIFORM, 0.1, rng=rng(seed)).rows].sum() for seed in range(50)])
    assert margin > 4 * chance


def test_max_margin_without_labels_learns_what_the_model_says(crowds):
    blind = View(crowds.latent, crowds.predicted, np.full(900, UNLABELLED), 3)
    found = choose(blind, Method.MAX_MARGIN, 0.1, rng=rng())
    assert set(found.cluster.tolist()) == {0, 1, 2}
    crowded = choose(crowds, Method.UNIFORM, 0.1, rng=rng())
    near = np.sort(np.linalg.norm(crowds.latent[:, None] - CENTERS, axis=2), axis=1)
    margin = near[:, 1] - near[:, 0]
    assert np.median(margin[found.rows]) < np.median(margin[crowded.rows])


def test_a_weighted_sample_prefers_low_ratios_and_changes_with_the_seed(crowds):
    one, other = (choose(crowds, Method.MAX_MARGIN, 0.1, weighted=True, rng=rng(seed)) for seed in range(2))
    assert one.rows.tolist() != other.rows.tolist()
    assert one.weight.min() >= 1e-3
    whole = choose(crowds, Method.MAX_MARGIN, 1.0, rng=rng())
    assert np.median(one.ratio) < np.median(whole.ratio)


def test_a_visual_sample_covers_more_of_the_picture_than_chance(crowds):
    def farthest(rows):  # from any point to the sample
        return np.linalg.norm(crowds.latent[:, None] - crowds.latent[rows], axis=2).min(axis=1).max()

    chance = np.median([farthest(choose(crowds, Method.UNIFORM, 0.1, rng=rng(seed)).rows) for seed in range(9)])
    assert farthest(choose(crowds, Method.VISUAL, 0.1, rng=rng()).rows) < chance


def test_the_boundary_tree_answers_as_the_model_does(crowds):
    rows = choose(crowds, Method.BOUNDARY_TREE, rng=rng()).rows
    nearest = rows[np.linalg.norm(crowds.latent[:, None] - crowds.latent[rows], axis=2).argmin(axis=1)]
    assert len(rows) < 300
    assert (crowds.predicted[nearest] == crowds.predicted).mean() > 0.9


def test_errors_first_takes_all_errors_that_fit_and_says_why(crowds):
    found = choose(crowds, Method.ERRORS_FIRST, 0.2, rng=rng())
    assert crowds.wrong[found.rows].sum() == crowds.wrong.sum() <= 90
    assert {row for row, why in zip(found.rows.tolist(), found.why, strict=True) if why is Why.WRONG} == set(np.flatnonzero(crowds.wrong))
    small = choose(crowds, Method.ERRORS_FIRST, 0.01, rng=rng())
    assert crowds.wrong[small.rows].sum() == 4  # half of nine, to even


@pytest.mark.parametrize("method", [Method.CONFUSION_MATRIX, Method.ERRORS_FIRST])
def test_what_needs_labels_says_so(crowds, method):
    some = View(crowds.latent, crowds.predicted, np.where(np.arange(900) < 10, UNLABELLED, crowds.truth), 3)
    with pytest.raises(DataError, match="10 of 900 have none"):
        choose(some, method, rng=rng())


def test_one_class_alone_is_no_margin(crowds):
    alone = View(crowds.latent[:300], np.zeros(300, int), np.zeros(300, int), 3)
    with pytest.raises(FitError, match="fewer than two classes"):
        choose(alone, Method.MAX_MARGIN, rng=rng())
    for method in set(Method) - {Method.MAX_MARGIN}:
        assert len(choose(alone, method, rng=rng()).rows)


def test_a_model_without_errors_is_sampled_all_the_same(crowds):
    right = View(crowds.latent, crowds.truth, crowds.truth, 3)
    for method in Method:
        assert len(choose(right, method, rng=rng()).rows)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("method", [Method.UNIFORM, Method.LATENT_GRID, Method.VISUAL, Method.BOUNDARY_TREE, Method.ERRORS_FIRST])
def test_few_items_are_no_trouble(crowds, count, method):
    few = View(crowds.latent[:count], crowds.predicted[:count], crowds.truth[:count], 3)
    assert len(choose(few, method, rng=rng()).rows) >= 1


@pytest.mark.parametrize(
    ("method", "options", "named"),
    [
        (Method.BOUNDARY_TREE, {"share": 0.1}, "one size"),
        (Method.UNIFORM, {"share": 0.0}, "share"),
        (Method.UNIFORM, {"share": 1.5}, "share"),
        (Method.UNIFORM, {"outlier_share": 0.5}, "no ends"),
        (Method.VISUAL, {"weighted": True}, "no ratios"),
        (Method.MAX_MARGIN, {"outlier_share": -0.1}, "no share"),
        (Method.MAX_MARGIN, {"outlier_share": 0.5, "weighted": True}, "one of the two"),
    ],
)
def test_settings_that_a_method_does_not_have_are_refused(crowds, method, options, named):
    with pytest.raises(SettingError, match=named):
        choose(crowds, method, rng=rng(), **options)


def test_quotas_add_up():
    sizes = np.array([1, 2, 3, 94])
    assert proportional(sizes, 10).sum() == 10
    assert spread_evenly(sizes, 10).tolist() == [1, 2, 3, 4]
    assert equal(sizes, 20).tolist() == [1, 2, 3, 5]
    assert (proportional(sizes, 100) == sizes).all()


def test_a_ratio_that_is_told_is_a_number_wherever_the_method_knows_one():
    assert (told(np.inf), told(5e3), told(2.5), told(np.nan)) == (1000, 1000, 2.5, None)


@pytest.mark.parametrize("method", FOR_UNLABELLED)
def test_items_without_labels_are_chosen_beside_labelled_ones(crowds, method):
    known, rest = np.arange(0, 900, 2), np.arange(1, 900, 2)
    found = choose_further(crowds.rows(known), crowds.latent[rest], method, 40, rng())
    assert len(found.rows) == len(set(found.rows.tolist())) > 30
    assert found.rows.max() < len(rest)
    if method is Method.MAX_MARGIN:
        ratios = found.ratio[found.boundary_first]
        assert (np.diff(ratios) >= 0).all()
        wrong = (crowds.predicted != crowds.truth)[rest]
        assert wrong[found.rows[found.boundary_first][:20]].mean() > 3 * wrong.mean()


@pytest.mark.parametrize("method", sorted(set(Method) - set(FOR_UNLABELLED)))
def test_what_needs_labels_chooses_nothing_that_has_none(crowds, method):
    with pytest.raises(SettingError, match="needs the labels"):
        choose_further(crowds, crowds.latent, method, 5, rng())
