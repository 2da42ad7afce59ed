"""What to do next, in words."""

import pytest

from annotriage.advice import next_words


@pytest.mark.parametrize(
    ("waiting", "strange", "unreadable", "said"),
    [
        (105, 51, 0, "105 items wait for people. Begin with the strangest."),
        (54, 0, 0, "54 items wait for people."),
        (54, 1, 0, "54 items wait for people. Begin with the strange one."),
        (57, 51, 3, "57 items wait for people: 3 unreadable first, then 51 strange ones."),
        (9, 1, 1, "9 items wait for people: 1 unreadable first, then 1 strange one."),
        (9, 0, 2, "9 items wait for people: 2 unreadable first."),
        (3, 0, 3, "3 items wait for people: all are unreadable."),
        (1, 0, 1, "1 item waits for people: it is unreadable."),
        (1, 1, 0, "1 item waits for people."),
    ],
)
def test_only_strange_items_are_called_strange(waiting, strange, unreadable, said):
    assert next_words.listed(waiting, strange, unreadable)[0] == said
