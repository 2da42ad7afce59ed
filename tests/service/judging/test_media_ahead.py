"""Media are fetched ahead of their use, in bounded numbers, and never wait for each other in a circle."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from memory_tool import MemoryProject
from triaged import import_tasks
from waiting import PATIENCE

from annotriage.service.judging import judge
from annotriage.service.judging.judge import Judge
from annotriage.service.judging.media import AHEAD, MediaReader
from annotriage.store import work


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
