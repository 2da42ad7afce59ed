"""Figures in words."""

from __future__ import annotations

import pytest

from annotriage.latent.wording import chance, count, percent, percent_range


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.124, "12.4 %"),
        (0.0, "0 %"),
        (1.0, "100 %"),
        (0.0004, "0.04 %"),
        (0.001, "0.1 %"),
        (float("nan"), "not known"),
        (None, "not known"),
    ],
)
def test_a_share_is_said_in_words(share, words):
    assert percent(share) == words


def test_an_interval_is_said_in_words_or_said_to_be_unknown():
    assert percent_range(0.104, 0.146) == "10.4 to 14.6 %"
    assert percent_range(float("nan"), 0.1) == "not known"


def test_one_item_is_singular():
    assert count(1, "item") == "1 item"
    assert count(1200, "item") == "1,200 items"
    assert count(2, "class has", "classes have") == "2 classes have"


@pytest.mark.parametrize(
    ("p", "words"), [(1e-9, "less than once in 10,000 times"), (0.025, "about once in 40 times"), (0.7, "often"), (None, "not known")]
)
def test_a_p_value_is_said_as_how_often(p, words):
    assert chance(p) == words
