"""Items through the model in batches: all of them, in order, however broken, and with little read ahead."""

import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from annotriage.data import Item, Problem
from annotriage.errors import DataError
from annotriage.model import load_model
from annotriage.model import stream as streaming
from annotriage.model.batch_size import BatchSize
from annotriage.model.spec import ModelSpec
from annotriage.model.stream import stream
from annotriage.settings import Settings
from annotriage.states import Failure

SETTINGS = Settings(batch_size=8, threads=2)


@pytest.fixture(scope="module")
def model(digits_model):
    return load_model(ModelSpec.load(digits_model))


@pytest.fixture
def items(digits):
    """Thirty digits, every third of them broken."""
    images = digits.incoming[0]
    return [Item(str(number), b"broken" if number % 3 == 2 else images[number], path=f"{number}.png") for number in range(30)]


def test_every_item_comes_out_once_and_in_order(model, items):
    batches = list(stream(model, items, SETTINGS))
    assert [item.id for batch in batches for item in batch.items] == [item.id for item in items]
    assert [len(batch.items) for batch in batches] == [8, 8, 8, 6]


def test_outputs_belong_to_the_items_without_a_problem(model, items):
    alone = {item.id: next(stream(model, [item], SETTINGS)).outputs for item in items}
    for batch in stream(model, items, SETTINGS):
        assert batch.rows == [row for row, problem in enumerate(batch.problems) if problem is None]
        assert len(batch.outputs.logits) == len(batch.loaded) == len(batch.rows)
        for place, row in enumerate(batch.rows):
            assert np.allclose(batch.outputs.logits[place], alone[batch.items[row].id].logits[0], atol=1e-4)


def test_a_batch_of_broken_items_has_no_outputs(model):
    (batch,) = stream(model, [Item("1", b"", path="a.png"), Item("2", None, problem=Problem(Failure.GONE, "lost"))], SETTINGS)
    assert (batch.outputs, batch.rows, batch.loaded) == (None, [], [])
    assert batch.problems == [
        Problem(Failure.UNREADABLE, "a.png: is empty (0 bytes); upload or export it again"),
        Problem(Failure.GONE, "lost"),
    ]


def test_no_items_are_no_batches(model):
    assert list(stream(model, [], SETTINGS)) == []


@pytest.mark.parametrize(("size", "threads"), [(1, 1), (8, 2), (5, 4)])
def test_no_more_is_read_ahead_than_the_threads_need(model, digits, size, threads):
    read = 0

    def counted():
        nonlocal read
        for number in range(200):
            read += 1
            yield Item(str(number), digits.incoming[0][number])

    delivered = 0
    for batch in stream(model, counted(), replace(SETTINGS, batch_size=size, threads=threads)):
        assert read <= delivered + size * (threads + 1)
        delivered += len(batch.items)
    assert delivered == 200


def peak_memory(model, count):
    large = np.zeros((500, 500, 3), np.uint8)
    tracemalloc.start()
    for _ in stream(model, (Item(str(number), large.copy()) for number in range(count)), SETTINGS):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def test_a_long_dataset_takes_no_more_memory_than_a_short_one(model):
    peak_memory(model, 10)
    short, long = peak_memory(model, 100), peak_memory(model, 400)
    assert long < 1.2 * short
    assert long < 60 * 750_000


def test_pictures_are_kept_at_the_size_of_a_thumbnail(model):
    (batch,) = stream(model, [Item("1", np.zeros((900, 300, 3), np.uint8))], SETTINGS)
    assert SETTINGS.thumbnail / 2 < max(batch.loaded[0].picture.size) <= SETTINGS.thumbnail


def test_a_dataset_that_breaks_off_says_so_and_leaves_no_thread(model, items):
    def broken():
        yield from items[:16]
        raise DataError("items.csv: row 17")

    with pytest.raises(DataError, match="row 17"):
        list(stream(model, broken(), SETTINGS))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_stopping_early_stops_reading(model, digits):
    read = 0

    def endless():
        nonlocal read
        while True:
            read += 1
            yield Item(str(read), digits.incoming[0][0])

    batches = stream(model, endless(), SETTINGS)
    next(batches)
    batches.close()
    assert read <= 8 * 3
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


# how many items go into one run


class Short:
    """A model with memory for so many items at a time."""

    def __init__(self, model, most):
        self.spec, self.layers, self.fixed_batch, self.device, self.notes = model.spec, model.layers, None, "cpu", ()
        self.lanes = 1
        self.most, self.asked = most, []
        self._model = model

    def run(self, batch, beside=False):
        self.asked.append(len(batch))
        if len(batch) > self.most:
            raise MemoryError("no room")
        return self._model.run(batch, beside)


def test_what_does_not_fit_into_memory_is_halved_and_not_tried_again(model, digits):
    short = Short(model, 5)
    items = [Item(str(number), digits.incoming[0][number]) for number in range(100)]
    batches = list(stream(short, items, replace(SETTINGS, batch_size=16, threads=1)))
    assert [item.id for batch in batches for item in batch.items] == [item.id for item in items]
    assert not any(batch.failures for batch in batches)
    assert [batch.rows for batch in batches] == [list(range(len(batch.items))) for batch in batches]
    assert max(short.asked[-10:]) == 4
    (note,) = short.notes
    assert note == (
        "8 items at once failed and ran in halves, mostly for want of memory; from there on the model ran on 4 at a time"
        " (setting batch_size)."
    )


class Choosy(Short):
    """A model that fails on what is white."""

    def run(self, batch, beside=False):
        if (batch.reshape(len(batch), -1).min(axis=1) > 0.9).any():
            raise ValueError("too bright")
        return super().run(batch, beside)


def test_one_poisoned_item_is_no_want_of_memory(model, items):
    choosy = Choosy(model, 100)
    (batch,) = stream(choosy, [*items[:2], Item("bright", np.full((8, 8), 255, np.uint8)), *items[3:5]], SETTINGS)
    assert [problem is None for problem in batch.problems] == [True, True, False, True, True]
    assert choosy.notes == ()


class Side(Short):
    """A model that is run on several lanes: what it was asked for, whether beside others, and how many of its runs were under way."""

    def __init__(self, model, lanes):
        super().__init__(model, 1_000)
        self.lanes, self.beside, self.together, self._at_work = lanes, [], 0, 0
        self._lock, self._both = threading.Lock(), threading.Barrier(lanes)

    def run(self, batch, beside=False):
        with self._lock:
            self._at_work += 1
            self.together = max(self.together, self._at_work)
            self.beside.append(beside)
        if beside and len(self.beside) <= self.lanes:  # the first ones have to meet
            self._both.wait(30)
        try:
            return super().run(batch, beside)
        finally:
            with self._lock:
                self._at_work -= 1


def test_large_inputs_run_in_parts_side_by_side_and_come_out_alike(model, items, monkeypatch):
    monkeypatch.setattr(streaming, "PART", 4 * 4 * 64)  # four digits
    side = Side(model, 2)
    found, expected = (
        list(stream(side, items * 4, replace(SETTINGS, batch_size=15))),
        list(stream(Short(model, 1_000), items * 4, SETTINGS)),
    )
    assert [item.id for batch in found for item in batch.items] == [item.id for item in items * 4]
    assert (side.together, set(side.beside)) == (2, {True})
    assert max(side.asked) <= 4
    logits = [np.concatenate([batch.outputs.logits for batch in batches]) for batches in (found, expected)]
    assert np.allclose(*logits, atol=1e-4)
    problems = [[problem for batch in batches for problem in batch.problems] for batches in (found, expected)]
    assert problems[0] == problems[1]


def test_what_is_small_and_by_itself_has_all_cores(model, items):
    side = Side(model, 2)
    next(stream(side, items[:5], SETTINGS))
    assert (side.asked, side.beside) == ([4], [False])


def test_an_item_by_itself_waits_for_no_other_stream(model, items):
    """Somebody opens a task while others' items are in the model."""
    side = Side(model, 2)
    with ThreadPoolExecutor(2) as running:
        held = threading.Event()
        others = [running.submit(held.wait, 30) for _ in range(2)]
        try:
            (batch,) = stream(side, items[:1], SETTINGS, running=running)
        finally:
            held.set()
        assert all(other.result() for other in others)
    assert batch.rows == [0]


def test_a_poisoned_part_leaves_the_others_alone(model, digits, monkeypatch):
    monkeypatch.setattr(streaming, "PART", 4 * 2 * 64)

    choosy = Choosy(model, 100)
    choosy.lanes = 2
    images = [*digits.incoming[0][:5], np.full((8, 8), 255, np.uint8), *digits.incoming[0][5:7]]
    (batch,) = stream(choosy, [Item("none", b""), *(Item(str(place), image) for place, image in enumerate(images))], Settings(batch_size=9))
    assert [problem is None for problem in batch.problems] == [False, True, True, True, True, True, False, True, True]
    assert "too bright" in batch.problems[6].text
    assert batch.rows == [1, 2, 3, 4, 5, 7, 8]
    assert len(batch.outputs.logits) == len(batch.loaded) == 7


def test_a_model_of_one_size_runs_whole_batches(model, items, monkeypatch):
    monkeypatch.setattr(streaming, "PART", 4 * 2 * 64)
    side = Side(model, 1)
    side.lanes, side.fixed_batch = 2, 8
    (batch,) = stream(side, [item for item in items if isinstance(item.media, np.ndarray)][:8], SETTINGS)
    assert side.asked == [8]
    assert len(batch.rows) == 8


@pytest.mark.parametrize(
    ("seconds", "size"),
    [
        (lambda count: 1.0, 1024),  # a run takes as long however many: as many as may be
        (lambda count: count / 100, 32),  # an item takes as long however many
        (lambda count: 1 + max(count - 128, 0), 128),
    ],
)
def test_on_a_gpu_batches_grow_as_long_as_it_pays(model, seconds, size):
    on_gpu = Short(model, 10_000)
    on_gpu.device = "cuda"
    batches = BatchSize(on_gpu, Settings())
    for _ in range(40):
        batches.ran(batches.size, seconds(batches.size))
        batches.ran(7, 0.0)  # a rest says nothing
    assert batches.size == size


def test_a_size_that_was_given_stays(model):
    on_gpu = Short(model, 10_000)
    on_gpu.device = "cuda"
    batches = BatchSize(on_gpu, Settings(batch_size=64))
    for _ in range(5):
        batches.ran(64, 1.0)
    assert batches.size == 64
    assert BatchSize(model, Settings()).size == 32


def test_large_inputs_begin_in_smaller_batches(model):
    large = Short(model, 10_000)
    large.device = "cuda"
    for side, size in ((8, 32), (1024, 10), (8192, 1)):
        large.spec = replace(model.spec, input=replace(model.spec.input, size=(side, side), mode="RGB"))
        assert BatchSize(large, Settings()).size == size
    assert BatchSize(large, Settings(batch_size=64)).size == 64


def test_a_rest_that_fails_and_runs_in_halves_says_nothing_of_whole_batches(model):
    batches = BatchSize(Short(model, 10_000), Settings(batch_size=16))
    batches.did_not_fit(7)
    assert (batches.size, batches.note) == (16, "")
    batches.did_not_fit(16)
    batches.did_not_fit(16)  # it was cut before
    assert batches.size == 8


def test_what_one_stream_finds_of_the_batch_size_serves_the_next(model, digits):
    short = Short(model, 5)
    items, settings = [Item(str(number), digits.incoming[0][number]) for number in range(64)], replace(SETTINGS, batch_size=16, threads=1)
    size = BatchSize(short, settings)
    list(stream(short, items, settings, size=size))
    short.asked.clear()
    list(stream(short, items, settings, size=size))
    assert set(short.asked) == {4}


def test_few_batches_are_cut_ahead_while_their_size_grows(model, digits):
    on_gpu, read = Short(model, 10_000), 0
    on_gpu.device = "cuda"

    def counted():
        nonlocal read
        for number in range(2_000):
            read += 1
            yield Item(str(number), digits.incoming[0][0])

    batches = stream(on_gpu, counted(), Settings(threads=8))
    next(batches)
    assert read <= 32 + 64 + 128
    batches.close()
