import numpy as np
import pytest

from annotriage.latent.shrinkage import shrunk_covariance, shrunk_eigenvalues


def spectra(count, width=60, runs=10):
    """True covariances (diagonal), and the scatter of `count` items drawn from each."""
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        true = np.geomspace(0.1, 10, width)
        items = rng.standard_normal((count, width)) * np.sqrt(true)
        items -= items.mean(axis=0)
        yield true, items.T @ items


@pytest.mark.parametrize("count", [45, 90, 200, 1000])
def test_the_shrunk_covariance_is_nearer_to_the_truth_than_the_sample_one(count):
    sample_loss = shrunk_loss = 0.0
    for true, scatter in spectra(count):
        values, vectors = shrunk_covariance(scatter, count - 1)
        shrunk = (vectors * values) @ vectors.T
        shrunk_loss += np.linalg.norm(shrunk - np.diag(true))
        sample_loss += np.linalg.norm(scatter / (count - 1) - np.diag(true))
    assert shrunk_loss < sample_loss


@pytest.mark.parametrize("count", [90, 200])
def test_its_inverse_is_nearer_to_the_truth_too(count):
    """In Stein's loss for the inverse P: trace(P T) - log det(P T) - n."""

    def loss(inverse, true):
        ratio = inverse @ np.diag(true)
        return np.trace(ratio) - np.linalg.slogdet(ratio)[1] - len(true)

    sample_loss = shrunk_loss = 0.0
    for true, scatter in spectra(count):
        values, vectors = shrunk_covariance(scatter, count - 1)
        shrunk_loss += loss((vectors / values) @ vectors.T, true)
        sample_loss += loss(np.linalg.inv(scatter / (count - 1)), true)
    assert shrunk_loss < 0.7 * sample_loss


def test_plenty_of_items_leave_eigenvalues_as_they_are():
    values = np.geomspace(0.1, 10, 20)
    assert shrunk_eigenvalues(values, 1_000_000) == pytest.approx(values, rel=0.01)


def test_equal_eigenvalues_are_drawn_together():
    rng = np.random.default_rng(0)
    items = rng.standard_normal((120, 60))
    sample = np.linalg.eigvalsh(items.T @ items / 120)
    shrunk = shrunk_eigenvalues(sample, 120)
    assert np.ptp(shrunk) < 0.25 * np.ptp(sample)
    assert shrunk.mean() == pytest.approx(1, rel=0.15)


@pytest.mark.parametrize("count", [2, 3, 5, 20, 59])
def test_fewer_items_than_dimensions_still_give_a_covariance_that_can_be_inverted(count):
    for _, scatter in spectra(count, runs=2):
        values, vectors = shrunk_covariance(scatter, count - 1)
        assert values.min() > 1e-5 * values.max()
        assert np.allclose(vectors @ vectors.T, np.eye(60), atol=1e-8)


def test_directions_that_never_vary_count_as_little_not_as_nothing():
    rng = np.random.default_rng(0)
    items = rng.standard_normal((500, 10)) * [1, 1, 1, 1, 1, 1, 1, 1, 0, 0]
    values, _ = shrunk_covariance(items.T @ items, 499)
    assert 0 < values.min() < 1e-3 * values.max()


def test_no_variation_at_all_can_be_inverted():
    values, _ = shrunk_covariance(np.zeros((4, 4)), 9)
    assert np.all(values > 0)
