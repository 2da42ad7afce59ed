"""The axis "another source": what the feature maps say, whatever the class."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from annotriage.latent.source import WIDEST, fit_source

WIDTHS = (6, 24, 60)


def maps(seed, count, *, widths=WIDTHS, shift=None):
    """A deciding layer and pooled feature maps, three kinds of items mixed. shift: the map whose first half is 60% stronger."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 3, count)
    layers = [rng.random((count, 4))]
    for place, width in enumerate(widths, start=1):
        usual = 1 + np.random.default_rng(place).random((3, width))
        layer = usual[kinds] + 0.1 * rng.standard_normal((count, width))
        if place == shift:
            layer[:, : width // 2] *= 1.6
        layers.append(layer)
    return [layer.astype(np.float32) for layer in layers]


def fitted(layers, scored=None):
    source, training = fit_source(layers, 10, len(layers[0]) if scored is None else scored, 0)
    return source, training


def auroc(source, usual, foreign):
    scores = [source.score(source.vectors(layers)) for layers in (usual, foreign)]
    return roc_auc_score(np.repeat([0, 1], [len(part) for part in scores]), np.concatenate(scores))


@pytest.mark.parametrize("shift", [1, 2, 3])
def test_an_item_that_differs_in_one_map_is_strange_and_the_map_is_named(shift):
    source, _ = fitted(maps(0, 900))
    foreign = maps(2, 200, shift=shift)
    assert auroc(source, maps(1, 200), foreign) > 0.95
    vectors = source.vectors(foreign)
    assert np.mean(source.excess(vectors, source.offsets(vectors)).argmax(axis=1) == shift - 1) > 0.9


def test_the_maps_together_make_the_score():
    source, _ = fitted(maps(0, 300))
    vectors = source.vectors(maps(1, 50))
    assert source.excess(vectors, source.offsets(vectors)).sum(axis=1) + sum(source.widths) == pytest.approx(
        source.score(vectors), rel=1e-3
    )


@pytest.mark.parametrize("count", [100, 300, 1_500])
def test_training_items_are_as_strange_as_new_ones(count):
    """Also where they are hardly more than the maps have values: each is scored by a fit without it."""
    source, training = fitted(maps(0, count))
    new = source.score(source.vectors(maps(1, 2_000)))
    assert np.median(training) == pytest.approx(np.median(new), rel=0.15)


def test_wide_maps_are_narrowed_and_many_maps_are_narrowed_further(monkeypatch):
    source, _ = fitted(maps(0, 500, widths=(8, 400)))
    assert source.widths == (8, WIDEST)
    monkeypatch.setattr("annotriage.latent.source.IN_ALL", 240)  # as many as there may be take many seconds
    many, _ = fitted(maps(0, 500, widths=(200,) * 12))
    assert many.widths == (20,) * 12


def test_a_map_that_never_changes_says_nothing():
    layers = maps(0, 300)
    layers[2] = np.full_like(layers[2], 3.0)
    source, _ = fitted(layers)
    assert source.layers == (1, 3)
    assert np.isfinite(source.score(source.vectors(maps(1, 50)))).all()


@pytest.mark.parametrize("widths", [(), (5, 9)])
def test_without_a_map_that_changes_there_is_no_such_axis(widths):
    layers = [np.full_like(layer, 2.0) for layer in maps(0, 50, widths=widths)]
    assert fit_source(layers, 10, 50, 0) is None


@pytest.mark.parametrize("count", [3, 7, 30])
def test_fewer_items_than_values_give_finite_scores(count):
    source, training = fitted(maps(0, count))
    assert np.isfinite(training).all()
    assert np.isfinite(source.score(source.vectors(maps(1, 20, shift=1)))).all()


def test_layers_of_very_different_width_and_size_weigh_the_same():
    layers, foreign, usual = maps(0, 900), maps(2, 200, shift=1), maps(1, 200)
    for part in (layers, foreign, usual):
        part[3] = part[3] * np.float32(1e4)
    source, _ = fitted(layers)
    assert auroc(source, usual, foreign) > 0.95
