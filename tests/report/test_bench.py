"""Where the time of a run goes: the stages add up, the run is triage's own, and what is advised follows from what was measured."""

from __future__ import annotations

import json
import weakref
from itertools import count

import numpy as np
import pytest

from annotriage import bench
from annotriage.data import Dataset, Item
from annotriage.errors import DataError, SettingError
from annotriage.model import alone
from annotriage.model.cores import cores
from annotriage.model.stages import Stage, Stages
from annotriage.report import bench as benches
from annotriage.report.bench import BESIDE, IN_TURN, ONCE, bench_text, changes, holds_up
from annotriage.report.output import json_text
from annotriage.settings import ServiceSettings, Settings


@pytest.fixture(scope="module")
def measured(digits_reference, digits):
    """A whole batch of damaged items at first, then known digits: more than are asked for."""
    broken = [Item(f"broken {number}", b"no picture") for number in range(32)]
    items = [*broken, *(Item(str(number), image) for number, image in enumerate(digits.incoming[0]))]
    return bench(digits_reference, items, items=100)


def test_no_more_items_are_judged_than_were_asked_for_damaged_ones_among_them(measured):
    assert (measured.items, measured.failed) == (100, 32)


def test_the_stages_and_the_rest_add_up_to_the_time_by_the_clock(measured):
    assert sum(part.seconds for part in measured.in_turn) + measured.rest == pytest.approx(measured.seconds)
    assert measured.rest >= 0
    assert measured.per_second == pytest.approx(measured.items / measured.seconds)
    assert measured.share == pytest.approx(measured.per_second / measured.alone_per_second)


def test_every_stage_of_the_run_is_measured(measured):
    for some, stages in ((measured.in_turn, IN_TURN), (measured.beside, BESIDE), (measured.once, ONCE)):
        assert [part.stage for part in some] == list(stages)
        assert all(part.seconds > 0 for part in some)


def test_the_model_alone_was_tried_with_the_batch_size_of_the_settings_and_with_others(measured):
    assert measured.batch_size in measured.by_batch
    assert len(measured.by_batch) > 1


def test_the_figures_are_plain_values_and_sentences(measured):
    facts = json.loads(json_text(measured.summary()))
    assert facts["items"] == 100
    assert facts["by_batch"][str(measured.batch_size)] == pytest.approx(measured.by_batch[measured.batch_size])
    text = bench_text(measured)
    assert all(sentence in text for sentence in facts["sentences"])
    assert all(change in text for change in measured.changes)


def test_a_stage_within_another_counts_for_itself_alone():
    stages, whole = Stages(), Stages()
    with whole.timed(Stage.WRITE), stages.timed(Stage.SAMPLE):
        sum(range(1000))
        with stages.timed(Stage.JUDGE):
            sum(range(100_000))
    assert 0 < stages.elapsed(Stage.SAMPLE, Stage.JUDGE) <= whole.elapsed(Stage.WRITE)
    with whole.timed(Stage.READ):
        pass
    assert stages.elapsed(Stage.READ) == 0


def test_a_stage_that_fails_is_counted_too():
    stages = Stages()
    with pytest.raises(KeyError), stages.timed(Stage.READ):
        raise KeyError
    assert stages.elapsed(Stage.READ) > 0


def test_data_without_end_are_read_for_as_long_as_was_said(digits_reference, digits):
    image = digits.incoming[0][0]
    endless = Dataset("endless", None, lambda: (Item(str(number), image) for number in count()))
    found = bench(digits_reference, endless, items=10**9, seconds=1, settings=Settings(map="none"))
    assert found.items > 0
    assert dict(zip([part.stage for part in found.once], found.once, strict=True))[Stage.MAP].seconds == 0


def test_data_that_cannot_be_measured_are_an_error_that_says_why(digits_reference):
    with pytest.raises(DataError, match="nothing: there are no items in it"):
        bench(digits_reference, Dataset("nothing", None, lambda: iter(())))
    broken = [Item("a", b"", path="a.png"), Item("b", b"<html>", path="b.png")]
    with pytest.raises(
        DataError, match=r"none of the items of items that were read can be decoded. The first: a.png: is empty \(0 bytes\)"
    ):
        bench(digits_reference, broken)
    with pytest.raises(SettingError, match="both must be at least 1"):
        bench(digits_reference, broken, items=0)


def advised(model, seconds, by_batch=None, settings=None, fetched=False, **spent):
    """What is advised for a run that spent so many seconds (by the clock, of a core) on these stages, and which stage held it up."""
    stages = Stages()
    stages.batch(32, 1_000)
    for stage, times in spent.items():
        stages.add(Stage[stage], *times)
    settings = settings or Settings(device="cpu")
    sentences = list(changes(stages, seconds, by_batch or {32: 100.0}, model, settings, ServiceSettings(), fetched=fetched))
    return holds_up(stages)[0], sentences


@pytest.fixture(scope="module")
def model(digits_reference):
    return digits_reference.open_model()


def test_a_larger_batch_is_advised_by_what_the_model_alone_gained(model):
    held, said = advised(model, 10, {32: 100.0, 64: 200.0}, MODEL=(9, 0), WAIT=(9, 0))
    assert held == "model"
    assert said[0] == (
        "batch_size = 64 in place of 32: the model alone ran 2.00 times as fast with it, so triage should be about 1.82 times as fast."
    )
    assert "Only the model gets faster by it, so triage becomes 10.0 times as fast at most." in said[1]
    assert "batch_size" not in advised(model, 10, {32: 100.0, 64: 101.0}, MODEL=(9, 0), WAIT=(9, 0))[1][0]


def test_where_the_model_waits_for_decoding_more_threads_are_advised_or_smaller_files(model):
    one = Settings(device="cpu", threads=1)
    held, said = advised(model, 10, settings=one, STARVE=(5, 0), MODEL=(4, 0), WAIT=(9, 0), DECODE=(9, 9))
    assert held == "decode"
    if cores() > 1:
        assert said == [
            f"threads = {cores()} in place of 1: as many pictures are decoded at once; triage becomes 2.00 times as fast at most."
        ]
    all_decode = Settings(device="cpu", threads=cores())
    _, said = advised(model, 10, settings=all_decode, STARVE=(5, 0), MODEL=(4, 0), WAIT=(9, 0), DECODE=(9, 9))
    assert len(said) == 1
    assert said[0].startswith("All cores decode already. Smaller files help")


def test_more_connections_are_advised_where_addresses_are_waited_for_and_not_local_files_or_a_core_that_unpacks(model):
    held, waited = advised(model, 10, fetched=True, READ=(8, 0.5), MODEL=(1, 0), WAIT=(1, 0))
    assert held == "read"
    connections = ServiceSettings().media_connections
    assert waited == [
        f"media_connections = {2 * connections} in place of {connections}: the time is spent waiting for files. As long as their server"
        " keeps up, triage becomes 2.00 times as fast at most."
    ]
    _, local = advised(model, 10, READ=(8, 0.5), MODEL=(1, 0), WAIT=(1, 0))
    assert "waiting for the disk or network drive" in local[0]
    _, unpacked = advised(model, 10, READ=(8, 8), MODEL=(1, 0), WAIT=(1, 0))
    assert "one core unpacks these data" in unpacked[0]


def test_workers_are_advised_where_one_core_judges_and_writes(model):
    held, said = advised(model, 10, WRITE=(6, 6), JUDGE=(3, 3), MODEL=(1, 0))
    assert held == "write"
    assert [f"Triage becomes {min(cores(), 10):.1f} times as fast at most." in sentence for sentence in said] == [True] * (cores() > 1)


def test_large_batches_are_advised_where_judging_small_ones_takes_longest(model, monkeypatch):
    monkeypatch.setattr(benches, "rounds_alike", lambda: False)  # as on a processor where batches are not put together for judging
    held, (sentence,) = advised(model, 10, JUDGE=(6, 6), WRITE=(3, 3), MODEL=(1, 0))
    assert held == "judge"
    assert sentence.startswith("batch_size = 256 in place of 32: ")
    assert sentence.endswith("triage becomes 1.4 to 1.7 times as fast.")
    _, said = advised(model, 100, JUDGE=(6, 6), MODEL=(5, 0))
    assert not any("batch_size" in sentence for sentence in said), "nothing that is worth it"
    monkeypatch.setattr(benches, "rounds_alike", lambda: True)
    _, said = advised(model, 10, JUDGE=(6, 6), WRITE=(3, 3), MODEL=(1, 0))
    assert not any("batch_size" in sentence for sentence in said), "they are judged in large batches anyway"


def test_leaving_the_map_out_is_advised_where_it_takes_long(model):
    _, said = advised(model, 10, MODEL=(9, 0), WAIT=(9, 0), MAP=(30, 30))
    assert said[-1] == "map = none: saves 30 s once per dataset, 75% of this run; the report then has no map."
    _, said = advised(model, 10, MODEL=(9, 0), WAIT=(9, 0), MAP=(0.1, 0.1))
    assert not any("map" in sentence for sentence in said)


def test_the_model_alone_says_what_it_says_beside_its_hidden_layers(model, digits):
    batch = digits.incoming[0][:4, None].astype(np.float32) / 255
    (logits,) = alone(model)(batch).values()
    assert np.allclose(logits, model.run(batch).logits, atol=1e-5)


# as if on a GPU


class OnGpu:
    """A model that says it runs on a GPU: what it is asked for, and whether what runs it alone is still held meanwhile."""

    def __init__(self, model):
        self._model, self.device, self.notes, self.lanes = model, "cuda", (), 1
        self.sizes, self.held, self.held_meanwhile = set(), weakref.WeakSet(), 0

    def __getattr__(self, name):
        return getattr(self._model, name)

    def run(self, batch, beside=False):
        self.sizes.add(len(batch))
        self.held_meanwhile += len(self.held)
        return self._model.run(batch, beside)

    def alone(self):
        runs = self._model.alone()
        self.held.add(runs)
        return runs


def test_where_batches_size_themselves_the_size_that_ran_is_told_and_all_are_tried(model, digits_reference, digits, monkeypatch):
    monkeypatch.setattr(benches, "LEAST_TURN", 0.0)  # one run of each is enough here
    on_gpu = OnGpu(model)
    found = bench(digits_reference, digits.incoming[0][:448], model=on_gpu, settings=Settings(map="none"))
    assert found.batch_size in on_gpu.sizes
    assert found.batch_size in found.by_batch
    assert max(found.by_batch) == 1024
    assert on_gpu.held_meanwhile == 0, "a run has the memory for itself"
    assert not any("batch_size" in change for change in found.changes)


def test_no_batch_size_is_advised_for_judging_where_a_run_finds_its_own(model):
    held, said = advised(OnGpu(model), 10, settings=Settings(), JUDGE=(6, 6), WRITE=(3, 3), MODEL=(1, 0))
    assert held == "judge"
    assert not any("batch_size" in sentence for sentence in said)


def test_a_gpu_that_the_model_fell_back_from_is_not_called_unused(model, monkeypatch):
    monkeypatch.setattr(benches, "gpu_missing", lambda spec: "")  # as on a machine that has one
    _, said = advised(model, 10, settings=Settings(device="cpu"), MODEL=(9, 0), WAIT=(9, 0))
    assert said[0].startswith("device = cuda: a GPU is here, and is not used.")
    fallen = OnGpu(model)
    fallen.device, fallen.notes = "cpu", ("the model does not run on the GPU, so it runs on the CPU: no kernel.",)
    _, said = advised(fallen, 10, settings=Settings(), MODEL=(9, 0), WAIT=(9, 0))
    assert said[0].startswith("A GPU: the model does not run on the GPU, so it runs on the CPU: no kernel. Only the model gets faster")
