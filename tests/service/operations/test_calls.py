"""What the web process and the worker tell each other over their pipes."""

from __future__ import annotations

import os
import select
import threading
import time

import pytest
from waiting import PATIENCE, wait_until

from annotriage.service.operations.calls import Bell, Foretold, tell, told


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    ends = [reading, writing]
    yield ends
    for end in ends:
        os.close(end)


def close_writing(pipe):
    os.close(pipe.pop())


def task(number, media="https://example.com/é.jpg"):
    return Foretold("3", ("cat", "a dog\nor two"), str(number), media)


def test_what_is_told_arrives_in_its_order_until_the_other_end_is_closed(pipe):
    tell(pipe[1], [task(1), task(2)])
    tell(pipe[1])
    close_writing(pipe)
    assert list(told(pipe[0])) == [task(1), task(2), None]


def test_what_does_not_come_in_one_piece_is_put_together(pipe):
    tell(pipe[1], [task(1)])
    whole = os.read(pipe[0], select.PIPE_BUF)
    found = []
    reading = threading.Thread(target=lambda: found.extend(told(pipe[0])))
    reading.start()
    for byte in whole:
        os.write(pipe[1], bytes([byte]))
    wait_until(lambda: found == [task(1)], what="for the task")
    close_writing(pipe)
    reading.join(PATIENCE)


def test_what_is_too_long_to_be_written_at_once_is_left_out(pipe):
    tell(pipe[1], [task(1, "data:image/png;base64," + "A" * select.PIPE_BUF), task(2)])
    close_writing(pipe)
    assert list(told(pipe[0])) == [task(2)]


def test_who_tells_never_waits_and_what_was_told_stays_readable(pipe):
    for number in range(10_000):
        tell(pipe[1], [task(number)])  # more than a pipe holds
    close_writing(pipe)
    arrived = list(told(pipe[0]))
    assert 0 < len(arrived) < 10_000
    assert arrived == [task(number) for number in range(len(arrived))]


def test_a_bell_that_rang_before_somebody_waits_is_heard():
    bell = Bell()
    heard = bell.rung
    bell.ring()
    bell.wait(heard, 1e6)


def test_a_bell_wakes_all_who_wait():
    bell, woken = Bell(), []

    def wait(number):
        bell.wait(bell.rung, 1e6)
        woken.append(number)

    threads = [threading.Thread(target=wait, args=(number,), daemon=True) for number in range(3)]
    for thread in threads:
        thread.start()

    def all_woken():
        bell.ring()  # who began to wait after one ring hears the next
        return sorted(woken) == [0, 1, 2]

    wait_until(all_woken, what="for all to wake")


def test_nobody_waits_for_a_bell_longer_than_they_said():
    bell, began = Bell(), time.monotonic()
    bell.wait(bell.rung, 0.01)
    assert time.monotonic() - began >= 0.01
