"""The processes that `serve` starts: watched, started again when they die, and ended in order. The tests turn the clock."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import threading
import time
from dataclasses import dataclass, field
from types import SimpleNamespace

import psutil
import pytest
from running import free_port
from sqlalchemy import update
from waiting import wait_until

from annotriage.errors import SettingError, StoreError
from annotriage.labeling_tool import Check
from annotriage.service.operations.calls import Foretold, tell
from annotriage.service.operations.joining import REFUSED
from annotriage.service.operations.process import JOINING, Process
from annotriage.service.operations.serve import (
    RESTART,
    ROLES,
    SILENT,
    SOUND_SECONDS,
    STOPS,
    Children,
    SpawnedChild,
    heed,
    listen,
    looking,
    serve,
)
from annotriage.settings import ServiceSettings
from annotriage.store import Store, work
from annotriage.store.schema import heartbeat

TASK = Foretold("3", ("a", "b"), "41", "https://example.com/1.jpg")


@dataclass
class FakeChild:
    """A child that lives until a test ends it."""

    role: str
    pid: int
    exitcode: int | None = None
    obeys: bool = True
    calls: list[str] = field(default_factory=list)
    joined: bool = False

    def stop(self):
        self.calls.append("stop")
        if self.obeys and self.exitcode is None:
            self.exitcode = 0

    def join(self, timeout):
        self.calls.append("join")

    def call(self, foretold=()):
        self.calls.append(list(foretold) or "call")

    def kill(self):
        self.calls.append("kill")
        self.exitcode = -9


@pytest.fixture
def children(process):
    """Children on a clock, those that were started by role, and the clock."""
    now, started = [1000.0], {role: [] for role in ROLES}

    def start(role, joined):
        started[role].append(FakeChild(role, os.getppid(), joined=joined))  # the number of a process that lives
        return started[role][-1]

    return Children(process, start, lambda: now[0]), started, now


def test_each_child_is_started_once(children):
    watched, started, _ = children
    assert watched.watch()
    assert not watched.watch()
    assert {role: len(found) for role, found in started.items()} == dict.fromkeys(ROLES, 1)


def test_the_worker_alone_is_called(children):
    watched, started, _ = children
    watched.call_worker()  # none is there yet
    watched.foretell([TASK])
    watched.watch()
    watched.foretell([TASK])
    watched.call_worker()
    assert {role: child.calls for role, (child,) in started.items()} == {"worker": [[TASK], "call"], "jobs": []}


def test_calls_reach_a_child_and_its_parents_end_ends_it(process):
    theirs, ours = multiprocessing.Pipe(duplex=False)
    os.set_blocking(ours.fileno(), False)
    child = SpawnedChild(SimpleNamespace(terminate=lambda: None), ours)
    for _ in range(100_000):
        child.call()  # more than the pipe holds, and nobody reads them yet
    listening = threading.Thread(target=heed, args=(process, theirs), daemon=True)
    listening.start()
    wait_until(process.called.is_set, what="for the call")
    assert not process.stopping.is_set()
    foretold = []
    process.foretold = foretold.append
    child.call([TASK])
    wait_until(lambda: foretold == [TASK], what="for what is foretold")
    child.stop()
    wait_until(process.stopping.is_set, what="for the end")
    child.call()  # it is gone by now


def test_what_a_child_tells_is_heard_until_it_ends():
    theirs, telling = multiprocessing.Pipe(duplex=False)
    rung = threading.Event()
    listening = threading.Thread(target=listen, args=(theirs, rung.set), daemon=True)
    listening.start()
    tell(telling.fileno())
    wait_until(rung.is_set, what="for what it tells")
    telling.close()
    wait_until(lambda: not listening.is_alive(), what="for the end")
    assert theirs.closed


def test_a_child_that_dies_again_and_again_is_started_later_each_time_and_holds_up_no_other(children):
    watched, started, now = children
    watched.watch()
    waits = []
    for _ in range(len(RESTART) + 1):
        started["worker"][-1].exitcode = 1
        died, number = now[0], len(started["worker"])
        while len(started["worker"]) == number:
            watched.watch()
            now[0] += 0.5
        waits.append(now[0] - 0.5 - died)
    assert waits == [*RESTART, RESTART[-1]]
    assert len(started["jobs"]) == 1


def test_a_child_that_lived_for_long_is_started_anew_at_once(children):
    watched, started, now = children
    for _ in range(3):
        watched.watch()
        started["worker"][-1].exitcode = 1
        watched.watch()
        now[0] += 100 * RESTART[-1]
    watched.watch()
    now[0] += SOUND_SECONDS + 1
    started["worker"][-1].exitcode = 1
    number = len(started["worker"])
    watched.watch()
    now[0] += RESTART[0]
    watched.watch()
    assert len(started["worker"]) == number + 1


@pytest.fixture
def pass_by(process, children):
    """Let so many signs of life of the web process pass, with those of these children, and look after the children after each."""
    watched, started, _ = children

    def pass_by(beats, *alive):
        for _ in range(beats):
            with process.store.writing() as connection:
                for role in alive:
                    of = "worker" if role == JOINING else role
                    work.beat(connection, f"{of} {len(started[of])}", role, process.host, os.getppid())
            process.beat()
            watched.watch()

    return pass_by


def test_a_child_that_hangs_is_ended_and_started_anew(children, pass_by):
    watched, started, now = children
    watched.watch()
    pass_by(3, *ROLES)
    pass_by(SILENT - 1, "jobs")
    assert started["worker"][0].calls == []
    pass_by(1, "jobs")
    assert started["worker"][0].calls == ["kill"]
    watched.watch()
    now[0] += RESTART[0]
    watched.watch()
    assert {role: len(found) for role, found in started.items()} == {"worker": 2, "jobs": 1}
    pass_by(2 * SILENT, *ROLES)
    assert [child.calls for child in (started["worker"][1], started["jobs"][0])] == [[], []]


def test_a_child_that_never_gives_a_sign_of_life_hangs_too(children, pass_by):
    watched, started, _ = children
    watched.watch()
    pass_by(SILENT, "jobs")
    assert started["worker"][0].calls == ["kill"]


def test_a_worker_that_loads_many_models_before_it_joins_does_not_hang_and_one_that_has_joined_is_not_asked_again(children, pass_by):
    watched, started, now = children
    watched.watch()

    def another_worker():
        started["worker"][-1].exitcode = 1
        watched.watch()
        now[0] += RESTART[-1]
        watched.watch()
        return started["worker"][-1]

    pass_by(2 * SILENT, JOINING, "jobs")
    assert started["worker"][0].calls == []
    assert not another_worker().joined
    pass_by(1, JOINING, "jobs")
    pass_by(1, *ROLES)
    assert another_worker().joined
    assert [child.joined for child in started["worker"]] == [False, False, True]


def test_nobody_hangs_while_nobody_can_write_or_the_machine_sleeps(children, pass_by, process):
    watched, started, now = children
    watched.watch()
    pass_by(1, *ROLES)
    now[0] += 1e6
    for _ in range(2 * SILENT):
        watched.watch()
    with process.store.writing() as connection:
        connection.execute(update(heartbeat).values(at=1.0))  # as after the clock jumped
    pass_by(SILENT - 1)
    assert [child.calls for (child,) in started.values()] == [[], []]


def test_a_process_that_was_stopped_can_be_ended():
    process = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,), daemon=True)
    process.start()
    child = SpawnedChild(process, multiprocessing.Pipe()[0])
    os.kill(process.pid, signal.SIGSTOP)
    wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED, what="until it stands still")
    child.stop()
    child.kill()
    wait_until(lambda: child.exitcode == -signal.SIGKILL, what="for its end")  # which `kill` waits for a while only


def test_a_worker_that_may_not_join_is_not_started_again_and_ends_the_service(children):
    watched, started, now = children
    told = []
    watched._refused = lambda: told.append("refused")
    watched.watch()
    started["worker"][-1].exitcode = REFUSED
    for _ in range(3):
        watched.watch()
        now[0] += 1000
    assert told == ["refused"]
    assert len(started["worker"]) == 1


def test_a_worker_that_is_refused_while_the_service_stops_anyway_ends_nothing_more(children, process):
    watched, started, _ = children
    watched._refused = lambda: pytest.fail("it stops already")
    watched.watch()
    started["worker"][-1].exitcode = REFUSED
    process.stopping.set()
    watched.watch()


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Serve with children that are none, on the main thread, until a signal comes: the exit status, what was said, and the children.

    run: what happens once both children run. say: what happens as something is said.
    """
    before = {number: signal.getsignal(number) for number in STOPS}
    monkeypatch.setattr("annotriage.service.operations.serve.start_log", lambda role: None)

    def served(run, say):
        said, started = [], {}

        def start_child(role, settings, config, host, joined, judged):
            started[role] = FakeChild(role, os.getppid())
            started[role].host = host
            return started[role]

        @dataclass
        class Web:
            process: Process
            listener: socket.socket

            def run(self):
                wait_until(lambda: len(started) == len(ROLES))
                assert {child.host for child in started.values()} == {self.process.host}
                run(started)
                wait_until(lambda: False, what="for a signal")

            def close(self):
                self.listener.close()

        monkeypatch.setattr("annotriage.service.operations.serve.start_child", start_child)
        settings = ServiceSettings(
            database=f"sqlite:///{tmp_path}/store.db", label_studio_url="http://127.0.0.1:1", label_studio_token="t", port=0
        )
        status = serve(settings, Web, lambda sentence: (said.append(sentence), say(sentence)))
        return status, said, started

    yield served
    for number, handler in before.items():
        signal.signal(number, handler)


def test_nothing_interrupts_a_stop_that_has_begun(served):
    def again(sentence):
        if sentence.startswith("Stopping"):
            for number in STOPS:
                signal.raise_signal(number)

    status, said, started = served(lambda _: signal.raise_signal(signal.SIGTERM), again)
    stopping = [sentence for sentence in said if sentence.startswith("Stopping")]  # what Label Studio lacks may be said at any time
    assert (status, stopping) == (0, ["Stopping: what is being judged is given back."])
    assert [child.calls for child in started.values()] == [["stop", "join"]] * 2


def test_a_service_whose_worker_may_not_join_ends_with_its_other_processes_and_says_so(served):
    status, said, started = served(lambda started: setattr(started["worker"], "exitcode", REFUSED), lambda _: None)
    stopping = [sentence for sentence in said if sentence.startswith("Stopping")]
    assert (status, stopping) == (1, ["Stopping: this replica may not join the others; the log line `not let join` says why."])
    assert started["jobs"].exitcode == 0


def test_a_start_that_fails_is_tried_again(children, process):
    watched, started, _ = children
    start, failing = watched._start, [True]

    def sometimes(role, joined):
        if role == "worker" and failing:
            failing.pop()
            raise OSError("no process can be started now")
        return start(role, joined)

    again = Children(process, sometimes)
    with pytest.raises(OSError, match="no process"):
        again.watch()
    assert again.watch()
    assert {role: len(found) for role, found in started.items()} == dict.fromkeys(ROLES, 1)


def test_at_the_end_children_are_asked_first_and_killed_if_they_do_not_hear(children):
    watched, started, _ = children
    watched.watch()
    (worker,), (jobs,) = started["worker"], started["jobs"]
    worker.obeys = False
    watched.end()
    assert worker.calls == ["stop", "join", "kill"]
    assert jobs.calls == ["stop", "join"]


def test_a_refused_token_is_said_once_and_told_with_each_sign_of_life(process, server):
    said = []
    loop = looking(process, said.append)

    def told():
        with process.store.reading() as connection:
            return work.trouble(work.living(connection))

    server.checks = lambda: [Check("server", True, "there"), Check("token", False, "answered 401", "Make another one.")]
    loop.round()
    loop.round()
    assert said == ["token: answered 401. Make another one."]
    assert told() == said[0]
    process.beat()
    assert told() == said[0]
    server.checks = lambda: [Check("token", True, "accepted")]
    loop.round()
    assert said[1:] == ["The labeling tool can be used again."]
    assert told() == ""


def test_a_service_without_a_token_does_not_start(tmp_path):
    settings = ServiceSettings(database=f"sqlite:///{tmp_path}/store.db", port=0)
    with pytest.raises(SettingError, match="setting label_studio_token is empty"):
        serve(settings, lambda *_: pytest.fail("it started"), print)


def test_of_two_starts_at_once_the_second_is_told_that_the_port_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr("annotriage.service.operations.serve.start_log", lambda role: None)
    port = free_port()
    settings = ServiceSettings(database=f"sqlite:///{tmp_path}/store.db", label_studio_token="unused", port=port)

    def start_another(process, listener):
        with listener, contextlib.closing(process):
            return serve(settings, start_another, lambda said: pytest.fail(said))

    with pytest.raises(SettingError, match=f"cannot listen on 127.0.0.1:{port}"):
        serve(settings, start_another, lambda said: pytest.fail(said))


def test_of_two_services_on_one_sqlite_file_the_second_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("annotriage.service.operations.serve.start_log", lambda role: None)
    address = f"sqlite:///{tmp_path / 'store.db'}"
    first = Store(address)
    first.reserve()
    settings = ServiceSettings(database=address, label_studio_token="t", port=0)
    with pytest.raises(StoreError, match="another annotriage serve runs on this file"):
        serve(settings, lambda *_: pytest.fail("it does not get so far"), lambda _: None)
    first.close()
    second = Store(address)
    second.reserve()  # whose process is gone holds nothing
    second.close()


def test_several_services_may_share_a_postgresql(postgres):
    stores = [Store(postgres) for _ in range(2)]
    for store in stores:
        store.reserve()
        store.close()
