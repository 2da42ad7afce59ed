"""Duplicates and leaks on real digits: copies are found, different digits are not, and fit says what leaks."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from sklearn.datasets import load_sample_image

from annotriage import duplicates, fit
from annotriage.cli import main
from annotriage.data import Item
from annotriage.engine.duplicates import Nearness, light_copies, near_rows, print_threshold, twin_threshold
from annotriage.errors import DataError
from annotriage.quality.fingerprints import difference_hash
from annotriage.quality.twins import nearest_earlier


def items_of(images, name):
    return [Item(f"{name} {row}", image) for row, image in enumerate(images)]


def recompressed(image):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=92)
    return np.asarray(Image.open(stream))


@pytest.fixture(scope="module")
def copied(digits):
    """Digits and, after them, copies of the first: the same ones, noisy, recompressed and darker ones."""
    rng = np.random.default_rng(0)
    images = digits.incoming[0]
    noisy = [np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8) for image in images[:30]]
    darker = list((images[60:90] * 0.96).astype(np.uint8))
    near = noisy + [recompressed(image) for image in images[30:60]] + darker
    return [*items_of(images, "item"), *items_of(images[:20], "same"), *items_of(near, "near")]


@pytest.fixture(scope="module")
def found(digits_reference, copied):
    return duplicates(digits_reference, copied)


def test_exact_and_near_copies_are_found_with_what_they_copy(found):
    kinds = {twin.id: (twin.kind, twin.twin) for twin in found.twins}
    assert all(kinds[f"same {row}"] == ("exact", f"item {row}") for row in range(20))
    near = [kinds.get(f"near {row}") for row in range(90)]
    assert sum(twin is not None and twin[0] in ("near", "exact") for twin in near) >= 0.95 * 90
    assert sum(twin == ("near", f"item {row}") for row, twin in enumerate(near)) >= 0.9 * 90


def test_different_digits_are_no_twins(found):
    assert [twin for twin in found.twins if twin.id.startswith("item")] == []
    assert found.threshold <= 0.5 * found.usual


def test_leaving_out_what_has_a_twin_leaves_one_of_each(digits_reference, copied, found):
    twins = {twin.id for twin in found.twins}
    assert duplicates(digits_reference, [item for item in copied if item.id not in twins]).twins == ()


def test_what_two_datasets_share_is_found(digits_reference, digits):
    mine = items_of(digits.incoming[0][:100], "mine")
    others = items_of([*digits.train[0][:50], recompressed(digits.incoming[0][7]), digits.incoming[0][3]], "theirs")
    found = duplicates(digits_reference, mine, others)
    assert [(twin.id, twin.twin, twin.set, twin.kind) for twin in found.twins] == [
        ("mine 3", "theirs 51", "against", "exact"),
        ("mine 7", "theirs 50", "against", "near"),
    ]
    assert found.sentences[1] == "2 items are in items, too: 1 exactly, 1 nearly."


def test_broken_items_are_counted_and_hold_up_nothing(digits_reference, digits):
    found = duplicates(digits_reference, [*items_of(digits.incoming[0][:9], "item"), Item("broken", b"")])
    assert (found.items, found.failed) == (9, 1)
    with pytest.raises(DataError, match=r"no item could be read.*is empty"):
        duplicates(digits_reference, [Item("broken", b"")])


def test_one_item_has_no_twin(digits_reference, digits):
    assert duplicates(digits_reference, digits.incoming[0][:1]).twins == ()


def test_rows_of_numbers_are_compared_too(choices_model):
    rng = np.random.default_rng(0)
    rows = rng.choice([0.3, 2.5], size=(300, 3)).astype(np.float32) + rng.normal(0, 0.2, (300, 3)).astype(np.float32)
    labels = [tuple(name for name, value in zip(("low", "middle", "high"), row, strict=True) if value > 1) for row in rows]
    reference = fit(choices_model, [Item(str(place), row, given) for place, (row, given) in enumerate(zip(rows, labels, strict=True))])
    found = duplicates(reference, np.concatenate([rows[:200], rows[:5]]))
    assert {(twin.id, twin.twin) for twin in found.twins if twin.kind == "exact"} == {(str(200 + row), str(row)) for row in range(5)}


def test_fit_says_which_held_out_items_are_nearly_training_items(digits_model, digits, digits_reference, quick):
    images, labels = (part.copy() for part in digits.held_out)
    images[:3], labels[:3] = [recompressed(image) for image in digits.train[0][:3]], digits.train[1][:3]
    leaking = fit(digits_model, digits.train, (images, labels), settings=replace(quick, map="none"))
    (note,) = [note for note in leaking.notes if "nearly a training item" in note]
    assert note.startswith("3 held-out items are nearly a training item (")
    assert "annotriage duplicates --reference" in note
    assert not [note for note in digits_reference.notes if "nearly" in note]


@pytest.mark.parametrize("shape", [(8, 8, 1), (80, 90, 3)])
def test_copies_have_the_shape_of_the_original(shape):
    content = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    copies = light_copies(content, np.random.default_rng(0))
    assert {(copy.shape, copy.dtype) for copy in copies} == {(shape, np.dtype(np.uint8))}
    assert len(copies) == (4 if shape[0] < 64 else 5)


def test_the_command_writes_the_table(digits_reference, digits, tmp_path):
    digits_reference.save(tmp_path / "reference")
    np.savez(tmp_path / "data.npz", x=np.concatenate([digits.incoming[0][:40], digits.incoming[0][:2]]))
    words = ["duplicates", "--reference", str(tmp_path / "reference"), "--data", str(tmp_path / "data.npz"), "--quiet"]
    told = CliRunner().invoke(main, [*words, "--out", str(tmp_path / "twins.csv")])
    assert told.exit_code == 0
    assert told.stdout.startswith("2 items repeat an earlier one of 42: 2 exactly, 0 nearly.")
    with (tmp_path / "twins.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [list(row.values()) for row in rows] == [["40", "0", "data", "0", "exact"], ["41", "1", "data", "0", "exact"]]
    again = CliRunner().invoke(main, [*words, "--out", str(tmp_path / "twins.csv"), "--json"])
    assert (again.exit_code, again.stderr) == (1, f"Error: {tmp_path}/twins.csv: exists already; choose another file, or pass --replace\n")
    figures = json.loads(CliRunner().invoke(main, [*words, "--out", str(tmp_path / "twins.csv"), "--json", "--replace"]).stdout)
    assert figures["counts"]["data"] == {"exact": 2}


def test_without_contents_to_copy_no_distance_makes_a_twin(digits_reference, quick):
    model = digits_reference.open_model()
    assert twin_threshold(lambda outputs: outputs.logits, model, {}, np.ones(3), quick) == 0.0


def test_fingerprints_decide_where_copies_differ_far_less_than_pictures_do(digits, quick):
    photos = [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    pieces = [photo[top : top + 90, left : left + 120] for photo in photos for top in (0, 110, 220, 330) for left in range(0, 480, 120)]
    small = [image[:, :, None] for image in digits.incoming[0][:60]]
    found = []
    for pictures in (pieces, small):
        usual = nearest_earlier(np.stack([difference_hash(picture) for picture in pictures]))[1]
        found.append(print_threshold(dict(enumerate(pictures)), usual, quick))
    assert 1 <= found[0] <= 8
    assert found[1] is None, "eight pixels are too few"
    assert print_threshold({}, np.ones(3), quick) is None
    assert print_threshold({0: np.ones(4)}, np.ones(3), quick) is None, "a row of numbers is no picture"


def test_a_picture_makes_a_twin_where_activations_do_not_unless_the_model_sees_them_far_apart():
    points = np.array([[0.0], [10.0], [14.0], [40.0]])
    prints = np.zeros((4, 64), dtype=np.float32)
    prints[1, :30] = 1
    by_points, by_print = nearest_earlier(points), nearest_earlier(prints)
    index, distance, close = near_rows(points, points, by_points, by_print, Nearness(distance=1.0, bits=3, far=20.0))
    assert close.tolist() == [False, False, True, False], "the third shows what the first does, the fourth lies too far off"
    assert (index[2], distance[2]) == (0, 14.0)
    assert not near_rows(points, points, by_points, None, Nearness(1.0, 3, 20.0))[2].any()
