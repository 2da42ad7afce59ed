"""Every score: larger is stranger, equal to an independent computation where there is one, and no item vouches for itself."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist, mahalanobis
from scipy.special import log_softmax, logsumexp
from sklearn.metrics import roc_auc_score

from annotriage.latent.clusters import Moments, fit_clusters
from annotriage.latent.scores import Energy, Knn, Mahalanobis, MeanSigma, RelativeMahalanobis, View, Vim


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def labels(rng):
    return rng.integers(0, 3, 3_000)


@pytest.fixture
def points(rng, labels):
    """Three classes that share one well-conditioned covariance."""
    mixing = np.eye(4) + 0.3 * rng.standard_normal((4, 4))
    return (rng.standard_normal((3_000, 4)) @ mixing + 6 * np.eye(3, 4)[labels]).astype(np.float32)


def view(points, logits=None):
    return View(points, points, points, np.zeros((len(points), 3)) if logits is None else logits)


def scipy_distances(points, labels, new):
    centers = np.array([points[labels == label].mean(axis=0) for label in np.unique(labels)])
    inverse = np.linalg.inv((points - centers[labels]).T @ (points - centers[labels]) / (len(points) - len(centers)))
    return np.array([min(mahalanobis(row, center, inverse) ** 2 for center in centers) for row in new])


def test_mahalanobis_is_that_of_scipy(points, labels, rng):
    new = rng.standard_normal((50, 4)) * 5
    found = Mahalanobis.fit(Moments.of(points, labels)).score(view(new))
    assert found == pytest.approx(scipy_distances(points.astype(float), labels, new), rel=0.03)


def test_relative_mahalanobis_takes_off_the_distance_to_everything(points, labels, rng):
    new = rng.standard_normal((50, 4)) * 5
    single = np.zeros(len(points), dtype=int)
    expected = scipy_distances(points.astype(float), labels, new) - scipy_distances(points.astype(float), single, new)
    assert RelativeMahalanobis.fit(Moments.of(points, labels)).score(view(new)) == pytest.approx(expected, rel=0.05, abs=1)


def test_far_from_the_origin_relative_mahalanobis_keeps_its_digits(points, labels):
    """Both distances are then large and nearly alike."""
    far = RelativeMahalanobis.fit(Moments.of(points, labels))
    exact = [(far.near, points.astype(float)), (far.background, points.astype(float))]
    near, background = (
        (((rows @ of.whitening.astype(float))[:, None] - of.centers.astype(float)) ** 2).sum(axis=2).min(axis=1) for of, rows in exact
    )
    assert far.score(view(points)) == pytest.approx(near - background, abs=3e-4)


def test_the_nearest_center_is_that_of_the_smallest_distance(points, labels):
    score = Mahalanobis.fit(Moments.of(points, labels))
    whitened = points.astype(float) @ score.whitening
    squared = ((whitened[:, None] - score.centers) ** 2).sum(axis=2)
    found, nearest = score.squared(points)
    assert nearest.tolist() == squared.argmin(axis=1).tolist()
    assert found == pytest.approx(squared.min(axis=1), rel=1e-3)


@pytest.mark.parametrize("spread", [np.ones(30), np.geomspace(0.1, 3, 30)], ids=["even", "uneven"])
@pytest.mark.parametrize("count", [60, 120, 1000])
def test_training_items_are_scored_as_if_they_had_been_left_out(rng, count, spread):
    """Few items look far more familiar to a covariance that they are part of than new ones do."""
    fitted, new = ((rng.standard_normal((size, 30)) * spread).astype(np.float32) for size in (count, 2_000))
    score = Mahalanobis.fit(Moments.of(fitted, np.zeros(count, dtype=int)))
    assert np.median(score.score_training(view(fitted))) == pytest.approx(np.median(score.score(view(new))), rel=0.15)


def test_knn_is_the_mean_distance_to_the_nearest_training_points(points, rng):
    new = rng.standard_normal((20, 4)).astype(np.float32)
    expected = np.sort(cdist(new, points), axis=1)[:, :7].mean(axis=1)
    assert Knn.fit(points, 7).score(view(new)) == pytest.approx(expected, rel=1e-3)


def test_a_training_item_is_not_its_own_neighbour(points):
    expected = np.sort(cdist(points[:20], points), axis=1)[:, 1:8].mean(axis=1)
    assert Knn.fit(points, 7).score_training(view(points))[:20] == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("neighbours", [1, 10, 60])
def test_the_nearest_of_many_are_found_without_ordering_all(rng, neighbours):
    bank, new = rng.standard_normal((1_001, 3)).astype(np.float32), rng.standard_normal((30, 3)).astype(np.float32)
    expected = np.sort(cdist(new, bank), axis=1)[:, :neighbours].mean(axis=1)
    assert Knn.fit(bank, neighbours).score(view(new)) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_knn_takes_as_many_neighbours_as_there_are(points, count):
    knn = Knn.fit(points[:count], 10)
    assert np.isfinite(knn.score(view(points[:50]))).all()
    assert np.isfinite(knn.score_training(view(points[:count]))).all()


def test_mean_sigma_counts_deviations_beyond_the_mean_distance_of_the_nearest_cluster():
    cluster = np.array([[0, 1], [0, -1], [3, 0], [-3, 0]], dtype=np.float64)
    score = MeanSigma(fit_clusters(cluster, np.zeros(4, dtype=int), ("a",), 0.05))
    assert score.score(view(np.array([[0.0, 0], [0, 2], [4, 0]]))).tolist() == [-2, 0, 2]


def test_energy_is_the_logsumexp_of_the_logits():
    logits = np.array([[1.0, 2, 3], [10, 0, 0]])
    assert Energy.fit(logits, multiple=False).score(view(logits, logits)) == pytest.approx(-logsumexp(logits, axis=1))


def test_energy_of_independent_classes_adds_up():
    logits = np.array([[1.0, -2, 3]])
    assert Energy.fit(logits, multiple=True).score(view(logits, logits)) == pytest.approx([-np.log1p(np.exp(logits)).sum()])


def test_energy_of_a_model_that_ends_in_probabilities_is_its_largest_one(rng):
    logits = log_softmax(rng.standard_normal((30, 3)), axis=1)
    assert Energy.fit(logits, multiple=False).score(view(logits, logits)) == pytest.approx(-logits.max(axis=1))


@pytest.mark.parametrize("ending", [lambda logits: logits, lambda logits: log_softmax(logits, axis=1)], ids=["logits", "probabilities"])
def test_vim_sees_what_lies_outside_of_what_training_items_vary_in(rng, ending):
    head = rng.standard_normal((20, 5)) * 2
    points = rng.standard_normal((2_000, 20))
    points[:, 10:] *= 0.05
    score = Vim.fit(points, ending(points @ head))
    known = rng.standard_normal((300, 20))
    known[:, 10:] *= 0.05
    strange = known.copy()
    strange[:, 10:] += 1
    usual, unusual = (score.score(view(part, ending(known @ head))) for part in (known, strange))
    assert roc_auc_score(np.repeat([0, 1], 300), np.concatenate([usual, unusual])) > 0.99


def test_a_dimension_that_is_dead_in_training_is_strange_when_it_moves(points, labels):
    padded = np.column_stack([points, np.zeros((len(points), 2), np.float32)])
    score = Mahalanobis.fit(Moments.of(padded, labels))
    moved = padded[:100] + np.array([0, 0, 0, 0, 1, 0], np.float32)
    assert np.isfinite(score.score(view(padded))).all()
    assert score.score(view(moved)).min() > score.score(view(padded)).max()
