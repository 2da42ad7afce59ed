import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_info, threadpool_limits

from annotriage.latent.groups import find_groups


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def crowd(rng, size, place, width=20):
    return rng.standard_normal((size, width)) + place


def members(points):
    return [sorted(group.members.tolist()) for group in find_groups(points)]


def test_two_separate_crowds_are_two_groups_the_larger_first(rng):
    assert members(np.concatenate([crowd(rng, 20, 8), crowd(rng, 30, 0)])) == [list(range(20, 50)), list(range(20))]


def test_a_crowd_among_scattered_outliers_is_a_group(rng):
    found = members(np.concatenate([crowd(rng, 40, 4) * 0.2, 4 * rng.standard_normal((30, 20))]))
    assert found[0] == list(range(40))


@pytest.mark.parametrize(("count", "width"), [(12, 10), (60, 20), (300, 50), (300, 5)])
def test_scattered_outliers_are_no_group(count, width):
    found = [find_groups(np.random.default_rng(seed).standard_normal((count, width))) for seed in range(8)]
    assert sum(map(bool, found)) <= 2


def test_fewer_than_ten_outliers_are_no_groups(rng):
    assert find_groups(np.zeros((9, 3))) == ()
    assert find_groups(np.empty((0, 3))) == ()


def test_identical_outliers_are_one_group():
    assert members(np.ones((30, 4))) == [list(range(30))]


def test_the_medoid_is_in_the_middle_and_comes_first(rng):
    points = np.concatenate([crowd(rng, 40, 0), crowd(rng, 20, 30)])
    group = find_groups(points)[0]
    lengths = np.linalg.norm(points[group.members] - points[group.medoid], axis=1)
    assert group.medoid == group.members[0]
    assert np.all(np.diff(lengths) >= 0)
    assert np.linalg.norm(points[group.medoid]) < np.median(np.linalg.norm(points[:40], axis=1))


def test_groups_are_the_same_every_time(rng):
    points = np.concatenate([crowd(rng, 20, 8), crowd(rng, 30, 0)])
    first, second = find_groups(points), find_groups(points)
    assert [group.members.tolist() for group in first] == [group.members.tolist() for group in second]


def test_one_thread_searches_and_whoever_asked_keeps_theirs(rng, monkeypatch):
    """Several would wait for each other, at four times the processor time."""
    kneighbors, used = NearestNeighbors.kneighbors, []

    def watched(self, *given, **options):
        used.extend(pool["num_threads"] for pool in threadpool_info())
        return kneighbors(self, *given, **options)

    monkeypatch.setattr(NearestNeighbors, "kneighbors", watched)
    with threadpool_limits(2):
        find_groups(np.concatenate([crowd(rng, 20, 8), crowd(rng, 30, 0)]))
        after = {pool["num_threads"] for pool in threadpool_info()}
    assert (set(used), after) == ({1}, {2})
