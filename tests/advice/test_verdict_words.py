"""The reason of a route, in a sentence."""

from __future__ import annotations

import pytest

from annotriage.advice.verdict_words import reason_sentence


@pytest.mark.parametrize(
    ("held_back", "sent_by", "sentence"),
    [
        (None, None, "Familiar."),
        (None, "Ann", "Familiar."),
        ("pause", None, "Familiar; a person decides, because automatic labels are paused."),
        ("pause", "Ann", "Familiar; a person decides, because automatic labels are paused."),
        ("person", "Ann", "Familiar; sent to review by Ann."),
        ("person", None, "Familiar; sent to review by a person."),
    ],
)
def test_a_reason_says_why_a_person_decides(held_back, sent_by, sentence):
    assert reason_sentence("Familiar.", held_back, sent_by) == sentence


def test_what_is_not_judged_yet_has_no_reason():
    assert reason_sentence(None, None, "Ann") is None
