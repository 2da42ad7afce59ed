"""The storms: what may happen to a service, each in a block of code that begins it, lets tasks come in meanwhile, and ends it.

A storm returns what doctor and /ready said while it lasted, if it lasts long enough to be asked; "" otherwise.
"""

from __future__ import annotations

import json
import os
import resource
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from random import Random

import outages
import psutil
from faulty_proxy import Answer, Behaviour, Call
from replicas import ask_in_turn
from sqlalchemy import text
from storm_kills import (
    FIELDS,
    PREDICTIONS,
    Act,
    kill_acceptance,
    kill_again_and_again,
    kill_at_call,
    kill_at_work,
    kill_connect,
    kill_label_studio,
    kill_migration,
    kill_while,
)
from storm_site import TASKS, Site, State
from storm_upgrades import upgrade_killed, upgrade_side_by_side

UNWRITABLE = "database"  # what doctor says if it cannot write either,
UNWRITING = "sign of life"  # and if the service's processes alone cannot
READY = "/ready 503: the database"  # what /ready says in both cases

UNKNOWN = State(lost=-1, doubled=-1, wrong=-1, share=0.0, expected=0.0, open=-1)


@dataclass(frozen=True)
class Storm:
    """A fault. only: the database that it is for, studio: the Label Studio, `fake` or `real`; "" for both."""

    name: str
    act: Act
    only: str = ""
    studio: str = ""


@dataclass(frozen=True)
class Outcome:
    """How a storm ended. recovery: seconds from its end until everything was sound again. told: what doctor and /ready said meanwhile.
    killed: processes killed, by what they were."""

    storm: str
    state: State
    recovery: float
    told: str
    unforeseen: int
    killed: Counter[str]
    failure: str = ""

    @property
    def line(self) -> str:
        """In a line."""
        found = f"lost {self.state.lost}, doubled {self.state.doubled}, unforeseen {self.unforeseen}"
        return f"{self.storm}: {'NOT SOUND, ' if self.failure else ''}{found}, {self.recovery:.1f} s. {self.told}"


def run(site: Site, storm: Storm, rng: Random) -> Outcome:
    """One storm, and what was true after it."""
    unforeseen = site.unforeseen()
    told, failure, killed = "", "", site.killed.copy()
    try:
        site.choose_project()
        told = storm.act(site, rng)
    except Exception as error:  # the table says so, and the next storm comes
        failure = f"{type(error).__name__}: {error}"
    ended = time.monotonic()
    try:
        state = site.settle()
    except Exception as error:
        failure += f"{type(error).__name__}: {error}"
        state = UNKNOWN
        with suppress(Exception):
            state = site.state()
    return Outcome(storm.name, state, time.monotonic() - ended, told, site.unforeseen() - unforeseen, site.killed - killed, failure)


# -- stopping


def stop_process(site: Site, rng: Random) -> str:
    """A process that sleeps for longer than its leases: others take over what it held, and it finds that out."""
    role = rng.choice(("worker", "jobs", "web"))
    began = time.monotonic()
    with ExitStack() as ended:
        if rng.random() < 0.5:
            site.send(TASKS)
            site.moment("inference")
        lives = ended.enter_context(site.stopped(role))
        if role != "web":
            site.send(TASKS)
        ready = {"worker": "/ready 503: .*worker", "web": "/ready: ReadTimeout", "jobs": ""}[role]
        told = site.told(f"{role} process gave its last|no sign of life from .*{role}", ready=ready, unless=lambda: not lives())
        time.sleep(max(0.0, rng.uniform(32, 75) - (time.monotonic() - began)) if lives() else 0.0)
    site.send(TASKS)
    return told


# -- the database


def disk_full(site: Site, rng: Random) -> str:
    """No byte more for a while: on a small file system a real one, elsewhere by the largest size that a file may have."""
    with _full(site) as doctor:
        site.send(TASKS)
        time.sleep(rng.uniform(0, 10))
        return site.told(doctor, READY)


@contextmanager
def _full(site: Site) -> Iterator[str]:
    """The value: what doctor says, where that does not take long."""
    ballast = site.folder / "ballast"
    if os.path.ismount(site.folder):
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"\0" * 4096)
        try:
            yield UNWRITABLE
        finally:
            ballast.unlink()
        return
    with _limited(site):
        yield ""


@contextmanager
def _limited(site: Site) -> Iterator[str]:
    """No process of the service can let a file grow, beyond what is in it at this moment. The value: what doctor says."""
    limit = resource.RLIMIT_FSIZE
    try:
        for one in site.processes():
            one.rlimit(limit, (0, resource.RLIM_INFINITY))
        yield UNWRITING
    finally:
        for one in site.processes():  # the web process first: what it starts from now on has no limit
            with suppress(psutil.Error):
                one.rlimit(limit, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def unwritable(site: Site, rng: Random) -> str:
    """Whatever is written fails, on SQLite as on a file system that became read-only; PostgreSQL takes no connections."""
    with _limited(site) if site.store.is_sqlite else outages.unusable(site.service.settings.database) as doctor:
        site.send(TASKS)
        time.sleep(rng.uniform(0, 20))
        return site.told(doctor or UNWRITABLE, READY)


def read_only(site: Site, rng: Random) -> str:
    """The server lets everybody read and nobody write, as a spare one does that has not taken over yet; then it takes over."""
    assert site.postgres is not None
    site.send(TASKS)
    site.postgres.stand_by()
    try:
        site.send(TASKS)
        time.sleep(rng.uniform(0, 20))
        return site.told(UNWRITABLE, READY)
    finally:
        site.postgres.promote()


def locked(site: Site, rng: Random) -> str:
    """Somebody else holds the database for longer than anybody waits for it."""
    with site.store.engine.connect().execution_options(writing=True, until=time.monotonic() + 10) as connection, connection.begin():
        if not site.store.is_sqlite:
            connection.execute(text("LOCK TABLE work, delivery, item IN ACCESS EXCLUSIVE MODE"))
            connection.execute(text("LOCK TABLE heartbeat IN EXCLUSIVE MODE"))
        site.send(TASKS)
        time.sleep(rng.uniform(0, 12))
        return site.told(UNWRITABLE, READY)


def restart_postgresql(site: Site, rng: Random) -> str:
    """The database crashes and comes back, once or several times, while tasks come in."""
    assert site.postgres is not None
    for _ in range(rng.randint(1, 3)):
        site.send(TASKS)
        time.sleep(rng.uniform(0, 1.5))
        site.postgres.restart()
    return ""


def kill_replica(site: Site, rng: Random) -> str:
    """Two or three services share the database, and one of them is killed with all its processes."""
    others = [site.replica(f"replica-{number}") for number in range(rng.randint(1, 2))]
    try:
        site.send(TASKS)
        site.moment(rng.choice(("intake", "inference", "verdict")))
        if rng.random() < 0.5:
            others.pop().kill()
            site.killed["replica"] += 1
        else:
            site.kill("all")
        site.send(TASKS)
        site.settle()
    finally:
        for other in others:
            other.stop()
    return ""


# -- Label Studio


def label_studio(behaviour: Callable[[Random, float], Behaviour], share: float, doctor: str = "") -> Act:
    """Label Studio answers a share of all calls otherwise than it should, for a few seconds, and then every call. doctor: what it says of
    that; the service itself is ready all the time.
    """

    def act(site: Site, rng: Random) -> str:
        with site.tool.behaving(behaviour(rng, share)):
            site.send(TASKS)
            time.sleep(rng.uniform(2, 10))
        with site.tool.behaving(behaviour(rng, 1.0)):
            return site.told(doctor)

    return act


def label_studio_stopped(site: Site, rng: Random) -> str:
    """Nothing listens at Label Studio's address."""
    site.tool.stop()
    try:
        site.send(TASKS)
        time.sleep(rng.uniform(0, 12))
        return site.told("Label Studio|labeling tool")
    finally:
        site.tool.start()


def failing(status: int) -> Callable[[Random, float], Behaviour]:
    """Calls are answered with an error, some of them after all was done."""

    def behaviour(rng: Random, share: float) -> Behaviour:
        def behave(call: Call) -> Answer | None:
            if rng.random() >= share:
                return call.forward()
            if call.method != "GET" and rng.random() < 0.5:
                call.forward()
            return Answer(status, (("Content-Type", "application/json"),), b'{"detail": "a storm"}')

        return behave

    return behaviour


def slow(rng: Random, share: float) -> Behaviour:
    """Calls take seconds."""

    def behave(call: Call) -> Answer | None:
        if rng.random() < share:
            time.sleep(rng.uniform(0.5, 4))
        return call.forward()

    return behave


def half(rng: Random, share: float) -> Behaviour:
    """Answers end in their middle, or are never given; what was asked is done."""

    def behave(call: Call) -> Answer | None:
        answer = call.forward()
        if rng.random() >= share or not answer.content:
            return answer
        return None if rng.random() < 0.3 else Answer(answer.status, answer.headers, answer.content, rng.randrange(len(answer.content)))

    return behave


def misshapen(rng: Random, share: float) -> Behaviour:
    """Answers are JSON of another shape, or no JSON."""

    def behave(call: Call) -> Answer | None:
        answer = call.forward()
        if rng.random() >= share:
            return answer
        said = rng.choice((b"[]", b"{}", b"null", b"<html>A proxy</html>", b'{"tasks": null}', b"0", b""))
        return Answer(200, (("Content-Type", rng.choice(("application/json", "text/html"))),), said)

    return behave


# -- webhooks


def webhooks(behaviour: Callable[[Site, Random], Behaviour]) -> Act:
    """Webhooks arrive otherwise than Label Studio sent them."""

    def act(site: Site, rng: Random) -> str:
        behave = behaviour(site, rng)
        with site.hooks.behaving(lambda call: behave(call) if call.path.endswith("/webhook") else call.forward()):
            for _ in range(4):
                site.send(TASKS // 4)
            time.sleep(rng.uniform(0.2, 2))
        return ""

    return act


TAKEN = Answer(200, (("Content-Type", "application/json"),), b"{}")


def dropped(_site: Site, rng: Random) -> Behaviour:
    return lambda call: TAKEN if rng.random() < 0.7 else call.forward()


def doubled(_site: Site, rng: Random) -> Behaviour:
    def behave(call: Call) -> Answer | None:
        for _ in range(rng.randint(1, 3)):
            threading.Thread(target=_forwarded, args=(call,), daemon=True).start()
        return call.forward()

    return behave


def reordered(_site: Site, rng: Random) -> Behaviour:
    def behave(call: Call) -> Answer | None:
        timer = threading.Timer(rng.uniform(0, 3), _forwarded, (call,))
        timer.daemon = True
        timer.start()
        return TAKEN

    return behave


def garbage(site: Site, rng: Random) -> Behaviour:
    """Each webhook with others before it that are cut off, of another shape, or nonsense, all with the right secret."""

    def behave(call: Call) -> Answer | None:
        event = json.loads(call.content)
        nonsense: list[bytes] = [
            call.content[: rng.randrange(len(call.content))],
            rng.randbytes(200),
            b"null",
            json.dumps(event | {"project": {"id": 10**30}}).encode(),
            json.dumps(event | {"tasks": [{"id": 10**9 + rng.randrange(10**6), "data": {"image": "\ud800"}}]}).encode(),
            json.dumps({"action": "TASKS_DELETED", "tasks": event.get("tasks", []), "project": event["project"]}).encode(),
        ]
        for body in rng.sample(nonsense, 3):
            with suppress(OSError):
                call.forward(body)
        return call.forward()

    return behave


def _forwarded(call: Call) -> None:
    with suppress(OSError):
        call.forward()


STORMS = (
    *(Storm(f"kill a process: {stage}", kill_while(stage)) for stage in ("intake", "inference", "verdict")),
    Storm("kill a process: delivery", kill_at_call(PREDICTIONS, ("POST",))),
    Storm("kill a process: fields", kill_at_call(FIELDS, ("PATCH",))),
    Storm("kill a process: acceptance", kill_acceptance),
    Storm("kill a process: connect", kill_connect),
    Storm("kill a process: migration", kill_migration),
    Storm("kill processes at work", kill_at_work),
    Storm("kill processes again and again", kill_again_and_again),
    Storm("upgrade killed, then a downgrade", upgrade_killed),
    Storm("old and new version side by side", upgrade_side_by_side, only="postgresql"),
    Storm("stop a process beyond its leases", stop_process),
    Storm("disk full", disk_full, only="sqlite"),
    Storm("database not writable", unwritable),
    Storm("database read-only", read_only, only="postgresql"),
    Storm("database locked", locked),
    Storm("database crashes", restart_postgresql, only="postgresql"),
    Storm("one of several replicas killed", kill_replica, only="postgresql"),
    Storm("two replicas asked in turn", ask_in_turn, only="postgresql"),
    Storm("Label Studio stopped", label_studio_stopped),
    Storm("Label Studio killed", kill_label_studio, studio="real"),
    Storm("Label Studio answers 500", label_studio(failing(500), 0.5, "Label Studio|labeling tool")),
    Storm("Label Studio answers 503", label_studio(failing(503), 0.9, "Label Studio|labeling tool")),
    Storm("Label Studio slow", label_studio(slow, 1.0)),
    Storm("Label Studio gives half an answer", label_studio(half, 0.5, "Label Studio|labeling tool")),
    Storm("Label Studio answers in other shapes", label_studio(misshapen, 0.4, "Label Studio|labeling tool")),
    Storm("webhooks dropped", webhooks(dropped)),
    Storm("webhooks doubled", webhooks(doubled)),
    Storm("webhooks late and in another order", webhooks(reordered)),
    Storm("webhooks with garbage", webhooks(garbage)),
)
