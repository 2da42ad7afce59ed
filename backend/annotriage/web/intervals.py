"""Limits of a share and of a difference of two, without the numerical libraries that the web process does not load.

`clopper_pearson` is `latent.bounds.clopper_pearson` for one pair of counts; a test holds them against each other.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, inf, lgamma, log, log1p, sqrt

STEPS = 200  # at most; about ten are taken


def clopper_pearson(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact two-sided limits of a share of which k of n were seen. Source: Clopper and Pearson, Biometrika 26, 1934. n > 0."""
    tail = (1 - confidence) / 2
    near, spread = k / n, 3 * sqrt((k + 1) * (n - k + 1)) / (n + 2) ** 1.5 + 2 / n
    low = 0.0 if k == 0 else _root(lambda p: _beta_cdf(p, k, n - k + 1) - tail, near, spread)
    high = 1.0 if k == n else _root(lambda p: _beta_cdf(p, k + 1, n - k) - (1 - tail), near, spread)
    return low, high


def difference(share: float, low: float, high: float, other: float, other_low: float, other_high: float) -> tuple[float, float, float]:
    """share - other with its limits, from the limits of both, which come from different items.

    Source: Zou and Donner, Construction of confidence limits about effect measures, Statistics in Medicine 27, 2008.
    """
    d = share - other
    return d, d - sqrt((share - low) ** 2 + (other_high - other) ** 2), d + sqrt((high - share) ** 2 + (other - other_low) ** 2)


def _root(changing: Callable[[float], float], near: float, spread: float) -> float:
    """Where a monotone function crosses zero: about there, found by false position (Illinois), which never leaves the bracket."""
    low, high = max(0.0, near - spread), min(1.0, near + spread)
    at_low, at_high = changing(low), changing(high)
    while at_low * at_high > 0 and (low > 0 or high < 1):
        low, high = max(0.0, 2 * low - near), min(1.0, 2 * high - near)
        at_low, at_high = changing(low), changing(high)
    side = 0
    for _ in range(STEPS):
        if high - low < 1e-12 or at_low == at_high:
            break
        middle = (low * at_high - high * at_low) / (at_high - at_low)
        at_middle = changing(middle)
        if abs(at_middle) < 1e-13:
            return middle
        if at_middle * at_high > 0:
            high, at_high = middle, at_middle
            at_low /= 2 if side == 1 else 1
            side = 1
        else:
            low, at_low = middle, at_middle
            at_high /= 2 if side == -1 else 1
            side = -1
    return (low * at_high - high * at_low) / (at_high - at_low) if at_high != at_low else (low + high) / 2


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
