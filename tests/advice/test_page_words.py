"""What the pages say."""

from __future__ import annotations

import time

import pytest

from annotriage.advice import page_words
from annotriage.advice.diversity_words import Excess


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0.0, "none"),
        (0.124, "about 1 in 8"),
        (0.05, "about 1 in 20"),
        (0.7, "about 7 in 10"),
        (0.99, "nearly every one"),
        (1e-5, "about 1 in 100,000"),
    ],
)
def test_shares_are_said_as_people_say_them(share, said):
    assert page_words.about_one_in(share) == said


def test_a_score_says_what_its_excess_over_normal_data_does():
    said = "About 1 in 8 new items is unlike anything the model was trained on. Normal data would give 1 in 20, so much of this is new."
    assert page_words.reading(0.124, 0.05, Excess.NEW, 200) == said
    assert page_words.reading(0.102, 0.05, Excess.NEW, 200).startswith("About 1 in 10 new items is")
    assert page_words.reading(0.09, 0.05, Excess.NEW, 200).endswith("so some of this is new.")
    assert page_words.reading(0.08, 0.05, Excess.USUAL, 200).endswith("so this looks like normal data.")
    assert page_words.reading(0.15, 0.05, Excess.OPEN, 200).endswith("no clear difference, but there is too little data to be sure.")
    assert page_words.reading(0.08, None, Excess.UNKNOWN, 0).endswith("Without held-out items nobody knows what normal data would give.")
    assert page_words.reading(0.08, None, Excess.UNKNOWN, 12).endswith("12 held-out items are too few to say what normal data would give.")
    assert page_words.reading(None, 0.05, Excess.UNKNOWN, 200) == "Nothing could be scored yet."
    assert page_words.reading(0.0, 0.05, Excess.USUAL, 200).startswith("None of the new items is unlike")
    assert page_words.reading(0.7, 0.05, Excess.NEW, 200).startswith("About 7 in 10 new items are unlike")


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("project 3 is not connected", "Project 3 is not connected."),
        ("nothing, as ever!", "Nothing, as ever!"),
        ("alpha = 2 is no share", "alpha = 2 is no share."),
        ("alpha must be a share", "alpha must be a share."),
        ("order: 'x' is none of a, b", "order: 'x' is none of a, b."),
        ("model.onnx is damaged", "model.onnx is damaged."),
        ("data/a.csv is damaged", "data/a.csv is damaged."),
        ("item_fields is no list", "item_fields is no list."),
        ("'x' is no day", "'x' is no day."),
        ("", ""),
    ],
)
def test_an_error_is_a_sentence_that_leaves_names_as_they_are_written(said, sentence):
    assert page_words.sentence(said, {"alpha"}) == sentence


def test_ages_are_rough():
    assert page_words.ago(time.time() - 3) == "a few seconds ago"
    assert page_words.ago(time.time() - 7_300) == "2 hours ago"
    assert page_words.ago(None) == "never"
