"""Storms of SIGKILL: a process, or all, ended at some moment of what they do."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from random import Random
from typing import cast

from faulty_proxy import Answer, Call
from label_studio import OwnLabelStudio
from storm_site import CONFIG, TASKS, Sent, Site
from waiting import PATIENCE

PREDICTIONS = re.compile(r"/api/(projects/\d+/import/)?predictions/?($|\?)")
FIELDS = re.compile(r"/api/tasks/\d+/")
PROCESSES = ("worker", "jobs", "web", "all")
CALLS = 25  # of Label Studio while a project is connected, those of the service's polls among them

Act = Callable[[Site, Random], str]


def kill_while(stage: str) -> Act:
    """Kill a process while tasks are taken in, judged, or written down."""

    def act(site: Site, rng: Random) -> str:
        role = rng.choice(PROCESSES)
        site.send(TASKS)
        site.moment(stage)
        time.sleep(rng.uniform(0, 0.1))
        site.kill(role)
        return ""

    return act


def kill_again_and_again(site: Site, rng: Random) -> str:
    """Tasks trickle in, and at any moment any process is killed, whether or not the last one was replaced yet."""
    for _ in range(rng.randint(5, 30)):
        site.send(TASKS // 8)
        time.sleep(rng.choice((0.2, 1, 5)) * rng.random())
        site.kill_any()
    return ""


def kill_at_work(site: Site, rng: Random) -> str:
    """Tasks trickle in, and each kind of process is killed at random moments after it has begun to work: the pauses before one that died
    again is started begin anew with the web process."""
    for _ in range(rng.randint(2, 4)):
        others = ["worker", "jobs"] * 2
        rng.shuffle(others)
        for role in (*others, "web"):
            site.wait(lambda role=role: role in site.pids(), f"for a {role} process that works")  # type: ignore[misc]
            site.send(TASKS // 8)
            time.sleep(rng.choice((0.2, 1, 4)) * rng.random())
            site.kill(role)
    return ""


def kill_at_call(pattern: re.Pattern[str], methods: tuple[str, ...]) -> Act:
    """Kill the caller as a call to Label Studio is on its way there, or the answer on its way back; sometimes again as it is read back."""

    def act(site: Site, rng: Random) -> str:
        role = rng.choice(("worker", "all") if pattern is PREDICTIONS else ("jobs", "all"))
        arrives, again = rng.random() < 0.6, rng.random() < 0.3
        met = threading.Event()

        def behave(call: Call) -> Answer | None:
            if met.is_set() or call.method not in methods or not pattern.search(call.path):
                return call.forward()
            if arrives:
                call.forward()
            met.set()
            return None

        with site.tool.behaving(behave):
            site.send(TASKS)
            if met.wait(60):  # fields are written of what waits for people alone
                site.kill(role)
        if again:
            time.sleep(rng.uniform(0, 8))
            site.kill("worker")
        return ""

    return act


def kill_connect(site: Site, rng: Random) -> str:
    """Kill `annotriage connect` at some calls to Label Studio, before they arrive or after; the next one mends what each left."""
    project = site.studio.project(CONFIG)
    for _ in range(rng.randint(1, 3)):
        left, arrives, met = rng.randint(1, CALLS), rng.random() < 0.5, threading.Event()

        def behave(call: Call, arrives: bool = arrives, met: threading.Event = met) -> Answer | None:
            nonlocal left
            left -= 1
            if left > 0 or met.is_set():
                return call.forward()
            if arrives:
                call.forward()
            met.set()
            time.sleep(0.5)  # until it is killed
            return None

        with site.tool.behaving(behave):
            begun = site.service.begin("connect", "--project", project, "--reference", site.reference)
            site.wait(lambda begun=begun, met=met: met.is_set() or begun.poll() is not None, "for calls of connect", every=0.01)  # type: ignore[misc]
            if begun.poll() is None:
                begun.kill()
                site.killed["connect"] += 1
            begun.communicate()
    site.service.command("connect", "--project", project, "--reference", site.reference)
    site.project = Sent(project)
    site.send(TASKS)
    return ""


def kill_migration(site: Site, rng: Random) -> str:
    """Kill a service as it makes its database, one to three times; then it starts, and is connected."""
    site.service.stop()
    site.empty_database()
    for _ in range(rng.randint(1, 3)):
        site.service.launch()
        end = time.monotonic() + PATIENCE
        while not site.is_opened() and time.monotonic() < end:
            time.sleep(0.001)
        time.sleep(rng.choice((0.05, 0.3, 2)) * rng.random())
        site.kill("all", again=False)
    site.start()
    site.project = site.connect()
    site.send(TASKS)
    return ""


def kill_acceptance(site: Site, rng: Random) -> str:
    """Kill the worker as it makes annotations of automatic labels: before, after, or in the midst of it."""
    site.choose_accepting()
    met, arrives = threading.Event(), rng.random() < 0.6

    def behave(call: Call) -> Answer | None:
        if met.is_set() or "/api/dm/actions" not in call.path:
            return call.forward()
        if arrives:
            call.forward()
        met.set()
        return None

    with site.tool.behaving(behave):
        site.earn_acceptance(met.is_set)
        site.kill(rng.choice(("worker", "all")))
    site.wait(site.all_accepted, "for the automatic labels of batches that have earned it to be annotations")
    return ""


def kill_label_studio(site: Site, rng: Random) -> str:
    """Kill Label Studio itself, at any moment or in the midst of a call that changes something, and start it again; up to three times."""
    studio, told = cast(OwnLabelStudio, site.studio), ""
    for _ in range(rng.randint(1, 3)):
        met = threading.Event()

        def behave(call: Call, met: threading.Event = met) -> Answer | None:
            if call.method != "GET" and rng.random() < 0.3:
                threading.Timer(rng.uniform(0, 0.3), met.set).start()
            return call.forward()

        with site.tool.behaving(behave):
            site.send(TASKS)
            met.wait(rng.uniform(0, 10))
            studio.kill()
            site.killed["Label Studio"] += 1
        told = site.told("Label Studio|labeling tool")
        studio.start()
    return told
