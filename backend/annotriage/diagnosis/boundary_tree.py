"""The explicable boundary tree: the few items from which the nearest one gives the model's answer on all others."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.diagnosis.view import Chosen, View, Why, chosen

Array = NDArray[Any]

PASSES = 10  # over all items; the tree of separable classes is finished in three or four


def boundary_tree(view: View, rng: np.random.Generator) -> Chosen:
    """The nodes of a boundary tree of the model's answers in latent space; its size comes out, it is not asked for.

    An item walks from the root to whichever of a node and its children is nearest, until the node itself is. It becomes that node's child
    if the model's answers on the two differ. Items are read until a whole pass adds none.
    Source: Mathy et al., The Boundary Forest Algorithm, AAAI 2015, on the model's answers as Wu et al., Interpreting Shared Deep Learning
    Models via Explicable Boundary Trees, 2017, have it; without their synthetic nodes, which are no items that one could look at.
    """
    latent = np.asarray(view.latent, dtype=np.float32)
    order = rng.permutation(len(view))
    nodes = [int(order[0])]
    family: list[Array] = [latent[[nodes[0]]]]  # of each node: itself, then its children
    below: list[list[int]] = [[0]]
    for _ in range(PASSES):
        known = len(nodes)
        for row in order:
            node = _walk(latent[row], family, below)
            if view.predicted[nodes[node]] != view.predicted[row]:
                below[node].append(len(nodes))
                family[node] = np.concatenate([family[node], latent[[row]]])
                below.append([len(nodes)])
                family.append(latent[[row]])
                nodes.append(int(row))
        if len(nodes) == known:
            break
    rows = np.unique(nodes)
    return chosen(rows, view.predicted[rows], np.full(len(rows), Why.BOUNDARY))


def _walk(point: Array, family: list[Array], below: list[list[int]]) -> int:
    node = 0
    while True:
        apart = family[node] - point
        nearest = below[node][int(np.argmin(np.einsum("ij,ij->i", apart, apart)))]
        if nearest == node:
            return node
        node = nearest
