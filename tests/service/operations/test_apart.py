"""What is done in a process of its own: what it makes comes back, what goes wrong there is told, and it never outlives who asked."""

import multiprocessing
import os
import signal
import threading
import time
from multiprocessing import resource_tracker, spawn

import numpy as np
import psutil
import pytest
from waiting import PATIENCE, wait_until

from annotriage.errors import MediaError
from annotriage.service.operations.apart import apart


def where_and_twice(values):
    return os.getpid(), 2 * values


def fail(kind):
    raise {"value": ValueError("no room for 20,000 points"), "media": MediaError("unreadable", "no picture")}[kind]


def is_there(module):
    try:
        __import__(module)
    except ImportError:
        return False
    return True


def die(number):
    os.kill(os.getpid(), number)


def ask_for_a_long_time(pipe):
    threading.Thread(target=apart, args=("sleep", time.sleep, 600), daemon=True).start()
    pipe.recv()


def test_what_it_makes_comes_back_however_large():
    values = np.arange(1_000_000)
    pid, made = apart("double", where_and_twice, values)
    assert pid != os.getpid()
    assert not psutil.pid_exists(pid)
    assert np.array_equal(made, 2 * values)


def test_what_it_is_to_do_without_is_not_loaded():
    assert apart("import", is_there, "colorsys")
    assert not apart("import", is_there, "colorsys", without=["colorsys"])


def test_its_error_is_raised_with_where_it_came_from():
    with pytest.raises(ValueError, match="no room for 20,000 points") as told:
        apart("fail", fail, "value")
    assert any("in fail" in note for note in told.value.__notes__)


def test_an_error_that_cannot_travel_arrives_in_words():
    with pytest.raises(RuntimeError, match="MediaError: no picture"):
        apart("fail", fail, "media")


def test_one_that_is_killed_says_so():
    with pytest.raises(ChildProcessError, match="may not have been memory enough"):
        apart("die", die, signal.SIGKILL)


def test_one_that_dies_before_it_takes_anything_says_so():
    resource_tracker.ensure_running()
    usual = spawn.get_executable()
    spawn.set_executable("/bin/false")
    try:
        with pytest.raises(ChildProcessError, match="without a result"):
            apart("double", where_and_twice, np.arange(1_000_000))
    finally:
        spawn.set_executable(usual)


def test_one_that_takes_too_long_is_ended():
    with pytest.raises(TimeoutError, match=r"longer than 0\.1 s"):
        apart("sleep", time.sleep, 600, seconds=0.1)
    assert not [child for child in multiprocessing.active_children() if child.name == "annotriage-sleep"]


def test_one_that_nobody_wants_any_more_is_ended():
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(InterruptedError):
        apart("sleep", time.sleep, 600, stopping=stopping)
    assert not [child for child in multiprocessing.active_children() if child.name == "annotriage-sleep"]


def test_it_ends_with_whoever_asked_however_that_ended():
    context = multiprocessing.get_context("spawn")
    _held, theirs = context.Pipe()  # until we let go of it
    asking = context.Process(target=ask_for_a_long_time, args=(theirs,))
    asking.start()
    try:
        found = []

        def asked():
            found[:] = [child for child in psutil.Process(asking.pid).children() if "spawn_main" in " ".join(child.cmdline())]
            return found

        wait_until(asked, what="for the process that was asked for")
        wait_until(lambda: found[0].num_threads() > 1, what="for its lifeline")
    finally:
        asking.kill()
        asking.join()
    psutil.wait_procs(found, timeout=PATIENCE)
    assert not found[0].is_running()
