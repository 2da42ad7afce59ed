"""Samples of fixed size from streams: uniform, bounded, the same in whatever order items come."""

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from annotriage.engine.sampling import SeededSample, Smallest


def sampled(ids, size, seed=0, purpose="map"):
    sample = SeededSample(size, seed, purpose)
    for id in ids:
        sample.offer(id, lambda id=id: id)
    return sample.values()


def smallest(keys, size):
    kept = Smallest(size)
    for place, key in enumerate(keys):
        kept.add(key, lambda place=place: place)
    return kept.values()


IDS = [f"item {number}" for number in range(2_000)]


def test_a_sample_does_not_depend_on_the_order_of_the_items():
    assert sampled(IDS, 100) == sampled(random.Random(1).sample(IDS, len(IDS)), 100)


def test_the_beginning_of_a_sample_is_a_smaller_sample():
    assert sampled(IDS, 100)[:30] == sampled(IDS, 30)


def test_a_sample_holds_no_more_than_its_size_and_all_of_a_shorter_stream():
    assert len(sampled(IDS, 100)) == 100
    assert sorted(sampled(IDS[:7], 100)) == IDS[:7]


def test_every_item_is_as_likely_to_be_drawn_wherever_it_stands():
    drawn = [int(id.split()[1]) for seed in range(60) for id in sampled(IDS, 100, seed)]
    tenths = np.bincount(np.array(drawn) // 200, minlength=10)
    assert abs(tenths - 600).max() < 4 * 600**0.5


def test_another_seed_or_purpose_draws_others():
    assert sampled(IDS, 100) != sampled(IDS, 100, seed=1)
    assert sampled(IDS, 100) != sampled(IDS, 100, purpose="groups")


def test_what_does_not_belong_to_the_sample_is_never_made():
    made = []
    sample = SeededSample(10, 0, "map")
    for id in IDS:
        sample.offer(id, lambda id=id: made.append(id))
    assert len(made) < 100


@given(st.lists(st.integers(0, 5)), st.integers(1, 10))
def test_the_smallest_are_kept_in_order_and_of_equal_ones_the_first(keys, size):
    assert smallest(keys, size) == sorted(range(len(keys)), key=lambda place: keys[place])[:size]
