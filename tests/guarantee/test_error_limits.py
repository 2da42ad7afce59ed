"""Errors that cost unlike amounts and limits of single classes: what is shown of them holds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import binom

from annotriage.advice.guarantee_words import guarantee_sentence
from annotriage.guarantee import bounded
from annotriage.guarantee.answered import Answered
from annotriage.guarantee.error_limits import ClassLimit, ErrorLimits
from annotriage.guarantee.gate import calibrate_gate, item_taus, miss_probability

NAMES = ("fracture", "healthy", "cyst")
DEAR = np.array([[0, 10.0, 1], [1, 0, 1], [1, 1, 0], [1, 10, 1]])  # a fracture, or a stranger, called healthy


def items(n, rng):
    """Answers of a model, the chance that each is wrong, and what its label costs on average: of what is wrongly called healthy half is a
    fracture."""
    ease = rng.normal(size=n)
    wrong = expit(-4.1 - 2.7 * ease)
    predicted = rng.integers(0, 3, n)
    correct = rng.random(n) >= wrong
    other = np.where(rng.random(n) < 0.5, (predicted + 1) % 3, (predicted + 2) % 3)
    sureness = 0.5 + 1.5 * expit(ease + 0.2 * rng.normal(size=n))
    true, miss = np.where(correct, predicted, other), miss_probability(4 + 3 * ease)
    answered = Answered(sureness, correct, np.ones(n, bool), predicted, true, miss, sureness, predicted)
    return answered, wrong, wrong * np.where(predicted == 1, 5.5, 1.0)


def guarantee_of(answered, **changes):
    return calibrate_gate(answered, **({"class_names": NAMES, "max_error": 0.1, "confidence": 0.95, "costs": DEAR} | changes))


@given(st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0]), min_size=1, max_size=30), st.floats(0.01, 0.5), st.randoms())
def test_the_order_of_losses_does_not_matter(losses, limit, random):
    shuffled = random.sample(losses, len(losses))
    last = [bounded.shown_by_first(np.array(values), limit, 0.8)[-1] for values in (losses, shuffled)]
    assert last[0] == last[1]


def test_an_upper_limit_is_the_smallest_mean_that_is_shown():
    values, counts = np.array([0.0, 0.1, 1.0]), np.array([600.0, 8.0, 1.0])
    upper = float(bounded.upper_mean(values, counts, 0.95))
    losses = np.repeat(values, counts.astype(int))
    assert losses.mean() < upper < 0.03
    shown = [bool(bounded.shown_by_first(losses, limit, 0.95)[-1]) for limit in (upper * 0.999, upper * 1.001)]
    assert shown == [False, True]
    size = bounded.first_size(0.01, 0.95)
    assert bounded.passing_sizes(0.01, 0.95, 2_000)[0] == size
    assert [float(bounded.upper_mean(np.zeros(1), np.array([float(n)]), 0.95)) <= 0.01 for n in (size - 1, size)] == [False, True]


@pytest.mark.parametrize("losses", [[0, 1], [0, 0.1, 1], [0, 0.5]])
def test_a_mean_at_the_limit_is_shown_in_few_runs(losses):
    rng, runs, n, limit = np.random.default_rng(1), 2_000, 300, 0.05
    chances = np.array([0.0, *np.full(len(losses) - 1, limit / (sum(losses)))])
    chances[0] = 1 - chances.sum()
    drawn = rng.choice(losses, p=chances, size=(runs, n))
    shown = sum(bool(bounded.is_shown(bounded.log_factors(row, limit).sum(axis=0), 0.95)) for row in drawn)
    assert shown <= binom.ppf(0.99, runs, 0.05)


def test_the_limit_of_expected_cost_is_broken_in_few_projects():
    rng, runs = np.random.default_rng(3), 40
    world, wrong, expected = items(20_000, rng)
    broken, automatic = {"cost": 0, "class": 0}, 0
    for _ in range(runs):
        answered, _, _ = items(2_500, rng)
        guarantee = guarantee_of(answered, class_limits=(ClassLimit("cyst", (2,), 0.05),))
        passed = world.sureness >= item_taus(guarantee, world.predicted)
        rest, cysts = passed & (world.predicted != 2), passed & (world.predicted == 2)
        broken["cost"] += bool(rest.any() and expected[rest].mean() > 0.1)
        broken["class"] += bool(cysts.any() and wrong[cysts].mean() > 0.05)
        automatic += guarantee.auto
    assert automatic > runs / 2
    assert max(broken.values()) <= binom.ppf(0.99, runs, 0.05)


def test_the_dear_error_makes_fewer_labels_automatic_and_the_sentence_speaks_of_cost():
    answered, _, _ = items(4_000, np.random.default_rng(0))
    alike, priced = guarantee_of(answered, costs=None), guarantee_of(answered)
    assert 0 < priced.n < alike.n
    assert priced.cost < priced.bound <= 0.1
    assert priced.error_limit == 0.1, "every error costs 1 at least, so at most that share can be wrong"
    said = guarantee_sentence(priced)
    assert said.startswith("The expected cost of automatic labels is at most 0.1 per item (a usual error costs 1, the dearest 10) in the")
    assert "automatic labels are wrong" not in said
    assert {row.cost is None for row in priced.classes} == {False}


def test_where_all_errors_cost_the_same_nothing_is_different():
    answered, _, _ = items(2_000, np.random.default_rng(0))
    plain = guarantee_of(answered, costs=None, max_error=0.02)
    assert (plain.cost, plain.dearest, plain.own_limits, plain.error_limit) == (None, None, (), 0.02)


def test_a_group_of_classes_keeps_its_own_limit_together():
    answered, _, _ = items(4_000, np.random.default_rng(0))
    both = ClassLimit("fracture | cyst", (0, 2), 0.005)
    guarantee = guarantee_of(answered, costs=None, max_error=0.03, class_limits=(both,))
    taus = {row.name: row.tau for row in guarantee.classes if row.side == "predicted"}
    assert taus["fracture"] == taus["cyst"] > taus["healthy"]
    (own,) = guarantee.own_limits
    assert own.bound <= 0.005
    assert guarantee.error_limit == 0.03
    said = guarantee_sentence(guarantee)
    assert "At most 3 in 100 automatic labels of the other classes are wrong in the long run" in said
    assert "With limits of their own: fracture | cyst (at most 5 in 1,000 wrong)." in said


def test_too_few_items_say_how_many_it_takes_for_the_cost():
    answered, _, _ = items(100, np.random.default_rng(0))
    guarantee = guarantee_of(answered)
    assert not guarantee.auto
    assert guarantee.needed > 600
    assert guarantee_sentence(guarantee).startswith("No label is automatic: 3")


def test_a_model_whose_errors_cost_too_much_is_not_asked_for_more_labels():
    answered, _, _ = items(3_000, np.random.default_rng(0))
    wrong = Answered(**{**vars(answered), "correct": np.arange(3_000) % 2 == 0, "true": (answered.predicted + 1) % 3})
    guarantee = guarantee_of(wrong)
    assert guarantee.needed is None
    assert "cost too much for a limit of 0.1 per item" in guarantee_sentence(guarantee)


def test_what_cannot_be_automatic_does_not_count_as_dear():
    never = np.array([False, True, False])
    assert ErrorLimits(0.1, never, costs=DEAR).dearest == 1.0
    assert ErrorLimits(0.1, np.zeros(3, bool), costs=DEAR).dearest == 10.0


def test_a_limit_of_what_is_never_automatic_leaves_the_alarm_as_it_is():
    never = np.array([False, False, True])
    assert ErrorLimits(0.02, never, class_limits=(ClassLimit("cyst", (2,), 0.3),)).most_wrong == 0.02
    assert ErrorLimits(0.02, ~np.ones(3, bool), class_limits=(ClassLimit("cyst", (2,), 0.3),)).most_wrong == 0.3


def test_the_limit_of_each_class_is_not_said_of_those_that_have_their_own():
    answered, _, _ = items(4_000, np.random.default_rng(0))
    cysts = ClassLimit("cyst", (2,), 0.1)
    guarantee = guarantee_of(answered, costs=None, max_error=0.03, max_error_per="class", class_limits=(cysts,))
    said = guarantee_sentence(guarantee)
    assert said.startswith("At most 3 in 100 automatic labels of each of the other classes are wrong in the long run")
    assert "With limits of their own: cyst (at most 10 in 100 wrong)." in said


def test_fewest_labels_are_those_of_the_highest_limit():
    answered, _, _ = items(20, np.random.default_rng(0))
    guarantee = guarantee_of(answered, costs=None, max_error=0.02, class_limits=(ClassLimit("cyst", (2,), 0.1),))
    assert guarantee_sentence(guarantee).startswith("No label is automatic: 30 labelled held-out items needed at least, 20 there;")
