"""Tables for other programs: the same rows in each kind of file, page after page, whole or not at all."""

from __future__ import annotations

import csv
import json

import pytest

from annotriage.errors import OutputError
from annotriage.report.tables import write_table

COLUMNS = {"task": str, "label": list, "score": float, "sure": bool}
PAGES = (
    [
        {"task": "1", "label": ["=cmd", "b"], "score": 0.1, "sure": True},
        {"task": "zw\u00f6lf\n,", "label": [], "score": None, "sure": False},
    ],
    [],
    [{"task": "3", "label": None, "score": 2.0, "sure": False}],
)


def test_a_csv_is_safe_in_a_spreadsheet(tmp_path):
    assert write_table(tmp_path / "t.csv", COLUMNS, PAGES) == 3
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == list(COLUMNS)
    assert rows[1] == ["1", "'=cmd + b", "0.1", "True"]
    assert rows[2] == ["zw\u00f6lf\n,", "", "", "False"]


def test_json_lines_hold_the_rows_as_they_are(tmp_path):
    write_table(tmp_path / "t.jsonl", COLUMNS, PAGES)
    assert [json.loads(line) for line in (tmp_path / "t.jsonl").read_text("utf-8").splitlines()] == [row for page in PAGES for row in page]


def test_parquet_holds_the_rows_with_their_types(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    write_table(tmp_path / "t.parquet", COLUMNS, PAGES)
    assert parquet.read_table(tmp_path / "t.parquet").to_pylist() == [row for page in PAGES for row in page]


def test_no_more_than_a_page_is_held(tmp_path):
    alive = []

    def pages():
        for number in range(5):
            assert len(alive) == number  # the page before is written before the next one is asked for
            yield [{"task": str(number), "label": [], "score": 0.0, "sure": False}]
            alive.append(number)

    assert write_table(tmp_path / "t.csv", COLUMNS, pages()) == 5


def test_what_fails_in_the_middle_leaves_nothing(tmp_path):
    def pages():
        yield PAGES[0]
        raise ValueError

    with pytest.raises(ValueError):
        write_table(tmp_path / "t.csv", COLUMNS, pages())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "said"), [("t.xls", "choose one of .csv, .jsonl, .parquet"), ("there.csv", "--replace")])
def test_a_file_that_cannot_be_is_refused(tmp_path, name, said):
    (tmp_path / "there.csv").write_text("mine")
    with pytest.raises(OutputError, match=said):
        write_table(tmp_path / name, COLUMNS, PAGES)
    assert (tmp_path / "there.csv").read_text() == "mine"
