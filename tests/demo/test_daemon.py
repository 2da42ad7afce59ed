"""Programs that outlive the process which started them."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import psutil
import pytest
from waiting import wait_until

from annotriage.demo import daemon
from annotriage.demo.daemon import begun
from annotriage.errors import SettingError

SLEEPER = "import time; print('up', flush=True); time.sleep(600)"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEPER!r}])"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPER}"


@pytest.fixture
def begin(tmp_path):
    """Begins a Python program and waits until it (or its child) says that it is up; whatever runs still is ended."""
    log, begun_ones = tmp_path / "log", []

    def begin(program):
        with begun([sys.executable, "-c", program], log, os.environ) as begun_one:
            begun_ones.append(begun_one)
        wait_until(lambda: "up" in log.read_text("utf-8"), what="for the program")
        return begun_one

    yield begin
    for begun_one in begun_ones:
        begun_one.end()


def has_ended(process):
    """Whether a process runs no more; in a container nobody may take it away."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_program_runs_on_until_it_is_ended(begin):
    program = begin(SLEEPER)
    assert program.is_running()
    program.end()
    assert not program.is_running()
    program.end()


def test_its_children_are_ended_with_it(begin, monkeypatch):
    monkeypatch.setattr(daemon, "PATIENCE", 0.5)
    program = begin(PARENT)
    (child,) = psutil.Process(program.pid).children()
    program.end()
    wait_until(lambda: has_ended(child), what="for the end of the child")


def test_one_that_does_not_listen_is_killed(begin, monkeypatch):
    monkeypatch.setattr(daemon, "PATIENCE", 0.5)
    program = begin(DEAF)
    program.end()
    wait_until(lambda: not program.is_running(), what="for its end")


def test_a_later_process_with_the_same_id_is_another(begin):
    earlier = replace(begin(SLEEPER), started=1_000_000.0)
    assert not earlier.is_running()


def test_a_block_that_fails_ends_its_program(tmp_path):
    with pytest.raises(KeyError), begun([sys.executable, "-c", SLEEPER], tmp_path / "log", os.environ) as program:
        raise KeyError
    assert not program.is_running()


def test_a_program_that_is_not_there_is_told(tmp_path):
    with pytest.raises(SettingError, match="cannot be run"), begun([str(tmp_path / "gone")], tmp_path / "log", {}):
        pass
