from dataclasses import replace

import numpy as np
import pytest

from annotriage.advice.advice import PERSON_FIRST, Thresholds, advise
from annotriage.advice.numbers import about, count, limit, percent
from annotriage.guarantee.answered import Answered
from annotriage.guarantee.audit import probation
from annotriage.guarantee.conformal import flagged_rank
from annotriage.guarantee.diversity import diversity
from annotriage.guarantee.error_limits import ClassLimit
from annotriage.guarantee.gate import calibrate_gate


def dataset(share, n=4000, held_out=4000, failed=0):
    rank = flagged_rank(held_out, 0.05)
    flags, calibration = np.arange(n) < round(share * n), np.arange(held_out) < rank
    return diversity(flags, np.zeros(n, int), calibration, np.zeros(held_out, int), ("a",), rank=rank, failed=failed)


def guarantee(n, **changes):
    ranks = np.arange(n, dtype=float)
    zeros = np.zeros(n, int)
    everything = np.ones(n, bool)
    answered = Answered(ranks, everything, everything, zeros, zeros, 0 * ranks, ranks, zeros)
    return calibrate_gate(answered, class_names=("a", "b"), max_error=0.02, confidence=0.95, **changes)


def answers(*args, **kwargs):
    return {advice.question: advice.answer for advice in advise(*args, **kwargs)}


@pytest.mark.parametrize(
    ("share", "train", "deploy", "augmentation"),
    [(0.05, "no", "yes", "no"), (0.101, "undecided", "undecided", "undecided"), (0.3, "yes", "no", "yes"), (0.9, "undecided", "no", "no")],
)
def test_the_excess_interval_decides(share, train, deploy, augmentation):
    got = answers(dataset(share), guarantee(300))
    assert list(got) == ["train", "deploy", "augmentation", "annotate"]
    assert (got["train"], got["deploy"], got["augmentation"]) == (train, deploy, augmentation)


def test_a_flood_of_outliers_asks_for_a_person_first():
    train, deploy, augmentation, annotate = advise(dataset(0.9), guarantee(300))
    assert (train.headline, annotate.headline) == (PERSON_FIRST, PERSON_FIRST)
    assert deploy.answer == "no"
    assert "damages" in augmentation.headline


def test_failed_items_and_one_group_ask_for_a_person_first():
    assert answers(dataset(0.2), None, largest_group_share=0.3)["train"] == "yes"
    train = advise(dataset(0.2), None, largest_group_share=0.7)[0]
    assert (train.answer, train.headline) == ("undecided", PERSON_FIRST)
    assert train.reason == "A person should look first: 560 of 800 strange items are one group."
    assert answers(dataset(0.05, failed=900), None)["deploy"] == "undecided"
    assert answers(dataset(0.05, failed=3), None, largest_group_share=0.9)["deploy"] == "yes"


def test_asking_for_a_person_first_says_by_which_rule():
    def why(data, share=0.0):
        return advise(data, None, largest_group_share=share)[0].reason

    assert why(dataset(0.9)).startswith("A person should look first: the excess is surely above 50 points. 90% are strange where 5%")
    assert why(dataset(0.0, failed=900)).endswith("look first: 900 of 4,900 items could not be scored.")
    both = "900 unreadable items and one group of 100 strange items are more than half of the 1,100 items that are strange or unreadable."
    assert why(dataset(0.05, failed=900), 0.5) == f"A person should look first: {both}"
    assert why(dataset(0.05, failed=900)).endswith("look first: 900 of 4,900 items could not be scored."), "nothing is grouped"
    assert why(dataset(0.0, n=0, failed=1)).endswith("look first: 1 of 1 item could not be scored.")


def test_without_any_scored_item_no_figure_is_invented():
    for failed in (0, 3):
        text = " ".join(
            f"{advice.headline} {advice.reason} {advice.would_decide}"
            for advice in advise(dataset(0.3, n=0, failed=failed), guarantee(300))
        )
        assert "%" not in text
        assert "not known" not in text
        assert "points" not in text


def test_reasons_carry_the_figures():
    train = advise(dataset(0.3, failed=2), guarantee(300))[0]
    assert train.reason.startswith("30% are strange where 5% are expected: an excess of 25 points (likely")
    assert train.reason.endswith("above the threshold of 5 points. 2 items could not be scored.")


def test_undecided_says_whether_incoming_or_held_out_items_would_decide():
    few = advise(dataset(0.16, n=50), None)[1]
    assert few.answer == "undecided"
    assert "more incoming items (50 there)" in few.would_decide
    known_badly = advise(dataset(0.12, n=100_000, held_out=100), None)[1]
    assert "more labelled held-out items (100 there)" in known_badly.would_decide
    assert "no number" in advise(replace(dataset(0.1), excess=0.05), None)[1].would_decide


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


def test_annotating_follows_guarantee_and_probation():
    data, given = dataset(0.06), guarantee(300)
    assert "--calibration: about 770 in all" in advise(data, guarantee(20))[3].would_decide
    begun = advise(data, given)[3]
    assert begun.answer == "mixed"
    assert "Not yet checked on this dataset" in begun.reason
    assert "have people label 160 of its automatic items blind" in begun.would_decide
    everything = advise(data, given, whole=True)[3]
    assert ("Not yet checked" in everything.reason, "each dataset" in everything.would_decide) == (False, True)
    going = advise(data, given, probation=probation(np.zeros(100, bool), 0.02, 0.95))[3]
    assert "label 60 more of its automatic items blind" in going.would_decide
    assert advise(data, given, probation=probation(np.zeros(200, bool), 0.02, 0.95))[3].answer == "machine"


def test_advice_claims_no_more_than_the_highest_limit_and_what_checks_can_show():
    data, own = dataset(0.06), (ClassLimit("a", (0,), 0.1),)
    limited = advise(data, guarantee(300, class_limits=own))[3]
    assert "with at most 10% of their labels wrong in the long run" in limited.reason
    assert limited.would_decide.endswith("(if none of the 31 is wrong, at most 10% are wrong here too)")
    priced = advise(data, guarantee(3_000, class_limits=own, costs=np.array([[0, 4.0], [1, 0], [1, 1]])))[3]
    assert "at an expected cost of at most 0.1 a label in the long run" in priced.reason
    assert "the limit is shown here too" not in priced.would_decide
    beyond = advise(data, guarantee(300, stricter=400.0))[3]
    assert beyond.would_decide == "a recalibration, which sets the gate again"


def test_figures_are_written_for_people():
    assert [percent(x) for x in (0.124, 0.05, 0, -0.0312, 0.0004, 1e-7, 1, float("nan"))] == [
        "12.4%",
        "5%",
        "0%",
        "-3.1%",
        "0.04%",
        "under 0.01%",
        "100%",
        "not known",
    ]
    assert [limit(x) for x in (0.02, 0.025, 1 / 3)] == ["2 in 100", "25 in 1,000", "33.3%"]
    assert (count(1, "item"), count(1200, "item")) == ("1 item", "1,200 items")
    assert [about(x) for x in (7, 123, 1234, 0.2)] == ["about 7", "about 130", "about 1,300", "about 1"]
