"""What a class's items do to channels, and which of them its graph is drawn of, on numbers made for it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import correlate

from annotriage.diagnosis.attribution import FEWEST, MOST, class_graph, page_rank
from annotriage.diagnosis.influences import aggregated_activations, aggregated_influences, contributions, few, highest, together


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_the_highest_value_of_a_channel_comes_with_its_place():
    maps = np.zeros((1, 2, 3, 4))
    maps[0, 1, 2, 3], maps[0, 0, 1, 0] = 7, 5
    values, at = highest(maps)
    assert (values.tolist(), at.tolist()) == ([[5, 7]], [[4, 11]])
    assert highest(np.array([[1.0, 3.0]]))[0].tolist() == [[1, 3]]


def test_of_an_item_only_its_strongest_channels_count():
    maxima = np.array([[10.0, 0.1, 0.1, 0.1], [10.0, 9.0, 0.0, 0.0], [-1.0, -2.0, -3.0, -4.0]])
    assert aggregated_activations(maxima).tolist() == [2, 0, 0, 0]  # one of four is few; what is negative never counts


def test_channels_count_until_they_make_up_three_hundredths():
    maxima = np.full((1, 400), 1.0)
    assert aggregated_activations(maxima).sum() == 12


@pytest.mark.parametrize(("strides", "pads", "dilations"), [((1, 1), ((0, 0), (0, 0)), (1, 1)), ((2, 1), ((1, 0), (2, 1)), (1, 2))])
def test_a_channels_contribution_is_its_own_convolution_at_its_highest(rng, strides, pads, dilations):
    entering, kernel = rng.normal(size=(2, 3, 7, 8)), rng.normal(size=(4, 3, 3, 2))
    found = contributions(entering, kernel, strides, pads, dilations)
    spread = np.zeros((4, 3, *((size - 1) * step + 1 for size, step in zip(kernel.shape[2:], dilations, strict=True))))
    spread[:, :, :: dilations[0], :: dilations[1]] = kernel
    padded = np.pad(entering, ((0, 0), (0, 0), *pads))
    for item in range(2):
        for channel in range(3):
            for to in range(4):
                whole = correlate(padded[item, channel], spread[to, channel], "valid")[:: strides[0], :: strides[1]]
                assert found[item, channel, to] == pytest.approx(whole.max(), rel=1e-4)


def test_the_contributions_to_a_dense_layer_add_up_to_what_it_says(rng):
    entering, kernel = rng.normal(size=(2, 3, 4, 4)), rng.normal(size=(5, 3, 4, 4))
    found = contributions(entering, kernel, (1, 1), ((0, 0), (0, 0)), (1, 1))
    np.testing.assert_allclose(found.sum(axis=1), np.einsum("nchw,dchw->nd", entering, kernel), rtol=1e-4)
    flat = contributions(entering[:, :, 0, 0], kernel[:, :, 0, 0])
    np.testing.assert_allclose(flat.sum(axis=1), entering[:, :, 0, 0] @ kernel[:, :, 0, 0].T, rtol=1e-6)


def test_only_the_strongest_that_speak_for_a_channel_count(rng):
    contributed = np.full((10, 20, 2), -1.0)
    contributed[:, 3, 0], contributed[:4, 7, 0] = 5.0, 6.0
    counts = aggregated_influences(contributed)
    assert (counts[3, 0], counts[7, 0], counts.sum()) == (10, 4, 14)
    assert aggregated_influences(rng.random((10, 20, 2)) + 1).sum() == 10 * few(20) * 2


def test_channels_that_rise_together_are_found_without_weights(rng):
    earlier = rng.normal(size=(400, 8))
    later = np.stack([earlier[:, 2] + 0.1 * rng.normal(size=400), rng.normal(size=400)], axis=1)
    statistics = [(part.mean(axis=0), part.std(axis=0)) for part in (earlier, later)]
    counts = aggregated_influences(together(earlier, later, *zip(*statistics, strict=True)))
    assert counts[:, 0].argmax() == 2
    assert counts[2, 0] > 2 * np.delete(counts[:, 0], 2).max()


def test_page_rank_agrees_with_the_stationary_walk(rng):
    influences = [rng.random((4, 3)), rng.random((3, 2))]
    wanted = [rng.random(4), rng.random(3), rng.random(2)]
    ranks = np.concatenate(page_rank(influences, wanted))
    whole = np.zeros((9, 9))
    whole[:4, 4:7], whole[4:7, 7:] = influences
    whole += whole.T
    begin = np.concatenate(wanted) / np.concatenate(wanted).sum()
    step = whole / whole.sum(axis=1, keepdims=True)
    exact = np.linalg.solve(np.eye(9) - 0.85 * step.T, 0.15 * begin)
    np.testing.assert_allclose(ranks, exact, atol=1e-7)
    assert ranks.sum() == pytest.approx(1)


def planted(rng):
    """Three layers in which channels 1, 2 and 0 hang together; the last is the answer. 100 items."""
    activations = [rng.integers(0, 5, 12), rng.integers(0, 5, 10), np.zeros(3)]
    activations[0][1], activations[1][2] = 95, 90
    influences = [rng.integers(0, 5, (12, 10)), rng.integers(0, 5, (10, 3))]
    influences[0][1, 2], influences[1][2, 0] = 97, 99
    return activations, influences


def test_the_channels_that_carry_a_class_are_its_vertices(rng):
    graph = class_graph(*planted(rng), 100, answer=0)
    first = {layer: next(vertex for vertex in graph.vertices if vertex.layer == layer) for layer in range(3)}
    assert [first[layer].channel for layer in range(3)] == [1, 2, 0]
    assert [vertex.channel for vertex in graph.vertices if vertex.layer == 2] == [0]
    assert [(edge.layer, edge.channel, edge.to, edge.share) for edge in graph.edges] == [(1, 2, 0, 0.99), (0, 1, 2, 0.97)]
    counts = np.bincount([vertex.layer for vertex in graph.vertices])
    assert (counts[:2] >= FEWEST).all()
    assert (counts <= MOST).all()


def test_more_vertices_are_taken_until_each_layer_hangs_on_the_one_before(rng):
    activations = [np.zeros(40), np.zeros(40)]
    activations[0][:6], activations[1][:6] = 50, 50
    influences = [np.zeros((40, 40))]
    influences[0][5, 5] = 30  # the only connection, of the last ones in rank
    graph = class_graph(activations, influences, 50)
    assert [(edge.channel, edge.to) for edge in graph.edges] == [(5, 5)]
