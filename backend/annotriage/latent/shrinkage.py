"""Covariances that can be inverted, also where the dimension exceeds the number of items."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Directions without any variance in training (dead units) get this share of the mean variance: an item that moves there
# is strange, but not infinitely so.
FLOOR = 1e-4
ROOT5 = np.sqrt(5.0)  # half-width of the Epanechnikov kernel of unit variance


def shrunk_covariance(scatter: Array, degrees: int) -> tuple[Array, Array]:
    """Eigenvalues (n,) and eigenvectors (n, n, columns) of the covariance, its eigenvalues shrunk.

    Small sample eigenvalues are too small and large ones too large, the more so the fewer items there are; each is moved
    to where it is expected to belong, without a tuning parameter. Directions that too few items leave unobserved get the
    smallest variance seen.

    scatter: (n, n), of centred items. degrees: of freedom left in them, N minus the centers taken off.
    """
    values, vectors = np.linalg.eigh(np.asarray(scatter, dtype=np.float64) / degrees)
    mean = max(float(values.mean()), 1e-30)
    seen = values > 1e-6 * mean
    shrunk = np.zeros_like(values)
    shrunk[seen] = shrunk_eigenvalues(values[seen], degrees)
    if degrees < len(values):
        shrunk[~seen] = shrunk[seen].min(initial=mean)
    return np.maximum(shrunk, FLOOR * mean), vectors


def shrunk_eigenvalues(values: Array, degrees: int) -> Array:
    """Sample eigenvalues (n,), ascending and positive, of `degrees` items -> (n,) better ones.

    Source: Ledoit and Wolf, Analytical nonlinear shrinkage of large-dimensional covariance matrices, Annals of
    Statistics 48, 2020: the limiting density of the eigenvalues and its Hilbert transform, by a kernel whose width is
    proportional to each eigenvalue.
    """
    if len(values) < 3 or degrees < 4:
        return values
    ratio = min(len(values) / degrees, 1.0)
    widths = degrees ** (-1 / 3) * values
    x = (values[:, None] - values) / widths
    density = (3 / (4 * ROOT5)) * np.mean(np.maximum(1 - x**2 / 5, 0) / widths, axis=1)
    transform = np.mean(_kernel_hilbert(x) / widths, axis=1)
    imaginary = np.pi * ratio * values * density
    real = 1 - ratio - np.pi * ratio * values * transform
    return np.asarray(values / (imaginary**2 + real**2))


def _kernel_hilbert(x: Array) -> Array:
    """Hilbert transform of the kernel. Far from it the closed form cancels to noise, and its first two moments serve."""
    with np.errstate(divide="ignore", invalid="ignore"):
        near = (-3 / (10 * np.pi)) * x + (3 / (4 * ROOT5 * np.pi)) * (1 - x**2 / 5) * np.log(np.abs((ROOT5 - x) / (ROOT5 + x)))
        far = -(1 + 1 / x**2) / (np.pi * x)
    at_edge = np.isclose(np.abs(x), ROOT5)
    return np.where(np.abs(x) > 50, far, np.where(at_edge, (-3 / (10 * np.pi)) * x, near))
