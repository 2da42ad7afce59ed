"""The line that connecting writes into a project's description."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from annotriage_label_studio.server.connect import LINE, described

PAGE = "https://triage.example.com/projects/3"


@given(st.text().filter(lambda text: LINE not in text))
def test_what_people_wrote_stays_to_the_letter(theirs):
    with_it = described(theirs, PAGE)
    assert with_it.startswith(theirs)
    assert with_it.endswith(f"{LINE} {PAGE}")
    assert described(with_it, PAGE) == with_it, "once, however often"
    assert described(with_it, "") == theirs


def test_another_address_takes_the_place_of_the_first_wherever_people_moved_the_line():
    moved = f"{LINE} http://old.example.com/projects/3\n\nAsk Ann."
    assert described(moved, PAGE) == f"\n\nAsk Ann.\n\n{LINE} {PAGE}"
    between = f"Ask Ann.\n{LINE} http://old.example.com/projects/3\nOr Bob."
    assert described(between, "") == "Ask Ann.\n\nOr Bob."


def test_without_an_address_nothing_is_written():
    assert described("", "") == ""
    assert described("Ask Ann.", "") == "Ask Ann."
