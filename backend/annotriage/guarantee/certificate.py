"""The certificate of a finished dataset: of its N automatic labels at most so many are wrong, strangers included.

The guarantee of `gate` speaks of items like the held-out ones. This speaks of N labels that are there, and needs no such assumption:
some of them were drawn at random and answered blind, and what is not known of the rest follows from the draw alone. The idea for
labels: Candès, Ilyas, Zrnic, Probably Approximately Correct Labels, arXiv 2506.10908.

Parts that were checked completely, such as the beginning of a probation, are counted as they are. Of the rest the m labels with the
first places in a draw are the random checks: a check that is not answered yet is wrong here. To split the level over parts that were
drawn with different probabilities instead would be far wider.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import betabinom, hypergeom

from annotriage.guarantee.conformal import hashed_places

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

TIES = 1 - 1e-9  # what rounding alone rules out is still possible
PRIOR = (0.3, 30.0)  # of the share of wrong labels: how wide `most_wrong_at_any_time` is, not whether it holds


@dataclass(frozen=True)
class Checks:
    """What is known of n labels. whole, whole_wrong: of parts that were checked completely. random, random_wrong: the random checks of the
    rest. Wrong are those, too, that are not answered yet."""

    n: int
    whole: int
    whole_wrong: int
    random: int
    random_wrong: int

    def most_wrong(self, confidence: float, *, fixed: bool) -> int:
        """The largest number of wrong labels among the n. fixed: the number of checks was chosen without a look at the answers."""
        bound = most_wrong if fixed else most_wrong_at_any_time
        return self.whole_wrong + bound(self.n - self.whole, self.random, self.random_wrong, confidence)


def most_wrong(n: int, checked: int, wrong: int, confidence: float = 0.95) -> int:
    """The largest number of wrong labels among n that `wrong` of `checked` random ones do not rule out.

    The largest K with P(at most `wrong` of `checked` | K of n are wrong) > 1 - confidence: the one-sided inversion of the hypergeometric
    distribution, exact (Clopper and Pearson's for a finite population). Holds where n and `checked` were fixed without a look at the
    answers; as answers that are still open count as wrong, the figure may be looked at every day until the last one is there.

    92 right ones of 1,840 give 57; 378 give 12. Without a single check it is n.
    """
    return _largest(n, checked, wrong, lambda total: bool(hypergeom.cdf(wrong, n, total, checked) > (1 - confidence) * TIES))


def most_wrong_at_any_time(n: int, checked: int, wrong: int, confidence: float = 0.95) -> int:
    """As `most_wrong`, for whoever looks again and again and draws further checks where the figure does not please.

    {K : prior(K) / posterior(K) < 1 / (1 - confidence)} with a beta-binomial prior, for all numbers of checks together: the prior-posterior
    ratio of Waudby-Smith and Ramdas, Confidence sequences for sampling without replacement, NeurIPS 2020. Some 10 to 40% wider.
    """
    if not checked:
        return n
    seen = float(betabinom.logpmf(wrong, checked, *PRIOR))
    allowed = -math.log1p(-confidence)
    return _largest(n, checked, wrong, lambda total: seen - float(hypergeom.logpmf(wrong, n, total, checked)) < allowed)


def checks_needed(n: int, most: int, wrong: int = 0, confidence: float = 0.95, *, at_any_time: bool = False) -> int | None:
    """How many random checks show that at most `most` of n labels are wrong, should `wrong` of them be; None if no number does.

    12 of 1,840: 378 without a wrong one.
    """
    bound = most_wrong_at_any_time if at_any_time else most_wrong
    if wrong > most:
        return None
    low, high = max(wrong, 0) - 1, n
    while high - low > 1:
        middle = (low + high) // 2
        if bound(n, middle, wrong, confidence) <= most:
            high = middle
        else:
            low = middle
    return high


def random_checks(
    places: FloatArray, front: float, wrong: BoolArray, most: int | None, confidence: float = 0.95, *, fixed: bool = True
) -> int | None:
    """How many labels, in the order of their places, are checked: those in front, or as many more as show that at most `most` are wrong.

    places: (N,), of `draw_places`. front: the place before which everything is drawn anyway. wrong: (N,) bool, known to be wrong or never
    to be checked blind; the others will be right, it is hoped. None if no number of checks shows it.
    """
    checked = int(np.sum(places < front))
    if most is None:
        return checked
    found = np.concatenate([[0], np.cumsum(wrong[np.argsort(places, kind="stable")])])
    bound = most_wrong if fixed else most_wrong_at_any_time
    while bound(places.size, checked, int(found[checked]), confidence) > most:
        needed = checks_needed(places.size, most, int(found[checked]), confidence, at_any_time=not fixed)
        if needed is None or checked == places.size:
            return None
        checked = max(needed, checked + 1)
    return checked


def draw_places(ids: Sequence[str], seed: int, sample_share: float, audit_share: float) -> FloatArray:
    """A place in [0, 1) for each item, as if drawn at random: what the sample and the audit draw first stands in front. (N,).

    Those with a place below `front_share` are what `in_sample` and `in_audit` draw at these shares. The places depend on nothing but the
    ids, are uniform and independent of each other: the m first ones are a random sample of m, whatever m.
    """
    if not sample_share and not audit_share:
        return hashed_places(ids, seed, "certificate")
    depths = np.full(len(ids), np.inf)
    for share, purpose in ((sample_share, "sample"), (audit_share, "audit")):
        if share:
            depths = np.minimum(depths, hashed_places(ids, seed, purpose) / share)
    drawn = 1 - (1 - np.minimum(1.0, sample_share * depths)) * (1 - np.minimum(1.0, audit_share * depths))
    return np.asarray(drawn, dtype=np.float64)


def front_share(sample_share: float, audit_share: float) -> float:
    """The share of items that the sample or the audit draws."""
    return 1 - (1 - sample_share) * (1 - audit_share)


def _largest(n: int, checked: int, wrong: int, possible: Callable[[int], bool]) -> int:
    """The largest total of wrong labels that is possible; the smallest one that fits the checks best always is."""
    low = min(n, max(wrong, math.floor(n * wrong / checked) if checked else n))
    high = n - checked + wrong + 1
    while high - low > 1:
        middle = (low + high) // 2
        if possible(middle):
            low = middle
        else:
            high = middle
    return low
