"""Limits of a share and of a difference of two, without the numerical libraries that the web process does not load.

`clopper_pearson` is `latent.bounds.clopper_pearson` for one pair of counts; a test holds them against each other.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, inf, lgamma, log, log1p, sqrt

STEPS = 60  # halvings of the unit interval: below the rounding of a double


def clopper_pearson(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact two-sided limits of a share of which k of n were seen. Source: Clopper and Pearson, Biometrika 26, 1934. n > 0."""
    tail = (1 - confidence) / 2
    low = 0.0 if k == 0 else _root(lambda p: _beta_cdf(p, k, n - k + 1) - tail)
    high = 1.0 if k == n else _root(lambda p: _beta_cdf(p, k + 1, n - k) - (1 - tail))
    return low, high


def difference(share: float, low: float, high: float, other: float, other_low: float, other_high: float) -> tuple[float, float, float]:
    """share - other with its limits, from the limits of both, which come from different items.

    Source: Zou and Donner, Construction of confidence limits about effect measures, Statistics in Medicine 27, 2008.
    """
    d = share - other
    return d, d - sqrt((share - low) ** 2 + (other_high - other) ** 2), d + sqrt((high - share) ** 2 + (other - other_low) ** 2)


def _root(rising: Callable[[float], float]) -> float:
    low, high = 0.0, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2


def _beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function, by its continued fraction (Lentz)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta_cdf(1 - x, b, a)
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x)) / a
    c, d, f, last = 1.0, 0.0, 1.0, inf
    for i in range(1_000):
        m = i // 2
        if i == 0:
            step = 1.0
        elif i % 2:
            step = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            step = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / _away(1 + step * d)
        c = _away(1 + step / c)
        f *= c * d
        if abs(f - last) < 1e-15 * abs(f):
            break
        last = f
    return front * (f - 1)


def _away(value: float) -> float:
    return value if abs(value) > 1e-300 else 1e-300
