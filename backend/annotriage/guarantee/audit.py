"""Spot checks: random blind answers that watch the guarantee after it was made, and the alarm that stops `auto`.

The guarantee of `gate` covers items like the held-out ones. Strangers that look familiar pass the gate, so some items are
chosen at random and answered by people who cannot tell: the sample (of all items) and the audit (of automatic ones).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import betaln, log_expit, logit

from annotriage.guarantee.binomial import clopper_pearson, passing_sizes, spent_confidence
from annotriage.guarantee.conformal import hashed_places

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

SAMPLE_SHARE = 0.02
AUDIT_SHARE = 0.05
AUDIT_PER_WEEK = 20
ALARM_RATIOS = (1.5, 2.0, 3.0, 5.0, 10.0)
ALARM_EVERY = 6_000


def in_sample(item_ids: Sequence[str], seed: int, share: float = SAMPLE_SHARE) -> BoolArray:
    """Which items belong to the sample: a random share of all items, known before they are routed. (N,) bool."""
    return hashed_places(item_ids, seed, "sample") < share


def in_audit(item_ids: Sequence[str], seed: int, share: float = AUDIT_SHARE) -> BoolArray:
    """Which of the `auto` items are audited; independent of the sample. A larger share keeps those of a smaller one. (N,) bool."""
    return hashed_places(item_ids, seed, "audit") < share


def audit_share(auto_per_week: float) -> float:
    """Share of `auto` items to audit: 5%, or what makes 20 a week if that is more; at most all."""
    return 1.0 if auto_per_week <= AUDIT_PER_WEEK else max(AUDIT_SHARE, AUDIT_PER_WEEK / auto_per_week)


@dataclass(frozen=True)
class Probation:
    """Where a new dataset stands before machine labels may become annotations without a person.

    passed: whether its error limit is shown. answers, wrong: spot check answers so far. next_at: answers at which the next look is due
    (None once passed).
    """

    passed: bool
    answers: int
    wrong: int
    next_at: int | None


def probation_sizes(max_error: float, confidence: float, largest: int) -> IntArray:
    """The looks of the probation: 0, 1, 2, ... errors pass at these numbers of answers (those up to `largest`).

    The c-th look is held at `spent_confidence(confidence, c + 1)`: one hypothesis is tested again and again, and at plain n_0,
    n_1, ... a dataset with an error just above the limit would pass with far more than 1 - confidence in the end.
    """
    sizes: list[int] = []
    for errors in range(max(0, largest)):
        candidates = passing_sizes(max_error, spent_confidence(confidence, errors + 1), largest)
        if candidates.size <= errors:
            break
        sizes.append(int(candidates[errors]))
    return np.array(sizes, dtype=np.int64)


def probation(wrong: BoolArray, max_error: float, confidence: float) -> Probation:
    """The state of the probation after these answers of audited `auto` items, in the order in which they were drawn.

    wrong: (n,) bool. Looks only at the sizes of `probation_sizes`; once passed it stays passed (the alarm takes over).
    """
    errors = np.cumsum(wrong)
    horizon = 2 * max(wrong.size, 1) + math.ceil(20 / max_error)
    sizes = probation_sizes(max_error, confidence, horizon)
    looks = sizes[sizes <= wrong.size]
    passed = bool(np.any(errors[looks - 1] <= np.arange(looks.size)))
    reachable = sizes[(sizes > wrong.size) & (np.arange(sizes.size) >= int(np.sum(wrong)))]
    next_at = None if passed or not reachable.size else int(reachable[0])
    return Probation(passed, int(wrong.size), int(np.sum(wrong)), next_at)


def alarm_levels(wrong: BoolArray, max_error: float) -> FloatArray:
    """How near the alarm on spot check answers of `auto` items is after each answer: 0 at rest, 1 or more: `auto` must stop.

    The Shiryaev-Roberts statistic, averaged over a few larger error rates, on a logarithmic scale that begins where right answers
    alone bring it in the long run: they never raise the level. While the error is at most `max_error`, false stops are on average at
    least 6,000 answers apart; a doubled error is found after a median of some 350 answers, a fivefold one after 75. Source: Pollak,
    Annals of Statistics 1985.

    wrong: (..., N), series of answers in their order. Returns (..., N).
    """
    total = np.full(wrong.shape, -np.inf)
    for steps in _steps(wrong, max_error):
        walked = np.cumsum(steps, axis=-1)
        before = np.concatenate([np.zeros((*wrong.shape[:-1], 1)), -walked[..., :-1]], axis=-1)
        total = np.logaddexp(total, walked + np.logaddexp.accumulate(before, axis=-1))
    rest = _rest(max_error)
    rings = max(math.log(ALARM_EVERY), rest + math.log(2))  # for limits so small that right answers alone would come near it
    return np.maximum(0.0, (total - math.log(len(ALARM_RATIOS)) - rest) / (rings - rest))


def wrong_until_alarm(wrong: BoolArray, max_error: float) -> int:
    """How many wrong answers in a row would ring the alarm after these; 0 if it rings. wrong: (n,) bool."""
    if wrong.size and alarm_levels(wrong, max_error)[-1] >= 1:
        return 0
    further = 8
    while True:
        levels = alarm_levels(np.concatenate([wrong, np.ones(further, bool)]), max_error)[wrong.size :]
        if levels[-1] >= 1:
            return int(np.argmax(levels >= 1)) + 1
        further *= 2


def answers_until_alarm(rate: float, max_error: float, *, seed: int = 0, runs: int = 200, horizon: int = 16_000) -> float:
    """Median answers from a fresh start until the alarm rings at a true error `rate`, simulated; inf beyond `horizon`.

    Simulated because the usual ln(threshold) / drift is several times too long at these small drifts. 200 runs: within some 8%.
    """
    for length in (horizon // 16, horizon // 4, horizon):
        rings = alarm_levels(np.random.default_rng(seed).random((runs, length)) < rate, max_error) >= 1.0
        if np.mean(rings.any(axis=1)) > 0.5:
            return float(np.median(np.where(rings.any(axis=1), rings.argmax(axis=1) + 1.0, math.inf)))
    return math.inf


def time_uniform_interval(errors: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Limits of the error rate that hold at all times together, however often one looks.

    {p : lnB(e + 1/2, n - e + 1/2) - lnB(1/2, 1/2) - e ln p - (n - e) ln(1 - p) < ln(1 / (1 - confidence))}: the beta-binomial
    mixture (Robbins, 1970), convex in p with its least value, below 0, at e/n.
    """
    right = n - errors
    mixture = float(betaln(errors + 0.5, right + 0.5) - betaln(0.5, 0.5))

    def beyond(place: float) -> float:
        return mixture - errors * float(log_expit(place)) - right * float(log_expit(-place)) + math.log1p(-confidence)

    best = float(np.clip(logit(errors / n), -700.0, 700.0)) if n else 0.0
    low = 0.0 if errors == 0 else math.exp(float(log_expit(brentq(beyond, -1_000.0, best))))
    high = 1.0 if right == 0 else -math.expm1(float(log_expit(-brentq(beyond, best, 1_000.0))))
    return low, high


@dataclass(frozen=True)
class Running:
    """Spot check answers in figures: wrong ones among the last n, their share, and its limits."""

    n: int
    wrong: int
    share: float
    low: float
    high: float


def recent(wrong: BoolArray, last: int = 500, confidence: float = 0.95) -> Running:
    """The last answers on their own, with Clopper-Pearson limits: what the all-time interval is slow to show. wrong: (n,) bool."""
    latest = wrong[-last:]
    errors, n = int(np.sum(latest)), int(latest.size)
    return Running(n, errors, errors / n if n else 0.0, *clopper_pearson(errors, n, confidence))


def _rest(max_error: float) -> float:
    """Where the statistic settles, in logarithms, if all answers are right: each alternative at q / (1 - q), q its factor of one."""
    q = (1 - _alternatives(max_error)) / (1 - max_error)
    return math.log(float(np.mean(q / (1 - q))))


def _alternatives(max_error: float) -> FloatArray:
    return np.minimum(np.array(ALARM_RATIOS) * max_error, 0.9)


def _steps(wrong: BoolArray, max_error: float) -> FloatArray:
    """Log-likelihood ratio of each answer for each alternative: (5, *wrong.shape)."""
    theta = _alternatives(max_error).reshape(-1, *[1] * wrong.ndim)
    return np.where(wrong, np.log(theta / max_error), np.log1p(-theta) - math.log1p(-max_error))
