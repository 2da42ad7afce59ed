"""Two habits of people who label: to keep what the model suggests (anchoring), and to call what is common (availability)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from annotriage.guarantee.binomial import clopper_pearson

BOTH = 0.975  # of each of two limits that hold together at 95%


@dataclass(frozen=True)
class Anchoring:
    """Suggestions that people saw, beside items of the same route that they answered blind.

    shown, changed: suggestions, and how many of them people contradicted. blind, wrong: blind answers, and how many contradict the model.
    kept: of the suggestions that blind answers would call wrong, the share that people kept all the same; low, high: its 95% limits. All
    three None where blind answers contradict nothing, so that nothing was there to be kept.
    """

    shown: int
    changed: int
    blind: int
    wrong: int
    kept: float | None
    low: float | None
    high: float | None


def anchoring(shown: int, changed: int, blind: int, wrong: int) -> Anchoring:
    """How often a wrong suggestion is kept: 1 - (share contradicted in view) / (share contradicted blind), not below 0.

    Who answers blind sees a random part of the same items, so both shares would be alike if nobody was swayed. The limits put the exact
    binomial ones of the two shares together, each at 97.5%.
    """
    if not shown or not blind or not wrong:
        return Anchoring(shown, changed, blind, wrong, None, None, None)
    few, many = clopper_pearson(changed, shown, BOTH)
    rare, often = clopper_pearson(wrong, blind, BOTH)
    kept = 1 - (changed / shown) / (wrong / blind)
    return Anchoring(shown, changed, blind, wrong, max(0.0, kept), max(0.0, 1 - many / rare), max(0.0, 1 - few / often))


@dataclass(frozen=True)
class Calling:
    """One class among n items whose true class is known, or was said blind. true: items of it; called: that people call so.

    missed: of it, but called something else; over: something else, but called so. p: how likely so unequal numbers of both are by chance
    (two-sided, exact).
    """

    name: str
    n: int
    true: int
    called: int
    missed: int
    over: int
    p: float


def callings(truth: Sequence[str], called: Sequence[str]) -> list[Calling]:
    """For each class whether people call it too often or too seldom, rare ones first: the n items are the same on both sides.

    Of the answers that concern a class wrongly, half would be each way by chance (the sign test, as McNemar's).
    """
    found = []
    for name in sorted({*truth, *called}):
        pairs = list(zip(truth, called, strict=True))
        missed, over = sum(is_ == name != says for is_, says in pairs), sum(says == name != is_ for is_, says in pairs)
        true, said = (sum(label == name for label in side) for side in (truth, called))
        found.append(Calling(name, len(truth), true, said, missed, over, _sign_test(missed, over)))
    return sorted(found, key=lambda line: (line.true, line.name))


@dataclass(frozen=True)
class Rate:
    """How often people name a class with the model's suggestion in view, and blind, among items of one route.

    p: how likely so unlike shares are by chance (Fisher's exact test, two-sided).
    """

    name: str
    shown: int
    shown_called: int
    blind: int
    blind_called: int
    low: float
    high: float
    p: float


def rates(shown: Sequence[str], blind: Sequence[str]) -> list[Rate]:
    """For each class its share among answers with a suggestion in view and among blind ones, rare ones first.

    The items of both must be alike but for the suggestion: of one route, blind ones drawn at random. low, high: 95% limits of the blind
    share.
    """
    from scipy.stats import fisher_exact  # heavy: loaded with the first of these pages

    if not shown or not blind:
        return []
    found = []
    of_shown, of_blind = Counter(shown), Counter(blind)
    for name in sorted({*of_shown, *of_blind}):
        seen, said = of_shown[name], of_blind[name]
        p = float(fisher_exact([[seen, len(shown) - seen], [said, len(blind) - said]])[1])
        found.append(Rate(name, len(shown), seen, len(blind), said, *clopper_pearson(said, len(blind)), p))
    return sorted(found, key=lambda line: (line.blind_called / line.blind, line.name))


def _sign_test(missed: int, over: int) -> float:
    from scipy.special import bdtr

    apart = missed + over
    return min(1.0, 2 * float(bdtr(min(missed, over), apart, 0.5))) if apart else 1.0
