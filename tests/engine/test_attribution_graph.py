"""The attribution graph of a class on real digits."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from annotriage import attribution_graph
from annotriage.data import Item
from annotriage.engine.diagnosis.kept_training import kept_training
from annotriage.errors import DataError, ModelError, SettingError


def test_a_class_has_a_graph_of_the_channels_that_it_excites(digits_reference, digits):
    found = attribution_graph(digits_reference, digits.train, "3")
    assert [layer.name for layer in found.layers] == ["hidden0", "hidden1", "answer"]
    assert [layer.connected for layer in found.layers] == ["", "weights", "weights"]
    assert found.name_of(2, 3) == "3"
    (graph,) = found.graphs
    assert [vertex.channel for vertex in graph.vertices if vertex.layer == 2] == [3]
    assert {edge.layer for edge in graph.edges} == {0, 1}
    strongest = next(edge for edge in graph.edges if edge.layer == 1)
    patches = found.patches[1, strongest.channel]
    assert [patch.label for patch in patches].count("3") > len(patches) / 2  # what speaks for a 3 is excited by threes
    assert all(patch.picture for patch in patches)


def test_two_classes_have_their_graphs_side_by_side(digits_reference, digits):
    found = attribution_graph(digits_reference, digits.train, "3", "5")
    alone = attribution_graph(digits_reference, digits.train, "3")
    assert found.classes == ("3", "5")
    assert found.graphs[0].vertices == alone.graphs[0].vertices
    assert "3 and 5 share" in found.sentences[1]
    assert found.summary()["classes"][1]["name"] == "5"


def test_a_place_of_a_feature_map_shows_what_it_sees_of_the_image(convolutional_reference, digits):
    found = attribution_graph(convolutional_reference, digits.train, "1")
    assert [(layer.name, layer.connected) for layer in found.layers] == [("edges", ""), ("parts", "weights"), ("answer", "weights")]
    images = {str(place): image for place, image in enumerate(digits.train[0])}
    channel = next(vertex.channel for vertex in found.graphs[0].vertices if vertex.layer == 0)
    for patch in found.patches[0, channel]:
        seen = np.asarray(Image.open(io.BytesIO(patch.picture)))
        small = seen[:: seen.shape[0] // 3, :: seen.shape[1] // 3][:3, :3] if min(seen.shape) >= 3 else seen
        whole = images[patch.id]
        sides = [(row, column) for row in range(6) for column in range(6)]
        assert max(seen.shape) < 8 * 8  # three pixels of eight, or fewer at the edge
        assert seen.shape[0] != seen.shape[1] or any((whole[row : row + 3, column : column + 3] == small).all() for row, column in sides)


def test_layers_further_apart_are_connected_by_correlation_and_it_says_so(convolutional_reference, digits):
    found = attribution_graph(convolutional_reference, digits.train, "1", layers=["edges"])
    assert [layer.connected for layer in found.layers] == ["", "correlation"]
    assert "not what causes what" in found.sentences[-1]


def test_without_labels_the_model_says_of_which_class_items_are_and_strange_ones_are_left_out(digits_reference, digits, mixed):
    found = attribution_graph(digits_reference, mixed[0], "3")
    assert "which the model takes for 3" in found.sentences[0]
    outputs = digits_reference.open_model().run(mixed[0][:, None].astype(np.float32) / 255)
    judged = digits_reference.judge(outputs)
    assert found.items == (sum(not strange and labels == (3,) for labels, strange in zip(judged.labels, judged.outlier, strict=True)),)
    shown = {patch.id for patches in found.patches.values() for patch in patches}
    assert not shown & {str(row) for row in np.flatnonzero(judged.outlier)}


def test_spot_checks_that_nobody_has_answered_are_shown_nowhere(digits_reference, digits):
    images, labels = digits.train
    items = [Item(str(place), image, (label,)) for place, (image, label) in enumerate(zip(images[:300], labels, strict=False))]
    blind = [replace(item, id=f"blind-{item.id}", labels=None, spot_check=True) for item in items]
    found = attribution_graph(digits_reference, [*blind, *items], "3")
    assert not any(patch.id.startswith("blind") for patches in found.patches.values() for patch in patches)
    assert found.items == attribution_graph(digits_reference, items, "3").items


def test_what_cannot_be_drawn_is_refused_by_name(digits_reference, digits):
    with pytest.raises(SettingError, match=r"class '9' is none of the model's \(0, 1"):
        attribution_graph(digits_reference, digits.train, "9")
    with pytest.raises(SettingError, match="compared with itself"):
        attribution_graph(digits_reference, digits.train, "3", "3")
    few = digits.train[1] != "3"
    few[np.flatnonzero(digits.train[1] == "3")[:2]] = True
    with pytest.raises(DataError, match="2 items are labelled as 3, too few"):
        attribution_graph(digits_reference, (digits.train[0][few], digits.train[1][few]), "3")
    with pytest.raises(ModelError, match="no layer 'hidden9'"):
        attribution_graph(digits_reference, digits.train, "3", layers=["hidden9"])


def test_rows_of_numbers_have_a_graph_without_pictures(network, quick, tmp_path):
    from annotriage import fit

    rng = np.random.default_rng(0)
    labels = np.repeat(["left", "right"], 100)
    rows = rng.normal(size=(200, 3)).astype(np.float32) + np.where(labels == "right", 2, -2)[:, None]
    weights = [np.concatenate([np.eye(3), -np.eye(3)], axis=1), np.array([[-1.0, 1]] * 3 + [[1.0, -1]] * 3)]
    spec = network(tmp_path / "model", weights, [np.zeros(6), np.zeros(2)], classes=["left", "right"], size=(3,), kind="array")
    found = attribution_graph(fit(spec, (rows, labels), settings=quick), (rows, labels), "right")
    top = [edge.channel for edge in found.graphs[0].edges if edge.layer == 0]
    assert set(top) <= {0, 1, 2}  # the units that fire on the right
    assert all(patch.picture == b"" for patches in found.patches.values() for patch in patches)


def test_the_training_items_that_a_reference_keeps_are_enough_for_a_graph(digits_reference):
    kept = kept_training(digits_reference)
    found = attribution_graph(digits_reference, kept, "3", "5")
    assert kept.count == len(digits_reference.sample.label_index)
    assert "the reference keeps" in found.notes[0]
