"""Errors first: the items that the model has wrong, then a fair draw of the rest and the items that drive its units hardest."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.diagnosis.cells import confusion_cells, require_labels
from annotriage.diagnosis.quotas import proportional, spread_evenly
from annotriage.diagnosis.view import Chosen, View, Why, chosen

Array = NDArray[Any]

MOST_WRONG = 0.5  # of the sample at most
STRONG = 0.4  # of what is taken of the items that the model has right


def errors_first(view: View, size: int, rng: np.random.Generator) -> Chosen:
    """Wrong items, all that fit into half of the sample, spread over the classes; of the right ones of each class some at random and some
    strong ones, which drive a unit of the deciding layer higher than the others of their class.

    Right for questions about errors: small cells are whole, so that nothing about them is estimated. The random part keeps
    distributions true, the strong part finds the most activated units. Plain averages over such a sample lean towards the errors.
    Raises DataError if an item is unlabelled.
    """
    require_labels(view, "errors-first")
    cells = confusion_cells(view)
    wrong = np.flatnonzero(view.wrong)
    rows = [_evenly(wrong, view.truth, min(len(wrong), round(MOST_WRONG * size)), rng)]
    why = [np.full(len(rows[0]), Why.WRONG)]
    right = np.flatnonzero(~view.wrong)
    numbers, sizes = np.unique(view.truth[right], return_counts=True)
    quotas = proportional(sizes, min(size - len(rows[0]), len(right)))
    for number, quota in zip(numbers, quotas, strict=True):
        members = right[view.truth[right] == number]
        strong = _strong(members, view.latent[members], round(STRONG * int(quota)))
        rest = rng.choice(np.setdiff1d(members, strong), int(quota) - len(strong), replace=False)
        rows += [strong, rest]
        why += [np.full(len(strong), Why.STRONG), np.full(len(rest), Why.RANDOM)]
    together = np.concatenate(rows)
    return chosen(together, cells[together], np.concatenate(why))


def _evenly(rows: Array, groups: Array, total: int, rng: np.random.Generator) -> Array:
    numbers, sizes = np.unique(groups[rows], return_counts=True)
    quotas = spread_evenly(sizes, total)
    drawn = [rng.choice(rows[groups[rows] == number], int(quota), replace=False) for number, quota in zip(numbers, quotas, strict=True)]
    return np.concatenate([np.empty(0, dtype=np.intp), *drawn])


def _strong(members: Array, latent: Array, count: int) -> Array:
    """The `count` members that come first when every unit names its strongest member, then its second, and so on."""
    if count == 0:
        return np.empty(0, dtype=np.intp)
    ranks = np.argsort(-latent, axis=0, kind="stable")  # (n, d): of each unit the members, strongest first
    order = np.argsort(-latent.max(axis=0), kind="stable")
    named = ranks[:, order].reshape(-1)
    _, first = np.unique(named, return_index=True)
    return np.asarray(members[named[np.sort(first)[:count]]])
