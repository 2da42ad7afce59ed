"""How alike two representations of the same items are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def linear_cka(one: Array, other: Array) -> float:
    """Linear centred kernel alignment of two representations: 1 = equal up to rotation and scale, 0 = nothing in common.

    one, other: (n, d) and (n, e), rows of the same items. Not a number where one of them does not vary. With fewer items than
    neurons it leans upwards: compare only figures from the same items.
    Source: Kornblith et al., Similarity of Neural Network Representations Revisited, ICML 2019.
    """
    left, right = (np.asarray(part, dtype=np.float64) - part.mean(axis=0, dtype=np.float64) for part in (one, other))
    if len(left) < max(left.shape[1], right.shape[1]):
        kernels = left @ left.T, right @ right.T
        shared, mine, its = (float((a * b).sum()) for a, b in (kernels, (kernels[0], kernels[0]), (kernels[1], kernels[1])))
    else:
        shared, mine, its = (float(((a.T @ b) ** 2).sum()) for a, b in ((left, right), (left, left), (right, right)))
    scale = np.sqrt(mine) * np.sqrt(its)
    return float(shared / scale) if scale > 0 else float("nan")
