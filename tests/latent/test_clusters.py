import numpy as np
import pytest
from scipy.spatial.distance import cdist

from annotriage.latent.clusters import class_means, fit_clusters, squared_distances


@pytest.fixture
def clusters():
    """Two of known shape, and one of a single point."""
    points = np.array([[0, 1], [0, -1], [3, 0], [-3, 0], [10, 11], [10, 9], [50, 50]], dtype=np.float64)
    return fit_clusters(points, np.array([0, 0, 0, 0, 1, 1, 2]), ("a", "b", "c"), alpha=0.05)


def test_a_cluster_is_its_mean_and_how_far_its_points_lie_from_it(clusters):
    assert clusters.counts.tolist() == [4, 2, 1]
    assert clusters.centers.tolist() == [[0, 0], [10, 10], [50, 50]]
    assert clusters.mu.tolist() == [2, 1, 0]
    assert clusters.sigma[0] == 1
    assert clusters.thresholds[0] == pytest.approx(3)


def test_a_cluster_without_spread_borrows_that_of_the_others(clusters):
    assert clusters.sigma.tolist() == [1, 1, 1]


def test_identical_points_everywhere_have_a_spread_that_can_divide():
    clusters = fit_clusters(np.ones((6, 2)), np.array([0, 0, 0, 1, 1, 1]), ("a", "b"), alpha=0.05)
    assert np.all(clusters.sigma > 0)


def test_a_point_belongs_to_the_nearest_center(clusters):
    nearest, distance = clusters.nearest(np.array([[1.0, 0], [9, 10], [60, 50]]))
    assert nearest.tolist() == [0, 1, 2]
    assert distance.tolist() == [1, 1, 10]


def test_distances_are_those_of_scipy():
    rng = np.random.default_rng(0)
    points, centers = rng.standard_normal((30, 8)), rng.standard_normal((4, 8))
    assert np.allclose(squared_distances(points, centers), cdist(points, centers, "sqeuclidean"))


def test_distances_are_never_negative():
    points = np.full((3, 5), 1000.1, dtype=np.float32)
    assert np.all(squared_distances(points, points) >= 0)


def test_means_are_of_each_class_by_itself():
    assert class_means(np.array([[1.0], [3.0], [10.0]]), np.array([0, 0, 2])).tolist() == [[2], [0], [10]]
