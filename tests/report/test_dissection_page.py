"""`annotriage dissect` on real digits, and the picture of a model's layers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from annotriage.cli import main


@pytest.fixture(scope="module")
def given(convolutional_reference, digits, tmp_path_factory):
    """A folder with a reference, data, masks and labels."""
    folder = tmp_path_factory.mktemp("dissect")
    convolutional_reference.save(folder / "reference")
    images, labels = digits.train
    np.savez(folder / "data.npz", x=images, y=labels)
    (folder / "masks" / "ink").mkdir(parents=True)
    for place, image in enumerate(images[:40]):
        Image.fromarray((image > 190).astype(np.uint8) * 255).save(folder / "masks" / "ink" / f"{place}.png")
    rows = ["id,<closed loop>", *(f"{place},{int(labels[place] in '06')}" for place in range(120))]
    (folder / "concepts.csv").write_text("\n".join(rows), "utf-8")
    return folder


def run(given, out, *words):
    data = ["--reference", str(given / "reference"), "--data", str(given / "data.npz"), "--out", str(out), "--quiet"]
    return CliRunner().invoke(main, ["dissect", *data, *words])


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_detectors_are_shown_with_what_excites_them(given, tmp_path, open_page, barriers, theme):
    done = run(given, tmp_path / "out", "--masks", str(given / "masks"), "--quantile", "0.15", "--json")
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)
    assert figures["layers"][0]["found"][0]["concept"] == "ink"
    page = open_page((tmp_path / "out" / "dissection.html").as_uri())
    if theme == "dark":
        page.get_by_role("button", name="Change to dark").click()
    first = page.locator("#layer-1 .units li").first
    assert f"Unit {figures['layers'][0]['found'][0]['unit']}" in first.inner_text()
    assert first.locator("img").count() == 4
    assert page.locator("#layer-1 tbody tr").count() == len(figures["layers"][0]["found"])
    assert barriers(page) == []


def test_labels_are_ranked_with_intervals_and_hostile_names_are_words(given, tmp_path):
    done = run(given, tmp_path / "out", "--concepts", str(given / "concepts.csv"), "--layer", "parts")
    assert done.exit_code == 0, done.output
    assert "looks good by chance" in done.stdout
    page = (tmp_path / "out" / "dissection.html").read_text()
    assert "&lt;closed loop&gt;" in page
    assert "<closed loop>" not in page
    assert json.loads((tmp_path / "out" / "dissection.json").read_text())["layers"][0]["units"] == 12


def test_either_masks_or_labels_are_needed(given, tmp_path):
    done = run(given, tmp_path / "out")
    assert done.exit_code == 1
    assert "give either masks" in done.output


@pytest.mark.browser
def test_a_models_layers_have_a_picture(convolutional_reference, tmp_path, open_page, barriers):
    words = ["--model", str(convolutional_reference.spec_path), "--picture", str(tmp_path / "layers.html")]
    done = CliRunner().invoke(main, ["layers", *words])
    assert done.exit_code == 0, done.output
    page = open_page((tmp_path / "layers.html").as_uri())
    assert page.locator(".l-deciding").count() == 1
    assert page.locator(".l-compared").count() >= 1
    assert barriers(page) == []
