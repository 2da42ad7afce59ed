"""S1, S2 and S3: what the figures of a sample are, by hand and at their ends."""

from __future__ import annotations

import numpy as np
import pytest

from annotriage.diagnosis.query_sets import accuracy, answer, answers, cosine_distance, divergence
from annotriage.diagnosis.view import UNLABELLED


@pytest.fixture(scope="module")
def activations():
    rng = np.random.default_rng(0)
    return (rng.gamma(1.0, size=(200, 30)), rng.gamma(1.0, size=(200, 4)))


TRUTH = np.repeat([0, 1], 100)
WRONG = np.tile([True] + [False] * 9, 20)


def test_an_answer_by_hand():
    found = answer(np.array([[1.0, 5, 0], [2, 1, 0], [4, 0, 3]]))
    assert found.top(2).tolist() == [1, 0]
    assert found.mean == pytest.approx([7 / 3, 2, 1])
    assert found.falls == pytest.approx([2 / 3, 1 / 3, 0])


def test_the_full_data_answers_as_the_full_data(activations):
    full = answers(activations, TRUTH, WRONG)
    same = accuracy(full, full)
    assert (same.top_neurons, same.means, same.distribution) == (1.0, pytest.approx(0), pytest.approx(0))
    assert (same.combinations, same.missing) == (8, 0)


def test_a_combination_without_a_sample_counts_as_wrong_as_can_be(activations):
    full = answers(activations, TRUTH, WRONG)
    rows = np.flatnonzero(~WRONG)
    found = accuracy(full, answers(activations, TRUTH, WRONG, rows))
    assert (found.top_neurons, found.means, found.distribution, found.missing) == (0.5, pytest.approx(0.5), pytest.approx(0.5), 4)


def test_what_is_empty_in_the_full_data_is_left_out(activations):
    full = answers(activations, TRUTH, np.zeros(200, bool))
    assert accuracy(full, full).combinations == 4


def test_unlabelled_items_are_in_no_combination(activations):
    assert answers(activations, np.full(200, UNLABELLED), WRONG) == {}
    assert accuracy({}, {}) is None


def test_a_layer_of_few_neurons_is_not_asked_for_its_top_ones(activations):
    full = answers(activations[1:], TRUTH, WRONG)
    assert accuracy(full, {}).top_neurons == 1.0


def test_larger_samples_answer_better(activations):
    full = answers(activations, TRUTH, WRONG)
    order = np.random.default_rng(1).permutation(200)
    found = [accuracy(full, answers(activations, TRUTH, WRONG, order[:size])) for size in (20, 80, 200)]
    assert found[0].top_neurons < found[1].top_neurons < found[2].top_neurons == 1
    assert found[0].distribution > found[1].distribution > found[2].distribution == pytest.approx(0)


def test_distances_at_their_ends():
    assert cosine_distance(np.array([1.0, 0]), np.array([2.0, 0])) == 0
    assert cosine_distance(np.array([1.0, 0]), np.array([0, 1.0])) == 1
    assert cosine_distance(np.zeros(2), np.zeros(2)) == 0
    assert cosine_distance(np.zeros(2), np.ones(2)) == 1
    assert divergence(np.array([1.0, 0]), np.array([0, 1.0])) == pytest.approx(1)
    assert divergence(np.array([0.5, 0.5]), np.array([0.5, 0.5])) == 0
