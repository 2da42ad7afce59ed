"""Replicas judge alike or not together: who has another model, or another time, is not let join, and leaves its work to those who can."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from triaged import import_tasks

from annotriage.engine.fitting import fit
from annotriage.errors import MismatchError, ModelError, StateError
from annotriage.service.judging import judge as judging
from annotriage.service.judging.judge import Judge
from annotriage.service.operations import joining
from annotriage.service.operations.joining import REFUSED, refuse_unlike
from annotriage.service.operations.machine import machine
from annotriage.service.operations.process import Process
from annotriage.service.operations.worker import run_worker
from annotriage.store import work
from annotriage.store.projects import project_of

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
def test_a_replica_whose_code_makes_another_model_is_not_let_join(process, connect, another, made_by_code, monkeypatch, caplog):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # both texts are as long, and may be of the same second
    reference, write = made_by_code
    connect("7", reference)
    refuse_unlike(process, Judge(process).open)
    write(FACTORY.replace("ReLU", "Tanh"))
    with pytest.raises(MismatchError, match=r"cannot join the others: project 7: .* answers otherwise .* the code of made_"):
        refuse_unlike(process, Judge(process).open)
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
    bound = f"import os; os.sched_setaffinity(0, {{{core}}}); from annotriage.service.operations.machine import cores; print(cores())"
    assert subprocess.run([sys.executable, "-c", bound], capture_output=True, text=True, check=True).stdout == "1\n"


def test_slow_models_claim_little_at_a_time_so_that_other_replicas_find_some(process, connect, another, digits, monkeypatch):
    monkeypatch.setattr(judging, "CLAIM_SECONDS", 0.0)  # as of a model that takes a second for an item
    project, tool = connect(sample_share=0.0, audit_share=0.0)
    import_tasks(process, project, tool, digits.incoming[0][:80])
    claims = [judge._claim() for judge in (Judge(process), Judge(another))]
    assert [len(claimed.rows) for claimed in claims] == [judging.FEWEST] * 2
    for claimed in claims:
        claimed.media.close()
