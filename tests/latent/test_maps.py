import numpy as np
import pytest

from annotriage.latent.maps import fit_map, laid_over, nearest_training, place


@pytest.fixture
def crowds():
    rng = np.random.default_rng(0)
    return np.concatenate([rng.standard_normal((40, 8)), rng.standard_normal((40, 8)) + 12]).astype(np.float32)


@pytest.mark.parametrize("method", ["umap", "tsne", "pca"])
def test_a_map_is_the_same_every_time_and_keeps_crowds_apart(crowds, method):
    places = fit_map(crowds, method, 0)
    assert places.shape == (80, 2)
    assert np.array_equal(fit_map(crowds, method, 0), places)
    apart = np.linalg.norm(places[:40].mean(axis=0) - places[40:].mean(axis=0))
    assert apart > 2 * places[:40].std(axis=0).max()


@pytest.mark.parametrize("method", ["umap", "tsne", "pca"])
def test_a_map_in_space_keeps_crowds_apart_and_takes_further_points(crowds, method):
    places = fit_map(crowds, method, 0, dimensions=3)
    assert places.shape == (80, 3)
    apart = np.linalg.norm(places[:40].mean(axis=0) - places[40:].mean(axis=0))
    assert apart > 2 * places[:40].std(axis=0).max()
    assert place(crowds[:5], crowds, places) == pytest.approx(places[:5], abs=1e-3)


def test_a_map_in_space_is_turned_onto_the_former_one():
    rng = np.random.default_rng(0)
    former = rng.standard_normal((30, 3)).astype(np.float32)
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    assert laid_over((3 * former @ turn + 5).astype(np.float32), former) == pytest.approx(former, abs=1e-4)


@pytest.mark.parametrize("method", ["umap", "tsne", "pca"])
@pytest.mark.parametrize(("count", "width"), [(1, 8), (2, 8), (10, 8), (30, 1), (30, 2)])
def test_few_points_and_narrow_ones_are_drawn_too(method, count, width):
    places = fit_map(np.random.default_rng(0).standard_normal((count, width)), method, 0)
    assert places.shape == (count, 2)
    assert np.isfinite(places).all()
    in_space = fit_map(np.random.default_rng(0).standard_normal((min(count, 10), width)), method, 0, dimensions=3)
    assert in_space.shape == (min(count, 10), 3)
    assert np.isfinite(in_space).all()


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_identical_points_are_drawn_on_each_other(method):
    assert np.ptp(fit_map(np.ones((40, 5)), method, 0), axis=0).tolist() == [0, 0]


def test_the_nearest_training_points_come_in_order():
    training = np.array([[0.0], [10.0], [2.0], [5.0]], dtype=np.float32)
    assert nearest_training(np.array([[1.9], [9.0]]), training, 3).tolist() == [[2, 0, 3], [1, 3, 2]]


def test_no_more_neighbours_are_named_than_there_are():
    assert nearest_training(np.zeros((2, 1)), np.array([[1.0], [2.0]]), 4).tolist() == [[0, 1], [0, 1]]


@pytest.mark.parametrize(("anchors", "count"), [(5121, 1), (9_000, 5), (20_011, 7)])
def test_the_nearest_of_many_are_those_of_sorting_all(anchors, count):
    rng = np.random.default_rng(anchors)
    training, points = rng.normal(size=(anchors, 3)), rng.normal(size=(40, 3))
    away = np.linalg.norm(points[:, None] - training, axis=2)
    found = np.take_along_axis(away, nearest_training(points, training, count), axis=1)
    assert found == pytest.approx(np.sort(away, axis=1)[:, :count], abs=1e-3)
    assert (np.diff(found, axis=1) > -1e-3).all()
