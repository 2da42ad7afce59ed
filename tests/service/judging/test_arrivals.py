"""Webhooks that come at the same moment: written down together, each told how that went."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from waiting import wait_until

from annotriage.service.judging.arrivals import Arrivals


class Paper:
    """What is written, batch by batch; the first batch waits until it may go on."""

    def __init__(self, fails=()):
        self.batches, self.fails = [], fails
        self.begun, self.may = threading.Event(), threading.Event()

    def __call__(self, bodies):
        self.batches.append(list(bodies))
        self.begun.set()
        assert self.may.wait(60)
        if len(self.batches) in self.fails:
            raise OSError("no paper")


@pytest.fixture
def threads():
    with ThreadPoolExecutor(12) as pool:
        yield pool


def come(arrivals, paper, threads):
    """One that is being written, and eleven that come meanwhile."""
    first = threads.submit(arrivals.take, b"first")
    assert paper.begun.wait(60)
    rest = [threads.submit(arrivals.take, b"%d" % n) for n in range(11)]
    wait_until(lambda: len(arrivals._come) == 11, 60, 0.01, "for eleven that wait")
    paper.may.set()
    return first, rest


def test_what_comes_while_one_is_written_is_written_together(threads):
    paper = Paper()
    first, rest = come(Arrivals(paper), paper, threads)
    assert [done.result(60) for done in (first, *rest)] == [None] * 12
    assert [len(batch) for batch in paper.batches] == [1, 11]
    assert sorted(paper.batches[1]) == sorted(b"%d" % n for n in range(11))


def test_who_was_not_written_is_told_and_the_next_are_written(threads):
    paper = Paper(fails=(2,))
    arrivals = Arrivals(paper)
    first, rest = come(arrivals, paper, threads)
    assert first.result(60) is None
    for done in rest:
        with pytest.raises(OSError, match="no paper"):
            done.result(60)
    arrivals.take(b"later")
    assert paper.batches[-1] == [b"later"]


def test_each_of_many_is_written_once(threads):
    paper = Paper()
    paper.may.set()
    arrivals = Arrivals(paper)
    list(threads.map(arrivals.take, [b"%d" % n for n in range(2_000)]))
    assert sorted(body for batch in paper.batches for body in batch) == sorted(b"%d" % n for n in range(2_000))
