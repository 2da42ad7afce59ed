"""`annotriage sample`: from real digits to the file, and back."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from annotriage import Item, ModelSpec, Settings, atlas, diagnose, fit, load_model, sample, sample_to_file
from annotriage.cli import main
from annotriage.cli.diagnosis import METHODS
from annotriage.demo.digits import write_digits
from annotriage.diagnosis.ratios import LARGEST_RATIO
from annotriage.diagnosis.samplers import Method
from annotriage.engine.diagnosis.inside import NO_CLASS, look_inside
from annotriage.errors import DataError, OutputError, SettingError
from annotriage.report.sample_file import read_sample


@pytest.fixture(scope="module")
def files(digits_reference, digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sampled")
    digits_reference.save(folder / "reference")
    np.savez(folder / "data.npz", x=digits.held_out[0], y=digits.held_out[1])
    return folder


def rows_of(file):
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def test_the_command_knows_every_method():
    assert tuple(Method) == METHODS


@pytest.mark.parametrize("method", METHODS)
def test_every_method_writes_its_items_with_their_reasons(files, digits, tmp_path, method):
    out = tmp_path / "sample.csv"
    words = ["sample", "--reference", str(files / "reference"), "--data", str(files / "data.npz"), "--method", method, "--out", str(out)]
    done = CliRunner().invoke(main, [*words, "--json", "--quiet"])
    assert done.exit_code == 0, done.output
    found, rows = json.loads(done.stdout), rows_of(out)
    assert found["size"] == len(rows) > 0
    assert list(rows[0]) == ["id", "label", "predicted", "correct", "cluster", "ratio", "weight", "why"]
    assert all(row["why"] and row["cluster"] for row in rows)
    assert all(row["label"] == digits.held_out[1][int(row["id"])] for row in rows)
    assert sum(row["correct"] == "no" for row in rows) == found["caught"]
    assert read_sample(out) == {row["id"] for row in rows}
    assert 0 <= found["accuracy"]["distribution"] <= 1


def test_the_quality_of_a_whole_dataset_is_perfect(digits_reference, digits):
    found = sample(digits_reference, digits.held_out, "uniform", 1.0)
    assert found.accuracy.top_neurons == 1
    assert found.accuracy.missing == 0
    assert "100% of the 10 most activated" in found.sentences[2]


def test_unlabelled_items_are_chosen_and_nothing_is_said_about_errors(digits_reference, digits):
    found = sample(digits_reference, digits.held_out[0])
    assert found.accuracy is None
    assert {(item.label, item.correct) for item in found.items} == {("", None)}
    assert "No item is labelled" in found.sentences[1]


def test_what_the_model_does_not_know_is_wrong_whatever_it_says(digits_reference, digits):
    found = sample(digits_reference, digits.strangers, "errors-first", 1.0)
    assert found.wrong == found.total
    assert {item.label for item in found.items} == {NO_CLASS}


def test_a_model_without_errors_is_said_to_have_none(digits_reference, digits):
    found = sample(digits_reference, digits.train, "max-margin")
    assert found.wrong == 0
    assert "there is no error to look at" in found.sentences[1]


def test_broken_items_are_left_out_and_named(digits_reference, digits):
    items = [Item(str(place), image, (label,)) for place, (image, label) in enumerate(zip(*digits.incoming, strict=True))]
    items[5] = Item("5", b"no picture", items[5].labels, path="broken.png")
    found = sample(digits_reference, items, "uniform")
    assert any("1 of" in note and "broken.png" in note for note in found.notes)


def test_of_what_does_not_fit_into_memory_a_part_stands_for_all(digits_reference, digits):
    whole = look_inside(digits_reference, digits.held_out)
    part = look_inside(digits_reference, digits.held_out, memory=100 * 4 * sum(layer.shape[1] for layer in whole.layers))
    assert 50 < len(part.ids) < len(whole.ids)
    assert "stand for all" in part.notes[-1]
    assert [int(id) for id in part.ids] == sorted(int(id) for id in part.ids)


def test_layers_come_in_the_order_of_the_model_the_logits_last(digits_reference, digits):
    inside = look_inside(digits_reference, digits.held_out)
    assert inside.layer_names[-1] == "logits"
    assert inside.layer_names[inside.last_hidden] == digits_reference.model.layers[0]
    assert (inside.view.latent == inside.layers[inside.last_hidden]).all()


def test_a_file_that_is_there_stays(files, digits_reference, digits, tmp_path):
    (tmp_path / "sample.csv").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        sample_to_file(digits_reference, digits.held_out, tmp_path / "sample.csv")
    assert (tmp_path / "sample.csv").read_text() == "mine"


def test_a_method_that_is_none_is_refused_with_those_that_are(digits_reference, digits):
    with pytest.raises(SettingError, match="max-margin"):
        sample(digits_reference, digits.held_out, "random")


@pytest.mark.parametrize("text", ["", "name\na\n", "id\n"])
def test_a_file_that_is_no_sample_is_refused(tmp_path, text):
    (tmp_path / "sample.csv").write_text(text)
    with pytest.raises(DataError, match=r"sample\.csv"):
        read_sample(tmp_path / "sample.csv")


def test_ids_that_a_spreadsheet_would_run_come_back_as_they_were(digits_reference, digits, tmp_path):
    items = [Item(f"=A{place}", image, (label,)) for place, (image, label) in enumerate(zip(*digits.incoming, strict=True))]
    found = sample_to_file(digits_reference, items, tmp_path / "sample.csv")
    assert read_sample(tmp_path / "sample.csv") == {item.id for item in found.items}


def test_a_feature_map_is_seen_as_the_mean_of_each_channel(tmp_path):
    files = write_digits(tmp_path / "digits")
    inside = look_inside(fit(files.spec, files.train, settings=Settings(map="none")), files.held_out)
    assert inside.layer_names == ("maps", "hidden1", "logits")
    assert inside.maps == (True, False, False)
    assert inside.last_map == 0
    model = load_model(ModelSpec.load(files.spec))
    first = np.asarray(Image.open(files.held_out / inside.ids[0]).resize((8, 8), Image.Resampling.BOX), dtype=np.float32)
    both_moments = model.run(first[None, None] / 255).activations[1][0]
    assert inside.layers[0][0] == pytest.approx(both_moments[: len(both_moments) // 2], abs=1e-5)


def test_several_answers_at_once_are_sampled_by_their_sets(choices_model):
    rows = np.random.default_rng(0).normal(0, 1.2, (400, 3)).astype(np.float32)
    flags = (np.abs(rows) > 1).astype(int)
    flags[:20] = 1 - flags[:20]  # people see it otherwise
    reference = fit(choices_model, (rows, flags), settings=Settings(map="pca"))
    found = sample(reference, (rows, flags), "errors-first", 0.2)
    assert found.wrong == found.caught == 20
    assert {item.label for item in found.items} >= {"none of them", "low + middle"}
    assert len(diagnose(reference, (rows, flags)).answers) == 5
    assert atlas(reference, (rows, flags)).layers[0].levels


def test_people_who_read_from_the_top_meet_the_boundary_first(files, digits_reference, digits, tmp_path):
    out = tmp_path / "sample.csv"
    words = ["sample", "--reference", str(files / "reference"), "--data", str(files / "data.npz"), "--boundary-first", "--out", str(out)]
    done = CliRunner().invoke(main, [*words, "--quiet"])
    assert done.exit_code == 0, done.output
    ratios = [float(row["ratio"]) for row in rows_of(out)]
    assert ratios == sorted(ratios)
    assert ratios[-1] <= LARGEST_RATIO, "beyond it a ratio says nothing more"
    assert {row["id"] for row in rows_of(out)} == {item.id for item in sample(digits_reference, digits.held_out).items}
    with pytest.raises(SettingError, match="does not know how near"):
        sample(digits_reference, digits.held_out, "uniform", boundary_first=True)
