"""Answers on spot checks of automatic labels make the gate stricter, never less strict.

The answers bet against "at most `max_error` of the automatic labels are wrong", at several larger error rates at once. While that is true,
the stake grows to 1 / p with probability p at most, however often one looks (Ville): an e-process, as the alarm's, but of all answers
since the threshold was set. It depends on how many were wrong and not on their order. Where it gets there, the threshold moves to where the
answers themselves agree with the limit again, and the alarm goes on with the labels above it.
A needless move costs some automatic labels and breaks nothing. So p is larger than for the alarm, which stops all: the gate moves first.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from annotriage.guarantee.audit import ALARM_RATIOS
from annotriage.guarantee.binomial import spent_confidence

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

NEEDLESS = 0.2  # probability that the gate ever moves while the limit holds; at 0.05 it would not move before the alarm rings


def log_stake(wrong: ArrayLike, answers: ArrayLike, max_error: float) -> FloatArray:
    """What a stake of 1 on more than `max_error` wrong labels has come to, as a logarithm. wrong, answers: of one shape, as the result."""
    rates = np.minimum(np.array(ALARM_RATIOS) * max_error, 0.9)
    errors, right = np.asarray(wrong, dtype=np.float64), np.asarray(answers, dtype=np.float64) - np.asarray(wrong, dtype=np.float64)
    steps = errors[..., None] * np.log(rates / max_error) + right[..., None] * np.log((1 - rates) / (1 - max_error))
    return np.asarray(logsumexp(steps, axis=-1) - math.log(len(ALARM_RATIOS)), dtype=np.float64)


def stricter_tau(sureness: FloatArray, wrong: BoolArray, max_error: float, before: int = 0) -> float | None:
    """The sureness above which the answers agree with the limit, where those on all automatic labels show that it is broken; else None.

    The least strict place above which at most `max_error` of the answered labels are wrong; None, too, if there is no such place.

    sureness, wrong: (n,), of spot checks that people settled, all drawn at random among labels that were automatic under one threshold.
    before: how often the threshold was made stricter already since the calibration; all times together are needless with NEEDLESS at most.
    """
    if log_stake(np.count_nonzero(wrong), wrong.size, max_error) < -math.log1p(-spent_confidence(1 - NEEDLESS, before + 1)):
        return None
    order = np.argsort(-sureness, kind="stable")
    ranked = sureness[order]
    ends = np.append(ranked[1:] != ranked[:-1], True)
    kept = np.flatnonzero(ends & (np.cumsum(wrong[order]) <= max_error * np.arange(1, wrong.size + 1)))
    return float(ranked[kept[-1]]) if kept.size else None
