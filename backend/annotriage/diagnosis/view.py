"""What a sampler sees of a dataset, and what it gives: the rows chosen, and why each was."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

UNLABELLED = -1


@dataclass(frozen=True)
class View:
    """N items as the model's deciding layer sees them.

    latent: (N, d) activations. predicted: (N,) class index, UNLABELLED where it shall not be said. truth: (N,) class index, UNLABELLED
    where people gave none. classes: how many classes the model has; a truth beyond them is a thing that the model cannot say.
    """

    latent: Array
    predicted: Array
    truth: Array
    classes: int

    @cached_property
    def labelled(self) -> Array:
        """(N,) bool: whether people said what it is."""
        return np.asarray(self.truth != UNLABELLED)

    @cached_property
    def wrong(self) -> Array:
        """(N,) bool: labelled, and the model says something else."""
        return np.asarray(self.labelled & (self.truth != self.predicted))

    def __len__(self) -> int:
        return len(self.predicted)

    def rows(self, which: Array) -> View:
        """Some of the items, by index."""
        return View(self.latent[which], self.predicted[which], self.truth[which], self.classes)


class Why(StrEnum):
    """Why an item was chosen."""

    RANDOM = "random"  # drawn at random within its cell
    DOUBTFUL = "doubtful"  # from the low end of its cluster's ratios: it might as well belong to another one
    TYPICAL = "typical"  # from the high end
    WEIGHTED = "weighted"  # drawn at random, the doubtful ones more often
    SPREAD = "spread"  # it keeps the picture of all points as it is
    BOUNDARY = "boundary"  # a boundary between two classes runs beside it
    WRONG = "wrong"  # the model is wrong on it
    STRONG = "strong"  # it drives some unit of the layer higher than the others of its cell


@dataclass(frozen=True)
class Chosen:
    """A sample of n items.

    rows: (n,) ascending, each once. cluster: (n,) number of the cell or cluster that each was taken from. ratio: (n,) likelihood ratio
    P(A|x) / P(not A|x) of belonging to that cluster, NaN where the method has none. weight: (n,) 1 / ratio, clipped; NaN likewise.
    why: (n,) of `Why`.
    """

    rows: Array
    cluster: Array
    ratio: Array
    weight: Array
    why: tuple[Why, ...]

    @property
    def boundary_first(self) -> Array:
        """(n,) places in the sample, the items nearest to a boundary between two clusters first; without ratios as they are."""
        return np.argsort(self.ratio, kind="stable")


def chosen(rows: Array, cluster: Array, why: Array, ratio: Array | None = None, weight: Array | None = None) -> Chosen:
    """A sample in the order of its rows. All arrays are (n,); without ratios they are NaN."""
    order = np.argsort(rows, kind="stable")
    unknown = np.full(len(rows), np.nan)
    return Chosen(
        np.asarray(rows, dtype=np.intp)[order],
        np.asarray(cluster)[order],
        (unknown if ratio is None else ratio)[order],
        (unknown if weight is None else weight)[order],
        tuple(Why(why[place]) for place in order),
    )
