"""Units against concepts, on real digits: masks and labels, and files of them that are not as they should be."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image

from annotriage import dissect
from annotriage.errors import DataError, SettingError


def write_masks(folder, images, concepts):
    """A mask of each concept for each image, named by its place; concepts: by name, a function of an image."""
    for name, where in concepts.items():
        (folder / name).mkdir(parents=True)
        for place, image in enumerate(images):
            there = where(image)
            if there.any():
                Image.fromarray((there * 255).astype(np.uint8)).save(folder / name / f"{place}.png")
    return folder


def write_labels(file, rows):
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return file


@pytest.fixture(scope="module")
def masks(digits, tmp_path_factory):
    return write_masks(
        tmp_path_factory.mktemp("masks"),
        digits.train[0][:80],
        {"ink": lambda image: image > 190, "empty corner": lambda image: np.add.outer(np.arange(8), np.arange(8)) < 2},
    )


def test_the_unit_that_is_brightness_detects_ink(convolutional_reference, digits, masks):
    found = dissect(convolutional_reference, digits.train, masks=masks, layers=["edges"], quantile=0.15)
    (layer,) = found.layers
    best = layer.detectors[0]
    assert (found.by, found.items, best.unit, best.concept) == ("masks", 80, 0, "ink")
    assert best.value > 0.5
    assert len(best.examples) == 4
    assert "of 8 units detect a concept" in found.sentences[0]
    assert {concept.name for concept in found.concepts} == {"ink", "empty corner"}


def test_a_concept_that_covers_too_much_for_the_quantile_is_named(convolutional_reference, digits, masks):
    found = dissect(convolutional_reference, digits.train, masks=masks)
    assert not any(unit.concept == "ink" and unit.detects for layer in found.layers for unit in layer.found)
    assert "Raise the quantile" in found.sentences[-1]
    assert "ink" in found.sentences[-1]


def test_labels_per_item_rank_units_with_intervals_that_hold_together(digits_reference, digits, tmp_path):
    labels = digits.train[1]
    rows = [["id", "closed loop", "chance"]]
    rng = np.random.default_rng(0)
    rows += [[place, int(labels[place] in "06"), rng.integers(2)] for place in range(300)]
    rows[5][2] = ""
    found = dissect(digits_reference, digits.train, concepts=write_labels(tmp_path / "concepts.csv", rows))
    loops = [unit for layer in found.layers for unit in layer.found if unit.concept == "closed loop"]
    luck = [unit for layer in found.layers for unit in layer.found if unit.concept == "chance"]
    assert max(abs(unit.value - 0.5) for unit in loops) > 0.35
    assert any(unit.detects for unit in loops)
    assert not any(unit.detects for unit in luck)  # the best of 80 units looks good, and is not
    assert [(concept.name, concept.of) for concept in found.concepts] == [("closed loop", 300), ("chance", 299)]
    assert found.comparisons == 2 * (48 + 32)
    assert "looks good by chance" in found.sentences[-1]
    assert found.layers[0].found[0].examples


def test_a_model_without_feature_maps_is_sent_to_labels(digits_reference, digits, masks):
    with pytest.raises(DataError, match="none of the layers hidden0, hidden1 is a feature map"):
        dissect(digits_reference, digits.train, masks=masks)


def test_masks_that_do_not_fit_are_refused_by_name(convolutional_reference, digits, tmp_path):
    with pytest.raises(SettingError, match="either masks"):
        dissect(convolutional_reference, digits.train)
    with pytest.raises(DataError, match="no such folder"):
        dissect(convolutional_reference, digits.train, masks=tmp_path / "nothing")
    (tmp_path / "masks" / "loop").mkdir(parents=True)
    with pytest.raises(DataError, match="no masks in it"):
        dissect(convolutional_reference, digits.train, masks=tmp_path / "masks")
    Image.new("L", (8, 8), 255).save(tmp_path / "masks" / "loop" / "elsewhere.png")
    with pytest.raises(DataError, match="no mask belongs to any of its items"):
        dissect(convolutional_reference, digits.train, masks=tmp_path / "masks")
    (tmp_path / "masks" / "loop" / "3.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"3\.png: is no image"):
        dissect(convolutional_reference, digits.train, masks=tmp_path / "masks")


def test_masks_lie_in_folders_as_the_items_do(convolutional_reference, digits, tmp_path):
    for kind in ("0", "1"):
        (tmp_path / "images" / kind).mkdir(parents=True)
        (tmp_path / "masks" / "ink" / kind).mkdir(parents=True)
        for place, image in enumerate(digits.train[0][digits.train[1] == kind][:5]):
            Image.fromarray(image).save(tmp_path / "images" / kind / f"{place}.png")
            Image.fromarray((image > 190).astype(np.uint8) * 255).save(tmp_path / "masks" / "ink" / kind / f"{place}.png")
    assert dissect(convolutional_reference, tmp_path / "images", masks=tmp_path / "masks", quantile=0.15).items == 10
    for kind in ("0", "1"):
        (tmp_path / "masks" / "ink" / kind / "2.png").rename(tmp_path / "masks" / "ink" / "2.png")
    with pytest.raises(DataError, match="fits two items"):
        dissect(convolutional_reference, tmp_path / "images", masks=tmp_path / "masks")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([["name", "loop"], ["1", "1"]], "expected are a column id"),
        ([["id"], ["1"]], "one column for each concept"),
        ([["id", "loop"]], "no rows below the header"),
        ([["id", "loop"], ["1", "maybe"]], "row 2, 'loop': 'maybe' is none of 1"),
        ([["id", "loop"], ["1", "1"], ["1", "0"]], "row 3 names an item for the second time"),
        ([["id", *(f"c{place}" for place in range(101))]], "concepts.csv: 101 concepts are too many; leave at most 100"),
        ([["id", "loop"], ["nobody", "1"]], "no row of the CSV file belongs"),
        ([["id", "loop"], *([str(row), "1"] for row in range(20))], "loop: fewer than 5 items are with it or without it"),
    ],
)
def test_labels_that_cannot_be_read_are_refused_by_name(digits_reference, digits, tmp_path, rows, said):
    with pytest.raises(DataError, match=said):
        dissect(digits_reference, digits.train, concepts=write_labels(tmp_path / "concepts.csv", rows))
