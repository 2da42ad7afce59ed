"""One image place by place, and a patch pasted on it, on real digits."""

from __future__ import annotations

import numpy as np
import pytest

from annotriage import fit
from annotriage.engine.diagnosis.image_grid import BY_GRADIENT, Patch, look_at_image
from annotriage.errors import DataError, SettingError


@pytest.fixture(scope="module")
def pair(digits):
    """A digit 1 and a digit 0."""
    images, labels = digits.incoming
    return images[labels == "1"][0], images[labels == "0"][0]


@pytest.mark.torch
def test_each_place_of_an_image_says_what_it_speaks_for(torch_reference, pair):
    found = look_at_image(torch_reference, pair[1])
    rows, columns = found.evidence.shape[1:]
    assert found.how == BY_GRADIENT
    assert (rows, columns) == found.boxes.shape[:2] == found.vectors.shape[:2]
    assert found.classes[found.evidence.sum(axis=(1, 2)).argmax()] == found.classes[found.shares.argmax()] == "0"
    assert found.summary()["places"][0][0][0]["class"] in found.classes


@pytest.mark.torch
def test_an_early_layer_may_be_asked_for_and_an_unknown_one_is_refused(torch_reference, pair):
    early = torch_reference.model.layers[1]
    assert look_at_image(torch_reference, pair[0], early).layer == early
    with pytest.raises(SettingError, match="none that the reference compares"):
        look_at_image(torch_reference, pair[0], "hidden9")


def test_a_model_without_feature_maps_has_an_answer_to_the_whole_image_alone(digits_reference, pair):
    found = look_at_image(digits_reference, pair[0])
    assert found.layer == ""
    assert "only the answer to the whole image" in found.notes[0]
    assert found.shares.sum() == pytest.approx(1)


def test_pasting_the_whole_of_another_image_gives_its_answer(digits_reference, pair):
    one, zero = pair
    patch = Patch(zero, (0, 0, 1, 1), (0, 0))
    found = look_at_image(digits_reference, one, patch=patch)
    assert found.pasted.shares == pytest.approx(look_at_image(digits_reference, zero).shares, abs=1e-6)
    assert found.shares == pytest.approx(look_at_image(digits_reference, one).shares, abs=1e-6)


def test_a_piece_moves_the_scores_and_a_piece_of_itself_does_not(digits_reference, pair):
    one, zero = pair
    itself = look_at_image(digits_reference, one, patch=Patch(one, (0.25, 0.25, 0.5, 0.5), (0.25, 0.25)))
    assert itself.pasted.shares == pytest.approx(itself.shares, abs=1e-6)
    other = look_at_image(digits_reference, one, patch=Patch(zero, (0.25, 0, 0.5, 1), (0.25, 0)))
    assert np.abs(other.pasted.shares - other.shares).max() > 0.05


@pytest.mark.parametrize(("box", "at"), [((0.8, 0, 0.4, 1), (0, 0)), ((0, 0, 0, 1), (0, 0)), ((0, 0, 1, 1), (1, 0))])
def test_a_piece_outside_of_the_image_is_refused(digits_reference, pair, box, at):
    with pytest.raises(SettingError, match="does not lie in the image"):
        look_at_image(digits_reference, pair[0], patch=Patch(pair[1], box, at))


def test_rows_of_numbers_have_no_places(network, quick, tmp_path):
    rng = np.random.default_rng(0)
    labels = np.repeat(["a", "b"], 60)
    rows = rng.normal(size=(120, 3)).astype(np.float32) + np.where(labels == "b", 2, -2)[:, None]
    weights = [np.concatenate([np.eye(3), -np.eye(3)], axis=1), np.array([[-1.0, 1]] * 3 + [[1.0, -1]] * 3)]
    spec = network(tmp_path, weights, [np.zeros(6), np.zeros(2)], classes=["a", "b"], size=(3,), kind="array")
    with pytest.raises(DataError, match="rows of numbers, which have no places"):
        look_at_image(fit(spec, (rows, labels), settings=quick), rows[0])
