"""The folder of results: what the files hold, and that it is there whole or not at all."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from annotriage import triage_to_folder
from annotriage.data import Item, Problem
from annotriage.engine.fitting import fit
from annotriage.errors import DataError, OutputError
from annotriage.report.output import summary_text
from annotriage.states import Failure

FILES = ["predictions.json", "report.html", "summary.json", "verdicts.csv"]


@pytest.fixture(scope="module")
def written(digits_reference, mixed, tmp_path_factory):
    """Results of known and unseen digits and a broken item."""
    out = tmp_path_factory.mktemp("results") / "out"
    items = [Item(f"digit {number}", image, path=f"scans/{number}.png") for number, image in enumerate(mixed[0])]
    result = triage_to_folder(digits_reference, [*items, Item("broken", b"", path="scans/bröken, a.png")], out)
    return out, result


def rows(out):
    with (out / "verdicts.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def strict_json(path):
    def refused(word):
        raise AssertionError(f"{path.name} holds {word}")

    return json.loads(path.read_text("utf-8"), parse_constant=refused)


def test_the_folder_holds_four_files_and_nothing_is_left_beside_it(written):
    out, _ = written
    assert sorted(path.name for path in out.iterdir()) == FILES
    assert list(out.parent.iterdir()) == [out]


def test_verdicts_csv_has_exactly_these_columns(written):
    header = (written[0] / "verdicts.csv").read_text("utf-8").splitlines()[0]
    assert header == "id,path,label,confidence,cluster,score,class_score,source_score,p_value,outlier_score,trust,route,reason"


def test_verdicts_csv_says_what_the_verdicts_say_in_their_order(written):
    out, result = written
    for row, verdict in zip(rows(out), result.verdicts, strict=True):
        assert (row["id"], row["path"], row["route"], row["reason"]) == (verdict.id, verdict.path, verdict.route, verdict.reason)
        assert row["label"] == "|".join(verdict.labels)
        assert float(row["trust"]) == pytest.approx(verdict.trust, rel=1e-5)
        for axis in ("class_score", "source_score"):
            assert row[axis] == ("" if getattr(verdict, axis) is None else f"{getattr(verdict, axis):.6g}")


def test_a_failed_item_has_no_figures(written):
    failed = rows(written[0])[-1]
    assert (failed["id"], failed["path"], failed["route"], failed["trust"]) == ("broken", "scans/bröken, a.png", "failed", "0")
    assert {
        failed[name] for name in ("label", "confidence", "cluster", "score", "p_value", "outlier_score", "class_score", "source_score")
    } == {""}


def test_every_item_has_one_prediction_with_the_trust_as_its_score(written):
    out, result = written
    tasks = strict_json(out / "predictions.json")
    assert len(tasks) == len(result.verdicts)
    for task, verdict in zip(tasks, result.verdicts, strict=True):
        (prediction,) = task["predictions"]
        assert prediction["score"] == verdict.trust
        assert prediction["model_version"] == result.reference.prediction_version
        assert bool(prediction["result"]) == (verdict.route in ("auto", "uncertain"))
        assert task["data"]["triage_route"] == verdict.route


def test_the_summary_adds_up(written):
    out, result = written
    summary = strict_json(out / "summary.json")
    assert summary["items"] == sum(summary["counts"].values()) == 678
    assert summary["diversity"]["outliers"] == summary["counts"]["outlier"]
    assert summary["diversity"]["failed"] == summary["counts"]["failed"] == 1
    assert summary["reference"]["version"] == result.reference.version
    assert [group["size"] for group in summary["groups"]] == [len(group["ids"]) for group in summary["groups"]]


def test_the_terminal_names_routes_as_the_pages_do(written):
    first = summary_text(written[1]).splitlines()[0]
    assert f", {written[1].counts['outlier']:,} strange, 1 unreadable." in first


def test_what_is_not_known_is_null(digits_model, digits, quick, tmp_path):
    reference = fit(digits_model, digits.train, settings=quick)
    triage_to_folder(reference, digits.incoming, tmp_path / "out")
    summary = strict_json(tmp_path / "out" / "summary.json")
    assert summary["guarantee"]["tau"] is None
    assert summary["diversity"]["p_value"] is None
    assert {row["p_value"] for row in rows(tmp_path / "out")} == {""}


def test_names_that_are_no_text_can_be_written(digits_reference, digits, tmp_path):
    name = 'bad \udcff name\n"quoted", <b>'
    triage_to_folder(digits_reference, [Item(name, digits.incoming[0][0], path=name)], tmp_path / "out")
    (row,) = rows(tmp_path / "out")
    assert row["id"] == name.replace("\udcff", "\\udcff")
    assert len(strict_json(tmp_path / "out" / "predictions.json")) == 1


def test_no_text_from_data_is_a_formula_in_verdicts_csv(digits_reference, digits, tmp_path):
    evil = '=HYPERLINK("http://x.example","open")'
    items = [Item(evil, digits.incoming[0][0], path="@a"), Item("-1", None, problem=Problem(Failure.GONE, "+1"))]
    triage_to_folder(digits_reference, items, tmp_path / "out")
    first, second = rows(tmp_path / "out")
    assert (first["id"], first["path"]) == (f"'{evil}", "'@a")
    assert (second["id"], second["reason"][:1] in "=+-@") == ("'-1", False)


def test_a_dataset_that_failed_as_a_whole_has_results_too(digits_reference, tmp_path):
    triage_to_folder(digits_reference, [Item("broken", b"")], tmp_path / "out")
    assert strict_json(tmp_path / "out" / "summary.json")["counts"]["failed"] == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES


def test_several_answers_are_separated_by_bars(choices_model, quick, tmp_path):
    rng = np.random.default_rng(0)
    train = [
        Item(str(number), np.where(wanted, 2.0, 0.2).astype(np.float32) + rng.normal(0, 0.1, 3).astype(np.float32), tuple(names))
        for number in range(120)
        for wanted, names in [(([1, 1, 0], ["low", "middle"]), ([0, 0, 1], ["high"]))[number % 2]]
    ]
    triage_to_folder(fit(choices_model, train, settings=quick), train[:2], tmp_path / "out")
    assert [row["label"] for row in rows(tmp_path / "out")] == ["low|middle", "high"]


# whole or not at all


def test_a_folder_that_is_taken_is_left_alone(digits_reference, digits, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="mine: exists already; choose another folder for the results, or pass --replace"):
        triage_to_folder(digits_reference, digits.incoming, tmp_path / "mine")
    with pytest.raises(OutputError, match="mine: holds no results, and nothing else is ever replaced"):
        triage_to_folder(digits_reference, digits.incoming, tmp_path / "mine", replace_existing=True)
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"


def test_results_are_replaced_when_asked_to(digits_reference, digits, tmp_path):
    triage_to_folder(digits_reference, digits.incoming, tmp_path / "out")
    triage_to_folder(digits_reference, digits.incoming[0][:5], tmp_path / "out", replace_existing=True)
    assert len(rows(tmp_path / "out")) == 5


@pytest.mark.parametrize("size", [0, 5_000, 50_000, 150_000])
def test_a_full_disk_says_so_and_leaves_nothing_half_written(digits_reference, mixed, tmp_path, disk_of, size):
    with disk_of(size), pytest.raises(OutputError, match=r"could not be written|cannot be written|could not be kept") as refused:
        triage_to_folder(digits_reference, mixed[0], tmp_path / "out")
    assert "File too large" in str(refused.value)
    assert "free" in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_stopping_leaves_nothing_half_written(digits_reference, digits, tmp_path):
    def until_stopped():
        for number, image in enumerate(digits.incoming[0]):
            if number == 200:
                raise KeyboardInterrupt
            yield Item(str(number), image)

    with pytest.raises(KeyboardInterrupt):
        triage_to_folder(digits_reference, until_stopped(), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_results_survive_a_run_that_is_stopped_while_replacing_them(digits_reference, digits, tmp_path):
    def broken():
        yield Item("1", digits.incoming[0][0])
        raise DataError("the file ends here")

    triage_to_folder(digits_reference, digits.incoming, tmp_path / "out")
    with pytest.raises(DataError):
        triage_to_folder(digits_reference, broken(), tmp_path / "out", replace_existing=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES


def test_one_item_is_told_of_as_one(digits_reference, digits, quick, tmp_path):
    found = triage_to_folder(digits_reference, digits.incoming[0][:1], tmp_path / "out", settings=quick)
    assert summary_text(found).startswith("1 item of ")


def test_the_map_can_be_drawn_in_space_as_well(digits_reference, digits, quick, tmp_path):
    triage_to_folder(digits_reference, digits.incoming, tmp_path / "out", settings=replace(quick, map="pca-3d"))
    page = (tmp_path / "out" / "report.html").read_text()
    assert '"xyz": "' in page
    assert "PCA, fitted on training and incoming items together" in page


def test_no_map_is_drawn_when_none_is_wanted(digits_reference, digits, quick, tmp_path):
    triage_to_folder(digits_reference, digits.incoming, tmp_path / "out", settings=replace(quick, map="none"))
    assert "No map was drawn (setting map = none)" in (tmp_path / "out" / "report.html").read_text()
