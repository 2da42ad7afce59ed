"""What a class's items do to the channels of each layer, and what channels do to those of the next one: aggregated over items.

Source: Hohman et al., Summit: Scaling Deep Learning Interpretability by Visualizing Activation and Attribution Summarizations, IEEE TVCG
2020, sections 6.1 and 6.2. An item takes part by its strongest channels alone, so that no single item outweighs the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

MASS = 0.03  # of an item's activation in a layer, that its top channels make up
TOP = 5  # channels of the layer before that count for one channel of an item
PIECE = 2**26  # numbers at a time


def few(channels: int) -> int:
    """How many channels are few in a layer of so many: five, a quarter in small layers (our choice; the source's have 256 and more)."""
    return max(1, min(TOP, channels // 4))


def highest(maps: Array) -> tuple[Array, Array]:
    """Each channel's largest value over all places, and which place it is. maps: (N, C, places...) or (N, C). Returns (N, C) twice."""
    flat = maps.reshape(*maps.shape[:2], -1)
    at = flat.argmax(axis=2)
    return np.take_along_axis(flat, at[:, :, None], axis=2)[:, :, 0], at


def aggregated_activations(maxima: Array) -> Array:
    """For how many items each channel is one of those most activated: (N, C) maxima -> (C,) counts.

    Of an item count the channels that make up 3% of its activation, the largest first, and at least `few`.
    """
    positive = np.maximum(maxima, 0)
    order = np.argsort(-positive, axis=1, kind="stable")
    ordered = np.take_along_axis(positive, order, axis=1)
    before = np.cumsum(ordered, axis=1) - ordered
    taken = before < MASS * ordered.sum(axis=1, keepdims=True)
    taken[:, : few(maxima.shape[1])] = True
    taken &= ordered > 0
    counts = np.zeros(maxima.shape[1], dtype=np.intp)
    np.add.at(counts, order[taken], 1)
    return counts


def contributions(
    entering: Array,
    kernel: Array,
    strides: Sequence[int] = (),
    pads: Sequence[tuple[int, int]] = (),
    dilations: Sequence[int] = (),
) -> Array:
    """The largest value that each channel alone puts into each channel of the next layer, over all places: (N, C, D).

    entering: (N, C, places...) of the earlier layer as the convolution reads it; a dense layer's with the places that were laid flat.
    kernel: (D, C, *k). strides, dilations, pads: one for each axis of places, pads before and behind.
    """
    axes = kernel.ndim - 2
    if not axes:
        return np.asarray(entering[:, :, None] * kernel.T[None])
    padded = np.pad(entering, ((0, 0), (0, 0), *pads))
    reach = [(size - 1) * dilation + 1 for size, dilation in zip(kernel.shape[2:], dilations, strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(padded, (1, 1, *reach))
    windows = windows.reshape(*windows.shape[: 2 + axes], *reach)
    taken = [slice(None), slice(None), *(slice(None, None, step) for step in (*strides, *dilations))]
    windows = windows[tuple(taken)]
    weights = kernel.reshape(*kernel.shape[:2], -1).transpose(1, 2, 0)  # (C, k, D)
    places = int(np.prod(windows.shape[2 : 2 + axes]))
    found = np.empty((len(entering), kernel.shape[1], kernel.shape[0]), dtype=np.float32)
    step = max(1, PIECE // max(1, places * (weights.shape[1] + weights.shape[2])))
    for item in range(len(entering)):
        for start in range(0, kernel.shape[1], step):
            part = windows[item, start : start + step].reshape(-1, places, weights.shape[1])
            found[item, start : start + step] = np.matmul(part, weights[start : start + step]).max(axis=1)
    return found


def together(earlier: Array, later: Array, middle: tuple[Array, Array], spread: tuple[Array, Array]) -> Array:
    """How far channels of two layers rise together in each item: its share of their correlation, (N, C, D).

    For layers between which there is more than one layer of weights. earlier: (N, C), later: (N, D) maxima; middle, spread: their means and
    deviations over items of all classes.
    """
    first, second = (
        (values - mean) / np.where(deviation > 0, deviation, np.inf)
        for values, mean, deviation in zip((earlier, later), middle, spread, strict=True)
    )
    both = (first[:, :, None] > 0) & (second[:, None, :] > 0)  # two channels that are silent together do nothing to each other
    return np.asarray(np.where(both, first[:, :, None] * second[:, None, :], 0), dtype=np.float32)


def aggregated_influences(contributed: Array) -> Array:
    """For how many items each channel is one of those that do most for a channel of the next layer: (N, C, D) -> (C, D) counts.

    The five that do most count, fewer in small layers, and none that does not speak for it.
    """
    count = few(contributed.shape[1])
    strongest = np.argpartition(-contributed, count - 1, axis=1)[:, :count]
    taken = np.zeros(contributed.shape, dtype=bool)
    np.put_along_axis(taken, strongest, True, axis=1)
    return np.asarray((taken & (contributed > 0)).sum(axis=0))
