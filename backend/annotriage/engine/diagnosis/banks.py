"""The bank of faces: which items stand for many when people look at them, chosen by a sampler. Never of held-out items."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.diagnosis.samplers import Method, choose
from annotriage.diagnosis.view import View
from annotriage.engine.diagnosis.sample import method_named
from annotriage.errors import DataError, FitError

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


def bank_or_note(view: View, method: str | None, seed: int) -> tuple[Array | None, str]:
    """The same and "". Where the data do not allow the method, None and a sentence on it: what was read in hours is shown all the same.
    method: None for no bank. Raises SettingError for a method that is none."""
    if method is None:
        return None, ""
    try:
        return bank_of(view, method, seed), ""
    except (DataError, FitError) as error:
        return None, f"No bank was drawn by {method}, so items stand in their usual order: {error}."
