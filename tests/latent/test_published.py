"""The published method: both sets embedded together, and what lies beyond mean + 2 sigma of the true classes."""

import numpy as np
import pytest

from annotriage.errors import SettingError
from annotriage.latent.published import published_diversity

NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def classes():
    """Three classes of 60 points in 20 dimensions, and as many more of the same."""
    rng = np.random.default_rng(0)
    centers = rng.normal(0, 6, (3, 20))
    labels = np.repeat(np.arange(3), 60)
    return centers[labels] + rng.normal(size=(180, 20)), labels, centers[labels] + rng.normal(size=(180, 20))


@pytest.fixture(scope="module")
def strangers():
    return np.random.default_rng(1).normal(0, 6, (180, 20))


@pytest.mark.parametrize("embedding", ["tsne-joint", "umap-joint", "pca-joint"])
def test_points_of_the_same_classes_fit_and_those_of_none_do_not(classes, strangers, embedding):
    training, labels, more = classes
    same = published_diversity(training, labels, NAMES, more, embedding=embedding)
    other = published_diversity(training, labels, NAMES, strangers, embedding=embedding)
    assert same.diversity < 0.15 < 0.5 < other.diversity
    assert same.similarity == pytest.approx(1 - same.diversity)


def test_it_is_the_published_arithmetic(classes, strangers):
    training, labels, _ = classes
    found = published_diversity(training, labels, NAMES, strangers, embedding="pca-joint", dimensions=5)
    together = np.vstack([training, strangers])
    axes = np.linalg.svd(together - together.mean(axis=0), full_matrices=False)[2][:5]
    points = (together - together.mean(axis=0)) @ axes.T
    known, new = points[:180], points[180:]
    centers = np.array([known[labels == index].mean(axis=0) for index in range(3)])
    away = np.linalg.norm(known - centers[labels], axis=1)
    limits = np.array([away[labels == index].mean() + 2 * away[labels == index].std() for index in range(3)])
    distances = np.linalg.norm(new[:, None] - centers, axis=2)
    nearest = distances.argmin(axis=1)
    assert np.array_equal(found.cluster, nearest)
    assert np.array_equal(found.outlier, distances.min(axis=1) > limits[nearest])


@pytest.mark.parametrize("embedding", ["tsne-joint", "umap-joint"])
def test_three_values_can_be_asked_for(classes, embedding):
    training, labels, more = classes
    found = published_diversity(training, labels, NAMES, more, embedding=embedding, dimensions=3)
    assert found.training.shape == found.incoming.shape == (180, 3)


def test_raw_activations_are_compared_so_that_their_length_counts(classes):
    training, labels, more = classes
    found = published_diversity(training, labels, NAMES, 3 * more, embedding="pca-joint")
    assert found.diversity == 1


def test_the_same_seed_gives_the_same_embedding(classes):
    training, labels, more = classes
    first, second = (published_diversity(training[::3], labels[::3], NAMES, more[::3], seed=5) for _ in range(2))
    assert np.array_equal(first.incoming, second.incoming)


@pytest.mark.parametrize(
    ("embedding", "dimensions", "problem"),
    [
        ("tsne-joint", 4, "2 or 3 values, not 4"),
        ("umap-joint", 1, "2 or 3 values, not 1"),
        ("pca-joint", 99, "1 to 20 values of these activations, not 99"),
        ("isomap", None, "'isomap' is none of tsne-joint, umap-joint, pca-joint"),
    ],
)
def test_what_is_not_possible_is_refused(classes, embedding, dimensions, problem):
    training, labels, more = classes
    with pytest.raises(SettingError, match=problem):
        published_diversity(training, labels, NAMES, more, embedding=embedding, dimensions=dimensions)


@pytest.mark.parametrize("embedding", ["tsne-joint", "pca-joint"])
def test_identical_points_are_no_outliers(embedding):
    points = np.ones((30, 4))
    found = published_diversity(points, np.arange(30) % 3, NAMES, points[:9], embedding=embedding)
    assert found.diversity == 0
