from dataclasses import replace

import numpy as np
import pytest

from annotriage.latent.advice import PERSON_FIRST, Thresholds, advise
from annotriage.latent.audit import probation
from annotriage.latent.conformal import flagged_rank
from annotriage.latent.diversity import diversity
from annotriage.latent.gate import calibrate_gate
from annotriage.latent.wording import about, count, in_hundred, limit, one_in, percent


def dataset(share, n=4000, held_out=4000, failed=0):
    rank = flagged_rank(held_out, 0.05)
    flags, calibration = np.arange(n) < round(share * n), np.arange(held_out) < rank
    return diversity(flags, np.zeros(n, int), calibration, np.zeros(held_out, int), ("a",), rank=rank, failed=failed)


def promise(n):
    ranks = np.arange(n, dtype=float)
    zeros = np.zeros(n, int)
    everything = np.ones(n, bool)
    return calibrate_gate(ranks, everything, everything, zeros, zeros, 0 * ranks, class_names=("a",), max_error=0.02, confidence=0.95)


def answers(*args, **kwargs):
    return {advice.question: advice.answer for advice in advise(*args, **kwargs)}


@pytest.mark.parametrize(
    ("share", "train", "deploy", "augmentation"),
    [(0.05, "no", "yes", "no"), (0.101, "undecided", "undecided", "undecided"), (0.3, "yes", "no", "yes"), (0.9, "undecided", "no", "no")],
)
def test_the_excess_interval_decides(share, train, deploy, augmentation):
    got = answers(dataset(share), promise(300))
    assert list(got) == ["train", "deploy", "augmentation", "annotate"]
    assert (got["train"], got["deploy"], got["augmentation"]) == (train, deploy, augmentation)


def test_a_flood_of_outliers_asks_for_a_person_first():
    train, deploy, augmentation, annotate = advise(dataset(0.9), promise(300))
    assert (train.headline, annotate.headline) == (PERSON_FIRST, PERSON_FIRST)
    assert deploy.answer == "no"
    assert "damages" in augmentation.headline


def test_failed_items_and_one_group_ask_for_a_person_first():
    assert answers(dataset(0.2), None, largest_group_share=0.3)["train"] == "yes"
    train = advise(dataset(0.2), None, largest_group_share=0.7)[0]
    assert (train.answer, train.headline) == ("undecided", PERSON_FIRST)
    assert "70 % of them" in train.reason
    assert answers(dataset(0.05, failed=900), None)["deploy"] == "undecided"
    assert answers(dataset(0.05, failed=3), None, largest_group_share=0.9)["deploy"] == "yes"


def test_reasons_carry_the_figures():
    train = advise(dataset(0.3, failed=2), promise(300))[0]
    assert train.reason.startswith("30 % outliers where 5 % are expected: an excess of 25 % (95 % limits")
    assert train.reason.endswith("above the threshold of 5 %. 2 items could not be scored.")


def test_undecided_says_whether_incoming_or_held_out_items_would_decide():
    few = advise(dataset(0.16, n=50), None)[1]
    assert few.answer == "undecided"
    assert "more incoming items (50 there)" in few.would_decide
    known_badly = advise(dataset(0.12, n=100_000, held_out=100), None)[1]
    assert "more labelled held-out items (100 there)" in known_badly.would_decide
    assert "no reasonable number" in advise(replace(dataset(0.1), excess=0.05), None)[1].would_decide


def test_the_number_of_items_that_would_decide_does_decide():
    more = advise(dataset(0.16, n=50), None)[1].would_decide
    n = 50 + int(more.split()[1].replace(",", ""))
    assert answers(dataset(0.2, n=round(1.1 * n)), None)["deploy"] == "no"


def test_thresholds_are_settings():
    assert answers(dataset(0.3), None, Thresholds(train_above=0.4))["train"] == "no"


@pytest.mark.parametrize("data", [dataset(0.3, held_out=0), dataset(0.3, n=0), dataset(0.0, held_out=10)])
def test_nothing_is_decided_without_held_out_or_incoming_items(data):
    got = advise(data, None)
    assert [advice.answer for advice in got] == ["undecided"] * 3 + ["people"]
    assert all(advice.would_decide for advice in got)


def test_annotating_follows_promise_and_probation():
    data, given = dataset(0.06), promise(300)
    assert "about 800 labelled held-out items" in advise(data, promise(20))[3].would_decide
    begun = advise(data, given)[3]
    assert begun.answer == "mixed"
    assert "Not yet checked on this dataset" in begun.reason
    going = advise(data, given, probation=probation(np.zeros(100, bool), 0.02, 0.95))[3]
    assert going.would_decide.startswith("60 more audit answers")
    assert advise(data, given, probation=probation(np.zeros(200, bool), 0.02, 0.95))[3].answer == "machine"


def test_figures_are_written_for_people():
    assert [percent(x) for x in (0.124, 0.05, 0, -0.0312, 0.0004, 1e-7, 1, float("nan"))] == [
        "12.4 %",
        "5 %",
        "0 %",
        "-3.1 %",
        "0.04 %",
        "under 0.01 %",
        "100 %",
        "not known",
    ]
    assert [in_hundred(x) for x in (0.0779, 0.07, 0.0042, 0.00049)] == ["7 in 100", "7 in 100", "4 in 1,000", "4 in 10,000"]
    assert [limit(x) for x in (0.02, 0.025, 1 / 3)] == ["2 in 100", "25 in 1,000", "33.3 %"]
    assert (one_in(0.05, "project"), count(1, "item"), count(1200, "item")) == ("1 project in 20", "1 item", "1,200 items")
    assert [about(x) for x in (7, 123, 1234, 0.2)] == ["about 7", "about 130", "about 1,300", "about 1"]
