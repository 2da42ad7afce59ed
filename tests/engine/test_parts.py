"""Work on many rows that threads share out: the same as by one, in the same order."""

import threading

import pytest

from annotriage.engine import parts
from annotriage.engine.parts import LEAST, MOST, in_parts
from annotriage.latent.products import rounds_alike


def rows(part):
    return list(range(part.start, part.stop))


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [0, 1, LEAST, 2 * LEAST - 1, 2 * LEAST, 7 * LEAST + 5])
def test_each_row_is_worked_on_once_and_in_its_place(count, threads):
    found = in_parts(rows, count, threads)
    assert [row for part in found for row in part] == list(range(count))
    assert len(found) == 1 or all(LEAST <= len(part) <= MOST for part in found)
    assert len(found) <= max(threads, -(-count // MOST))


@pytest.mark.skipif(not rounds_alike(), reason="on this processor rows are never shared out")
def test_parts_are_worked_on_at_the_same_time():
    meeting = threading.Barrier(3, timeout=60)
    assert len(in_parts(lambda part: meeting.wait() >= 0, 3 * LEAST, 3)) == 3


@pytest.mark.skipif(not rounds_alike(), reason="on this processor rows are never shared out")
def test_what_no_other_thread_has_begun_is_not_waited_for(monkeypatch):
    """The only other thread is held up by its first part until all else is done."""
    done, others = threading.Semaphore(0), 3

    def work(part):
        if threading.current_thread() is not threading.main_thread():
            assert all(done.acquire(timeout=60) for _ in range(others))
        else:
            done.release()
        return rows(part)

    found = in_parts(work, (others + 1) * MOST, 2)
    assert [row for part in found for row in part] == list(range((others + 1) * MOST))


def test_what_fails_in_a_part_is_said(monkeypatch):
    monkeypatch.setattr(parts, "rounds_alike", lambda: True)
    with pytest.raises(ValueError, match="the last row"):
        in_parts(lambda part: _refuse() if part.stop == 2 * LEAST else None, 2 * LEAST, 2)


def _refuse():
    raise ValueError("the last row")


def test_nothing_is_shared_out_where_digits_depend_on_the_number_of_rows(monkeypatch):
    monkeypatch.setattr(parts, "rounds_alike", lambda: False)
    assert len(in_parts(rows, 9 * LEAST, 4)) == 1
