"""What is read of two datasets side by side."""

from __future__ import annotations

import pytest

from annotriage.service.readings.comparison import Counts, difference_of

TENTH, HALF, NOTHING = Counts(100, 10, 0.05, 0.16), Counts(100, 50, 0.45, 0.55), Counts(0, 0, 0.0, 1.0)


def test_a_difference_is_not_clear_where_nothing_differs():
    same = difference_of(TENTH, TENTH)
    assert same.value == 0
    assert same.low < 0 < same.high
    assert not same.clear


def test_a_large_difference_is_clear_and_has_a_direction():
    more, fewer = difference_of(TENTH, HALF), difference_of(HALF, TENTH)
    assert more.clear
    assert more.low > 0.3
    assert (fewer.low, fewer.high) == pytest.approx((-more.high, -more.low))


def test_nothing_is_told_of_a_side_without_items():
    assert difference_of(NOTHING, HALF) is None
