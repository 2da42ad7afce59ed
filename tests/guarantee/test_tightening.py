"""Spot checks make the gate stricter where they show that the limit is broken, and hardly ever where it holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from annotriage.advice.guarantee_words import TOO_STRICT, guarantee_sentence
from annotriage.guarantee.answered import Answered
from annotriage.guarantee.error_limits import ErrorLimits
from annotriage.guarantee.gate import calibrate_gate, item_taus
from annotriage.guarantee.tightening import NEEDLESS, log_stake, stricter_tau
from annotriage.guarantee.what_if import what_if_taus


@pytest.mark.parametrize("rate", [0.02, 0.01])
def test_at_the_limit_it_hardly_ever_is_made_stricter_however_often_one_looks(rate):
    rng, runs = np.random.default_rng(0), 1_000
    errors = np.cumsum(rng.random((runs, 3_000)) < rate, axis=1)
    ever = (log_stake(errors, np.broadcast_to(np.arange(1, 3_001), errors.shape), 0.02) >= np.log(1 / NEEDLESS)).any(axis=1)
    assert ever.sum() <= binom.ppf(0.99, runs, NEEDLESS)


def test_a_threefold_error_is_found_after_some_hundred_answers():
    rng = np.random.default_rng(1)
    errors = np.cumsum(rng.random((200, 1_500)) < 0.06, axis=1)
    found = log_stake(errors, np.broadcast_to(np.arange(1, 1_501), errors.shape), 0.02) >= np.log(1 / NEEDLESS)
    assert 40 < np.median(np.argmax(found, axis=1)) < 300
    assert found.any(axis=1).mean() > 0.95


def test_the_gate_moves_to_where_the_answers_agree_with_the_limit():
    sureness = np.linspace(1.0, 1.999, 400)
    wrong = np.zeros(400, dtype=bool)
    assert stricter_tau(sureness, wrong, 0.02) is None, "nothing shows that the limit is broken"
    wrong[:40:2] = True  # the least sure ones
    least = stricter_tau(sureness, wrong, 0.02)
    assert sureness[20] < least < sureness[40]
    assert wrong[sureness >= least].mean() <= 0.02
    order = np.random.default_rng(0).permutation(400)
    assert stricter_tau(sureness[order], wrong[order], 0.02) == least


def test_errors_among_the_surest_leave_it_to_the_alarm():
    sureness = np.linspace(1.0, 1.999, 400)
    assert stricter_tau(sureness, np.arange(400) >= 370, 0.02) is None


def test_later_times_need_more_evidence():
    sureness, wrong = np.linspace(1, 2, 300), np.arange(300) < 15
    assert stricter_tau(sureness, wrong, 0.02) is not None
    assert stricter_tau(sureness, wrong, 0.02, before=50) is None


def test_strangers_that_look_familiar_are_shed_and_the_limit_holds_again():
    """Of what is automatic 6% are strangers, most of them near the gate; 120 streams of 800 answers."""
    rng, kept, before = np.random.default_rng(2), [], []
    for _ in range(120):
        strange = rng.random(800) < 0.06
        sureness = np.where(strange, 1.2 + 0.25 * rng.random(800), 1.2 + 0.8 * rng.random(800))
        wrong = strange | (rng.random(800) < 0.005)
        least = stricter_tau(sureness, wrong, 0.02)
        if least is not None:
            kept.append(0.06 * max(0.0, 1.45 - least) / 0.25 / (0.06 * max(0.0, 1.45 - least) / 0.25 + 0.94 * (2 - least) / 0.8) + 0.005)
            before.append(0.065)
    assert len(kept) > 110
    assert np.mean(kept) <= 0.022


def held_out():
    rng = np.random.default_rng(0)
    sureness = rng.uniform(0.5, 2, 3_000)
    right = rng.random(3_000) > 0.1 * (2 - sureness) ** 3
    zeros = np.zeros(3_000, dtype=np.int64)
    return Answered(sureness, right, np.ones(3_000, bool), zeros, np.where(right, 0, -1), 0.1 * (2 - sureness) ** 3, sureness, zeros)


def test_a_stricter_gate_is_one_of_those_that_the_held_out_items_show():
    answered = held_out()
    plain = calibrate_gate(answered, class_names=("cat",), max_error=0.02, confidence=0.95)
    assert plain.auto
    above = (plain.tau + 1.7) / 2
    stricter = calibrate_gate(answered, class_names=("cat",), max_error=0.02, confidence=0.95, stricter=above, times_stricter=1)
    assert stricter.tau == above
    assert 0 < stricter.n < plain.n
    assert not calibrate_gate(answered, class_names=("cat",), max_error=0.02, confidence=0.95, stricter=1.9999).auto
    lower = calibrate_gate(answered, class_names=("cat",), max_error=0.02, confidence=0.95, stricter=plain.tau - 0.1)
    assert lower.tau == plain.tau, "never less strict"


def test_a_class_without_a_held_out_item_above_the_stricter_gate_is_not_automatic():
    answered = held_out()
    dogs = (answered.sureness > 1.2) & (answered.sureness < 1.35) & answered.correct
    two = replace(answered, predicted=dogs.astype(int), true=np.where(dogs, 1, answered.true))
    wishes = {"class_names": ("cat", "dog"), "max_error": 0.02, "confidence": 0.95}
    plain, stricter = calibrate_gate(two, **wishes), calibrate_gate(two, **wishes, stricter=1.4)
    assert item_taus(plain, np.array([0, 1])).max() < 1.3
    assert item_taus(stricter, np.array([0, 1])).tolist() == [1.4, np.inf]


def test_a_preview_of_other_limits_is_as_strict_as_the_gate_would_be():
    answered, max_errors = held_out(), (0.003, 0.005, 0.01, 0.02)
    limits = ErrorLimits(0.02, np.zeros(1, dtype=bool))
    previewed = what_if_taus(answered, limits, max_errors=max_errors, confidences=(0.95,), stricter=1.65)[:, 0, 0]
    gates = [calibrate_gate(answered, class_names=("cat",), max_error=limit, confidence=0.95, stricter=1.65) for limit in max_errors]
    assert previewed.tolist() == [gate.tau for gate in gates]
    assert np.isinf(previewed).any()
    assert (previewed == 1.65).any()


def test_where_the_stricter_gate_alone_stands_in_the_way_nobody_is_asked_for_more_labels():
    beyond = calibrate_gate(held_out(), class_names=("cat",), max_error=0.02, confidence=0.95, stricter=1.9999)
    assert (beyond.auto, beyond.needed) == (False, None)
    assert guarantee_sentence(beyond) == f"{TOO_STRICT} A recalibration sets the gate again."
