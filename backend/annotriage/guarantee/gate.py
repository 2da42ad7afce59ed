"""The gate: which items the model may label alone, and the guarantee about their errors.

`sureness` joins confidence and typicality in one number, `calibrate_gate` finds how sure is sure enough on labelled held-out items,
and `routing.route` applies it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from annotriage.advice.numbers import rough
from annotriage.errors import FitError
from annotriage.guarantee.answered import Answered
from annotriage.guarantee.binomial import attempt_confidence, upper_bound
from annotriage.guarantee.bounded import upper_mean
from annotriage.guarantee.conformal import empirical_cdf
from annotriage.guarantee.error_limits import ClassLimit, ErrorLimits
from annotriage.guarantee.ranking import Ranking, labels_needed

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

CURVE_PLACES = 200
LATER = {"later": True}  # a field that older references lack: it is left out of their hash while it holds its default


@dataclass(frozen=True)
class ClassEvidence:
    """What the held-out items say of the automatic labels of one class.

    side: "predicted" (items that the model called so) or "true" (items that are so).
    tau: the sureness that an item of this predicted class must reach (inf: none may pass; nan for side "true").
    n: automatic held-out items. errors: wrong ones among them. bound: one-sided upper limit of their error rate at the
    tested confidence, for this class alone. share: automatic share of the class's held-out items.
    above_limit: more than the limit of the n are wrong: a limit kept overall hides a class that does not keep it.
    limit: the class's own, None where it is the overall one. cost: with costs, what a label costs on average, and then `bound` and
    `above_limit` speak of that.
    """

    name: str
    side: str
    tau: float
    n: int
    errors: int
    bound: float
    share: float
    above_limit: bool
    limit: float | None = field(default=None, metadata=LATER)
    cost: float | None = field(default=None, metadata=LATER)


@dataclass(frozen=True)
class LimitEvidence:
    """A limit that classes have by themselves, and what held-out items say. name: of the classes; the rest as in `ClassEvidence`."""

    name: str
    max_error: float
    tau: float
    n: int
    errors: int
    cost: float | None
    bound: float


@dataclass(frozen=True)
class Guarantee:
    """The error limit, whether it can be given, and the evidence for it.

    auto: whether any item may be labelled by machine. tau: the least sureness of an automatic item (inf when off);
    with max_error_per = "class" the taus are in `classes` and this is the smallest.
    attempt: the r-th calibration of this project; confidence: what the user asked for; tested_confidence: that of this
    attempt, `binomial.attempt_confidence`. labelled: labelled held-out items; typical: those of them that are no outliers;
    n, errors, bound: the automatic ones among them. coverage: n / labelled. needed: labelled held-out items that are likely
    to be enough in all when auto is off, rounded up to two digits (None when on, and when no number would help, as where `stricter` alone
    stands in the way). curve_*: risk
    against coverage down the sureness ranking, at most 200 places.
    cost: None where all errors cost the same; else what an automatic label costs on average, and then max_error, bound and the curve
    are of that. dearest: the most that one can cost. own_limits: of classes that have one. most_wrong: the largest share of wrong labels
    that keeps all limits; None where it is max_error. stricter: the least sureness that spot checks ask for since (`tightening`), None if
    they do not; times_stricter: how often they made it so.
    """

    auto: bool
    max_error: float
    confidence: float
    tested_confidence: float
    attempt: int
    max_error_per: str
    tau: float
    labelled: int
    typical: int
    n: int
    errors: int
    bound: float
    coverage: float
    needed: int | None
    classes: tuple[ClassEvidence, ...]
    curve_coverage: FloatArray
    curve_risk: FloatArray
    curve_bound: FloatArray
    cost: float | None = field(default=None, metadata=LATER)
    dearest: float | None = field(default=None, metadata=LATER)
    own_limits: tuple[LimitEvidence, ...] = field(default=(), metadata=LATER)
    most_wrong: float | None = field(default=None, metadata=LATER)
    stricter: float | None = field(default=None, metadata=LATER)
    times_stricter: int = field(default=0, metadata=LATER)

    @property
    def error_limit(self) -> float:
        """The largest share of wrong labels that keeps all limits: what spot checks are held against."""
        return self.max_error if self.most_wrong is None else self.most_wrong


def calibrate_gate(
    answered: Answered,
    *,
    class_names: Sequence[str],
    max_error: float,
    confidence: float,
    attempt: int = 1,
    max_error_per: str = "all",
    never_auto: Collection[str] = (),
    class_limits: Sequence[ClassLimit] = (),
    costs: FloatArray | None = None,
    stricter: float | None = None,
    times_stricter: int = 0,
    seed: int = 0,
) -> Guarantee:
    """The guarantee that labelled held-out items allow: the least sureness at which automatic labels keep `max_error`.

    Fixed-sequence testing (Angelopoulos et al., Learn then Test, 2021) down the sureness ranking of those items that could
    become automatic: typical ones whose predicted class is not in `never_auto`. It starts at `ranking.first_test`, which looks
    at no label, tests at ends of groups of equal sureness (`ranking.is_tested`) and stops at the first failure; the last pass gives tau.
    With max_error_per = "class" each predicted class is tested alone, at the same confidence: each class's guarantee may be
    wrong for 1 project in 20 by itself, and nothing is guaranteed about all classes together. So with class_limits: the labels of each
    group of classes are tested by themselves, and those of all others together.
    costs: (m + 1, m), as in `ErrorLimits`: max_error is then a limit of the expected cost of a label, by `bounded`'s test.

    stricter: what automatic items must reach whatever is shown of less sure ones. Nothing is automatic where it lies above the first place
    that was tested; all tested places from there down to tau are shown together, so that any of them may be taken.

    answered: its classes are indices into `class_names`. attempt: which calibration of this project this is, counted from 1.
    """
    never = np.array([name in never_auto for name in class_names], dtype=bool)
    limits = ErrorLimits(max_error, never, max_error_per == "class", tuple(class_limits), costs)
    eligible = eligible_items(answered, never)
    tested = attempt_confidence(confidence, attempt)
    rankings = rankings_of(answered, eligible, limits)
    fullest, most = max(zip(rankings, limits.parts, strict=True), key=lambda pair: pair[0].n)
    taus = class_taus(rankings, answered, eligible, limits, max_error, tested, stricter)
    automatic = eligible & (answered.sureness >= taus[answered.predicted])
    n, errors = int(automatic.sum()), int((automatic & ~answered.correct).sum())
    cost = limits.cost(answered)
    largest = max_error if most[1] is None else most[1]
    shown = n > 0 or (stricter is not None and np.isfinite(class_taus(rankings, answered, eligible, limits, max_error, tested)).any())
    enough = None if shown else labels_needed(fullest, len(answered), largest, tested, np.random.default_rng(seed))
    curve_coverage, curve_risk, curve_bound = _curve(_rank(answered, eligible, limits), len(answered), tested)
    return Guarantee(
        auto=n > 0,
        max_error=max_error,
        confidence=confidence,
        tested_confidence=tested,
        attempt=attempt,
        max_error_per=max_error_per,
        tau=float(np.min(taus, initial=np.inf)),
        labelled=len(answered),
        typical=int(answered.typical.sum()),
        n=n,
        errors=errors,
        bound=_bound(cost[automatic], limits, tested),
        coverage=n / max(1, len(answered)),
        needed=enough and rough(enough),
        classes=_evidence(answered, automatic, taus, class_names, limits, tested),
        curve_coverage=curve_coverage,
        curve_risk=curve_risk,
        curve_bound=curve_bound,
        cost=None if costs is None else float(np.mean(cost[automatic])) if n else 0.0,
        dearest=limits.dearest,
        own_limits=_own_limits(answered, automatic, taus, limits, tested),
        most_wrong=None if costs is None and not class_limits else limits.most_wrong,
        stricter=stricter,
        times_stricter=times_stricter,
    )


def eligible_items(answered: Answered, never: BoolArray) -> BoolArray:
    """Which items could become automatic: (n,). never: (m,) classes that are never automatic."""
    return answered.typical & ~never[answered.predicted] if never.size else answered.typical


def rankings_of(answered: Answered, eligible: BoolArray, limits: ErrorLimits) -> list[Ranking]:
    """The eligible items of each part that is tested by itself."""
    return [_rank(answered, eligible & classes[answered.predicted], limits) for classes, _ in limits.parts]


def _rank(answered: Answered, chosen: BoolArray, limits: ErrorLimits) -> Ranking:
    """Some of the items, ranked."""
    cost, foreseen = limits.cost(answered)[chosen], limits.foreseen(answered)[chosen]
    return Ranking.of(answered.sureness[chosen], ~answered.correct[chosen], foreseen, cost, limits.dearest)


def class_taus(
    rankings: Sequence[Ranking],
    answered: Answered,
    eligible: BoolArray,
    limits: ErrorLimits,
    max_error: float,
    confidence: float,
    stricter: float | None = None,
) -> FloatArray:
    """The sureness that the automatic items of each class must reach: (m,), inf where there are none.

    rankings: as `rankings_of` gives them. max_error: in place of that of `limits`. confidence: of the test. stricter: as for
    `calibrate_gate`.
    """
    taus = np.full(limits.never.size, np.inf)
    for ranking, (classes, own) in zip(rankings, limits.parts, strict=True):
        limit = max_error if own is None else own
        taus[classes] = ranking.tau(limit, confidence, stricter)
    taus[limits.never] = np.inf
    automatic = eligible & (answered.sureness >= taus[answered.predicted])
    # a class none of whose automatic labels was ever tested is not labelled automatically, nor one without a held-out item of its own
    tested = np.bincount(answered.predicted[automatic].astype(int), minlength=limits.never.size) > 0
    own_items = np.bincount(answered.true[answered.true >= 0].astype(int), minlength=limits.never.size) > 0
    return np.where(tested & own_items, taus, np.inf)


def item_taus(guarantee: Guarantee, predicted: IntArray) -> FloatArray:
    """The sureness that each item must reach, by its predicted class: (N,), inf where no item of the class is automatic."""
    return np.array([evidence.tau for evidence in guarantee.classes if evidence.side == "predicted"])[predicted]


def sureness(
    confidence: FloatArray,
    outlier_scores: FloatArray,
    train_confidence: FloatArray,
    train_scores: FloatArray,
    penalty: FloatArray | None = None,
) -> FloatArray:
    """How sure an automatic label would be, at most 2: confident first, familiar second.

    2 - F_c(-confidence) - F_s(outlier score) / 2, where F_c(-c) is the share of training items at least as confident as c
    and F_s(s) the share of training items at most as strange as s (both right-continuous, so that a tie counts against).
    Confidence alone lets a third of noise images and of unseen classes pass; the second term keeps familiar-looking noise out.
    `penalty` is taken off: it keeps out strangers that come in numbers, see `latent.density_ratio`.

    confidence: (N,) from `confidence_logit`. outlier_scores: (N,), larger is stranger. train_*: sorted ascending, of the
    training set. penalty: (N,) of `DensityRatio.penalty`. Returns (N,); NaN where confidence or score is NaN.
    Raises FitError if a training sample is empty.
    """
    if not (len(train_confidence) and len(train_scores)):
        raise FitError("sureness needs the training items' confidences and outlier scores: the reference holds none; fit it again")
    at_least_as_confident = empirical_cdf(-train_confidence[::-1], -confidence)
    at_most_as_strange = empirical_cdf(train_scores, outlier_scores)
    known = ~(np.isnan(confidence) | np.isnan(outlier_scores))
    sure = 2.0 - at_least_as_confident - 0.5 * at_most_as_strange
    if penalty is not None:
        sure = sure - penalty
    return np.where(known, sure, np.nan)


def confidence_logit(logits: NDArray[np.floating]) -> FloatArray:
    """log(p / (1 - p)) of the largest softmax probability p, exact where p rounds to 1: (N, m) logits -> (N,).

    The largest logit minus the log-sum-exp of the others, in float64; infinite when there is one class only.
    """
    others = np.array(logits, dtype=np.float64)
    rows, best = np.arange(len(others)), np.argmax(others, axis=1)
    largest = others[rows, best]
    others[rows, best] = -np.inf
    second = others.max(axis=1)
    with np.errstate(invalid="ignore"):  # of one class, nothing is left
        rest = second + np.log(np.exp(others - second[:, None]).sum(axis=1))
    return np.where(np.isfinite(second), largest - rest, np.inf)


def multi_choice_confidence_logit(logits: NDArray[np.floating]) -> FloatArray:
    """The same for independent classes (sigmoid): that of the least certain class, min |logit|. (N, m) -> (N,)."""
    return np.asarray(np.min(np.abs(np.asarray(logits, dtype=np.float64)), axis=1), dtype=np.float64)


def miss_probability(confidence: FloatArray) -> FloatArray:
    """1 - p from `confidence_logit`, without the rounding of 1 - p: the model's own estimate of being wrong. (N,) -> (N,)."""
    return np.asarray(expit(-confidence), dtype=np.float64)


def _curve(ranking: Ranking, labelled: int, confidence: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Coverage, share of errors (or mean cost) and its upper limit at no more than 200 ends of groups down the ranking."""
    ends = ranking.ends
    if len(ends) > CURVE_PLACES:
        ends = ends[np.round(np.linspace(0, len(ends) - 1, CURVE_PLACES)).astype(int)]
    errors, n = ranking.errors[ends], ends + 1
    if ranking.losses is None:
        return n / max(1, labelled), errors / n, upper_bound(errors, n, confidence)
    spent = ranking.dearest * np.cumsum(ranking.losses)[ends]
    return n / max(1, labelled), spent / n, ranking.upper_limits(ends, confidence)


def _bound(cost: FloatArray, limits: ErrorLimits, confidence: float) -> float:
    """The upper limit of the share of wrong labels, or of the mean cost, that these labels show. cost: (n,) of each."""
    if limits.dearest is None:
        return float(upper_bound(np.count_nonzero(cost), cost.size, confidence))
    values, counts = np.unique(cost / limits.dearest, return_counts=True)
    return limits.dearest * float(upper_mean(values, counts.astype(np.float64), confidence))


def _own_limits(
    answered: Answered, automatic: BoolArray, taus: FloatArray, limits: ErrorLimits, confidence: float
) -> tuple[LimitEvidence, ...]:
    rows = []
    cost = limits.cost(answered)
    for part in limits.class_limits:
        chosen = automatic & np.isin(answered.predicted, part.classes)
        n, errors = int(chosen.sum()), int((chosen & ~answered.correct).sum())
        mean = None if limits.costs is None else float(np.mean(cost[chosen])) if n else 0.0
        tau = float(taus[list(part.classes)].min())
        rows.append(LimitEvidence(part.name, part.max_error, tau, n, errors, mean, _bound(cost[chosen], limits, confidence)))
    return tuple(rows)


def _evidence(
    answered: Answered, automatic: BoolArray, taus: FloatArray, class_names: Sequence[str], limits: ErrorLimits, confidence: float
) -> tuple[ClassEvidence, ...]:
    own = {place: part.max_error for part in limits.class_limits for place in part.classes}
    cost = limits.cost(answered)
    rows = []
    for side, classes in (("predicted", answered.predicted), ("true", answered.true)):
        named = classes >= 0
        items, n, errors = (
            np.bincount(classes[chosen].astype(int), minlength=len(class_names))
            for chosen in (named, named & automatic, named & automatic & ~answered.correct)
        )
        bounds = upper_bound(errors, n, confidence)
        for c, name in enumerate(class_names):
            tau = float(taus[c]) if side == "predicted" else float("nan")
            limit = own.get(c) if side == "predicted" else None
            share = float(n[c] / items[c]) if items[c] else 0.0
            above = bool(errors[c] > (limits.max_error if limit is None else limit) * n[c])
            row = ClassEvidence(name, side, tau, int(n[c]), int(errors[c]), float(bounds[c]), share, above, limit)
            rows.append(row if limits.costs is None else _priced(row, cost[automatic & (classes == c)], limits, confidence))
    return tuple(rows)


def _priced(row: ClassEvidence, cost: FloatArray, limits: ErrorLimits, confidence: float) -> ClassEvidence:
    """The evidence on a class where its labels cost so much each."""
    mean = float(np.mean(cost)) if cost.size else 0.0
    limit = limits.max_error if row.limit is None else row.limit
    return replace(row, bound=_bound(cost, limits, confidence), above_limit=mean > limit, cost=mean)
