"""Figures in words."""

from __future__ import annotations

import pytest

from annotriage.advice.numbers import about, certainty, chance, count, in_hundred, percent, percent_range, points, points_range, rough


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.124, "12.4%"),
        (0.0, "0%"),
        (0.99951, "over 99.9%"),
        (1.0, "100%"),
        (0.0004, "0.04%"),
        (0.001, "0.1%"),
        (float("nan"), "not known"),
        (None, "not known"),
    ],
)
def test_a_share_is_said_in_words(share, words):
    assert percent(share) == words


def test_an_interval_is_said_in_words_or_said_to_be_unknown():
    assert percent_range(0.104, 0.146) == "10.4 to 14.6%"
    assert percent_range(float("nan"), 0.1) == "not known"


def test_a_certainty_never_reads_as_certain():
    assert [certainty(c) for c in (0.95, 0.96, 0.995, 0.99848, 0.99939, 1 - 3.8e-6)] == [
        "95%", "96%", "99.5%", "99.85%", "99.939%", "99.99962%",
    ]  # fmt: skip


def test_a_difference_of_shares_is_said_in_points():
    assert [points(x) for x in (0.2334, 0.01, -0.01, 0.005, 0.0, float("nan"))] == [
        "23.3 points", "1 point", "-1 point", "0.5 points", "0 points", "not known",
    ]  # fmt: skip
    assert points_range(-0.042, 0.28) == "-4.2 to 28 points"


def test_a_share_and_its_limits_are_counted_in_the_same_hundred_with_the_limits_rounded_outwards():
    assert in_hundred(0.2445, 0.196, 0.294) == ("24 in 100", "19 to 30 in 100")
    assert in_hundred(0.0078, 0.0041, 0.012) == ("8 in 1,000", "4 to 12 in 1,000")
    assert in_hundred(0.04, 0.0, 0.1) == ("4 in 100", "0 to 10 in 100")
    assert in_hundred(0.07, 0.07, 0.07) == ("7 in 100", "7 to 7 in 100")


def test_a_rough_number_is_rounded_the_same_wherever_it_is_said():
    assert about(185) == f"about {rough(185)}" == "about 190"
    assert rough(rough(1234)) == rough(1234) == 1300


def test_one_item_is_singular():
    assert count(1, "item") == "1 item"
    assert count(1200, "item") == "1,200 items"
    assert count(2, "class has", "classes have") == "2 classes have"


@pytest.mark.parametrize(
    ("p", "words"), [(1e-9, "less than once in 10,000 times"), (0.025, "about once in 40 times"), (0.7, "often"), (None, "not known")]
)
def test_a_p_value_is_said_as_how_often(p, words):
    assert chance(p) == words
