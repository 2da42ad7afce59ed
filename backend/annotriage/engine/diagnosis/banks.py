"""The bank of faces: which items stand for many when people look at them, chosen by a sampler. Never of held-out items."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.diagnosis.samplers import Method, choose
from annotriage.diagnosis.view import View
from annotriage.engine.diagnosis.sample import method_named

Array = NDArray[Any]

SHARE = 0.2  # of all items


def bank_of(view: View, method: str, seed: int) -> Array:
    """The place of each of N items in the bank, (N,): 0 for the one nearest to a boundary between classes, N for what is not in it.

    method: a sampler's name; one without ratios puts what it chose in the order of the items. Raises as `choose`.
    """
    by = method_named(method)
    found = choose(view, by, None if by is Method.BOUNDARY_TREE else SHARE, rng=np.random.default_rng(seed))
    places = np.full(len(view), len(view), dtype=np.intp)
    places[found.rows[found.boundary_first]] = np.arange(len(found.rows))
    return places
