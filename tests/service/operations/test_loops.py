"""Loops: what is done again and again, alone or by every replica, and what happens when it fails. The tests turn the clock."""

from __future__ import annotations

import threading

import pytest
from waiting import PATIENCE

from annotriage.errors import ToolUnavailable
from annotriage.service.operations.loops import Loop, ProjectStep, Step, leads, run_loops
from annotriage.service.operations.process import Process
from annotriage.service.operations.worker import tending
from annotriage.store import jobs, work
from annotriage.store.projects import remove_project


class Clock:
    """Time that passes only while a loop waits; it stops the process after so many pauses."""

    def __init__(self, process, pauses):
        self.now, self.pauses, self._process, self._left = 1000.0, [], process, pauses

    def __call__(self):
        return self.now

    def wait(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds
        self._left -= 1
        if not self._left:
            self._process.stopping.set()


@pytest.fixture
def loop(process):
    """A loop on a clock that runs until it has paused so often; and the clock."""

    def loop(*steps, pauses=1, pause=1.0, **options):
        clock = Clock(process, pauses)
        return Loop(process, "loop", steps, pause, clock=clock, wait=clock.wait, **options), clock

    return loop


def beats(process, owner, started):
    with process.store.writing() as connection:
        work.beat(connection, owner, process.role, "elsewhere", 1)
        connection.execute(work.heartbeat.update().where(work.heartbeat.c.owner == owner).values(started_at=started))


def test_who_was_held_for_dead_runs_since_it_was_started(process):
    since = []
    for _ in range(2):
        process.beat()
        with process.store.writing() as connection:
            (found,) = (one for one in work.registered(connection) if one.owner == process.owner)
            since.append(found.started_at)
            work.bury(connection, [process.owner])
    assert since[0] == since[1]


def test_a_loop_goes_on_at_once_while_there_is_something_to_do_and_pauses_when_there_is_not(loop):
    left = [3]

    def act():
        left[0] -= 1
        return left[0] >= 0

    running, clock = loop(Step("count", act), pauses=2, pause=7.0)
    running.run()
    assert left == [-2]
    assert clock.pauses == [7.0, 7.0]


@pytest.mark.parametrize("error", [ToolUnavailable("no answer"), RuntimeError("nobody foresaw this")])
def test_what_failed_waits_longer_each_time_and_is_taken_up_again(loop, error):
    at = []

    def act():
        at.append(clock.now - 1000)
        if len(at) < 4:
            raise error
        return False

    running, clock = loop(Step("step", act), pauses=75)
    running.run()
    assert at == [0, 2, 12, 72, 73, 74]


def test_a_success_makes_the_next_failure_the_first_again(loop):
    at = []

    def act():
        at.append(clock.now - 1000)
        if len(at) in (1, 2, 4):
            raise ToolUnavailable("no answer")
        return False

    running, clock = loop(Step("step", act), pauses=16)
    running.run()
    assert at == [0, 2, 12, 13, 15]


@pytest.mark.parametrize("error", [ToolUnavailable("no answer"), KeyError("nobody foresaw this")])
def test_one_projects_trouble_is_not_anothers_nor_another_steps(loop, connect, caplog, error):
    bad, _ = connect("1")
    connect("2")
    done = []

    def first(project):
        done.append(("first", project.external_id))
        if project.id == bad.id:
            raise error
        return False

    def second(project):
        done.append(("second", project.external_id))
        return False

    running, _ = loop(ProjectStep("first", first), ProjectStep("second", second))
    running.round()
    running.round()
    assert done == [("first", "1"), ("first", "2"), ("second", "1"), ("second", "2"), ("first", "2"), ("second", "1"), ("second", "2")]
    told = [record.fields for record in caplog.records if record.message == "first failed"]
    assert [(fields["project"], fields["again_in"], fields["error"]) for fields in told] == [("1", 2.0, error)]


def test_a_project_that_was_disconnected_is_left_alone(loop, process, connect):
    project, _ = connect("1")
    served = []
    running, _ = loop(ProjectStep("step", lambda project: bool(served.append(project.external_id))))
    running.round()
    with process.store.writing() as connection:
        remove_project(connection, project.id)
    running.round()
    assert served == ["1"]


def test_what_is_done_once_is_done_by_the_oldest_living_process_of_the_kind(loop, process):
    done = []
    alone, _ = loop(Step("once", lambda: bool(done.append("once"))), alone=True)
    every, _ = loop(Step("everywhere", lambda: bool(done.append("everywhere"))))
    assert not leads(process), "a process that has given no sign of life leads nobody"
    beats(process, process.owner, 20.0)
    beats(process, "older", 10.0)
    alone.round()
    every.round()
    assert done == ["everywhere"]
    with process.store.writing() as connection:
        work.bury(connection, ["older"])
    alone.round()
    assert done == ["everywhere", "once"]


def test_of_two_workers_one_alone_tends_projects(process, connect, monkeypatch):
    connect("1")
    tended = []
    monkeypatch.setattr("annotriage.service.operations.worker.accept_due", lambda process, _project: tended.append(process.owner))
    other = Process(process.settings, process.role)
    other.server = process.server
    beats(process, process.owner, 10.0)
    beats(process, other.owner, 20.0)
    for either in (process, other):
        tending(either).round()
    assert tended == [process.owner]
    other.leave()


def test_a_database_that_was_away_does_not_end_the_heartbeat(process, monkeypatch):
    clock = Clock(process, 20)
    beat = Loop(process, "heartbeat", [Step("heartbeat", process.beat)], 5.0, clock=clock, wait=clock.wait)
    writing = process.store.writing

    def away():
        if clock.now < 1030:
            raise OSError("the database is away")
        return writing()

    monkeypatch.setattr(process.store, "writing", away)
    beat.run()
    with process.store.reading() as connection:
        assert [row.owner for row in work.living(connection)] == [process.owner]


def test_no_pause_outlasts_a_stop(process):
    begun = threading.Event()
    idle = Loop(process, "idle", [Step("idle", lambda: begun.set() or False)], 3600.0)
    running = threading.Thread(target=run_loops, args=[process, [idle]])
    running.start()
    assert begun.wait(PATIENCE)
    process.stopping.set()
    running.join(PATIENCE)
    assert not running.is_alive()


def test_a_step_that_does_not_end_is_left_behind_when_the_process_stops(process):
    over = threading.Event()
    stuck = Loop(process, "stuck", [Step("stuck", lambda: bool(process.stopping.set()) or over.wait(PATIENCE))], 1.0)
    run_loops(process, [stuck], 0.01)
    assert "stuck" in {thread.name for thread in threading.enumerate()}
    over.set()


def test_a_process_leaves_even_if_its_database_is_away(process, monkeypatch, caplog):
    files = process._files.name

    def away():
        from annotriage.errors import StoreError

        raise StoreError("the database is away")

    monkeypatch.setattr(process.store, "writing", away)
    run = Loop(process, "stop", [Step("stop", lambda: bool(process.stopping.set()))], 1.0)
    run_loops(process, [run])
    assert "leave not taken" in caplog.messages
    monkeypatch.undo()
    from pathlib import Path

    assert not Path(files).exists()


def test_what_fails_because_its_project_is_disconnected_meanwhile_is_no_failure(process, connect, loop, caplog):
    caplog.set_level("INFO")
    for id in ("1", "2"):
        connect(id)
    acted = []

    def act(found):
        acted.append(found.external_id)
        if found.external_id == "2":
            return False
        with process.store.writing() as connection:
            remove_project(connection, found.id)
        with process.store.writing() as connection:
            jobs.queue(connection, found.id, "report")  # refused: the row that it belongs to is gone
        return True

    running, _ = loop(ProjectStep("draw", act))
    running.round()
    assert acted == ["1", "2"]
    here = [record.message for record in caplog.records if record.thread == threading.get_ident()]  # others may still end their work
    assert here == ["draw ended: the project was disconnected meanwhile"]


def test_a_loop_whose_database_nobody_writes_to_looks_seldom_and_at_once_when_somebody_does(process, loop):
    rounds = []

    def look():
        rounds.append(clock.now)
        return False

    running, clock = loop(Step("look", look), pauses=40, pause=0.1, source=process.store)
    wait = clock.wait

    def wait_or_write(seconds):
        wait(seconds)
        if len(clock.pauses) == 23:  # in the midst of a rest
            with process.store.writing() as connection:
                work.beat(connection, "another", "jobs", "elsewhere", 1)

    running._wait = wait_or_write
    running.run()
    looked = [round(at - 1000.0, 1) for at in rounds]
    assert looked == ([0.0, 1.0, 2.0, 2.3, 3.3] if process.store.is_sqlite else [place / 10 for place in range(40)])
