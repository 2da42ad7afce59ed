"""The attribution graph of a class: which channels of which layers its items are recognised by, and how they hang together.

Source: Hohman et al., Summit, IEEE TVCG 2020, section 6.3, with the parameters of its published code: personalised PageRank on the
undirected graph of all channels, damping 0.85; of every layer the first tenth of its rank, more where nothing connects it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

DAMPING = 0.85
FIRST, MORE = 0.1, 0.005  # share of a layer's rank that its vertices make up, and by how much it grows where nothing connects them
ROUNDS = 200
FEWEST, MOST = 3, 8  # vertices of a layer: our choice, for layers smaller than the source's and pictures that can be read
SEEN = 0.1  # share of the items from which a connection is drawn


@dataclass(frozen=True)
class Vertex:
    """A channel of a layer. share: of the class's items for which it is one of the most activated. rank: its share of its layer's."""

    layer: int
    channel: int
    share: float
    rank: float


@dataclass(frozen=True)
class Edge:
    """A connection from a channel of `layer` to one of the next layer. share: of the items for which it is one of the strongest."""

    layer: int
    channel: int
    to: int
    share: float


@dataclass(frozen=True)
class ClassGraph:
    """vertices: layer by layer, those of the highest rank first. edges: between them, the strongest first."""

    vertices: tuple[Vertex, ...]
    edges: tuple[Edge, ...]


def class_graph(activations: Sequence[Array], influences: Sequence[Array], items: int, answer: int | None = None) -> ClassGraph:
    """Choose the vertices of a class.

    activations: of each layer (C,) counts, as `aggregated_activations` gives them. influences: of each layer but the last (C, D) counts on
    the next one. items: how many were counted. answer: the class's place where the last layer is the model's answer: its only vertex there.
    """
    if answer is not None:
        only = np.zeros(len(activations[-1]))
        only[answer] = items
        activations = [*activations[:-1], only]
        influences = [*influences[:-1], influences[-1] * (np.arange(influences[-1].shape[1]) == answer)] if influences else []
    ranks = page_rank(influences, [counts / max(counts.max(initial=0), 1) for counts in activations])
    chosen = _chosen(ranks, influences, answer is not None)
    vertices = []
    for layer, rows in enumerate(chosen):
        total = max(float(ranks[layer].sum()), 1e-12)
        vertices += [Vertex(layer, int(row), float(activations[layer][row] / items), float(ranks[layer][row] / total)) for row in rows]
    edges = [
        Edge(layer, int(row), int(to), float(counts[row, to] / items))
        for layer, counts in enumerate(influences)
        for row in chosen[layer]
        for to in chosen[layer + 1]
        if counts[row, to] >= SEEN * items
    ]
    return ClassGraph(tuple(vertices), tuple(sorted(edges, key=lambda edge: (-edge.share, edge.layer, edge.channel, edge.to))))


def page_rank(influences: Sequence[Array], wanted: Sequence[Array]) -> list[Array]:
    """Personalised PageRank of all channels of all layers, on an undirected graph.

    influences: (C, D) weights from each layer to the next. wanted: (C,) of each layer, where a walk begins. Returns (C,) of each layer; all
    of them add up to 1.
    """
    total = sum(float(part.sum()) for part in wanted)
    begins = [part / total if total > 0 else np.full(len(part), 1 / sum(map(len, wanted))) for part in wanted]
    degrees = [np.zeros(len(part)) for part in wanted]
    for layer, weights in enumerate(influences):
        degrees[layer] += weights.sum(axis=1)
        degrees[layer + 1] += weights.sum(axis=0)
    ranks = [part.copy() for part in begins]
    for _ in range(ROUNDS):
        leaving = [np.where(degree > 0, rank / np.where(degree > 0, degree, 1), 0) for rank, degree in zip(ranks, degrees, strict=True)]
        lost = sum(float(rank[degree == 0].sum()) for rank, degree in zip(ranks, degrees, strict=True))
        arriving = [begin * lost for begin in begins]
        for layer, weights in enumerate(influences):
            arriving[layer + 1] += leaving[layer] @ weights
            arriving[layer] += weights @ leaving[layer + 1]
        following = [(1 - DAMPING) * begin + DAMPING * part for begin, part in zip(begins, arriving, strict=True)]
        moved = sum(float(np.abs(new - old).sum()) for new, old in zip(following, ranks, strict=True))
        ranks = following
        if moved < 1e-9:
            break
    return ranks


def _chosen(ranks: Sequence[Array], influences: Sequence[Array], ends_in_answer: bool) -> list[Array]:
    """The vertices of each layer, the highest rank first; more of them, layer by layer, until each layer hangs on the one before it."""
    shares = [FIRST] * len(ranks)
    orders = [np.argsort(-rank, kind="stable") for rank in ranks]

    def taken(layer: int) -> Array:
        if ends_in_answer and layer == len(ranks) - 1:
            return orders[layer][:1]
        ordered = ranks[layer][orders[layer]]
        mass = np.cumsum(ordered) - ordered
        count = int((mass < shares[layer] * ordered.sum()).sum())
        return orders[layer][: min(max(count, min(FEWEST, len(ordered))), MOST)]

    found = [taken(layer) for layer in range(len(ranks))]
    while True:
        loose = [
            layer
            for layer in range(1, len(ranks))
            if not influences[layer - 1][np.ix_(found[layer - 1], found[layer])].any() and min(shares[layer - 1], shares[layer]) < 1
        ]
        if not loose:
            return found
        for layer in {part for place in loose for part in (place - 1, place)}:
            shares[layer] += MORE
            found[layer] = taken(layer)
