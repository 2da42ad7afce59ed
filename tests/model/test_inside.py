"""What torch and ONNX models tell place by place: whole maps, what places see and say, and images made for an activation."""

from __future__ import annotations

import numpy as np
import pytest

from annotriage.diagnosis.atlas.cells import cells_of, unit_square
from annotriage.diagnosis.atlas.head import fit_head
from annotriage.engine.diagnosis import faces
from annotriage.errors import ModelError
from annotriage.model import load_model
from annotriage.model.outputs import pool
from annotriage.model.places import as_map
from annotriage.model.receptive import seen_boxes


@pytest.fixture(scope="module")
def convolved(torch_reference):
    """The torch model of the digits."""
    return torch_reference.open_model()


@pytest.fixture(scope="module")
def batch(digits):
    return digits.incoming[0][:40, None].astype(np.float32) / 255


@pytest.mark.torch
def test_whole_layers_pooled_are_what_the_model_gives(convolved, batch):
    outputs, whole = convolved.run(batch), convolved.run_whole(batch)
    assert whole.logits == pytest.approx(outputs.logits, abs=1e-5)
    for place, (vectors, layer) in enumerate(zip(outputs.activations, whole.layers, strict=True)):
        assert pool(layer, 1 if place == 0 else 2) == pytest.approx(vectors, abs=1e-4)
    assert any(as_map(layer) is not None for layer in whole.layers)


def test_whole_layers_of_an_onnx_model_come_channels_first(net, onnx_spec):
    made = net(1, 8, 8)
    hidden = made.add("Relu", made.conv("input", 1, 4), name="maps")
    made.gemm(made.add("Flatten", made.add("GlobalAveragePool", hidden)), 4, 3, name="logits")
    model = load_model(onnx_spec(made, "logits"))
    found = model.run_whole(np.random.default_rng(0).random((5, 1, 8, 8), np.float32))
    assert found.layers[model.layers.index("maps")].shape == (5, 4, 8, 8)


@pytest.mark.torch
def test_a_place_sees_what_its_kernels_reach(convolved):
    place = max(
        range(len(convolved.layers)),
        key=lambda at: (convolved.run_whole(np.zeros((1, 1, 8, 8), np.float32)).layers[at].shape[-1] == 8, -at),
    )
    boxes = seen_boxes(convolved, place) * 8
    height, width = boxes.shape[:2]
    assert (height, width) == (8, 8)
    reach = (boxes[4, 4, 2] - boxes[4, 4, 0] - 1) / 2  # one or two kernels of 3 x 3
    assert reach in (1, 2)
    for row, column in ((0, 0), (3, 5), (7, 7)):
        wanted = [row - reach, column - reach, row + 1 + reach, column + 1 + reach]
        assert boxes[row, column].tolist() == np.clip(wanted, 0, 8).tolist()


@pytest.mark.torch
def test_the_evidence_of_all_places_adds_up_to_the_answer_where_the_rest_is_linear(convolved, batch):
    from annotriage.model.torch_evidence import evidence

    whole = convolved.run_whole(batch)
    place = max(at for at, layer in enumerate(whole.layers) if as_map(layer) is not None and layer.shape[1] == 32)
    found = evidence(convolved, batch, place)
    assert found.shape == (40, 8, *whole.layers[place].shape[2:])
    left = whole.logits - found.sum(axis=(2, 3))  # the bias, the same for every item
    assert left == pytest.approx(np.repeat(left[:1], 40, axis=0), abs=1e-3)


@pytest.mark.torch
def test_images_are_made_whose_activation_points_along_a_cell(torch_reference, convolved):
    from annotriage.model.torch_inversion import colours_of, invert

    sample = torch_reference.sample
    latent = sample.full_activations()[0]
    head = fit_head(latent, sample.logits)
    cells = [
        cell for cell in cells_of(unit_square(sample.compressed[: len(latent), :2].astype(float)), latent, head, 6) if len(cell.items) >= 5
    ]
    means = np.stack([cell.mean for cell in cells])
    found = invert(convolved, 0, means, latent.mean(axis=0), colours_of(np.array([[0], [255]])), seed=0)
    assert found.pixels.shape == (len(cells), 8, 8, 1)
    assert np.median(found.cosine) > 0.75
    said = convolved.run(found.pixels.transpose(0, 3, 1, 2).astype(np.float32) / 255).logits.argmax(axis=1)
    assert np.mean(said == [cell.logits.argmax() for cell in cells]) > 0.7


@pytest.mark.torch
def test_images_are_made_as_many_at_once_as_memory_allows_and_every_step_says_how_far_it_is(torch_reference, convolved, monkeypatch):
    from annotriage.model.torch_inversion import STEPS, bytes_of_one

    latent = torch_reference.sample.full_activations()[0]
    means, colours, told = latent[:5], faces.colours_in((), "L"), []
    one = bytes_of_one(convolved, 0)
    assert one > 8 * 8 * 12 * 4  # its first map alone
    monkeypatch.setattr(faces, "MEMORY", 2 * one)
    made = faces.faces_of(convolved, convolved.layers[0], means, latent.mean(axis=0), colours, advance=told.append)
    assert [len(some) for some in made] == [2, 2, 1]
    assert (len(told), sum(told)) == (3 * STEPS, 5)

    def stop(count):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        next(faces.faces_of(convolved, convolved.layers[0], means, latent.mean(axis=0), colours, advance=stop))


@pytest.mark.torch
def test_no_image_is_made_of_a_model_of_numbers(convolved, monkeypatch):
    from dataclasses import replace

    from annotriage.model.torch_inversion import colours_of, invert

    rows = replace(convolved.spec, input=replace(convolved.spec.input, kind="array"))
    monkeypatch.setattr(convolved, "spec", rows)
    with pytest.raises(ModelError, match="only of a model that looks at images"):
        invert(convolved, 0, np.zeros((1, 32)), np.zeros(32), colours_of(np.array([[0], [255]])), seed=0)


def test_tokens_are_laid_out_as_a_square_without_the_one_that_stands_for_all():
    tokens = np.arange(2 * 3 * 17).reshape(2, 3, 17)
    laid = as_map(tokens)
    assert laid.shape == (2, 3, 4, 4)
    assert laid[0, 0, 0, 0] == 1
    assert as_map(np.zeros((2, 3))) is None
    assert as_map(np.zeros((2, 3, 1, 1))) is None
