import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import betaln

from annotriage.guarantee.audit import (
    ALARM_RATIOS,
    alarm_levels,
    answers_until_alarm,
    audit_share,
    in_audit,
    in_sample,
    probation,
    probation_sizes,
    recent,
    time_uniform_interval,
    wrong_until_alarm,
)


def test_the_sample_is_a_fixed_share_chosen_by_id_and_seed():
    ids = [f"task-{k}" for k in range(20_000)]
    sample = in_sample(ids, seed=7)
    assert 340 < sample.sum() < 460
    assert np.array_equal(sample[:50], in_sample(ids[:50], seed=7))
    assert not np.array_equal(sample, in_sample(ids, seed=8))


def test_the_audit_is_independent_of_the_sample_and_grows_without_dropping_anyone():
    ids = [str(k) for k in range(20_000)]
    small, large = in_audit(ids, 7, 0.05), in_audit(ids, 7, 0.5)
    assert not np.any(small & ~large)
    assert abs(np.mean(in_sample(ids, 7)[large]) - 0.02) < 0.006


def test_the_audit_takes_five_percent_or_twenty_a_week():
    assert [audit_share(n) for n in (0, 20, 100, 400, 10_000)] == [1.0, 1.0, 0.2, 0.05, 0.05]


def test_probation_passes_at_its_first_look_without_an_error():
    first = int(probation_sizes(0.02, 0.95, 1_000)[0])
    assert not probation(np.zeros(first - 1, bool), 0.02, 0.95).passed
    assert probation(np.zeros(first - 1, bool), 0.02, 0.95).next_at == first
    assert probation(np.zeros(first, bool), 0.02, 0.95).passed
    assert probation(np.zeros(0, bool), 0.02, 0.95).next_at == first == 160


def test_probation_looks_again_after_an_error_and_stays_passed():
    sizes = probation_sizes(0.02, 0.95, 2_000)
    one_error = np.arange(sizes[1]) == 3
    assert probation(one_error[: sizes[0]], 0.02, 0.95).next_at == sizes[1]
    assert probation(one_error, 0.02, 0.95).passed
    assert probation(np.r_[one_error, np.ones(50, bool)], 0.02, 0.95).passed


def test_a_dataset_at_the_limit_passes_probation_in_one_case_of_twenty_at_most_however_long_it_runs():
    errors = np.cumsum(np.random.default_rng(0).random((4_000, 4_000)) < 0.02, axis=1, dtype=np.int16)
    sizes = probation_sizes(0.02, 0.95, 4_000)
    passed = np.any(errors[:, sizes - 1] <= np.arange(sizes.size), axis=1)
    assert passed.mean() < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 4_000)


@given(st.lists(st.booleans(), max_size=60), st.sampled_from([0.001, 0.02, 0.2, 0.5]))
def test_the_alarm_rises_with_each_answer_as_its_recursion_says(answers, max_error):
    rates = np.minimum(np.array(ALARM_RATIOS) * max_error, 0.9)
    kept = (1 - rates) / (1 - max_error)
    rest = math.log((kept / (1 - kept)).mean())  # where right answers alone lead to
    sums, levels = np.zeros(len(rates)), []
    for wrong in answers:
        sums = (1 + sums) * (rates / max_error if wrong else kept)
        levels.append(max(0.0, (math.log(sums.mean()) - rest) / (math.log(6_000) - rest)))
    assert levels == pytest.approx(alarm_levels(np.array(answers, dtype=bool), max_error).tolist(), abs=1e-9)


@pytest.mark.parametrize("max_error", [1e-6, 1e-4, 0.001, 0.02, 0.1, 0.5])
def test_right_answers_never_raise_the_alarm(max_error):
    assert alarm_levels(np.zeros(20_000, bool), max_error).max() < 1e-9
    after_one = alarm_levels(np.arange(5_000) == 10, max_error)
    assert np.all(np.diff(after_one[10:]) <= 1e-12)


@given(st.lists(st.booleans(), max_size=60), st.sampled_from([0.001, 0.02, 0.2, 0.5]))
def test_so_many_wrong_answers_ring_the_alarm_and_one_less_does_not(answers, max_error):
    given = np.array(answers, dtype=bool)
    more = wrong_until_alarm(given, max_error)
    levels = alarm_levels(np.r_[given, np.ones(more, bool)], max_error)[max(0, len(given) - 1) :]
    assert levels[-1] >= 1
    assert not np.any(levels[:-1] >= 1)


@pytest.mark.parametrize(("rate", "low", "high"), [(0.04, 330, 440), (0.06, 150, 190), (0.10, 60, 85)])
def test_the_alarm_finds_a_larger_error_after_the_known_number_of_answers(rate, low, high):
    assert low <= answers_until_alarm(rate, 0.02, runs=1_000) <= high


def test_the_alarm_finds_a_late_change_as_fast():
    rng = np.random.default_rng(0)
    answers = np.concatenate([rng.random((500, 1_000)) < 0.01, rng.random((500, 3_000)) < 0.04], axis=1)
    rings = alarm_levels(answers, 0.02)[:, 1_000:] >= 1
    assert np.median(rings.argmax(axis=1)) < 440


def test_false_stops_are_six_thousand_answers_apart_on_average():
    rings = alarm_levels(np.random.default_rng(0).random((150, 20_000)) < 0.02, 0.02) >= 1
    until = np.where(rings.any(axis=1), rings.argmax(axis=1) + 1, 20_000)
    assert until.mean() > 6_000
    assert answers_until_alarm(0.001, 0.02, runs=50, horizon=4_000) == math.inf


@settings(max_examples=60)
@given(st.integers(0, 3_000), st.floats(0, 1))
def test_both_ends_of_the_time_uniform_interval_solve_its_equation(n, share):
    errors = round(n * share)
    low, high = time_uniform_interval(errors, n)
    assert 0 <= low <= errors / max(1, n) <= high <= 1
    for p in (low, high):
        if 0 < p < 1:
            value = betaln(errors + 0.5, n - errors + 0.5) - betaln(0.5, 0.5) - errors * math.log(p) - (n - errors) * math.log1p(-p)
            assert value == pytest.approx(math.log(20), abs=1e-4)
    assert (low == 0) == (errors == 0)
    assert (high == 1) == (errors == n)


def test_the_time_uniform_interval_holds_at_every_look():
    wrong = np.random.default_rng(0).random((200, 300)) < 0.1
    looks = range(1, 301, 7)
    limits = {(e, n): time_uniform_interval(e, n) for n in looks for e in set(wrong[:, :n].sum(axis=1).tolist())}
    missed = [any(not limits[int(row[:n].sum()), n][0] <= 0.1 <= limits[int(row[:n].sum()), n][1] for n in looks) for row in wrong]
    assert np.mean(missed) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)


def test_recent_answers_stand_on_their_own():
    figures = recent(np.r_[np.ones(100, bool), np.zeros(499, bool), True])
    assert (figures.n, figures.wrong, figures.share) == (500, 1, 0.002)
    assert recent(np.zeros(0, bool)).high == 1.0
