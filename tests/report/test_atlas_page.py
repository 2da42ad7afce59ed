"""`annotriage atlas` on real digits, and people walking through it in a browser."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from browsers import pixels
from click.testing import CliRunner
from page_sweep import LARGEST_SHIFT, THEMES, late_jump

from annotriage import atlas, atlas_to_folder, diagnose, fit, sample
from annotriage.cli import main
from annotriage.data import Item
from annotriage.engine.diagnosis.atlas import Fallen, training_atlas
from annotriage.engine.diagnosis.label_sets import evidence_of, shares_of
from annotriage.engine.labels import LabelSpace
from annotriage.errors import DataError, ModelError, OutputError, SettingError
from annotriage.report.atlas_data import LISTED, atlas_data, shown_rows
from annotriage.report.atlas_page import sentences


@pytest.fixture(scope="module")
def walked(digits_reference, mixed, tmp_path_factory):
    """An atlas of known and unseen digits in two layers, in a folder; and what was found."""
    out = tmp_path_factory.mktemp("atlas") / "out"
    return out, atlas_to_folder(digits_reference, mixed, out, ["hidden0", "hidden1"])


def test_strange_items_are_drawn_in_and_make_no_cells(walked, mixed):
    _, found = walked
    strange = found.inside.strange
    assert strange[np.isin(mixed[1], ["8", "9"])].mean() > 3 * strange[~np.isin(mixed[1], ["8", "9"])].mean()
    for layer in found.layers:
        assert np.isfinite(layer.places).all()
        for cells in layer.levels.values():
            assert sorted(np.concatenate([cell.items for cell in cells]).tolist()) == np.flatnonzero(~strange).tolist()


def test_the_last_layer_says_all_of_the_answers_and_an_earlier_one_less(walked):
    early, late = walked[1].layers
    assert late.explained > 0.999 > early.explained > 0.3
    assert "hidden1 feeds the model's answers directly" in sentences(walked[1])[2]


def test_a_cell_of_the_last_layer_stands_for_what_the_model_says_of_its_items(walked):
    found = walked[1]
    cells = found.layers[1].levels[12]
    agree = [np.bincount(found.inside.view.predicted[cell.items]).argmax() == cell.logits.argmax() for cell in cells]
    assert np.mean(agree) > 0.9


def test_a_layer_that_the_reference_does_not_compare_may_be_asked_for(digits_reference, digits):
    assert "dense0" not in digits_reference.model.layers
    assert atlas(digits_reference, digits.incoming, ["dense0"]).layers[0].name == "dense0"
    with pytest.raises(ModelError, match="no layer 'hidden9'"):
        atlas(digits_reference, digits.incoming, ["hidden9"])


def test_of_many_items_a_sample_is_drawn_and_said(digits_reference, digits, quick):
    from dataclasses import replace

    found = atlas(digits_reference, digits.incoming, settings=replace(quick, map_sample=100))
    assert len(found.inside.ids) == 100
    assert "stand for all" in found.inside.notes[-1]


def test_a_reference_alone_has_an_atlas_into_which_outliers_are_drawn(digits_reference, quick):
    near = digits_reference.sample.compressed[0].astype(np.float32)
    strangers = [Fallen("7", near, b""), Fallen("8", near + 0.01, b"")]
    found = training_atlas(digits_reference, "new scans", strangers, quick)
    layer, usual = found.layers[0], len(digits_reference.sample.logits)
    assert layer.places[usual:] == pytest.approx(np.repeat(layer.places[:1], 2, axis=0), abs=0.05)
    assert found.inside.strange.tolist() == [False] * usual + [True, True]
    assert sentences(found)[0].endswith("are strange, drawn as diamonds.")
    assert layer.explained > 0.999
    assert training_atlas(digits_reference, "new scans", [], quick).inside.strange.sum() == 0


def test_too_few_items_are_refused(digits_reference, digits):
    with pytest.raises(DataError, match="too few to draw an atlas"):
        atlas(digits_reference, tuple(part[:6] for part in digits.incoming))


def test_the_page_holds_the_pictures_that_a_click_shows(digits_reference, digits, tmp_path):
    images = np.concatenate([np.repeat(digits.held_out[0][:1], 100, axis=0), digits.held_out[0][1:60]])
    found = atlas_to_folder(digits_reference, (images, np.repeat("0", 159)), tmp_path / "out")
    assert not found.inside.strange[:100].any()
    text = re.search(r'id="data">(.*?)</script>', (tmp_path / "out" / "atlas.html").read_text("utf-8")).group(1)
    sizes = np.diff(json.loads(text)["ends"], prepend=0)
    assert (sizes[:100] == 0).sum() == 100 - LISTED
    assert (sizes[100:] > 0).all()


@pytest.mark.browser
def test_items_of_one_class_make_an_atlas_in_which_the_others_have_no_place(digits_reference, digits, tmp_path, open_page):
    images, labels = digits.incoming
    found = atlas_to_folder(digits_reference, (images[labels == "0"], labels[labels == "0"]), tmp_path / "out")
    (layer,) = found.layers
    called = np.unique(found.inside.view.predicted[~found.inside.strange])
    assert called[0] == 0
    assert np.isfinite(layer.class_places).all(axis=1).nonzero()[0].tolist() == called.tolist()
    page = open_page((tmp_path / "out" / "atlas.html").as_uri())
    page.locator("#classes button", has_text="5").first.click()
    assert page.locator("#cell-panel").inner_text().startswith("5\n")
    assert page.locator("#plane button").count() >= len(layer.levels[12])


def test_an_atlas_replaces_only_an_atlas(walked, digits_reference, digits):
    with pytest.raises(OutputError, match="exists already"):
        atlas_to_folder(digits_reference, digits.incoming, walked[0])


def test_rows_of_numbers_have_cells_without_pictures(network, quick, tmp_path, open_page):
    rng = np.random.default_rng(0)
    labels = np.repeat(["<left>", "right"], 100)
    rows = rng.normal(size=(200, 3)).astype(np.float32) + np.where(labels == "right", 2, -2)[:, None]
    weights = [np.concatenate([np.eye(3), -np.eye(3)], axis=1), np.array([[-1.0, 1]] * 3 + [[1.0, -1]] * 3)]
    spec = network(tmp_path / "model", weights, [np.zeros(6), np.zeros(2)], classes=["<left>", "right"], size=(3,), kind="array")
    atlas_to_folder(fit(spec, (rows, labels), settings=quick), (rows, labels), tmp_path / "out")
    page = open_page((tmp_path / "out" / "atlas.html").as_uri())
    assert page.locator("#plane .cell-name").first.inner_text() in ("<lef", "righ")
    page.get_by_role("button", name="Cell").first.click()
    assert "no picture" in page.locator("#cell-panel").inner_text()


@pytest.mark.torch
@pytest.mark.browser
def test_of_a_feature_map_one_random_place_of_each_image_may_stand_for_it(torch_reference, digits, tmp_path, open_page):
    early, late = torch_reference.model.layers[1], torch_reference.model.layers[0]
    found = atlas_to_folder(torch_reference, digits.incoming, tmp_path / "out", [early, late], places="random", faces=6)
    maps, whole = found.layers
    usual = np.flatnonzero(~found.inside.strange)
    assert sorted(np.concatenate([cell.items for cell in maps.levels[6]]).tolist()) == usual.tolist()
    assert len(maps.patches) == len(found.inside.ids)
    assert (maps.gradients, whole.gradients, whole.patches) == (True, False, ())
    assert f"In {early} one random place of each image stands for it" in " ".join(sentences(found))
    assert f"{late} has no places" in found.inside.notes[-1]
    page = open_page((tmp_path / "out" / "atlas.html").as_uri())
    assert pixels(page.locator("#plane button img.patch").first) > [0, 0]
    page.locator("#plane button").first.click()
    assert page.locator("#cell-panel img.patch").count() > 0
    page.locator("#level").select_option("6 × 6")
    page.get_by_label("Faces").select_option("both")
    assert pixels(page.locator("#plane .pair img").last) > [0, 0]
    page.locator("#plane button").first.click()
    assert "Made by the model" in page.locator("#cell-panel").inner_text()


def test_of_an_onnx_model_a_note_says_what_is_shown_in_the_place_of_faces(digits_reference, digits, tmp_path):
    found = atlas_to_folder(digits_reference, digits.incoming, tmp_path / "out", faces=6)
    assert "only torch models" in found.inside.notes[-1]


@pytest.mark.torch
def test_by_gradients_a_cell_of_an_early_layer_speaks_for_what_its_items_are(torch_reference, digits):
    (layer,) = atlas(torch_reference, digits.incoming, [torch_reference.model.layers[-1]]).layers
    cells = [cell for cell in layer.levels[6] if len(cell.items) >= 4]
    predicted = torch_predicted(torch_reference, digits)
    agree = [np.bincount(predicted[cell.items], minlength=8).argmax() == cell.evidence.argmax() for cell in cells]
    assert layer.gradients
    assert np.mean(agree) > 0.6


def torch_predicted(reference, digits):
    images = digits.incoming[0][:, None].astype(np.float32) / 255
    return reference.open_model().run(images).logits.argmax(axis=1)


def test_places_are_pooled_or_random(digits_reference, digits):
    with pytest.raises(SettingError, match="'corner' is none of pooled, random"):
        atlas(digits_reference, digits.incoming, places="corner")


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_people_walk_through_the_atlas(walked, open_page, barriers, theme):
    out, found = walked
    page = open_page((out / "atlas.html").as_uri())
    if theme == "dark":
        page.get_by_role("button", name="Change to dark").click()
    cells = page.locator("#plane button:not(.strange)")
    assert cells.count() == len(found.layers[0].levels[12])
    assert page.locator("#plane .strange").count() == found.inside.strange.sum()
    cells.first.click()
    panel = page.locator("#cell-panel")
    assert pixels(panel.locator("img").first) > [0, 0]
    assert "What its mean activation stands for" in panel.inner_text()
    page.locator("#plane .strange").first.dispatch_event("click")
    assert "A strange item" in panel.inner_text()
    page.get_by_label("Layer").select_option("hidden1")
    page.locator("#level").select_option("24 × 24")
    assert cells.count() == len(found.layers[1].levels[24])
    assert barriers(page) == []


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 820])
def test_the_atlas_does_not_jump_even_where_its_program_runs_after_the_first_sight(walked, browser, width):
    jumps = {theme: late_jump(browser, walked[0] / "atlas.html", width, theme) for theme in THEMES}
    assert max(jumps.values()) <= LARGEST_SHIFT, jumps


def test_where_several_classes_may_apply_a_cell_stands_for_a_label_set(choices_model, quick):
    rows = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32) * 1.5
    given = [[name for name, value in zip(("low", "middle", "high"), row, strict=True) if abs(value) > 1] for row in rows]
    items = [Item(str(place), row, tuple(labels)) for place, (row, labels) in enumerate(zip(rows, given, strict=True))]
    reference = fit(choices_model, items, settings=quick)
    found = atlas(reference, items)
    data = atlas_data(found, shown_rows(found))
    names = [kind["name"] for kind in data["classes"]]
    assert "low + middle" in names
    cells = [cell for level in data["layers"][0]["levels"] for cell in level["cells"]]
    assert {kind for cell in cells for kind, _ in (*cell["top"], *cell["speaks"])} <= set(range(len(names)))
    assert {"low + middle", "none of them"} <= {names[cell["top"][0][0]] for cell in cells}


def test_shares_and_evidence_of_classes_become_those_of_label_sets():
    space = LabelSpace(("a", "b"), True, ((), (0,), (0, 1)))
    a, b = 1 / (1 + np.exp(-2.0)), 1 / (1 + np.exp(2.0))
    found = shares_of(np.array([2.0, -2.0]), space)
    assert found == pytest.approx([(1 - a) * (1 - b), a * (1 - b), a * b, (1 - a) * b])
    assert evidence_of(np.array([1.0, 2.0]), space).tolist() == [-3, -1, 3, 0]


@pytest.mark.browser
def test_the_sidebar_searches_sorts_and_compares_classes(walked, open_page):
    page = open_page((walked[0] / "atlas.html").as_uri())
    listed = page.locator("#classes button")
    page.get_by_label("Order").select_option("name")
    assert [text.split("\n")[0] for text in listed.all_inner_texts()] == list("01234567")
    page.get_by_label("Classes").fill("3")
    assert listed.count() == 1
    listed.first.click()
    assert "cells speak for 3 (blue)" in page.locator("#legend").inner_text()
    assert 0 < page.locator("#plane button.faded").count() < page.locator("#plane button").count()
    assert "Most alike to the model" in page.locator("#cell-panel").inner_text()
    page.get_by_label("Classes").fill("")
    page.get_by_label("Order").select_option("alike")
    assert listed.first.inner_text().startswith("3")
    page.get_by_label("Compare with").select_option("5")
    assert "cells speak for both" in page.locator("#legend").inner_text()
    said = page.locator("#cell-panel").inner_text()
    assert all(part in said for part in ("3 and 5", "Speak for both", "Speak for 3 alone", "Speak for 5 alone"))
    page.get_by_label("only those with errors").check()
    assert 0 < listed.count() < 8
    page.get_by_label("only those with errors").uncheck()
    page.locator("#plane .class-name", has_text="7").press("Enter")
    assert page.locator("#cell-panel h3").inner_text() == "7 and 5"


@pytest.mark.browser
def test_two_layers_lie_side_by_side_with_the_cells_that_speak_for_a_class_in_each(walked, open_page):
    out, found = walked
    page = open_page((out / "atlas.html").as_uri())
    beside = page.locator("#plane-beside")
    assert not beside.is_visible()
    page.get_by_label("Beside it").select_option("hidden1")
    assert beside.locator("button:not(.strange)").count() == len(found.layers[1].levels[12])
    assert page.locator("#plane button:not(.strange)").count() == len(found.layers[0].levels[12])
    page.locator("#classes button", has_text="3").first.click()
    legends = [page.locator(name).inner_text() for name in ("#legend", "#legend-beside")]
    assert [said.split(":")[0] for said in legends] == ["hidden0", "hidden1"]
    assert all("cells speak for 3 (blue)" in said for said in legends)
    cell = max(found.layers[1].levels[12], key=lambda cell: len(cell.items))
    beside.get_by_role("button", name=f"Cell {cell.column + 1}, {cell.row + 1}:").dispatch_event("click")
    assert page.locator("#cell-panel h3").inner_text().startswith(f"{len(cell.items)} items")
    assert page.locator(".plane button[aria-pressed='true']").count() == 1
    page.get_by_label("Beside it").select_option("")
    assert not beside.is_visible()
    assert "hidden0" not in page.locator("#legend").inner_text()


@pytest.mark.browser
def test_classes_with_many_errors_are_marked_at_the_threshold_that_is_set(walked, open_page):
    page = open_page((walked[0] / "atlas.html").as_uri())
    page.locator("#threshold").fill("100")
    assert page.locator("#boxes .warning").count() == 0
    page.locator("#threshold").fill("0")
    assert page.locator("#boxes .warning").count() == sum(text[:4] != "0 of" for text in page.locator("#boxes .block").all_inner_texts())


def test_the_command_draws_the_atlas(digits_reference, mixed, tmp_path):
    digits_reference.save(tmp_path / "reference")
    np.savez(tmp_path / "data.npz", x=mixed[0])
    words = ["--reference", str(tmp_path / "reference"), "--data", str(tmp_path / "data.npz"), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(main, ["atlas", *words, "--json", "--quiet"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["items"] == len(mixed[0])
    assert json.loads((tmp_path / "out" / "atlas.json").read_text())["layers"][0]["name"] == "hidden1"


def test_the_command_looks_at_an_image_and_pastes_a_piece(digits_reference, digits, tmp_path):
    from PIL import Image

    digits_reference.save(tmp_path / "reference")
    images, labels = digits.incoming
    for digit in ("1", "0"):
        Image.fromarray(images[labels == digit][0]).save(tmp_path / f"{digit}.png")
    words = ["look", "--reference", str(tmp_path / "reference"), "--image", str(tmp_path / "1.png"), "--paste", str(tmp_path / "0.png")]
    done = CliRunner().invoke(main, [*words, "--picture", str(tmp_path / "pasted.png"), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert max(found["answer"], key=found["answer"].get) == "1"
    assert max(found["pasted"], key=found["pasted"].get) == "0"
    with Image.open(tmp_path / "pasted.png") as picture:
        assert picture.size == (320, 320)
    plain = CliRunner().invoke(main, words)
    assert "before" in plain.stdout
    assert "Note: " in plain.stdout


def test_a_bank_stands_first_in_every_cell_behind_its_face(digits_reference, digits, quick):
    plain, banked = (atlas(digits_reference, digits.incoming, bank=bank, settings=quick) for bank in (None, "max-margin"))
    chosen = {item.id for item in sample(digits_reference, digits.incoming, "max-margin", 0.2, settings=quick).items}
    moved = 0
    for cell, other in zip(plain.layers[0].levels[6], banked.layers[0].levels[6], strict=True):
        assert (cell.items[0], set(cell.items.tolist())) == (other.items[0], set(other.items.tolist()))
        moved += int(cell.items.tolist() != other.items.tolist())
    assert moved
    biggest = max(banked.layers[0].levels[6], key=lambda cell: len(cell.items))
    listed = [banked.inside.ids[row] in chosen for row in biggest.items[1:]]
    assert sum(listed[: len(listed) // 4]) > sum(listed[-len(listed) // 4 :])
    with pytest.raises(SettingError, match="horoscope"):
        atlas(digits_reference, digits.incoming, bank="horoscope")
    assert [atlas_data(found, shown_rows(found))["bank"] for found in (plain, banked)] == [None, "max-margin"]


def test_a_bank_that_the_data_do_not_allow_is_noted_and_the_atlas_drawn_all_the_same(digits_reference, digits, quick):
    images = digits.incoming[0]
    labelled = [Item(str(place), image, ("1",) if place else None) for place, image in enumerate(images)]
    plain, found = (atlas(digits_reference, labelled, bank=bank, settings=quick) for bank in (None, "errors-first"))
    assert any(note.startswith("No bank was drawn by errors-first") for note in found.inside.notes)
    assert found.bank is None
    of_plain, of_found = (one.layers[0].levels[6] for one in (plain, found))
    assert [cell.items.tolist() for cell in of_plain] == [cell.items.tolist() for cell in of_found]
    one_class = diagnose(digits_reference, labelled, ("layer-means",), bank="max-margin", settings=quick)
    assert any(note.startswith("No bank was drawn by max-margin") for note in one_class.notes)
    assert one_class.answers
