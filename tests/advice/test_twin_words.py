"""How near twins are told: nothing is said of copies that was not measured."""

import math

from annotriage.advice.twin_words import threshold_sentence


def test_where_copies_decide_the_sentence_says_what_holds_for_them():
    assert "so are 99% of copies" in threshold_sentence(0.2, 1.0, halved=False)
    assert "(1)" in threshold_sentence(0.2, 1.0, halved=False)


def test_where_half_the_usual_distance_decides_copies_may_be_missed():
    sentence = threshold_sentence(0.5, 1.0, halved=True)
    assert "99%" not in sentence
    assert "some are missed" in sentence


def test_a_single_item_has_no_usual_distance():
    assert "nan" not in threshold_sentence(0.2, math.nan, halved=False)


def test_without_measured_copies_only_equal_activations_are_near():
    assert threshold_sentence(0.0, 1.0, halved=False).startswith("Only items with equal activations")
