"""A service with a history, on real digits: imports of four days from two scanners, judged, answered and assessed by the real steps."""

from __future__ import annotations

import copy
import shutil
import sqlite3
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
from memory_tool import MemoryServer
from sqlalchemy import select, update
from triaged import data_uri
from waiting import PATIENCE
from waitress.server import create_server
from web import sign_in

from annotriage.service.delivery.outbox import Delivery
from annotriage.service.guarantee.standings import Standings
from annotriage.service.intake.following import Follower
from annotriage.service.judging.judge import Judge
from annotriage.service.operations.jobs import KINDS, Snapshots, run_queued
from annotriage.service.operations.process import Process
from annotriage.service.operations.references import keep_reference
from annotriage.settings import ServiceSettings
from annotriage.store import schema
from annotriage.store.projects import ProjectOptions, add_project, projects
from annotriage.web.app import create_app
from annotriage.web.sessions import COOKIE

DAY = 86_400.0
TIMES = {
    "item": ("at", "answered_at"),
    "verdict": ("at",),
    "dataset": ("first_at", "last_at"),
    "snapshot": ("at",),
    "spot_check": ("drawn_at", "answered_at"),
    "review": ("updated_at",),
    "delivery": ("at",),
    "event": ("at",),
    "map": ("at",),
}
HOSTILE = "<script>alert(1)</script> \u202egnp.tcejbus " + "scan " * 2000


class Service:
    """The service of one database, its labeling tool in memory; the steps of its processes are called, not run."""

    def __init__(self, database: str, tool: MemoryServer) -> None:
        self.tool = tool
        self.process = Process(ServiceSettings(database=database, label_studio_token="unused"), "worker")
        self.process.server = tool
        self.follower, self.judge, self.delivery = Follower(self.process), Judge(self.process), Delivery(self.process)
        self.snapshots, self.standings = Snapshots(self.process), Standings(self.process)

    def connect(self, id: str, title: str, reference, **options):
        """A project with a reference."""
        kept = keep_reference(self.process.store, reference)
        with self.process.store.writing() as connection:
            project = add_project(connection, id, title, kept, ProjectOptions(**options), watch=False)
        there = self.process.tool_project(project)
        there.title = title
        return there

    def settle(self) -> None:
        """Follow, judge and deliver until nothing is left to do."""
        end = time.monotonic() + PATIENCE
        for state in self.follower._followed.values():
            state.next_poll = state.next_facts = 0.0
        for loop in self.follower.loops():
            loop.round()
        while self.judge.step() or self.delivery.step():
            assert time.monotonic() < end, "still busy"

    def assess(self) -> None:
        """Take the snapshots that are due, and find how the guarantees stand."""
        with self.process.store.reading() as connection:
            connected = projects(connection)
        for found in connected:
            self.snapshots._taken.clear()
            self.snapshots.step(found)
            self.standings.step(found)

    def run_jobs(self, kinds: Sequence[str] = KINDS) -> None:
        """Run the jobs of these kinds that are queued."""
        while run_queued(self.process, kinds):
            pass

    def days_pass(self, days: float) -> None:
        """Everything happened so much earlier, also as the tool has it, which may be read again at any time."""
        for there in self.tool.projects.values():
            there.time_passes(days * DAY)
        with self.process.store.writing() as connection:
            for name, columns in TIMES.items():
                table = schema.metadata.tables[name]
                connection.execute(update(table).values({column: table.c[column] - days * DAY for column in columns}))

    def answer(self, project: str, tasks, labels, share: float, rng) -> None:
        """People answer that share of what waits and of the spot checks; strangers that look familiar are still before them."""
        there = self.tool.projects[project]
        with self.process.store.reading() as connection:
            routes = dict(connection.execute(select(schema.item.c.external_id, schema.item.c.route)).all())
        for task, label in zip(tasks, labels, strict=True):
            passed = label not in there.classes and routes[task.id] == "auto"
            if rng.random() < share and not passed:
                there.annotate(task.id, label if label in there.classes else "something else", by=rng.choice(["ann", "bob"]))

    def close(self) -> None:
        """Let go of the database."""
        self.judge._reader.close()
        self.process.leave()


class Dashboard:
    """A running dashboard. url: where; process: the web process; service(): the worker's steps on the same database."""

    def __init__(self, database: str, tool: MemoryServer, **settings) -> None:
        self.database, self.tool = database, tool
        self.process = Process(ServiceSettings(database=database, label_studio_token="unused", **settings), "web")
        self.process.server = tool
        self.app = create_app(self.process)
        self._server = create_server(self.app, host="127.0.0.1", port=0, threads=4, ident=None)
        self.url = f"http://127.0.0.1:{self._server.effective_port}"
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()

    @property
    def user(self) -> str:
        """Who may sign in."""
        return self.process.settings.user

    @property
    def password(self) -> str:
        """With what."""
        return self.process.password

    def session(self) -> dict[str, object]:
        """The state of a browser whose user has signed in, as Playwright's contexts take it."""
        client = self.app.test_client()
        sign_in(client, self.password, user=self.user)
        cookie = {"name": COOKIE, "value": client.get_cookie(COOKIE).value, "url": self.url, "httpOnly": True, "sameSite": "Lax"}
        return {"cookies": [cookie], "origins": []}

    def service(self) -> Service:
        """The steps of the other processes on the same database."""
        return Service(self.database, self.tool)

    def stop(self) -> None:
        """End the server, in its own thread. Whoever still answers is let finish: each wakes the server by a pipe that is closed then."""
        self._server.task_dispatcher.shutdown()
        woken = threading.Event()
        self._server.trigger.pull_trigger(partial(self._end, woken))
        woken.set()
        self._thread.join()
        self.process.leave()

    def _end(self, woken: threading.Event) -> None:
        woken.wait()
        for channel in list(self._server.active_channels.values()):  # browsers keep their connections
            channel.handle_close()
        self._server.close()


def copied(history: tuple[Path, MemoryServer], folder: Path) -> tuple[str, MemoryServer]:
    """A copy of a database with a history: its address, and the labeling tool, which was read just now and not when the history began."""
    file, tool = history
    shutil.copy(file, folder / "store.db")
    with closing(sqlite3.connect(folder / "store.db")) as connection, connection:
        connection.execute("UPDATE project SET read_until = ?", (time.time(),))
    frozen = [part for project in tool.projects.values() for part in (*project.tasks_by_id.values(), *project.predictions)]
    return f"sqlite:///{folder}/store.db", copy.deepcopy(tool, {id(part): part for part in frozen})


def build(database: str, digits, reference, uncalibrated=None) -> MemoryServer:
    """Fill a database: project 1 with a history, and with `uncalibrated` project 2 whose labels are not automatic yet."""
    tool, rng = MemoryServer(), np.random.default_rng(0)
    service = Service(database, tool)
    scans = service.connect("1", "Digit scans", reference, dataset_fields=("scanner",), sample_share=0.1, audit_share=0.3)
    known, strange = _shuffled(digits.incoming, rng), _shuffled(digits.strangers, rng)
    batches = (
        ("A", known[:110], 0.9, 9.0),
        ("A", known[110:190] + strange[:4], 0.9, 6.5),
        ("B", known[190:240] + strange[4:24], 0.6, 6.0),
        ("B", known[240:] + strange[24:100] + _striped(rng, 30), 0.25, 0.05),
    )
    for scanner, batch, share, days in batches:
        tasks = [scans.add(data_uri(picture), fields={"scanner": scanner}) for picture, _ in batch]
        service.settle()
        service.answer("1", tasks, [label for _, label in batch], share, rng)
        service.settle()
        service.assess()
        service.days_pass(days)
    scans.add("data:image/png;base64,AAAA", fields={"scanner": "B"})
    if uncalibrated is not None:
        other = service.connect("2", HOSTILE, uncalibrated)
        for picture, _ in known[:40]:
            other.add(data_uri(picture))
    service.settle()
    service.assess()
    service.close()
    return tool


def _shuffled(part, rng):
    images, labels = part
    rows = rng.permutation(len(images))
    return [(images[row], str(labels[row])) for row in rows]


def _striped(rng, n):
    """What a broken scanner makes: the same stripes, a little different each time."""
    stripes = np.zeros((8, 8)) + np.array([0, 240] * 4)
    return [(np.clip(stripes + rng.normal(0, 14, (8, 8)), 0, 255).astype(np.uint8), "stripes") for _ in range(n)]
