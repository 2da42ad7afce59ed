"""Batches that are put together for judging: the same items, as many at once as come quickly."""

import time
from dataclasses import replace

import numpy as np
import pytest

from annotriage.data import Item, Problem
from annotriage.engine import gathering
from annotriage.engine.fitting import fit
from annotriage.engine.gathering import TOGETHER, gathered
from annotriage.model import Outputs
from annotriage.model.inputs import Loaded
from annotriage.model.stream import Batch
from annotriage.states import Failure


@pytest.fixture
def patient(monkeypatch):
    """Whatever the clock says, batches wait for one another."""
    monkeypatch.setattr(gathering, "rounds_alike", lambda: True)
    monkeypatch.setattr(gathering, "SECONDS", float("inf"))


def batch(first, count, broken=()):
    """Items numbered from `first`, whose outputs are their numbers."""
    rows = [row for row in range(count) if first + row not in broken]
    numbers = np.array([[first + row] for row in rows], dtype=np.float32)
    problems = [Problem(Failure.GONE, "lost") if first + row in broken else None for row in range(count)]
    outputs = Outputs(numbers, (numbers, -numbers)) if rows else None
    items = [Item(str(first + row), None) for row in range(count)]
    return Batch(items, problems, rows, outputs, [loaded(first + row) for row in rows], seconds=float(first))


def loaded(number):
    return Loaded(np.array([number], dtype=np.float32), np.array([number]), None)


def test_all_items_come_out_in_order_with_what_is_theirs(patient, digits_reference):
    broken, count = {3, 40, *range(64, 96)}, 2 * TOGETHER + 96
    given = [batch(first, 32, broken) for first in range(0, count, 32)]
    found = list(gathered(given, digits_reference))
    assert [item.id for one in found for item in one.items] == [str(number) for number in range(count)]
    for one in found:
        numbers = [int(one.items[row].id) for row in one.rows]
        assert one.outputs.logits[:, 0].tolist() == one.outputs.activations[0][:, 0].tolist() == numbers
        assert one.outputs.activations[1][:, 0].tolist() == [-number for number in numbers]
        assert [problem is None for problem in one.problems] == [int(item.id) not in broken for item in one.items]
        assert [int(item.content[0]) for item in one.loaded] == numbers
    assert [len(one.items) for one in found] == [TOGETHER, TOGETHER, 96]
    assert found[0].seconds == np.mean(range(0, TOGETHER, 32))


def test_items_that_are_all_broken_have_no_outputs(patient, digits_reference):
    (found,) = gathered([batch(0, 4, range(8)), batch(4, 4, range(8))], digits_reference)
    assert (found.outputs, found.rows, found.loaded) == (None, [], [])


def test_large_inputs_are_not_kept_waiting(patient, monkeypatch, digits_reference):
    monkeypatch.setattr(gathering, "BYTES", 64 * 4)
    assert [len(one.items) for one in gathered([batch(first, 32) for first in range(0, 160, 32)], digits_reference)] == [64, 64, 32]


def test_a_slow_model_keeps_nothing_waiting(patient, monkeypatch, digits_reference):
    monkeypatch.setattr(gathering, "SECONDS", 0.01)
    taken = []

    def slowly():
        for first in (0, 32, 64):
            time.sleep(0.02)
            taken.append(first)
            yield batch(first, 32)

    for one in gathered(slowly(), digits_reference):
        assert [len(one.items), int(one.items[0].id)] == [32, taken[-1]]


def test_batches_stay_as_they_are_where_digits_depend_on_them(patient, monkeypatch, digits_reference):
    monkeypatch.setattr(gathering, "rounds_alike", lambda: False)
    given = [batch(0, 32), batch(32, 32)]
    assert list(gathered(given, digits_reference)) == given


@pytest.mark.parametrize("compression", ["umap", "tsne"])
def test_batches_stay_as_they_are_where_items_are_placed_together(patient, digits_model, digits, quick, compression):
    train, held_out = (tuple(part[:count] for part in data) for data, count in ((digits.train, 150), (digits.held_out, 40)))
    reference = fit(digits_model, train, held_out, settings=replace(quick, score="knn", compression=compression))
    given = [batch(0, 32), batch(32, 32)]
    assert list(gathered(given, reference)) == given
