"""What the pages say."""

from __future__ import annotations

import time

import pytest

from annotriage.advice import page_words


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


def test_a_score_is_called_foreign_only_where_its_limits_clear_those_of_usual_data():
    assert page_words.reading(0.124, 0.10, 0.05, 0.07).endswith("So some of it really is foreign.")
    assert page_words.reading(0.08, 0.04, 0.05, 0.07).endswith("Nothing says that this data is foreign.")
    assert "is not known without held-out items" in page_words.reading(0.08, 0.04, None, None)
    assert page_words.reading(None, None, 0.05, 0.07) == "Nothing could be scored yet."
    assert page_words.reading(0.0, 0.0, 0.05, 0.07).startswith("None of the new items is unlike")
    assert page_words.reading(0.7, 0.6, 0.05, 0.07).startswith("About 7 in 10 of the new items are unlike")


def test_how_long_people_need_is_said_only_where_it_is_known():
    assert page_words.waiting(0, 0.0) == "nothing waits"
    assert "no telling" in page_words.waiting(10, 0.0)
    assert page_words.waiting(10, 100.0) == "less than a day at the present rate"
    assert page_words.waiting(210, 30.0) == "about 7 days at the present rate"


def test_ages_are_rough():
    assert page_words.ago(time.time() - 3) == "some seconds ago"
    assert page_words.ago(time.time() - 7_300) == "2 hours ago"
    assert page_words.ago(None) == "never"
