"""Anchoring and the calling of classes: found where they are, not where they are not."""

from __future__ import annotations

import numpy as np
import pytest

from annotriage.quality.bias import anchoring, callings, rates


def test_people_who_keep_half_of_the_wrong_suggestions_are_found():
    found = anchoring(shown=2_000, changed=100, blind=400, wrong=40)  # 5% contradicted in view, 10% blind
    assert found.kept == pytest.approx(0.5)
    assert 0 < found.low < 0.5 < found.high < 1


def test_the_limits_hold_at_95_percent():
    rng, held = np.random.default_rng(0), 0
    for _ in range(400):
        changed, wrong = rng.binomial(600, 0.12 * (1 - 0.3)), rng.binomial(300, 0.12)
        found = anchoring(600, int(changed), 300, int(wrong))
        held += found.low <= 0.3 <= found.high
    assert held >= 380


@pytest.mark.parametrize("counts", [(0, 0, 50, 5), (50, 5, 0, 0), (50, 0, 50, 0)])
def test_without_one_side_or_without_a_wrong_label_nothing_is_said_of_anchoring(counts):
    found = anchoring(*counts)
    assert (found.kept, found.low, found.high) == (None, None, None)


def test_more_contradictions_in_view_than_blind_are_no_negative_anchoring():
    assert anchoring(100, 30, 100, 10).kept == 0.0


def test_a_rare_class_that_people_take_for_a_common_one_is_called_too_seldom():
    truth = ["common"] * 90 + ["rare"] * 10
    lines = callings(truth, ["common"] * 98 + ["rare"] * 2)
    assert [(line.name, line.true, line.called, line.missed, line.over) for line in lines] == [
        ("rare", 10, 2, 8, 0),
        ("common", 90, 98, 0, 8),
    ]
    assert lines[0].p == pytest.approx(2 / 2**8)
    assert {line.p for line in callings(truth, truth)} == {1.0}


def test_a_class_that_is_named_less_with_a_suggestion_in_view_stands_out():
    lines = {line.name: line for line in rates(["common"] * 198 + ["rare"] * 2, ["common"] * 90 + ["rare"] * 10)}
    assert lines["rare"].p < 0.001
    assert lines["rare"].low < 0.1 < lines["rare"].high
    assert rates([], ["common"]) == rates(["common"], []) == []
