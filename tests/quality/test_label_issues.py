"""Confident learning through cleanlab: the same findings as its own API, an interval that holds, kinds that mean what they say."""

from __future__ import annotations

import numpy as np
import pytest
from cleanlab.filter import find_label_issues
from cleanlab.multilabel_classification.filter import find_label_issues as find_answer_issues
from cleanlab.rank import get_label_quality_scores

from annotriage.quality.label_issues import answer_issues, kinds, label_issues, strangers
from annotriage.states import IssueKind

CLASSES = 4


def world(rng, count=600, wrong=0.1, sure=6.0):
    """True labels, given ones of which some are wrong, and the probabilities of a model that is mostly right."""
    truth = rng.integers(0, CLASSES, count)
    given = np.where(rng.random(count) < wrong, (truth + rng.integers(1, CLASSES, count)) % CLASSES, truth)
    logits = rng.normal(size=(count, CLASSES)) + sure * np.eye(CLASSES)[truth]
    return truth, given, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def alone(count):
    return np.arange(count)


@pytest.mark.parametrize("wrong", [0.0, 0.05, 0.3])
def test_the_findings_are_those_of_cleanlab_called_directly(wrong):
    _, given, probabilities = world(np.random.default_rng(1), wrong=wrong, sure=3.0)
    mine = label_issues(given, probabilities, alone(len(given)), np.random.default_rng(0))
    assert mine.flagged.tolist() == find_label_issues(given, probabilities).tolist()
    assert mine.quality["self-confidence"] == pytest.approx(get_label_quality_scores(given, probabilities, method="self_confidence"))


def test_agreement_is_a_part_of_the_findings():
    _, given, probabilities = world(np.random.default_rng(2))
    issues = label_issues(given, probabilities, alone(len(given)), np.random.default_rng(0))
    assert issues.agree.any()
    assert not (issues.agree & ~issues.flagged).any()


def test_the_estimated_joint_has_the_wrong_labels_off_its_diagonal():
    truth, given, probabilities = world(np.random.default_rng(3), count=4000)
    issues = label_issues(given, probabilities, alone(len(given)), np.random.default_rng(0))
    exact = np.zeros((CLASSES, CLASSES))
    np.add.at(exact, (given, truth), 1 / len(given))
    assert issues.joint == pytest.approx(exact, abs=0.01)
    assert issues.noise.share == pytest.approx(np.mean(given != truth), abs=0.01)


def test_the_interval_holds_the_rate_of_wrong_labels_about_as_often_as_it_says():
    """Of 200 datasets drawn anew, with a model that is sure enough for the estimate to be centred: 95% +- 3 standard errors."""
    held = 0
    for seed in range(200):
        _, given, probabilities = world(np.random.default_rng(seed), count=400)
        noise = label_issues(given, probabilities, alone(len(given)), np.random.default_rng(0)).noise
        held += noise.low <= 0.1 <= noise.high
    assert held / 200 >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 200)


def test_items_of_one_group_count_together():
    rng = np.random.default_rng(4)
    _, given, probabilities = world(rng, count=100)
    groups = np.repeat(np.arange(100), 10)
    given, probabilities = np.repeat(given, 10), np.repeat(probabilities, 10, axis=0)
    together, each = (label_issues(given, probabilities, units, np.random.default_rng(0)).noise for units in (groups, alone(1000)))
    assert together.high - together.low > 2 * (each.high - each.low)


def test_without_a_wrong_label_the_upper_limit_is_that_of_none_seen():
    labels = np.arange(60) % CLASSES
    noise = label_issues(labels, 0.01 + 0.96 * np.eye(CLASSES)[labels], alone(60), np.random.default_rng(0)).noise
    assert (noise.share, noise.low) == (pytest.approx(0), pytest.approx(0))
    assert 0.05 < noise.high < 0.07  # 1 - 0.025 ** (1 / 60)


def test_an_outlier_is_a_stranger_and_two_near_classes_are_ambiguous():
    labels = np.tile(np.arange(CLASSES), 25)
    probabilities = 0.02 + 0.92 * np.eye(CLASSES)[labels]
    probabilities[0] = [0.02, 0.94, 0.02, 0.02]  # labelled 0
    probabilities[4] = [0.02, 0.94, 0.02, 0.02]
    probabilities[8] = [0.30, 0.66, 0.02, 0.02]
    issues = label_issues(labels, probabilities, alone(100), np.random.default_rng(0))
    issues.flagged[:] = False
    issues.flagged[[0, 4, 8]] = True
    outlier = np.zeros(100, dtype=bool)
    outlier[4] = True
    assert kinds(issues, labels, probabilities, outlier) == [IssueKind.WRONG, IssueKind.STRANGER, IssueKind.AMBIGUOUS]


def test_usual_items_are_rarely_called_strangers():
    """All p-values uniform: in at most one of ten datasets a single one is named (tolerance: 3 standard errors of 400)."""
    rng = np.random.default_rng(5)
    named = sum(strangers(rng.random(200)).any() for _ in range(400))
    assert named / 400 <= 0.1 + 3 * np.sqrt(0.09 / 400)


def test_many_strangers_are_found_and_without_p_values_none():
    rng = np.random.default_rng(6)
    p_values = np.concatenate([rng.random(200), np.full(40, 0.001)])
    assert strangers(p_values)[200:].all()
    assert not strangers(np.full(3, np.nan)).any()


def test_answers_of_several_classes_are_checked_each_by_itself():
    rng = np.random.default_rng(7)
    truth = rng.random((400, 3)) < 0.4
    given = truth.copy()
    given[:20, 1] ^= True
    probabilities = np.clip(np.where(truth, 0.9, 0.1) + rng.normal(0, 0.03, truth.shape), 0.01, 0.99)
    issues = answer_issues(given, probabilities)
    sets = [np.flatnonzero(row).tolist() for row in given]
    assert issues.flagged.any(axis=1).tolist() == find_answer_issues(sets, probabilities, n_jobs=1).tolist()
    assert issues.flagged[:20, 1].mean() > 0.8


def test_a_class_that_all_items_have_is_not_doubted():
    given = np.column_stack([np.ones(50, dtype=bool), np.arange(50) % 2 == 0])
    issues = answer_issues(given, np.where(given, 0.9, 0.2))
    assert not issues.flagged[:, 0].any()
