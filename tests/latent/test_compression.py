import numpy as np
import pytest

from annotriage.errors import FitError
from annotriage.latent.compression import fit_compression, l2_normalise


@pytest.fixture
def activations(rng):
    return rng.standard_normal((120, 12)).astype(np.float32) * np.linspace(3, 0.1, 12, dtype=np.float32)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def distances(points):
    return np.linalg.norm(points[:, None] - points[None], axis=2)


def test_directions_have_length_one_and_zeros_stay_zero():
    rows = l2_normalise(np.array([[3.0, 4.0], [0.0, 0.0], [1e-3, 0.0]]))
    assert np.allclose(rows, [[0.6, 0.8], [0, 0], [1, 0]])


@pytest.mark.parametrize("method", ["pca", "none"])
def test_with_all_dimensions_distances_are_kept(activations, method):
    _, points = fit_compression(activations, method, 12, 0)
    assert np.allclose(distances(points), distances(activations), atol=1e-3)


def test_the_first_components_hold_the_most_variance(activations):
    _, points = fit_compression(activations, "pca", 5, 0)
    variances = points.var(axis=0)
    assert points.shape == (120, 5)
    assert np.all(np.diff(variances) <= 1e-6)
    assert variances.sum() == pytest.approx(np.sort(np.linalg.eigvalsh(np.cov(activations.T, ddof=0)))[-5:].sum(), rel=1e-3)


def test_small_variation_beside_a_large_mean_is_found(rng):
    activations = (100 + rng.standard_normal((500, 6)) * [0, 0, 0, 0, 0.01, 0.1]).astype(np.float32)
    _, points = fit_compression(activations, "pca", 2, 0)
    assert points.std(axis=0) == pytest.approx([0.1, 0.01], rel=0.15)


@pytest.mark.parametrize("method", ["pca", "none"])
def test_points_are_placed_independently_of_each_other(activations, method):
    compression, _ = fit_compression(activations, method, 4, 0)
    together = compression.transform(activations)
    assert np.allclose(together, np.concatenate([compression.transform(row[None]) for row in activations]), atol=1e-5)


@pytest.mark.parametrize("method", ["pca", "none", "tsne"])
def test_training_points_come_back_where_they_were(activations, method):
    compression, points = fit_compression(activations, method, 6, 0)
    again = compression.transform(activations)
    spread = points.std()
    assert np.median(np.linalg.norm(again - points, axis=1)) < 0.2 * spread


def test_tsne_is_repeatable_and_new_points_do_not_move_it(activations, rng):
    compression, points = fit_compression(activations, "tsne", 6, 3)
    strangers = rng.standard_normal((20, 12)).astype(np.float32) + 5
    first = compression.transform(strangers)
    assert np.array_equal(compression.transform(strangers), first)
    assert np.array_equal(fit_compression(activations, "tsne", 6, 3)[1], points)
    assert compression.transform(strangers[:0]).shape == (0, 2)


@pytest.mark.parametrize("shape", [(5, 40), (3, 2), (40, 3)])
def test_any_shape_from_three_items_on_can_be_compressed(rng, shape):
    compression, points = fit_compression(rng.standard_normal(shape).astype(np.float32), "pca", 50, 0)
    assert points.shape[1] <= min(shape)
    assert np.isfinite(compression.transform(rng.standard_normal((7, shape[1])).astype(np.float32))).all()


@pytest.mark.parametrize("method", ["pca", "none", "tsne"])
def test_identical_items_can_be_compressed(method):
    compression, points = fit_compression(np.ones((40, 5), np.float32), method, 5, 0)
    assert np.isfinite(points).all()
    assert np.isfinite(compression.transform(np.full((3, 5), 2, np.float32))).all()


def test_two_items_are_too_few():
    with pytest.raises(FitError, match=r"2 training items are too few .* give at least 3"):
        fit_compression(np.eye(2), "pca", 2, 0)


@pytest.mark.parametrize("method", ["pca", "none"])
def test_directions_are_placed_as_if_they_had_been_scaled_first(activations, method):
    compression, _ = fit_compression(l2_normalise(activations), method, 8, 0)
    for rows in (activations, activations * 1e30, np.zeros_like(activations)):  # beyond 1e19 their length is too much for single precision
        found = compression.transform_directions(rows)
        assert found == pytest.approx(compression.transform(l2_normalise(rows)), abs=1e-6)
        assert found.dtype == np.float32
