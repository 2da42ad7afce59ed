"""Epochs: who takes part by perplexity, what labels are made of, and how samples are scored."""

import numpy as np
import pytest

from annotriage.report.training_charts import loss_chart
from annotriage.training.course import Course, run
from annotriage.training.importance import early_scores, forgetting
from annotriage.training.learner import Head
from annotriage.training.learning_curve import learning_curve
from annotriage.training.perplexity import Subsampling, of_true_class
from annotriage.training.plan import Plan
from annotriage.training.pruning import pruning


@pytest.fixture(scope="module")
def blobs():
    """Three classes as clouds of points, and their targets: (N, d), (N, 3); and as many others."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(3, 6)) * 2
    labels = rng.integers(0, 3, 1_200)
    points = (centers[labels] + rng.normal(size=(1_200, 6))).astype(np.float32)
    targets = np.eye(3, dtype=np.float32)[labels]
    return (points[:600], targets[:600]), (points[600:], targets[600:])


def head(points, plan, multiple=False, classes=3):
    return Head(points, classes, multiple=multiple, weight_decay=plan.weight_decay, seed=plan.seed)


def accuracy(learner, points, targets):
    return float((learner.logits(points).argmax(1) == targets.argmax(1)).mean())


def test_perplexity_is_minus_ln_p_of_the_true_class():
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]]))
    assert of_true_class(logits, np.eye(3)[[0, 1]], False) == pytest.approx([-np.log(0.7), -np.log(0.1)])
    odds = np.log(np.array([[0.9 / 0.1, 0.2 / 0.8]]))
    assert of_true_class(odds, np.array([[1, 0]]), True) == pytest.approx([-np.log(0.9) - np.log(0.8)])


def test_below_a_and_above_b_sit_out_and_come_back_before_every_third_epoch():
    rule = Subsampling.of(Plan(perplexity="kl", drop_below=0.1, drop_above=2.0, readmit=3))
    everyone = np.ones(4, dtype=bool)
    perplexity = np.array([0.05, 0.5, 1.5, 3.0])
    assert rule(0, everyone, perplexity).tolist() == [False, True, True, False]
    assert rule(1, np.array([False, True, True, False]), np.array([0.05, 0.05, 1.5, 3.0])).tolist() == [False, False, True, False]
    assert rule(2, np.array([False, False, True, False]), perplexity).tolist() == [True] * 4


def test_what_sits_out_is_not_trained_on_and_not_rescored(blobs):
    plan = Plan(epochs=6, perplexity="kl", drop_below=0.3, readmit=0)
    course = run(head(blobs[0][0], plan), blobs[0][1], plan)
    for epoch in range(1, course.epochs):
        out = ~course.took_part[epoch]
        assert np.array_equal(course.perplexity[epoch][out], course.perplexity[epoch - 1][out])
        assert (course.right[epoch][out] == -1).all()
        assert not (course.took_part[epoch] & ~course.took_part[epoch - 1]).any()  # with readmit 0 nobody comes back


def test_samples_come_back_even_if_all_were_out(blobs):
    points, targets = blobs[0]
    plan = Plan(epochs=6, perplexity="kl", drop_below=100.0, readmit=2)
    course = run(head(points, plan), targets, plan)
    assert course.took_part.sum(axis=1).tolist() == [600, 0, 600, 0, 600]  # nobody is in the sixth, and there is no seventh
    assert np.isnan(course.losses[[1, 3]]).all()
    assert np.array_equal(course.perplexity[1], course.perplexity[0])
    assert "in the first epoch" in loss_chart(course.losses)


def test_fewer_visits_give_the_same_accuracy(blobs):
    plan = Plan(epochs=20)
    few = Plan(epochs=20, perplexity="kl", drop_below=0.2)
    whole, some = head(blobs[0][0], plan), head(blobs[0][0], few)
    all_visits, visits = run(whole, blobs[0][1], plan).visits, run(some, blobs[0][1], few).visits
    assert visits < 0.8 * all_visits
    assert abs(accuracy(whole, *blobs[1]) - accuracy(some, *blobs[1])) < 0.02


@pytest.mark.parametrize("more", [{"smoothing": 0.1}, {"mixup": 0.4}, {"smoothing": 0.1, "mixup": 0.2, "perplexity": "kl"}])
def test_soft_labels_train_a_model_that_is_less_sure(blobs, more):
    plain, soft = Plan(epochs=15), Plan(epochs=15, **more)
    hard, smooth = head(blobs[0][0], plain), head(blobs[0][0], soft)
    run(hard, blobs[0][1], plain)
    run(smooth, blobs[0][1], soft)
    assert accuracy(smooth, *blobs[1]) > accuracy(hard, *blobs[1]) - 0.03
    assert np.abs(smooth.logits(blobs[1][0])).mean() < np.abs(hard.logits(blobs[1][0])).mean()


def test_several_classes_may_apply_at_once():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(800, 4)).astype(np.float32)
    targets = (points[:, :3] > 0).astype(np.float32)
    plan = Plan(epochs=30)
    learner = head(points[:400], plan, multiple=True)
    course = run(learner, targets[:400], plan, multiple=True)
    assert ((learner.logits(points[400:]) > 0) == (targets[400:] > 0)).mean() > 0.93
    assert np.isfinite(course.losses).all()


def test_the_head_as_a_layer_says_what_it_says_in_training(blobs):
    plan = Plan(epochs=3)
    learner = head(blobs[0][0], plan)
    run(learner, blobs[0][1], plan)
    weight, bias = learner.layer()
    assert blobs[1][0] @ weight + bias == pytest.approx(learner.logits(blobs[1][0]), abs=1e-4)


def test_a_value_that_never_changes_does_no_harm():
    points = np.c_[np.repeat([[0.0], [1.0]], 50, axis=0), np.full((100, 1), 7.0)].astype(np.float32)
    targets = np.eye(2, dtype=np.float32)[points[:, 0].astype(int)]
    plan = Plan(epochs=30)
    learner = head(points, plan, classes=2)
    run(learner, targets, plan)
    assert accuracy(learner, points, targets) == 1


def test_a_course_is_the_same_after_a_stop(blobs):
    plan = Plan(epochs=6, perplexity="gmm")
    whole = run(head(blobs[0][0], plan), blobs[0][1], plan)
    states = []
    learner = head(blobs[0][0], plan)
    run(learner, blobs[0][1], plan, after_epoch=lambda course: states.append((course, learner.state())))
    course, state = states[2]
    again = head(blobs[0][0], plan)
    again.restore(state)
    resumed = run(again, blobs[0][1], plan, former=Course.of(course.arrays()))
    assert np.array_equal(resumed.took_part, whole.took_part)
    assert np.array_equal(resumed.losses, whole.losses)


def test_forgetting_counts_what_was_right_and_then_wrong():
    right = np.array([[1, 0, 0, 1], [0, 0, 1, -1], [1, 0, 1, 0], [0, 0, 1, 0]])
    assert forgetting(right).tolist() == [2, np.inf, 0, 1]


def test_mislabelled_samples_have_the_highest_scores(blobs):
    points, targets = blobs[0][0], blobs[0][1].copy()
    wrong = np.arange(30)
    targets[wrong] = np.roll(targets[wrong], 1, axis=1)
    scores = early_scores(points, targets, Plan())
    assert np.median(scores.el2n[wrong]) > np.quantile(scores.el2n[30:], 0.9)
    lengths = scores.grand / scores.el2n
    standard = (points - points.mean(0)) / points.std(0)
    assert lengths == pytest.approx(np.sqrt((standard**2).sum(1) + 1), rel=1e-3)


def test_a_pruning_is_measured_beside_random_ones(blobs):
    scores = early_scores(*blobs[0], Plan())
    proposal = pruning(*blobs[0], scores.el2n, blobs[1], Plan(epochs=8))
    assert [row.share for row in proposal.rows] == [0.1, 0.25, 0.5, 0.75]
    assert all(row.random_low <= row.random <= row.random_high for row in proposal.rows)
    assert 0 <= proposal.share <= 0.75


def test_a_learning_curve_falls_and_says_what_more_labels_gain(blobs):
    curve = learning_curve(*blobs[0], blobs[1], Plan(epochs=8))
    assert curve.errors[0] > curve.errors[-1]
    assert curve.low <= curve.gain <= curve.high
    assert curve.error(curve.now) == pytest.approx(curve.errors[-1], abs=0.03)
    assert learning_curve(blobs[0][0][:50], blobs[0][1][:50], blobs[1], Plan()) is None
