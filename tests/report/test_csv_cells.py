"""CSV files: no text runs as a formula, and what was written is what is read."""

import csv

from hypothesis import given
from hypothesis import strategies as st

from annotriage.report.csv_cells import csv_lines, plain_text, text_cell


@given(st.text(max_size=20).filter(lambda text: not text.startswith("'")))
def test_a_text_is_the_same_after_a_file(text):
    assert plain_text(text_cell(text)) == text
    assert text_cell(text)[:1] not in ("=", "+", "-", "@", "\t", "\r", "\n")


def test_numbers_have_six_digits_and_what_is_not_known_is_empty():
    lines = list(csv_lines(("id", "ratio", "rank", "note"), [["=1+1", 1 / 3, 12_345_678, None]]))
    assert list(csv.reader(lines)) == [["id", "ratio", "rank", "note"], ["'=1+1", "0.333333", "12345678", ""]]
