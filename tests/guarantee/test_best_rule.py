"""Which rule is the best, and how sure that is."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from annotriage.guarantee.best_rule import auroc, best_rules


def scored(strength, seed=0, items=200, **sets):
    """Scores of known items and of sets, whose foreign items are higher by strength."""
    rng = np.random.default_rng(seed)
    known = rng.normal(size=items)
    return {name: (known, rng.normal(size=150) + strength * factor) for name, factor in (sets or {"x": 1.0}).items()}


def test_auroc_is_the_usual_one_ties_included():
    rng = np.random.default_rng(0)
    known, foreign = rng.integers(0, 9, 80), rng.integers(3, 12, 50)
    usual = roc_auc_score(np.repeat([0, 1], [80, 50]), np.concatenate([known, foreign]))
    assert auroc(known, foreign) == pytest.approx(usual)


def test_a_much_better_rule_is_surely_the_best_and_its_gain_is_clear():
    (best,) = best_rules([scored(0.3), scored(3.0, 1)], 0, np.random.default_rng(0))
    assert (best.set, best.rule, best.sure) == ("", 1, 1.0)
    assert 0 < best.gain_low < best.gain < best.gain_high


def test_of_two_rules_that_are_alike_none_is_surely_the_best():
    same = scored(1.0)
    (best,) = best_rules([same, same], 0, np.random.default_rng(0))
    assert best.sure == pytest.approx(0.5)
    assert best.gain is None  # the rule that decides is as good


def test_the_limits_hold_the_true_value_as_often_as_they_say():
    rng = np.random.default_rng(0)
    truth, held = 0.7602, 0  # P(Z < 1) for the difference of two normal values, one higher by 1
    for _ in range(30):
        of_one = {"x": (rng.normal(size=120), rng.normal(size=120) + 1.0)}
        (best,) = best_rules([of_one], None, rng)
        held += best.low <= truth <= best.high
    assert held >= 25  # 28.5 are expected; 24 or fewer have a probability of below 1%


def test_each_set_has_its_own_best_rule():
    first, second = scored(1.0, a=3.0, b=0.1), scored(1.0, 1, a=0.1, b=3.0)
    overall, of_a, of_b = best_rules([first, second], 0, np.random.default_rng(0))
    assert (of_a.set, of_a.rule, of_b.set, of_b.rule) == ("a", 0, "b", 1)
    assert overall.auroc == pytest.approx(max(np.mean([auroc(*one[name]) for name in "ab"]) for one in (first, second)))
