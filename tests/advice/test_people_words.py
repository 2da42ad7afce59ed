"""Sentences on people: they say no figure where nothing is known."""

from __future__ import annotations

from annotriage.advice.people_words import anchoring_sentence


def test_limits_that_leave_everything_open_are_no_finding():
    assert anchoring_sentence("automatic", 1.0, 0.0, 1.0, 76).startswith("Too few automatic labels were called wrong blind")
    assert "kept about 80% (likely 55.0 to 95.0%)" in anchoring_sentence("automatic", 0.8, 0.55, 0.95, 76)
