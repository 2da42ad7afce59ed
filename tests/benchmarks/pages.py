"""The dashboard on 300,000 items: each page's time in the server against an empty project's and 10,000 items', the queue's depth, previews.

    .venv/bin/python tests/benchmarks/run.py --only pages

The store is big_store.py's on SQLite, made anew in some minutes; a store that was made before is taken from the environment variable
ANNOTRIAGE_BIG_STORE (FILE.db), of whatever size: 1,000,000 items take ten minutes to make. Requests go through the app's test client:
everything but the network.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import big_store
from figure import Figure
from sqlalchemy import func, select

from annotriage.service.operations.process import Process
from annotriage.service.operations.references import keep_reference
from annotriage.settings import ServiceSettings
from annotriage.store import Store, previews
from annotriage.store.projects import Project, ProjectOptions, add_project, projects
from annotriage.store.queue import Filters, queue_page
from annotriage.store.schema import item
from annotriage.web.app import create_app

sys.path.insert(0, str(Path(__file__).parent.parent / "support"))
from memory_tool import MemoryServer

SECONDS = 0.3  # that any page may take of the server
BYTES = 60_000  # that any page may send, compressed
TIMES = 3.0  # what a page may take of an empty project's time
SLACK = 0.010  # seconds more that nobody notices: an empty project's page shows no rows and takes two milliseconds
PREVIEW_SECONDS = 1.0
FEW = 10_000
REPEATS = 9
PAGES = {
    "overview": "/",
    "diversity": "/projects/1/diversity",
    "groups": "/projects/1/groups",
    "guarantee": "/projects/1/guarantee",
    "compare": "/projects/1/compare",
    "settings": "/projects/1/settings",
    "overview of a project": "/projects/1/overview",
    "label audit": "/projects/1/label-audit",
    "training": "/projects/1/training",
    "certificates": "/projects/1/certificates",
    "versions": "/projects/1/versions",
    "new class": "/projects/1/groups/new-class?name=stripes",
    "system": "/system",
    "accounts": "/system/accounts",
    "glossary": "/glossary",
    "map": "/projects/1/map",
    "queue": "/projects/1/queue",
    "queue, newest first": "/projects/1/queue?order=newest",
    "queue, boundary first": "/projects/1/queue?order=boundary",
    "queue, groups first": "/projects/1/queue?order=groups",
    "queue of a class": "/projects/1/queue?label=3",
    "items": "/projects/1/items",
    "items, newest first": "/projects/1/items?order=newest",
    "items of a class": "/projects/1/items?label=3",
    "changes": "/projects/1/changes",
}


def figures(data: Path | None) -> Iterator[Figure]:
    """All rows. `data` is not used."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        reference = big_store.digits_reference(folder)
        big, few, empty = folder / "big.db", folder / "few.db", folder / "empty.db"
        made = os.environ.get("ANNOTRIAGE_BIG_STORE")
        if made:
            shutil.copy(made, big)
        else:
            big_store.fill(f"sqlite:///{big}", reference)
            big_store.take_snapshots(f"sqlite:///{big}")
        big_store.fill(f"sqlite:///{few}", reference, FEW)
        big_store.take_snapshots(f"sqlite:///{few}")
        store = Store(f"sqlite:///{empty}")
        kept = keep_reference(store, reference)
        with store.writing() as connection:
            add_project(connection, "1", "Empty", kept, ProjectOptions(), watch=True)
        store.close()
        large, some, small = _client(big), _client(few), _client(empty)
        many = _size(large.process)
        for page, path in (PAGES | _others(large)).items():
            here, middle, there = (_seconds(lambda ask=ask, path=path: ask(path)) for ask in (large, some, small))
            yield from _page(page, many, here, middle, there)
            yield from _whole(page, many, here, large(path))
        tasks = [_outlier(ask.process) for ask in (large, some)]
        here, middle = (
            _seconds(lambda ask=ask, task=task: ask(f"/projects/1/items/{task}")) for ask, task in zip((large, some), tasks, strict=True)
        )
        yield from _page("item", many, here, middle, _seconds(lambda: small(PAGES["queue"])))
        yield from _whole("item", many, here, large(f"/projects/1/items/{tasks[0]}"))
        yield from _depths(large.process)
        yield from _previews(large.process, many)
        for client in (large, some, small):
            client.process.leave()


def _client(file: Path) -> Any:
    """Asks for a page of the dashboard on a database, with the service's credentials."""
    process = Process(ServiceSettings(database=f"sqlite:///{file}", label_studio_token="unused", password="right"), "web")
    process.server = MemoryServer()
    client = create_app(process).test_client()
    signed_in = (process.settings.user, "right")

    def ask(path: str) -> int:
        answer = client.get(path, headers={"Accept": "text/html", "Accept-Encoding": "gzip"}, auth=signed_in)
        if answer.status_code != 200:
            raise RuntimeError(f"{path} answered {answer.status_code}")
        return len(answer.data)

    ask.process, ask.app = process, client.application  # type: ignore[attr-defined]
    return ask


def _others(ask: Any) -> dict[str, str]:
    """All pages besides, by their addresses: a new one is measured from its first day on."""
    adapter, found = ask.app.url_map.bind("localhost"), {}
    for rule in ask.app.url_map.iter_rules():
        page = rule.endpoint.removeprefix("web.")
        if rule.endpoint == f"web.{page}" and f"web.{page}_json" in ask.app.view_functions and rule.arguments <= {"project"}:
            path = adapter.build(rule.endpoint, dict.fromkeys(rule.arguments, "1"))
            if path not in PAGES.values() and page not in ("new_class", "project"):  # asked for with a name; leads to another page
                found[page.replace("_", " ")] = path
    return found


def _size(process: Process) -> int:
    """How many items its project has."""
    with process.store.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(item)).scalar_one())


def _seconds(act: Callable[[], object]) -> float:
    """The shortest of a few runs, after one that warms up."""
    act()
    best = float("inf")
    for _ in range(REPEATS):
        started = time.perf_counter()
        act()
        best = min(best, time.perf_counter() - started)
    return best


def _page(name: str, many: int, here: float, middle: float, there: float) -> Iterator[Figure]:
    """An empty project's page shows no rows: what grows with the number of items shows against ten thousand."""
    milliseconds = f"{1000 * here:.1f} to {1000 * there:.1f} ms"
    yield Figure(
        f"page {name}: {many:,} items against none",
        f"<= {TIMES:g} times, or {1000 * SLACK:g} ms more",
        f"{here / there:.1f} times ({milliseconds})",
        here <= max(TIMES * there, there + SLACK),
    )
    yield Figure(
        f"page {name}: {many:,} items against {FEW:,}",
        f"<= {TIMES:g} times",
        f"{here / middle:.1f} times ({1000 * here:.1f} to {1000 * middle:.1f} ms)",
        here <= TIMES * middle,
    )


def _whole(name: str, many: int, seconds: float, size: int) -> Iterator[Figure]:
    """What a page takes of the server, and sends."""
    milliseconds = f"{1000 * seconds:.1f} ms"
    yield Figure(f"page {name}: time of the server at {many:,} items", f"<= {1000 * SECONDS:g} ms", milliseconds, seconds <= SECONDS)
    yield Figure(f"page {name}: sent, compressed", f"<= {BYTES:,} bytes", f"{size:,} bytes", size <= BYTES)


def _outlier(process: Process) -> str:
    """Some task that is an outlier."""
    with process.store.reading() as connection:
        return str(connection.execute(select(item.c.external_id).where(item.c.route == "outlier").limit(1)).scalar_one())


def _depths(process: Process) -> Iterator[Figure]:
    """The queue's first page against one after 20,000 rows."""
    project = _project(process)
    for order in ("strangest", "boundary", "newest"):
        key = None
        with process.store.reading() as connection:
            for _ in range(20):
                key = queue_page(connection, project, order=order, after=key, limit=1000).next or key
        first, deep = (_seconds(lambda key=key, order=order: _read(process, project, order, key)) for key in (None, key))
        measured = f"{deep / first:.2f} times ({1000 * first:.1f} to {1000 * deep:.1f} ms)"
        yield Figure(f"queue, {order}: a page after 20,000 rows", "<= 1.5 times the first", measured, deep <= 1.5 * first)


def _read(process: Process, project: Project, order: str, key: Any) -> None:
    with process.store.reading() as connection:
        queue_page(connection, project, order=order, filters=Filters(), after=key)


def _previews(process: Process, many: int) -> Iterator[Figure]:
    project = _project(process)
    for limits in ({}, {"alpha": 0.1, "max_error": 0.1}):
        seconds = _seconds(lambda limits=limits: _preview(process, project, limits))
        what = ", ".join(f"{name} {value:g}" for name, value in limits.items()) or "the present limits"
        yield Figure(f"preview of {many:,} items: {what}", f"<= {PREVIEW_SECONDS:g} s", f"{seconds:.3f} s", seconds <= PREVIEW_SECONDS)


def _preview(process: Process, project: Project, limits: dict[str, float]) -> None:
    with process.store.reading() as connection:
        previews.preview(connection, project, **limits)


def _project(process: Process) -> Project:
    with process.store.reading() as connection:
        return projects(connection)[0]
