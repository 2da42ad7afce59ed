"""Replicas judge alike or not together: who has another model, or another time, may not join, and leaves its work to those who can."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager

import pytest
from triaged import import_tasks
from waiting import PATIENCE, wait_until

from annotriage.engine.fitting import fit
from annotriage.errors import MismatchError, ModelError, StateError
from annotriage.service.judging import judge as judging
from annotriage.service.judging.judge import Judge
from annotriage.service.operations import joining, loops
from annotriage.service.operations.joining import REFUSED, refuse_unlike
from annotriage.service.operations.machine import machine
from annotriage.service.operations.process import JOINING, Process
from annotriage.service.operations.worker import run_worker
from annotriage.store import work
from annotriage.store.projects import change_project, project_of
from annotriage.store.schema import work as work_rows

FACTORY = """
import torch
from torch import nn

def made():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 8))
"""


@pytest.fixture
def another(process):
    """A worker of another replica on the same database, which lives."""
    other = Process(process.settings, "worker")
    other.server = process.server
    other.beat()
    yield other
    other.leave()


@pytest.fixture
def made_by_code(tmp_path, monkeypatch, digits, quick):
    """A reference whose model is made by a module of this machine; and what changes that module."""
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # both texts are as long, and may be of the same second
    package, where = f"made_{tmp_path.name}", tmp_path / "code"
    where.mkdir()
    monkeypatch.syspath_prepend(where)

    def write(code):
        (where / f"{package}.py").write_text(code, "utf-8")
        sys.modules.pop(package, None)

    write(FACTORY)
    scope: dict[str, object] = {}
    exec(FACTORY, scope)
    torch.manual_seed(0)
    torch.save(scope["made"]().state_dict(), tmp_path / "weights.pt")
    lines = ["[model]", f'factory = "{package}:made"', 'weights = "weights.pt"', f"classes = {[str(digit) for digit in range(8)]}"]
    (tmp_path / "model.toml").write_text("\n".join([*lines, "[input]", "size = [8, 8]", 'mode = "L"']), "utf-8")
    return fit(tmp_path / "model.toml", digits.train, digits.held_out, settings=quick, name="made by code"), write


@pytest.mark.torch
def test_a_replica_whose_code_makes_another_model_is_not_let_join(process, connect, made_by_code, another, caplog):
    reference, write = made_by_code
    connect("7", reference)
    refuse_unlike(process, Judge(process).open)
    write(FACTORY.replace("ReLU", "Tanh"))
    another.beat()  # it may have had to wait for long
    said = r"cannot join the others: project 7: .* gives other answers .* the code of made_.* differs on this machine"
    with pytest.raises(MismatchError, match=said):
        refuse_unlike(process, Judge(process).open)
    another.beat()
    with pytest.raises(SystemExit) as ended:
        run_worker(process)
    assert ended.value.code == REFUSED
    assert "not let join" in caplog.text


def test_a_replica_whose_clock_is_off_is_not_let_join(process, another, monkeypatch):
    monkeypatch.setattr(joining, "seconds_of_database", lambda _: time.time() + 45)
    with pytest.raises(StateError, match="clock is 45 s behind the database's"):
        refuse_unlike(process, lambda _: None)
    another.leave()
    refuse_unlike(process, lambda _: None)  # alone it may be as wrong as it likes


def roles(process):
    with process.store.reading() as connection:
        return {row.owner: row.role for row in work.living(connection)}


@contextmanager
def at_work(process, joined=False):
    """A worker that runs in a thread, and stops as the block ends."""
    running = threading.Thread(target=run_worker, args=(process, joined))
    running.start()
    try:
        yield
    finally:
        process.stopping.set()
        running.join()


def test_a_worker_gives_signs_of_life_while_it_loads_models_and_nobody_counts_on_it_before_it_has_joined(
    process, connect, another, monkeypatch
):
    connect("7")
    loaded = threading.Event()
    monkeypatch.setattr(loops, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(Judge, "open", lambda *_: loaded.wait(PATIENCE))
    with at_work(process):
        try:
            wait_until(lambda: process.beats > 3)
            another.beat()
            assert roles(another) == {another.owner: "worker", process.owner: JOINING}
            assert (another.others("worker"), loops.leads(another), loops.leads(process)) == ([], True, False)
        finally:
            loaded.set()
        wait_until(lambda: roles(another)[process.owner] == "worker")
        another.beat()
        assert [row.owner for row in another.others("worker")] == [process.owner]
        assert loops.leads(another)
    another.beat()
    assert list(roles(another)) == [another.owner]


def test_a_project_that_nobody_can_judge_keeps_no_replica_from_joining(process, connect, another):
    project, _ = connect("7")

    def cannot(_):
        raise ModelError("it needs torch")

    with pytest.raises(ModelError, match="project 7: it needs torch"):
        refuse_unlike(process, cannot)
    with process.store.writing() as connection:
        change_project(connection, project.id, trouble="it needs torch")
    refuse_unlike(process, cannot)


def test_a_worker_that_has_worked_before_is_started_again_though_it_cannot_judge_all(process, connect, another, monkeypatch):
    connect("7")

    def cannot(*_):
        raise ModelError("it needs torch")

    monkeypatch.setattr(Judge, "open", cannot)
    with at_work(process, joined=True):
        wait_until(lambda: roles(another).get(process.owner) == "worker")


def test_what_one_replica_cannot_judge_another_does_and_people_are_told_only_where_none_can(process, connect, another, digits):
    project, tool = connect(sample_share=0.0, audit_share=0.0)
    import_tasks(process, project, tool, digits.incoming[0][:3])
    unable, able = Judge(process), Judge(another)
    process.beat()

    def cannot(_):
        raise ModelError("it needs torch")

    def trouble():
        with process.store.reading() as connection:
            return project_of(connection, project.external_id).trouble, work.waiting(connection, project.id, project.reference_id)

    unable.open = cannot
    assert unable.step()
    assert not unable.step(), "it takes no more of what it cannot judge"
    assert trouble() == (None, 3)
    assert able.step(), "and what it has left need not be waited for"
    assert trouble() == (None, 0)
    import_tasks(process, project, tool, digits.incoming[0][3:5])
    another_one = Judge(another)
    another_one.open = cannot
    unable._left.clear()  # half a minute later
    for judge in (another_one, unable):
        assert judge.step()
        assert trouble() == (None, 2)
    for id, (_, works) in another_one._left.items():
        another_one._left[id] = (0.0, works)
    assert another_one.step()
    assert trouble() == ("it needs torch", 2)


def test_people_are_told_that_nobody_can_judge_however_much_waits(process, connect, another, digits, monkeypatch):
    monkeypatch.setattr(judging, "FEWEST", 2)
    project, tool = connect(sample_share=0.0, audit_share=0.0)
    import_tasks(process, project, tool, digits.incoming[0][:9])
    judges = Judge(process), Judge(another)
    process.beat()

    def cannot(_):
        raise ModelError("it needs torch")

    def trouble():
        with process.store.reading() as connection:
            return project_of(connection, project.external_id).trouble

    for judge in judges:
        judge._size = judging.FEWEST
        able, judge.open = judge.open, cannot
        for claimed in [judge._claim() for _ in range(3)]:  # one that is judged, and two ahead
            with ExitStack() as turn:
                judge._judge(claimed, turn)
    assert trouble() is None, "each may think that the other one can"
    judge._left = {id: (0.0, works) for id, (_, works) in judge._left.items()}  # half a minute later
    assert judge.step()
    assert trouble() == "it needs torch"
    judge.open = able
    with process.store.writing() as connection:
        connection.execute(work_rows.update().values(not_before=0.0))
    assert judge.step()
    assert (trouble(), judge._left) == (None, {}), "what it can judge again it may leave to others again"


def test_processes_are_counted_where_their_numbers_are(process):
    ask = [sys.executable, "-c", "from annotriage.service.operations.machine import machine; print(machine())"]
    assert subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip() == machine() == process.host
    inside = subprocess.run(["unshare", "--pid", "--fork", *ask], capture_output=True, text=True)
    if inside.returncode:
        pytest.skip("processes may not be counted anew here")
    name, _, mark = inside.stdout.strip().partition(" ")
    assert (name, mark) != tuple(machine().split(" ")), "a container that has its machine's name is not this machine"
    assert name == machine().split(" ")[0]


def test_a_process_that_is_bound_to_one_core_has_one():
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("processes cannot be bound to cores here")
    core = min(os.sched_getaffinity(0))
    bound = f"import os; os.sched_setaffinity(0, {{{core}}}); from annotriage.model.cores import cores; print(cores())"
    assert subprocess.run([sys.executable, "-c", bound], capture_output=True, text=True, check=True).stdout == "1\n"


def test_slow_models_claim_little_at_a_time_so_that_other_replicas_find_some(process, connect, another, digits, monkeypatch):
    monkeypatch.setattr(judging, "CLAIM_SECONDS", 0.0)  # as of a model that takes a second for an item
    project, tool = connect(sample_share=0.0, audit_share=0.0)
    import_tasks(process, project, tool, digits.incoming[0][:80])
    claims = [judge._claim() for judge in (Judge(process), Judge(another))]
    assert [len(claimed.rows) for claimed in claims] == [judging.FEWEST] * 2
    for claimed in claims:
        claimed.media.close()
