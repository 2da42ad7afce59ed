"""Two axes joined: exactly alpha of usual items is flagged, however few the held-out ones, and strangers never tie."""

import numpy as np
import pytest

from annotriage.guarantee.conformal import conformal_p_values, flagged_rank, outlier_threshold
from annotriage.latent.tails import Tails

DRAWS = {
    "normal": lambda rng, count: rng.standard_normal((count, 2)),
    "skewed": lambda rng, count: rng.gamma(0.7, 1.0, (count, 2)) ** 2,
    "heavy": lambda rng, count: rng.standard_t(2, (count, 2)),
    "dependent": lambda rng, count: np.abs(rng.standard_normal((count, 1))) + 0.3 * rng.standard_normal((count, 2)),
    "one axis": lambda rng, count: rng.gamma(2.0, 1.0, (count, 1)),
}


@pytest.mark.parametrize("held_out", [19, 60, 150])
@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_the_share_of_usual_items_that_is_flagged_is_the_exact_one(draw, held_out):
    rng = np.random.default_rng(held_out)
    shares = []
    for _ in range(400):
        tails = Tails(draw(rng, held_out))
        shares.append(np.mean(tails.scores(draw(rng, 100)) > outlier_threshold(tails.own, 0.05)))
    exact = flagged_rank(held_out, 0.05) / (held_out + 1)
    assert np.mean(shares) == pytest.approx(exact, abs=3 * np.std(shares) / np.sqrt(len(shares)))


def test_an_item_takes_the_place_that_counting_it_among_the_held_out_gives():
    rng = np.random.default_rng(2)
    held_out, items = rng.gamma(1.0, 1.0, (80, 2)), rng.gamma(1.0, 1.5, (200, 2))
    tails = Tails(held_out)
    expected = [rank_among(np.vstack([held_out, item])) for item in items]
    assert conformal_p_values(tails.scores(items), tails.own) == pytest.approx(expected)


def rank_among(axes):
    """Which share of the items is at least as strange as the last one, by the definition, slowly."""
    count = len(axes)
    edge = count // 20
    parts = []
    for values in axes.T:
        falling = np.sort(values)[::-1]
        begin, foot = falling[edge], falling[4 * edge]
        slope = np.log((4 * edge + 1) / (edge + 1)) / (begin - foot)
        counted = -np.log([(values >= value).mean() for value in values])
        parts.append(np.where(values > begin, -np.log((edge + 1) / count) + (values - begin) * slope, counted))
    scores = parts[0] + np.logaddexp(0, parts[1] - np.log(20))
    return np.mean(scores >= scores[-1])


def test_surprise_is_three_at_one_in_twenty_and_grows_without_end():
    tails = Tails(np.arange(1_000.0)[:, None])
    few, edge, far, farther = tails.surprise(np.array([[0.0], [950.0], [2_000.0], [1e9]]))[:, 0]
    assert few == pytest.approx(0, abs=0.01)
    assert edge == pytest.approx(3, abs=0.05)
    assert edge < far < farther < np.inf


def test_far_strangers_do_not_tie():
    rng = np.random.default_rng(3)
    tails = Tails(rng.standard_normal((60, 2)))
    scores = tails.scores(np.array([[far, 0.0] for far in (10, 11, 100, 1e4)] + [[0.0, far] for far in (10, 11, 100, 1e4)]))
    assert (np.diff(scores[:4]) > 0).all()
    assert (np.diff(scores[4:]) > 0).all()


def test_an_item_high_on_either_axis_is_strange():
    rng = np.random.default_rng(4)
    tails = Tails(rng.standard_normal((400, 2)))
    threshold = outlier_threshold(tails.own, 0.05)
    usual, of_no_class, from_elsewhere = tails.scores(np.array([[0.0, 0.0], [8.0, 0.0], [0.0, 8.0]]))
    assert usual < threshold < min(of_no_class, from_elsewhere)


@pytest.mark.parametrize("held_out", [1, 2, 3, 5, 18])
def test_fewer_held_out_items_than_a_tail_takes_still_give_the_exact_share(held_out):
    rng = np.random.default_rng(5)
    shares = []
    for _ in range(1_500):
        tails = Tails(rng.standard_normal((held_out, 2)))
        shares.append(np.mean(tails.scores(rng.standard_normal((20, 2))) > outlier_threshold(tails.own, 0.5)))
    exact = flagged_rank(held_out, 0.5) / (held_out + 1)
    assert np.mean(shares) == pytest.approx(exact, abs=3 * np.std(shares) / np.sqrt(len(shares)))


@pytest.mark.parametrize(
    "held_out", [np.zeros((50, 2)), np.repeat([[0.0, 1.0]], 3, axis=0), np.round(np.random.default_rng(6).random((50, 2)))]
)
def test_held_out_items_that_tie_give_finite_scores(held_out):
    tails = Tails(held_out)
    items = np.array([[0.0, 0.0], [0.0, 1.0], [5.0, -3.0], [1e30, 1e30]])
    assert np.isfinite(tails.scores(items)).all()
    assert np.isfinite(tails.surprise(items)).all()
    assert np.isfinite(tails.own).all()


def test_no_items_give_no_scores():
    tails = Tails(np.random.default_rng(7).random((50, 2)))
    assert tails.scores(np.empty((0, 2))).shape == (0,)
    assert tails.surprise(np.empty((0, 2))).shape == (0, 2)


def test_items_are_scored_independently_of_each_other():
    rng = np.random.default_rng(8)
    tails, items = Tails(rng.random((90, 2))), rng.random((150, 2)) * 1.3
    alone = np.concatenate([tails.scores(item[None]) for item in items])
    assert np.array_equal(tails.scores(items), alone)
