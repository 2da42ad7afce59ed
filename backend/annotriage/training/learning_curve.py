"""What more labels would gain: the error on held-out items against the number of training items, as error = a m^b + c."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.progress import Progress, silent
from annotriage.training.course import run
from annotriage.training.learner import Head, is_right
from annotriage.training.plan import Plan

Array = NDArray[Any]

SIZES = 7
REPEATS = 4
RESAMPLES = 200
MORE = 500  # labels, of which the gain is told
SMALLEST = 20  # training items


@dataclass(frozen=True)
class LearningCurve:
    """error = a m^b + c, fitted to heads on parts of the training set.

    sizes, errors: (k,) what was measured, errors as means over random parts. gain: what 500 more labels would take off the error, with 95%
    limits low, high from resampling the measurements. now: items trained on.
    """

    sizes: Array
    errors: Array
    a: float
    b: float
    c: float
    now: int
    gain: float
    low: float
    high: float

    def error(self, size: float) -> float:
        """The curve's error at so many training items."""
        return float(self.a * size**self.b + self.c)


def learning_curve(
    activations: Array,
    targets: Array,
    held_out: tuple[Array, Array],
    plan: Plan,
    *,
    multiple: bool = False,
    progress: Progress = silent,
) -> LearningCurve | None:
    """Train heads on growing random parts; None with fewer than 8 times 20 items. held_out: (n, d) activations, (n, m) targets.

    Source of the power law: Hestness et al., arXiv 1712.00409 (b between -0.35 and -0.07 there).
    """
    count = len(targets)
    if count < 8 * SMALLEST:
        return None
    sizes = np.unique(np.geomspace(max(SMALLEST, count // 64), count, SIZES).round().astype(int))
    small = replace(plan, perplexity="off", drop_below=None, drop_above=None, whole=False)
    errors = np.empty((len(sizes), REPEATS))
    with progress("learning curve", len(sizes) * REPEATS) as advance:
        for row, size in enumerate(sizes):
            for repeat in range(REPEATS):
                drawn = np.random.default_rng([plan.seed, repeat]).permutation(count)[:size]
                longer = replace(small, epochs=_epochs(plan, count, int(size)), seed=plan.seed + repeat)
                head = Head(
                    activations[drawn], targets.shape[1], multiple=multiple, weight_decay=plan.weight_decay, seed=plan.seed + repeat
                )
                run(head, targets[drawn], longer, multiple=multiple)
                errors[row, repeat] = 1 - is_right(head.logits(held_out[0]), held_out[1], multiple).mean()
                advance(1)
    whole = _fit(sizes, errors.mean(axis=1))
    rng = np.random.default_rng(plan.seed)
    gains = []
    for _ in range(RESAMPLES):
        drawn = np.take_along_axis(errors, rng.integers(REPEATS, size=errors.shape), axis=1).mean(axis=1)
        noise = rng.normal(0, np.sqrt(np.maximum(drawn * (1 - drawn), 1e-6) / len(held_out[0])))  # of a finite held-out set
        gains.append(_gain(_fit(sizes, np.clip(drawn + noise, 0, 1)), count))
    low, high = np.quantile(gains, [0.025, 0.975])
    return LearningCurve(sizes, errors.mean(axis=1), *whole, count, _gain(whole, count), float(low), float(high))


def _fit(sizes: Array, errors: Array) -> tuple[float, float, float]:
    from scipy.optimize import OptimizeWarning, curve_fit

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)
        try:
            found, _ = curve_fit(
                lambda size, a, b, c: a * size**b + c, sizes.astype(float), errors, p0=(1.0, -0.5, 0.0), bounds=([0, -3, 0], [1e3, 0, 1])
            )
        except RuntimeError:  # no curve within the steps allowed: flat, as far as is known
            return 0.0, 0.0, float(errors[-1])
    return float(found[0]), float(found[1]), float(found[2])


def _gain(curve: tuple[float, float, float], count: int) -> float:
    a, b, _ = curve
    return float(a * count**b - a * (count + MORE) ** b)


def _epochs(plan: Plan, count: int, size: int) -> int:
    """A small part is passed more often, so that it gets enough steps to be learned."""
    return int(min(plan.epochs * math.sqrt(count / size), 8 * plan.epochs))
