"""What is said of the work that waits."""

from __future__ import annotations

import pytest

from annotriage.advice.waiting_words import effort, kinds_in_words, load, pace, waiting_sentence


def test_what_waits_is_the_sum_of_its_kinds():
    kinds = kinds_in_words(strange=126, unsure=1, sent=0, unreadable=0, spot_checks=38)
    assert waiting_sentence(165, kinds) == "165 wait: 126 strange, 1 unsure and 38 spot checks"
    assert waiting_sentence(1, kinds_in_words(strange=0, unsure=0, sent=0, unreadable=0, spot_checks=1)) == "1 waits: 1 spot check"
    assert waiting_sentence(0, {}) == "Nothing waits for people"


@pytest.mark.parametrize(
    ("total", "seconds", "said"),
    [
        (165, 12.0, "about 33 minutes of work at 12\u00a0s an answer"),
        (450, 12.0, "about 1.5 hours of work at 12\u00a0s an answer"),
        (300, 12.0, "about 1 hour of work at 12\u00a0s an answer"),
        (100_000, 12.4, "about 344 hours of work at 12\u00a0s an answer"),
        (2, 12.0, "about 1 minute of work at 12\u00a0s an answer"),
        (0, 12.0, ""),
        (165, None, ""),
    ],
)
def test_work_is_told_in_hours_at_the_measured_time_of_an_answer(total, seconds, said):
    assert effort(total, seconds) == said


def test_when_people_are_through_is_said_only_where_it_is_known():
    assert pace(0, None) == ""
    assert pace(10, 0.0) == "nobody has answered recently"
    assert "after a day of answers" in pace(10, None)
    assert pace(10, 100.0) == "done in less than a day at the current rate"
    assert pace(210, 30.0) == "done in about 7 days at the current rate"


@pytest.mark.parametrize(
    ("total", "per_day", "said"),
    [
        (100, 39.4, "Together they answer about 39 items a day: what waits is done in about 3 days."),
        (10, 39.4, "Together they answer about 39 items a day: what waits is done in less than a day."),
        (30, 0.3, "Together they answer about 2 items a week: what waits is done in about 100 days."),
        (0, 1.0, "Together they answer about 1 item a day; nothing waits now."),
        (10, 0.0, ""),
        (10, None, ""),
    ],
)
def test_how_far_the_queue_goes_is_said_beside_who_answered(total, per_day, said):
    assert load(total, per_day) == said
