"""The files of a label audit: all findings in the table, hostile text harmless, a folder that is whole or not there."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner

from annotriage import audit_labels_to_folder
from annotriage.cli import main
from annotriage.data import Item
from annotriage.errors import DataError, OutputError

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def items(digits):
    """Digits of which each tenth is labelled as its successor."""
    images, labels = digits.incoming
    wrong = np.arange(len(labels)) % 10 == 0
    given = [str((int(label) + 1) % 8) if other else label for label, other in zip(labels, wrong, strict=True)]
    return [Item(f"{HOSTILE} {row}", image, (label,), path="=1+1") for row, (image, label) in enumerate(zip(images, given, strict=True))]


@pytest.fixture(scope="module")
def folder(digits_reference, items, tmp_path_factory):
    place = tmp_path_factory.mktemp("audit") / "out"
    audit_labels_to_folder(digits_reference, items, place)
    return place


def test_the_table_has_a_row_for_each_finding(folder):
    with (folder / "label_issues.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:6] == ["id", "given", "likely", "kind", "score", "reason"]
    counts = json.loads((folder / "summary.json").read_text())["findings"]
    assert len(rows) == sum(counts.values())
    assert {row["kind"] for row in rows} <= {"wrong", "stranger", "ambiguous", "missing"}
    assert {row["path"] for row in rows} == {"'=1+1"}  # a spreadsheet does not calculate it
    flipped = [row for row in rows if int(row["id"].split()[-1]) % 10 == 0]
    assert len(flipped) > 0.9 * len(rows)


def test_the_summary_has_the_figures(folder):
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["noise"]["low"] < 0.1 < summary["noise"]["high"]
    assert np.shape(summary["matrix"]) == (8, 8)
    assert summary["sentences"][0].startswith("About ")


def test_the_report_shows_faces_and_runs_nothing_from_the_data(folder):
    page = (folder / "report.html").read_text("utf-8")
    assert HOSTILE not in page
    assert "&lt;script&gt;alert(1)" in page
    assert page.count("data:image/png;base64,") >= 20
    assert "script-src &#39;sha256-" in page


def test_a_folder_that_holds_something_is_not_overwritten(digits_reference, items, folder):
    with pytest.raises(OutputError, match="exists already"):
        audit_labels_to_folder(digits_reference, items, folder)


def test_nothing_is_left_behind_when_there_are_no_labels(digits_reference, digits, tmp_path):
    with pytest.raises(DataError):
        audit_labels_to_folder(digits_reference, digits.incoming[0], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def saved(digits_reference, digits, tmp_path):
    """A folder with the reference and labelled data, as a user has them."""
    digits_reference.save(tmp_path / "reference")
    np.savez(tmp_path / "data.npz", x=digits.incoming[0], y=np.roll(digits.incoming[1], 3))
    return tmp_path


def test_the_command_prints_figures_for_people_and_programs(saved):
    words = ["audit-labels", "--reference", str(saved / "reference"), "--data", str(saved / "data.npz"), "--quiet"]
    told = CliRunner().invoke(main, [*words, "--out", str(saved / "first")])
    assert told.exit_code == 0
    assert "labels look wrong" in told.stdout
    assert told.stdout.rstrip().endswith("report.html")
    figures = json.loads(CliRunner().invoke(main, [*words, "--out", str(saved / "second"), "--json", "--folds", "3"]).stdout)
    assert figures["folds"] == 3
