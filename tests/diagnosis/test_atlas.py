"""The atlas's numbers on planes made for it: the head, the cells, the classes."""

from __future__ import annotations

import numpy as np
import pytest

from annotriage.diagnosis.atlas import pieces
from annotriage.diagnosis.atlas.cells import cells_of, unit_square
from annotriage.diagnosis.atlas.classes import class_places, class_similarity
from annotriage.diagnosis.atlas.head import fit_head


@pytest.fixture(scope="module")
def layer():
    return np.random.default_rng(0).normal(size=(500, 8))


@pytest.fixture(scope="module")
def weights():
    return np.random.default_rng(1).normal(size=(8, 3))


def test_the_head_of_the_last_layer_is_found_without_opening_the_model(layer, weights):
    head = fit_head(layer, layer @ weights + [1, 2, 3])
    assert head.weights == pytest.approx(weights, abs=1e-4)
    assert head.bias == pytest.approx([1, 2, 3], abs=1e-4)
    assert head.explained == pytest.approx(1)


def test_a_layer_with_more_neurons_than_items_does_not_explain_what_it_cannot_know():
    rng = np.random.default_rng(0)
    assert fit_head(rng.normal(size=(60, 200)), rng.normal(size=(60, 4))).explained < 0.3


def test_what_a_layer_does_not_say_is_not_explained(layer):
    assert abs(fit_head(layer, np.random.default_rng(2).normal(size=(500, 3))).explained) < 0.1


def test_more_neurons_than_items_are_no_trouble():
    rng = np.random.default_rng(0)
    head = fit_head(rng.normal(size=(20, 300)), rng.normal(size=(20, 4)))
    assert np.isfinite(head.weights).all()


def test_many_items_are_gone_through_a_few_at_a_time_with_the_same_result(layer, weights, monkeypatch):
    def found():
        head, places, kinds = fit_head(layer, layer @ weights), unit_square(layer[:, :2]), (layer[:, 0] > 0).astype(int)
        return head.weights, class_similarity(layer, kinds, 2), cells_of(places, layer, head, 2)

    *whole, cells = found()
    monkeypatch.setattr(pieces, "PIECE", 7)
    *parted, its_cells = found()
    for one, other in zip(whole, parted, strict=True):
        assert other == pytest.approx(one)
    for one, other in zip(cells, its_cells, strict=True):
        assert other.mean == pytest.approx(one.mean)
        assert other.items.tolist() == one.items.tolist()


def test_every_item_is_in_one_cell_whose_medoid_comes_first(layer, weights):
    places = unit_square(layer[:, :2])
    found = cells_of(places, layer, fit_head(layer, layer @ weights), 5)
    assert sorted(np.concatenate([cell.items for cell in found]).tolist()) == list(range(500))
    for cell in found:
        away = np.linalg.norm(layer[cell.items] - layer[cell.items].mean(axis=0), axis=1)
        assert away[0] == away.min()
        assert (np.minimum(places[cell.items] * 5, 4.999).astype(int) == [cell.column, cell.row]).all()


def test_a_cell_speaks_for_the_class_that_its_items_are_of(layer, weights):
    logits = layer @ weights
    head = fit_head(layer, logits)
    for cell in cells_of(unit_square(layer[:, :2]), layer, head, 4):
        assert cell.logits == pytest.approx(logits[cell.items].mean(axis=0), abs=1e-3)
        assert cell.evidence == pytest.approx(logits[cell.items].mean(axis=0) - logits.mean(axis=0), abs=1e-3)


def test_a_plane_without_extent_lies_in_the_middle():
    assert unit_square(np.array([[3.0, 1], [3, 2]])).tolist() == [[0.5, 0], [0.5, 1]]


def test_classes_that_the_model_makes_alike_are_alike():
    kinds = np.repeat([0, 1, 2], 20)
    activations = np.array([[1.0, 0, 0], [0.9, 0.1, 0], [0, 0, 1]])[kinds]
    found = class_similarity(activations, kinds, 4)
    assert found[0, 1] > 0.9 > 0 > found[0, 2]
    assert np.isnan(found[3]).all()
    places = class_places(np.arange(120.0).reshape(60, 2), kinds, 4)
    assert places[1].tolist() == [59, 60]
    assert np.isnan(places[3]).all()
