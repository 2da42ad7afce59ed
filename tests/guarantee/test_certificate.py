"""The certificate: exact limits of drawing without replacement, and that they hold under the draws as the service makes them."""

from __future__ import annotations

from functools import lru_cache, partial

import numpy as np
import pytest
from certified_streams import stream
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, hypergeom

from annotriage.guarantee.audit import in_audit, in_sample
from annotriage.guarantee.certificate import (
    Checks,
    checks_needed,
    draw_places,
    front_share,
    most_wrong,
    most_wrong_at_any_time,
    random_checks,
)


@pytest.mark.parametrize(("checked", "most"), [(92, 57), (378, 12), (520, 8), (1840, 0), (0, 1840)])
def test_so_many_right_answers_on_1840_labels_leave_so_many_wrong(checked, most):
    assert most_wrong(1840, checked, 0) == most
    if checked:
        assert checks_needed(1840, most) <= checked


def test_it_takes_so_many_checks():
    assert [checks_needed(1840, most) for most in (12, 8)] == [378, 520]
    assert checks_needed(1840, 2, wrong=3) is None
    assert checks_needed(1, 0) == 1


@given(st.integers(1, 60), st.data())
def test_the_limit_is_the_largest_number_that_the_checks_do_not_rule_out(n, data):
    checked = data.draw(st.integers(0, n))
    wrong = data.draw(st.integers(0, checked))
    totals = np.arange(wrong, n - checked + wrong + 1)
    possible = totals[hypergeom.cdf(wrong, n, totals, checked) > 0.05 * (1 - 1e-9)]
    assert most_wrong(n, checked, wrong) == possible.max()
    assert most_wrong(n, checked, wrong) <= most_wrong_at_any_time(n, checked, wrong) <= n - checked + wrong


@given(st.integers(1, 40), st.integers(0, 40), st.data())
def test_it_fails_in_5_of_100_draws_at_most_whatever_is_wrong(n, total, data):
    total = min(total, n)
    checked = data.draw(st.integers(0, n))
    found = np.arange(max(0, checked + total - n), min(total, checked) + 1)
    missed = sum(hypergeom.pmf(wrong, n, total, checked) for wrong in found if most_wrong(n, checked, int(wrong)) < total)
    assert missed <= 0.05 + 1e-9


def test_looking_after_every_answer_the_other_limit_fails_in_few_runs():
    rng, n, total, runs = np.random.default_rng(0), 100, 12, 200
    exact, lasting = lru_cache(partial(most_wrong, n)), lru_cache(partial(most_wrong_at_any_time, n))
    failed = {exact: 0, lasting: 0}
    for _ in range(runs):
        errors = np.cumsum(rng.permutation(np.arange(n) < total))
        for limit in failed:
            failed[limit] += any(limit(checked, int(errors[checked - 1])) < total for checked in range(2, n, 2))
    allowed = binom.ppf(0.99, runs, 0.05)
    assert failed[lasting] <= allowed < failed[exact], "the exact limit is for one look"


def test_what_the_sample_and_the_audit_draw_stands_in_front():
    ids = [f"3:{number}" for number in range(5_000)]
    places = draw_places(ids, 0, 0.02, 0.05)
    assert np.array_equal(places < front_share(0.02, 0.05), in_sample(ids, 0, 0.02) | in_audit(ids, 0, 0.05))
    assert np.abs(np.quantile(places, [0.01, 0.05, 0.5, 0.9]) - [0.01, 0.05, 0.5, 0.9]).max() < 0.02
    assert ((draw_places(ids, 0, 0.0, 0.0) < 0.1).mean(), front_share(0.0, 0.0)) == (pytest.approx(0.1, abs=0.02), 0.0)


def test_what_can_never_be_right_takes_more_checks():
    places = np.linspace(0, 1, 1000, endpoint=False)
    wrong = np.zeros(1000, dtype=bool)
    few = random_checks(places, 0.05, wrong, 10)
    assert few == checks_needed(1000, 10)
    wrong[[3, 200]] = True
    assert checks_needed(1000, 10, 2) <= random_checks(places, 0.05, wrong, 10) < 1000
    assert random_checks(places, 0.05, wrong, 1) is None
    assert random_checks(places, 0.05, wrong, None) == 50


def test_a_part_that_was_checked_completely_is_counted_as_it_is():
    checks = Checks(1000, whole=160, whole_wrong=3, random=60, random_wrong=0)
    assert checks.most_wrong(0.95, fixed=True) == 3 + most_wrong(840, 60, 0)


@pytest.mark.parametrize(("strangers", "on_probation"), [(0.0, False), (0.1, False), (0.2, False), (0.2, True)])
def test_a_finished_dataset_has_more_wrong_labels_than_certified_in_few_runs(strangers, on_probation):
    """As they are really drawn: a probation that is drawn completely, at least 20 a week, 5% and the sample."""
    runs = 60
    failed = 0
    for run in range(runs):
        labels = stream(run, strangers, days=8, per_day=30, on_probation=on_probation)
        checks, _ = labels.checks(until=99)
        failed += checks.most_wrong(0.95, fixed=True) < labels.wrong.sum()
    assert failed <= binom.ppf(0.99, runs, 0.05)
