"""Media are fetched ahead of their use, in bounded numbers, and never wait for each other in a circle."""

from __future__ import annotations

import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest
from faulty_server import faulty
from memory_tool import MemoryProject
from triaged import import_tasks
from waiting import PATIENCE, wait_until

from annotriage.service.judging import judge, media
from annotriage.service.judging.judge import Judge
from annotriage.service.judging.media import AHEAD, EXPECTED, MediaReader
from annotriage.service.operations.calls import Foretold
from annotriage.store import items, work

__all__ = ["faulty"]  # a fixture


@pytest.fixture
def reader(process):
    reader = MediaReader(process.settings, process.server)
    yield reader
    reader.close()


def rows(count, start=0):
    return [SimpleNamespace(id=id, external_id=str(id), marker=None, group=None, media="data:,x") for id in range(start, start + count)]


def at_last(act):
    """What `act` returns; fails if it never does, without waiting for it."""
    found = []
    thread = threading.Thread(target=lambda: found.append(act()), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert found, "it does not end"
    return found[0]


def test_what_is_read_later_takes_no_place_from_what_is_used_first(reader):
    readings = [reader.read(MemoryProject(), rows(4 * AHEAD, 1000 * number)) for number in range(4)]
    for number, reading in enumerate(readings):
        used = at_last(lambda reading=reading: [int(item.id) for _, item in reading])
        reading.close()
        assert used == list(range(1000 * number, 1000 * number + 4 * AHEAD))


def test_what_is_not_used_gives_its_places_back(reader):
    for used in (0, 10):
        for _ in range(3):
            reading = reader.read(MemoryProject(), rows(2 * AHEAD))
            items = iter(reading)
            at_last(lambda items=items, used=used: [next(items) for _ in range(used)])
            at_last(lambda reading=reading: reading.close() or True)
    assert len(at_last(lambda: list(reader.read(MemoryProject(), rows(2 * AHEAD))))) == 2 * AHEAD


@pytest.fixture
def web_reader(process):
    reader = MediaReader(replace(process.settings, media_hosts=("127.0.0.1",), media_connections=1), process.server)
    yield reader
    reader.close()


def row(task, media):
    return SimpleNamespace(id=int(task), external_id=task, marker=None, group=None, media=media)


def test_media_that_are_expected_are_fetched_once_and_before_they_are_read(web_reader, faulty):
    faulty.answers = [(200, {}, "first"), (200, {}, "second")]
    tool = MemoryProject()
    web_reader.expect(tool, "1", f"{faulty.url}/1")
    web_reader.expect(tool, "1", f"{faulty.url}/1")
    wait_until(lambda: faulty.seen, what="for the request")
    rows = [row("1", f"{faulty.url}/1"), row("2", f"{faulty.url}/1")]
    found = at_last(lambda: [item.media for _, item in web_reader.read(tool, rows)])
    assert found == [b"first", b"second"]  # what is expected is one task's alone
    assert len(faulty.seen) == 2


def test_media_that_were_expected_and_not_to_be_had_are_as_those_that_were_not_expected(web_reader, faulty):
    faulty.answers = [(404, {}, "")]
    tool = MemoryProject()
    address = f"{faulty.url}/1"
    ((_, plain),) = at_last(lambda: list(web_reader.read(tool, [row("1", address)])))
    web_reader.expect(tool, "1", address)
    ((_, expected),) = at_last(lambda: list(web_reader.read(tool, [row("1", address)])))
    assert (expected.media, expected.problem) == (None, plain.problem)


def test_of_media_that_are_expected_and_never_read_few_are_kept_and_not_for_long(web_reader, faulty, monkeypatch):
    tool = MemoryProject()
    addresses = [f"{faulty.url}/{number}" for number in range(3 * EXPECTED)]
    for number, address in enumerate(addresses):
        web_reader.expect(tool, str(number), address)
    wait_until(lambda: len(faulty.seen) == EXPECTED, what="for the requests")
    with monkeypatch.context() as later:
        later.setattr(media, "EXPECTED_SECONDS", -1.0)
        web_reader.forget_unread()
    at_last(lambda: list(web_reader.read(tool, [row("0", addresses[0])])))
    assert len(faulty.seen) == EXPECTED + 1
    web_reader.expect(tool, "100", addresses[0])  # there is room again
    wait_until(lambda: len(faulty.seen) == EXPECTED + 2, what="for the request")


def test_what_is_foretold_to_the_worker_is_fetched_before_it_is_claimed(process, connect, digits, faulty):
    process.settings = replace(process.settings, media_hosts=("127.0.0.1",))
    faulty.answers = [(404, {}, "")]
    project, tool = connect()
    running = Judge(process)
    try:
        process.foretold(Foretold(project.external_id, project.classes, "1", f"{faulty.url}/1"))
        wait_until(lambda: faulty.seen, what="for the request")
        task = tool.add(f"{faulty.url}/1")
        assert task.id == "1"
        with process.store.writing() as connection:
            items.add_tasks(connection, project, [task])
        assert running.step()
    finally:
        running.close()
    assert len(faulty.seen) == 1
    with process.store.reading() as connection:
        assert work.waiting(connection, project.id, project.reference_id) == 0


def test_many_claims_are_judged_by_the_running_worker(process, connect, digits, monkeypatch):
    monkeypatch.setattr(judge, "CLAIMED", 2 * AHEAD)
    project, tool = connect()
    import_tasks(process, project, tool, [*digits.train[0][:600]])
    running = Judge(process)
    threads = [threading.Thread(target=loop.run) for loop in running.loops()]
    for thread in threads:
        thread.start()
    try:
        at_last(lambda: _until_judged(process, project))
    finally:
        process.stopping.set()
        for thread in threads:
            thread.join()
        running.close()


def _until_judged(process, project):
    while True:
        with process.store.reading() as connection:
            if work.waiting(connection, project.id, project.reference_id) == 0:
                return True
        process.stopping.wait(0.1)
