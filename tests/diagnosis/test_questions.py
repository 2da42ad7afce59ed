"""The seven questions on activations made for them, so that the answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from annotriage.diagnosis import questions
from annotriage.diagnosis.similarity import linear_cka
from annotriage.diagnosis.view import View

TRUTH = np.repeat([0, 1, 2], 40)


@pytest.fixture(scope="module")
def layer():
    """Neuron c fires for class c, neuron 3 for all alike, neuron 4 for the errors: the first five items of class 1."""
    made = np.random.default_rng(0).uniform(0, 0.1, (120, 5))
    made[np.arange(120), TRUTH] += 1
    made[:, 3] += 1.5
    made[40:45, 4] += 4
    made[40:45, 1] = 0
    return made


@pytest.fixture(scope="module")
def view(layer):
    predicted = TRUTH.copy()
    predicted[40:45] = 2
    return View(layer, predicted, TRUTH, 3)


def test_means_find_the_neurons_that_tell_classes_apart(layer):
    found = questions.class_means(layer, TRUTH)
    assert found.means.shape == (3, 5)
    assert set(found.telling[:2].tolist()) < {0, 1, 2}
    assert found.means[0, 0] == pytest.approx(1.05, abs=0.03)


def test_the_top_neuron_of_errors_is_the_one_that_fires_for_them(layer, view):
    found = questions.top_neurons_of_errors(layer, view, k=2)
    assert found.neurons.tolist() == [4, 3]
    assert found.wrong[0] > 4 > 1 > found.right[0]
    assert found.shared == 1


def test_errors_are_contrasted_with_their_own_class(layer, view):
    (found,) = questions.errors_against_correct(layer, view)
    assert (found.kind, found.items) == (1, 5)
    assert found.neurons[:2].tolist() == [4, 1]
    assert found.distance > 0.2


def test_a_layer_says_what_is_in_it(layer):
    logits = np.eye(3)[TRUTH]
    found = questions.logits_and_layers([layer[:, :3], layer[:, 3:4]], logits)
    assert found.shape == (3, 2)
    assert (found[:, 0] > 5 * found[:, 1]).all()


def test_confusions_come_most_frequent_first_with_where_their_maximum_falls(layer, view):
    assert questions.confusions(view) == [(1, 2)]
    found = questions.taken_for(layer, view, 1, 2)
    assert found.rows.tolist() == [40, 41, 42, 43, 44]
    assert found.neurons.tolist() == [4]
    assert found.nearer is None  # both classes have their maximum elsewhere: neither is nearer


def test_what_looks_like_the_other_class_is_said_to():
    layer = np.eye(3)[TRUTH]
    layer[40:45] = [0, 0, 1]
    predicted = TRUTH.copy()
    predicted[40:45] = 2
    assert questions.taken_for(layer, View(layer, predicted, TRUTH, 3), 1, 2).nearer is True


def test_the_class_that_is_right_earlier_is_learned_first(layer):
    guess = np.where(TRUTH == 1, 1, 0)
    found = questions.learned_first([(np.ones((120, 2)), guess * 0), (layer, guess), (layer, TRUTH)], layer, TRUTH)
    assert found.classes[found.order].tolist() == [0, 1, 2]
    assert found.right.tolist() == [[1, 1, 1], [0, 1, 1], [0, 0, 1]]
    assert found.like_final[:, 2] == pytest.approx(1)


def test_linear_cka_knows_rotations_and_strangers():
    rng = np.random.default_rng(0)
    one = rng.normal(size=(400, 6))
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    assert linear_cka(one, 3 * one @ turn + 2) == pytest.approx(1)
    assert linear_cka(one, rng.normal(size=(400, 6))) < 0.1
    assert np.isnan(linear_cka(one, np.ones((400, 2))))


def test_linear_cka_is_the_same_by_kernels_and_by_products():
    rng = np.random.default_rng(1)
    one, other = rng.normal(size=(30, 40)), rng.normal(size=(30, 5))
    left, right = (part - part.mean(axis=0) for part in (one, other))
    plain = (np.linalg.norm(left.T @ right) ** 2) / (np.linalg.norm(left.T @ left) * np.linalg.norm(right.T @ right))
    assert linear_cka(one, other) == pytest.approx(plain)


def test_every_question_belongs_to_a_query_set():
    assert [query.families for query in questions.Query] == [("S2",), ("S1",), ("S2",), *[("S2", "S3")] * 4]
