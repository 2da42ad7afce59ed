"""Densities: where training items are rare, the surprise is large."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from annotriage.latent.density import fit_density


def test_one_gaussian_is_the_normal_density():
    rng = np.random.default_rng(0)
    points = (rng.normal(size=(4_000, 3)) @ rng.normal(size=(3, 3)) + 2).astype(np.float32)
    wanted = -multivariate_normal(points.mean(0), np.cov(points.T, bias=True)).logpdf(points[:50])
    assert fit_density(points, "gaussian", 3, 0).surprise(points[:50]) == pytest.approx(wanted, abs=0.05)


def test_between_two_crowds_a_mixture_is_surprised_and_a_gaussian_is_not():
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(-5, 1, (500, 2)), rng.normal(5, 1, (500, 2))]).astype(np.float32)
    middle = np.zeros((1, 2), np.float32)
    mixture, single = (fit_density(points, kind, 2, 0) for kind in ("gmm", "gaussian"))
    assert mixture.surprise(middle)[0] > mixture.surprise(points).max()
    assert single.surprise(middle)[0] < np.median(single.surprise(points))


@pytest.mark.parametrize("shape", [(8, 40), (30, 2), (500, 64)])
def test_few_items_and_dead_values_have_a_density_too(shape):
    points = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    points[:, 0] = 0
    assert np.isfinite(fit_density(points, "gmm", 5, 0).surprise(points)).all()
