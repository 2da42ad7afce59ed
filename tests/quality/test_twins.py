"""Twins: what brute force finds, in blocks; how near is near."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from annotriage.quality import twins
from annotriage.quality.twins import NONE, near_threshold, nearest_among, nearest_earlier


@pytest.fixture
def points():
    """Points far from the origin in loose clusters, a tenth of which repeat an earlier one nearly."""
    rng = np.random.default_rng(0)
    points = 50 + rng.normal(size=(3000, 24)) + 3 * rng.normal(size=(20, 24))[rng.integers(0, 20, 3000)]
    later = rng.choice(np.arange(1500, 3000), 300, replace=False)
    points[later] = points[rng.integers(0, 1500, 300)] + rng.normal(0, 0.01, (300, 24))
    return points.astype(np.float32)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(twins, "ROWS", 100)
    monkeypatch.setattr(twins, "COLUMNS", 170)
    monkeypatch.setattr(twins, "AMONG", 390)


@pytest.mark.usefixtures("small_blocks")
def test_recall_of_twins_is_that_of_brute_force(points):
    exact = np.where(np.tri(len(points), k=-1, dtype=bool), cdist(points, points), np.inf)
    twin = exact.min(axis=1) <= 0.2
    index, distance = nearest_earlier(points)
    assert twin.sum() >= 300
    assert np.mean(distance[twin] <= 0.2) >= 0.99
    assert not (distance[~twin] <= 0.2).any()
    assert np.mean(index[twin] == exact.argmin(axis=1)[twin]) >= 0.99
    assert distance[1:] == pytest.approx(exact[1:].min(axis=1), rel=1e-3)


@pytest.mark.usefixtures("small_blocks")
def test_the_nearest_among_others_is_that_of_brute_force(points):
    exact = cdist(points[:700], points[700:])
    index, distance = nearest_among(points[:700], points[700:])
    assert np.mean(index == exact.argmin(axis=1)) >= 0.99
    assert distance == pytest.approx(exact.min(axis=1), rel=1e-3)


def test_few_points_among_very_many_take_little_memory(points):
    others = np.random.default_rng(1).normal(size=(120_000, 24)).astype(np.float16)
    others[90_000] = points[7]
    tracemalloc.start()
    index, _ = nearest_among(points[:10], others)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert index[7] == 90_000
    assert peak < others.nbytes, "the others were copied as a whole"


def test_the_first_item_has_none_before_it(points):
    index, distance = nearest_earlier(points[:1])
    assert (index.tolist(), distance.tolist()) == ([NONE], [np.inf])


def test_of_several_alike_all_but_the_first_have_a_twin():
    index, distance = nearest_earlier(np.ones((5, 3)))
    assert (index[1:] >= 0).all()
    assert (index[1:] < np.arange(1, 5)).all()
    assert (distance[1:] == 0).all()


def test_near_is_what_copies_are_but_never_what_different_items_are():
    copies = np.linspace(0, 1, 101)
    assert near_threshold(copies, np.full(50, 10.0)) == pytest.approx(0.99)
    assert near_threshold(copies, np.full(50, 1.0)) == pytest.approx(0.5)
    assert near_threshold(copies, np.array([np.inf])) == pytest.approx(0.99)
