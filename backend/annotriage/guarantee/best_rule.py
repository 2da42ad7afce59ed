"""Which of several scores tells known from foreign items best, and how sure that is: by resampling the items."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Scored = Mapping[str, tuple[Array, Array]]  # by foreign set: the scores of known items, (K,), and of that set's, (F,)

RESAMPLES = 500
ALL = ""  # the name of all foreign sets together


@dataclass(frozen=True)
class Best:
    """The best rule for one foreign set, or over all of them.

    set: its name, "" = over all, each counting alike. rule: index of the best. auroc: its own, with 95% limits low and high.
    sure: in which share of the resamples it is the best; ties count half. gain: its AUROC less that of the rule that decides now, with
    95% limits from the same resamples; None where it is that rule, or none is given.
    """

    set: str
    rule: int
    auroc: float
    low: float
    high: float
    sure: float
    gain: float | None
    gain_low: float | None
    gain_high: float | None


def auroc(known: Array, foreign: Array) -> float:
    """That a foreign item scores higher than a known one, (K,), (F,); ties count half."""
    return _compared(known, foreign)(np.ones(len(known), dtype=np.int64), np.arange(len(foreign)))


def best_rules(scores: Sequence[Scored], deciding: int | None, rng: np.random.Generator) -> tuple[Best, ...]:
    """The best rule over all foreign sets, then for each of them if there are several.

    scores: of each rule, all with the same sets of the same items. deciding: the rule that decides now. Known and foreign items are
    drawn anew together for all rules (paired bootstrap), so that what is hard for all of them makes nobody unsure.
    """
    names = list(scores[0])
    known, sizes = len(scores[0][names[0]][0]), {name: len(scores[0][name][1]) for name in names}
    whole = np.array([[auroc(*scored[name]) for name in names] for scored in scores])
    compared = [[_compared(*scored[name]) for name in names] for scored in scores]
    drawn = np.empty((RESAMPLES, len(scores), len(names)))
    for turn in range(RESAMPLES):
        weights = rng.multinomial(known, np.full(known, 1 / known))
        rows = [rng.choice(sizes[name], sizes[name]) for name in names]
        drawn[turn] = [[of(weights, part) for of, part in zip(rule, rows, strict=True)] for rule in compared]
    found = [_best(ALL, whole.mean(axis=1), drawn.mean(axis=2), deciding)]
    if len(names) > 1:
        found += [_best(name, whole[:, place], drawn[:, :, place], deciding) for place, name in enumerate(names)]
    return tuple(found)


def _best(name: str, whole: Array, drawn: Array, deciding: int | None) -> Best:
    """whole: (R,) AUROC of each rule. drawn: (RESAMPLES, R)."""
    rule = int(whole.argmax())
    rivals = np.delete(drawn, rule, axis=1).max(axis=1, initial=-1.0)
    own = drawn[:, rule]
    sure = float(np.mean(own > rivals) + np.mean(own == rivals) / 2)
    low, high = np.quantile(own, [0.025, 0.975])
    if deciding is None or deciding == rule:
        return Best(name, rule, float(whole[rule]), float(low), float(high), sure, None, None, None)
    gain_low, gain_high = np.quantile(own - drawn[:, deciding], [0.025, 0.975])
    gain = float(whole[rule] - whole[deciding])
    return Best(name, rule, float(whole[rule]), float(low), float(high), sure, gain, float(gain_low), float(gain_high))


def _compared(known: Array, foreign: Array) -> Callable[[Array, Array], float]:
    """AUROC of resamples: how often each known item is drawn, and which foreign items are -> a number."""
    order = np.argsort(known)
    below, up_to = (np.searchsorted(known[order], foreign, side) for side in ("left", "right"))

    def of(weights: Array, drawn: Array) -> float:
        counted = np.append(0, np.cumsum(weights[order]))
        return float((counted[below[drawn]] + counted[up_to[drawn]]).mean() / (2 * counted[-1]))

    return of
