"""The demo inside the labeling tool: a real server, a project with real digits, and the service that triages them as they come.

Everything lies in one folder: the tool's data, the service's database and log, and their process ids. A second run finds what runs
there and adds to it; `stop` ends both.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from annotriage.advice.guarantee_words import guarantee_sentence
from annotriage.demo import DIGITS
from annotriage.demo.daemon import Daemon, begun, free_port, is_free, last_lines
from annotriage.errors import ToolError
from annotriage.labeling_tool import DEFAULT, DemoServer, labeling_tool
from annotriage.media.data_uri import encode_data_uri
from annotriage.progress import Progress
from annotriage.settings import ServiceSettings, Settings
from annotriage.states import AUTOMATIC_FROM

FIRST = 120  # tasks of the first import
BATCH = 40  # of the following ones
PAUSE = 6.0  # seconds between them, in which one can watch
UP_SECONDS = 60.0
WAIT_SECONDS = 240.0
FIELDS = ("triage_route", "triage_reason")  # of every queued task, spot checks included
CHECKED = "triage_spot_check"  # of spot checks
SERVICE, CONFIG, LOG = "service.json", "annotriage.toml", "service.log"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Found:
    """What annotators find in the demo's project. problems: what is not as it should be."""

    tasks: int
    pre_annotated: int
    empty: int
    queued: int
    checks: int
    with_fields: int
    problems: tuple[str, ...]


def run_live(folder: Path, say: Say, progress: Progress, settings: Settings, *, port: int | None = None, once: bool = False) -> Found:
    """Start everything, import digits in batches and let people look; returns what was found, once all is triaged.

    once: import at once, check, and stop what was started. Raises AnnotriageError if a part does not come up.
    """
    digits, folder = folder.absolute() / DIGITS, folder.absolute() / "live"
    try:
        server, service, project = _started(folder, digits, say, progress, settings, port)
        say(f"\nLog in at {server.url}/projects/{project}/data")
        say(f"  user {server.email}   password {server.password}")
        say("  Tab “Manual review”: strangest first. The Label button mixes spot checks in; no two people get one task.\n")
        imported = _import_batches(folder, digits, server, project, say, pause=0.0 if once else PAUSE)
        found = _wait_for(server, project, imported, progress)
        say(_in_words(found))
        say(f"The service: {service.url} (user {service.user}, password {service.password}); API at {service.url}/api/projects/{project}")
        if not once:
            spec, out = digits / "model.toml", folder / "refitted"
            say("What people label there is data to fit from, once there are some hundred answers:")
            say(f"  annotriage fit --config {folder / CONFIG} --model {spec} --train {DEFAULT}:{project} --out {out}")
            say("Both go on running; `make stop` (annotriage demo --stop) ends them, a second `make demo` finds them as they are.")
        return found
    finally:
        if once:
            stop(folder)


def stop(folder: Path) -> bool:
    """End the demo's service and labeling tool; whether any ran. Their data stay in the folder."""
    service = _Service.running(folder)
    if service is not None:
        service.daemon.end()
    return labeling_tool().stop_demo(folder / "server") or service is not None


# -- starting


def _started(
    folder: Path, digits: Path, say: Say, progress: Progress, settings: Settings, port: int | None
) -> tuple[DemoServer, _Service, str]:
    from annotriage.demo.digits import write_digits
    from annotriage.engine.fitting import fit
    from annotriage.engine.reference import Reference

    folder.mkdir(parents=True, exist_ok=True)
    say(f"1. A real labeling tool, in {folder / 'server'} (the first start takes half a minute).")
    server = labeling_tool().demo_server(folder / "server", port=port, progress=progress)
    reference_folder = folder / "reference"
    if not (reference_folder / "reference.json").is_file() or not digits.is_dir():
        say("2. A small network is trained on real handwritten digits 0-7, and a reference fitted from its training set.")
        with progress("training the model", None):
            data = write_digits(digits)
        fit(data.spec, data.train, data.held_out, name="digits", settings=settings, progress=progress).save(reference_folder)
    reference = Reference.load(reference_folder)
    say(f"   {guarantee_sentence(reference.guarantee)}")
    service = _Service.running(folder) or _Service.start(folder, server, progress)
    project = _read(folder / "project.json").get("id")
    if project is None:
        project = server.new_project("Digits with annotriage", reference.space.classes)
        (folder / "project.json").write_text(json.dumps({"id": project}), "utf-8")
    say("3. annotriage connect: webhook, ML backend, tabs and order of the project.")
    _command(folder, "connect", "--project", project, "--reference", str(reference_folder))
    return server, service, project


@dataclass(frozen=True)
class _Service:
    """The service of a folder."""

    daemon: Daemon
    url: str
    user: str
    password: str

    @classmethod
    def running(cls, folder: Path) -> _Service | None:
        """The one that runs in the folder."""
        state = _read(folder / SERVICE)
        if not state:
            return None
        service = cls(**state | {"daemon": Daemon(**state["daemon"])})
        return service if service.daemon.is_running() else None

    @classmethod
    def start(cls, folder: Path, server: DemoServer, progress: Progress) -> _Service:
        """A new one, at the address and with the password of last time where it can: tasks hold links to it.

        Raises ToolError with the end of its log if it does not come up.
        """
        before = _read(folder / SERVICE)
        last = int(str(before.get("url", ":0")).rpartition(":")[2])
        port = last if last and is_free(last) else free_port()
        (folder / CONFIG).touch(mode=0o600)
        (folder / CONFIG).write_text(_config(folder, server, port, before.get("password") or secrets.token_urlsafe(9)), "utf-8")
        url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "annotriage.cli", "serve", "--config", str(folder / CONFIG)]
        with progress("starting annotriage serve", None), begun(command, folder / LOG, os.environ) as daemon:
            _wait_until_up(url, daemon, folder / LOG)
            settings = ServiceSettings.load(folder / CONFIG)
            service = cls(daemon, url, settings.user, settings.password)
            (folder / SERVICE).touch(mode=0o600)
            (folder / SERVICE).write_text(json.dumps(asdict(service)), "utf-8")
        return service


def _config(folder: Path, server: DemoServer, port: int, password: str) -> str:
    values: Mapping[str, object] = {
        "label_studio_url": server.url,
        "label_studio_token": server.token,
        "port": port,
        "public_url": f"http://127.0.0.1:{port}",
        "database": f"sqlite:///{folder / 'annotriage.db'}",
        "password": password,
        "dataset_fields": ["scanner"],
        "poll_seconds": 2.0,
    }
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())


def _command(folder: Path, *words: str) -> None:
    """One of our own commands, as a user would give it. Raises ToolError with what it said."""
    command = [sys.executable, "-m", "annotriage.cli", *words, "--config", str(folder / CONFIG)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    if done.returncode:
        raise ToolError(f"annotriage {' '.join(words)}: {(done.stderr or done.stdout).strip()}")


# -- importing and looking


def _import_batches(folder: Path, digits: Path, server: DemoServer, project: str, say: Say, *, pause: float) -> int:
    """Import digits that were not imported yet, batch by batch: how many are there in all."""
    state = _read(folder / "project.json")
    data = list(_digits(digits))
    done = int(state.get("imported", 0))
    if done >= len(data):
        say(f"   all {len(data)} scans were imported before, and nothing is imported again")
    sizes = itertools.chain([FIRST], itertools.repeat(BATCH)) if done == 0 else itertools.repeat(BATCH)
    for size in sizes:
        some = data[done : done + size]
        if not some:
            break
        if done and pause:
            time.sleep(pause)
        server.import_tasks(project, some)
        done += len(some)
        (folder / "project.json").write_text(json.dumps({"id": project, "imported": done}), "utf-8")
        say(f"   imported {len(some)} scans, {done} of {len(data)}: triaged as they come")
    return done


def _digits(folder: Path) -> Iterator[Mapping[str, object]]:
    """Known, never-seen and damaged digits as tasks: scanner B is the one that damages."""
    from annotriage.demo.digits import MANIFEST

    with (folder / MANIFEST).open(encoding="utf-8", newline="") as file:
        for place, row in enumerate(csv.DictReader(file)):
            content = (folder / row["path"]).read_bytes()
            damaged = row["label"].startswith("damaged")
            scanner = "B" if damaged or place % 5 == 0 else "A"
            yield {"image": encode_data_uri(content, "image/png"), "scanner": scanner, "scan": Path(row["path"]).stem}


def _wait_for(server: DemoServer, project: str, imported: int, progress: Progress) -> Found:
    """Wait until every task has its prediction and every queued one its fields."""
    end = time.monotonic() + WAIT_SECONDS
    with progress("waiting until all is triaged, delivered and described", None):
        while True:
            found = _look(server, project, imported)
            if not found.problems or time.monotonic() > end:
                return found
            time.sleep(2.0)


def _look(server: DemoServer, project: str, imported: int) -> Found:
    shown = server.shown(project)
    count = Counter(task["predictions"] for task in shown)
    tabs = server.tabs(project)
    review = tabs.get("Manual review", [])
    described = [task for task in shown if set(FIELDS) <= set(_data(task))]
    queued = [task for task in shown if isinstance(task["trust"], float) and task["trust"] < AUTOMATIC_FROM]
    trusts = [task["trust"] if isinstance(task["trust"], float) else 0.0 for task in review]
    expectations = {
        f"{imported} tasks were imported, {len(shown)} are there": len(shown) == imported,
        f"predictions per task: {dict(count)}, one each is right": set(count) == {1},
        "there are no empty predictions, though digits 8 and 9 are strange to the model": any(task["empty"] for task in shown),
        f"of {len(queued)} queued tasks {len(described)} have their fields": len(described) >= len(queued) > 0,
        "the tab “Manual review” is missing or empty": bool(review),
        "the tab “Manual review” is not sorted strangest first": trusts == sorted(trusts),
    }
    problems = tuple(sentence for sentence, fine in expectations.items() if not fine)
    empty = sum(bool(task["empty"]) for task in shown)
    checks = sum(CHECKED in _data(task) for task in shown)
    return Found(len(shown), len(shown) - len(queued), empty, len(queued), checks, len(described), problems)


def _data(task: Mapping[str, object]) -> Mapping[str, Any]:
    data = task["data"]
    return data if isinstance(data, dict) else {}


def _in_words(found: Found) -> str:
    lines = [
        f"{found.tasks} tasks: {found.pre_annotated} pre-annotated by the model, {found.queued} for people, answered ones included,"
        f" strangest first ({found.checks} of them spot checks, drawn at random),",
        f"{found.empty} of these without the model's guess, so that it anchors nobody; {found.with_fields} say why in triage_* fields.",
    ]
    return "\n".join([*lines, *(f"Not as it should be: {problem}" for problem in found.problems)])


# -- small things


def _read(file: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(file.read_text("utf-8"))
        return value
    except (OSError, ValueError):
        return {}


def _wait_until_up(url: str, daemon: Daemon, log: Path) -> None:
    end = time.monotonic() + UP_SECONDS
    while not _answers(f"{url}/health"):
        if not daemon.is_running() or time.monotonic() > end:
            raise ToolError(f"annotriage serve did not come up; the end of {log}:\n{last_lines(log)}")
        time.sleep(0.2)


def _answers(url: str) -> bool:
    import httpx

    try:
        return httpx.get(url, timeout=2, trust_env=False).is_success
    except httpx.HTTPError:
        return False
