"""Look-alikes labelled at once: how many members of a group must be answered before the rest may get the same label.

People answer members drawn at random. The statement is about the rest, those nobody answered: at most a share `group_error` of them has
another label, with the confidence asked for. Looks are taken at sizes that are fixed beforehand: the c-th allows c - 1 disagreements and is
tested at `binomial.spent_confidence(confidence, c)`, so that all looks together break the limit with probability 1 - confidence at most.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hypergeom

from annotriage.guarantee.binomial import spent_confidence

BoolArray = NDArray[np.bool_]
Array = NDArray[np.float64]

WORTH = 0.5  # of the members, that must be saved
MOST_LOOKS = 20
MOST_MEMBERS = 5_000  # up to which a smallest group is looked for


@dataclass(frozen=True)
class Look:
    """One fixed moment: after `size` answers up to `allowed` of them may disagree. rest_wrong: wrong ones among the rest, at most."""

    size: int
    allowed: int
    rest_wrong: int


@dataclass(frozen=True)
class Standing:
    """How a group stands. members: M in all; answers: given so far, disagreements among them.

    shown: whether the rest may be labelled at once; at: the look that showed it. next_at: answers at which the next look is due, None when
    shown or when no look is left: then the group can only be split, or answered to its end.
    """

    members: int
    answers: int
    disagreements: int
    shown: bool
    at: Look | None
    next_at: int | None

    @property
    def missing(self) -> int:
        """Answers that are still to be given before the next look; 0 if there is none."""
        return 0 if self.next_at is None else self.next_at - self.answers


@cache
def looks(members: int, group_error: float = 0.05, confidence: float = 0.95) -> tuple[Look, ...]:
    """The looks at a group of so many members, with 0, 1, 2, ... disagreements allowed; none where not even half would be saved.

    At 5% and 95% a group of 200 is shown by 73 answers that all agree.
    """
    found: list[Look] = []
    sizes = np.arange(1, math.floor(WORTH * members) + 1)
    for allowed in range(MOST_LOOKS):
        enough = sizes[_risks(members, sizes, allowed, group_error) <= 1 - spent_confidence(confidence, allowed + 1)]
        enough = enough[enough > found[-1].size] if found else enough
        if not len(enough):
            break
        found.append(Look(int(enough[0]), allowed, _limit(members - int(enough[0]), group_error)))
    return tuple(found)


@cache
def least_members(group_error: float = 0.05, confidence: float = 0.95) -> int | None:
    """The smallest group of which not even half need be answered; None where it would be larger than anybody looks for."""
    return next((size for size in range(1, MOST_MEMBERS) if looks(size, group_error, confidence)), None)


def standing(members: int, agrees: Sequence[bool] | BoolArray, group_error: float = 0.05, confidence: float = 0.95) -> Standing:
    """How a group stands after these answers, in the order in which members were drawn: whether each has the group's label.

    Only answers up to a look count for it: what came later cannot undo or hasten it.
    """
    given = np.asarray(agrees, dtype=bool)
    wrong = np.cumsum(~given)
    planned = looks(members, group_error, confidence)
    total = int(wrong[-1]) if len(given) else 0
    for look in planned:
        if look.size > len(given):
            open_looks = [later for later in planned if later.size > len(given) and later.allowed >= total]
            return Standing(members, len(given), total, False, None, open_looks[0].size if open_looks else None)
        if wrong[look.size - 1] <= look.allowed:
            return Standing(members, len(given), total, True, look, None)
    return Standing(members, len(given), total, False, None, None)


def confidence_of_half(confidence: float, looks_taken: int) -> float:
    """The confidence at which each half of a split group is tested, so that group and halves together keep `confidence`.

    The looks taken at the whole have spent their part of the 1 - confidence that may fail; each half gets half of what is left.
    """
    spent = sum(1 - spent_confidence(confidence, look) for look in range(1, looks_taken + 1))
    return 1 - (1 - confidence - spent) / 2


def _limit(rest: int, group_error: float) -> int:
    """How many of the rest may be wrong."""
    return math.floor(group_error * rest + 1e-9)


def _risks(members: int, sizes: NDArray[np.int64], allowed: int, group_error: float) -> Array:
    """For each size the largest probability to see at most `allowed` disagreements while more of the rest are wrong than may be.

    With K wrong members in all and x of them seen, K - x are left: too many if K - x > limit. For K = limit + 1 + j that is x <= j. At most
    1 - c of all these is the same as `certificate.most_wrong(members, size, x, c) - x <= limit` for every x up to `allowed`, for all sizes
    at once and without a search for each.
    """
    limits = np.floor(group_error * (members - sizes) + 1e-9).astype(int)
    seen = np.arange(allowed + 1)[:, None]
    wrong = np.minimum(limits + 1 + seen, members)
    return np.asarray(hypergeom.cdf(seen, members, wrong, sizes).max(axis=0))
