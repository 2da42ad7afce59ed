"""Linear heads: each answer comes from a head that did not see the item's label, nor that of its like."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from annotriage.quality.heads import answer_probabilities, checkable, class_probabilities, fold_of


@given(labels=st.lists(st.integers(0, 3), min_size=1, max_size=60), folds=st.integers(2, 6), seed=st.integers(0, 9))
def test_units_stay_whole_and_folds_are_even(labels, folds, seed):
    labels = np.array(labels)
    units = np.arange(len(labels)) // 2
    fold = fold_of(labels, units, folds, np.random.default_rng(seed))
    assert all(len(set(fold[units == unit])) == 1 for unit in set(units.tolist()))
    sizes = np.bincount(fold[::2], minlength=folds)
    assert sizes.max() - sizes.min() <= 1


def clusters(rng, count=300):
    labels = rng.integers(0, 3, count)
    return np.eye(3)[labels] * 6 + rng.normal(size=(count, 3)), labels


def test_an_item_with_a_wrong_label_is_told_by_the_others():
    rng = np.random.default_rng(0)
    points, truth = clusters(rng)
    labels = truth.copy()
    labels[:15] = (truth[:15] + 1) % 3
    probabilities = class_probabilities(points, labels, 3, fold_of(labels, np.arange(300), 5, rng))
    assert (probabilities.argmax(axis=1)[:15] == truth[:15]).mean() > 0.9
    assert np.allclose(probabilities.sum(axis=1), 1)


def test_copies_in_one_unit_do_not_vouch_for_each_other():
    rng = np.random.default_rng(1)
    points, labels = clusters(rng)
    points, labels = np.vstack([points, np.tile([[6.0, 0, 0]], (30, 1))]), np.append(labels, np.full(30, 2))
    units = np.append(np.arange(300), np.full(30, 300))
    probabilities = class_probabilities(points, labels, 3, fold_of(labels, units, 5, rng))
    assert (probabilities[300:, 0] > 0.9).all()


def test_a_class_of_one_unit_or_of_few_items_cannot_be_checked():
    labels = np.repeat([0, 1, 2], [10, 8, 3])
    units = np.concatenate([np.arange(10), np.full(8, 10), np.arange(11, 14)])  # all of class 1 are of one patient
    assert checkable(labels, units, 5).tolist() == [True] * 10 + [False] * 11
    assert checkable(labels, units, 3).tolist() == [True] * 10 + [False] * 8 + [True] * 3


def test_a_class_that_no_head_has_seen_gets_no_probability():
    rng = np.random.default_rng(2)
    points, labels = clusters(rng)
    labels[0] = 3
    probabilities = class_probabilities(points, labels, 5, fold_of(labels, np.arange(300), 5, rng))
    assert probabilities[0, 3] < 0.01
    assert (probabilities[:, 4] < 0.01).all()


def test_directions_in_which_nothing_varies_change_nothing(recwarn):
    rng = np.random.default_rng(0)
    points, labels = clusters(rng)
    fold = np.arange(len(labels)) % 5
    dead = (rng.normal(size=(len(labels), 4)) * 1e-45).astype(np.float32)  # what principal components make of units that never fire
    bare = class_probabilities(points.astype(np.float32), labels, 3, fold)
    found = class_probabilities(np.hstack([points.astype(np.float32), dead]), labels, 3, fold)
    np.testing.assert_array_equal(found, bare)
    none = class_probabilities(dead, labels, 3, fold)
    assert np.isfinite(none).all()
    assert none.std(axis=0).max() < 0.05, "each class as often as it is among the others"


def test_identical_items_leave_nothing_to_be_told():
    points, labels = np.ones((20, 3)), np.arange(20) % 2
    probabilities = class_probabilities(points, labels, 2, fold_of(labels, np.zeros(20, dtype=int), 5, np.random.default_rng(0)))
    assert np.isfinite(probabilities).all()


def test_each_answer_of_several_is_told_by_the_others():
    rng = np.random.default_rng(3)
    truth = rng.random((400, 3)) < 0.4
    given = truth.copy()
    given[:20, 1] ^= True
    points = truth * 4.0 + rng.normal(0, 0.5, truth.shape)
    probabilities = answer_probabilities(points, given, fold_of(np.zeros(400, dtype=int), np.arange(400), 5, rng))
    assert ((probabilities > 0.5) == truth).mean() > 0.98
