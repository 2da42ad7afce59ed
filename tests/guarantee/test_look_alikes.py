"""Look-alikes labelled at once keep their limit, whatever the groups are like, and say how many answers they take."""

import numpy as np
import pytest

from annotriage.guarantee.binomial import spent_confidence
from annotriage.guarantee.certificate import most_wrong
from annotriage.guarantee.look_alikes import confidence_of_half, looks, standing


def broken(members, impure, rng, runs=1_000):
    """In how many of the runs the rest was labelled at once although more than 5% of it is wrong."""
    count = 0
    for _ in range(runs):
        wrong = rng.permutation(np.arange(members) < impure)
        state = standing(members, ~wrong[: members // 2])
        if state.shown:
            rest = wrong[state.at.size :]
            count += rest.sum() > 0.05 * len(rest)
    return count


@pytest.mark.parametrize("members", [200, 500, 1_000])
def test_a_group_just_above_the_limit_breaks_it_in_at_most_67_of_1000(members):
    rng = np.random.default_rng(0)
    for impure in (int(0.05 * members) + 1, looks(members)[0].rest_wrong + 1):
        assert broken(members, impure, rng) <= 67


def test_of_200_some_70_must_be_answered():
    first = looks(200)[0]
    assert 65 <= first.size <= 75
    assert first.allowed == 0


@pytest.mark.parametrize(("members", "group_error", "confidence"), [(200, 0.05, 0.95), (700, 0.02, 0.9), (1_000, 0.1, 0.99)])
def test_a_look_stands_where_the_certificate_says_the_same_of_the_rest(members, group_error, confidence):
    for look in looks(members, group_error, confidence):
        level = spent_confidence(confidence, look.allowed + 1)
        assert most_wrong(members, look.size, look.allowed, level) - look.allowed <= look.rest_wrong
        fewer = look.size - 1
        allowed = int(group_error * (members - fewer) + 1e-9)
        assert any(most_wrong(members, fewer, seen, level) - seen > allowed for seen in range(look.allowed + 1))


def test_nothing_is_offered_that_saves_less_than_half():
    assert looks(100) == ()
    assert all(look.size <= members / 2 for members in (160, 200, 333, 1_000) for look in looks(members))


def test_one_disagreement_more_takes_more_answers():
    planned = looks(1_000)
    agrees = np.ones(planned[0].size, dtype=bool)
    agrees[3] = False
    state = standing(1_000, agrees)
    assert not state.shown
    assert state.missing == planned[1].size - planned[0].size
    assert standing(1_000, np.append(agrees, np.ones(state.missing, dtype=bool))).shown


def test_too_many_disagreements_leave_nothing_but_a_split():
    assert standing(200, [False, True] * 50).next_at is None
    assert not standing(200, [False, True] * 50).shown


def test_the_halves_and_the_whole_share_the_level():
    spent = 1 - spent_confidence(0.95, 1)
    assert spent + 2 * (1 - confidence_of_half(0.95, 1)) == pytest.approx(0.05)
