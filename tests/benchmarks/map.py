"""The map of 100,000 items, of a million and of ten, in a browser that draws in software: until it can be used, per frame, per click.

The map of 100,000 is a real one: fitted on samples, the others placed. The million are its places, ten times with a little noise, and so
are the ten millions. What the browser holds is the private memory of the process that shows the page, over that of a page without a map,
in a browser that keeps nothing for whoever looks into it (`bare_browser.py`).
"""

from __future__ import annotations

import json
import shutil
import sys
import threading
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from bare_browser import BarePage, bare_page
from big_store import digits_reference, fill
from figure import Figure
from threadpoolctl import threadpool_limits
from waitress.server import create_server

from annotriage.service.maps.map_making import PIECE, MapMaking
from annotriage.service.operations.process import Process
from annotriage.settings import ServiceSettings
from annotriage.store import maps
from annotriage.store.map_points import FULL, Piece
from annotriage.store.projects import project_of
from annotriage.web.app import create_app

sys.path.insert(0, str(Path(__file__).parent.parent / "support"))
from browsers import CHROMIUM_OPTIONS

POINTS, MANY, MOST = 100_000, 1_000_000, 10_000_000
READY_SECONDS, MANY_SECONDS, CLICK_SECONDS, PAYLOAD, FRAME = 3.0, 5.0, 0.3, 6e6, 0.1
HELD = 100.0  # MB in the browser
TRAINING = 1_000  # at most, in the reference's sample
CLICKS, ROUNDS = 50, 5


def figures(data: Path | None) -> Iterator[Figure]:
    """All rows. `data` is not used."""
    with TemporaryDirectory() as name:
        database = f"sqlite:///{name}/store.db"
        fill(database, digits_reference(Path(name)), POINTS - TRAINING)
        process = Process(ServiceSettings(database=database, label_studio_token="unused"), "web")
        started = time.perf_counter()
        map_id = _make(process)
        yield Figure(f"a first map of {POINTS - TRAINING:,} items, on one core", "-", f"{time.perf_counter() - started:.0f} s", None)
        yield _click(process)
        _in_space(process, map_id)
        sent = _copies(process, map_id, MANY)
        yield Figure(f"payload of {MANY:,} points", f"<= {PAYLOAD / 1e6:g} MB", f"{sent / 1e6:.2f} MB", sent <= PAYLOAD)
        path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        if path is None:
            yield Figure("the map in a browser", "-", "no browser", None)
        else:
            yield from _browse(process, path)
            _copies(process, map_id, MOST)
            yield from _browse_most(process, path)
        process.leave()


def _make(process: Process) -> int:
    with process.store.reading() as connection:
        project = project_of(connection, "1")
    with threadpool_limits(1):
        MapMaking(process)._make(project, "umap")
    with process.store.reading() as connection:
        found = maps.newest(connection, project.id, "umap")
    assert found is not None
    return int(found.id)


def _click(process: Process) -> Figure:
    """The answer to a click on a point."""
    client = create_app(process).test_client()
    taken = []
    for id in np.random.default_rng(0).integers(1, POINTS - TRAINING, CLICKS).tolist():
        started = time.perf_counter()
        answer = client.get(f"/projects/1/map/items/{id}", auth=(process.settings.user, process.password))
        taken.append(time.perf_counter() - started)
        assert answer.status_code == 200, answer.text
    worst = f"{1000 * np.median(taken[1:]):.0f} ms (slowest {1000 * max(taken):.0f} ms)"
    return Figure(f"server time of a click, {POINTS:,} points", f"<= {1000 * CLICK_SECONDS:g} ms", worst, max(taken) <= CLICK_SECONDS)


def _in_space(process: Process, map_id: int) -> None:
    """The same points in space: each class at a height of its own, as what is drawn takes its time wherever it lies."""
    rng = np.random.default_rng(0)
    with process.store.reading() as connection:
        project, row = project_of(connection, "1"), maps.newest(connection, 1, "umap")
        assert row is not None
        pieces = {facts.number: maps.read_piece(connection, map_id, facts.number) for facts in maps.pieces(connection, map_id)}
    with process.store.writing() as connection:
        space = maps.begin(connection, project, "umap-3d", 0)
        for number, piece in pieces.items():
            assert piece is not None
            heights = 7_000 * np.frombuffer(bytes(piece.label), np.uint8).astype(float) + rng.normal(0, 2_000, len(piece))
            piece.z = array("H", heights.clip(0, FULL).astype(np.uint16).tobytes())
            maps.write_piece(connection, space, number, piece)
        values = {name: getattr(row, name) for name in ("training", "fitted", "names", "read_until", "total")}
        maps.finish(connection, space, frame=[*row.frame[:2], 0.0, row.frame[2]], **values)


def _copies(process: Process, map_id: int, count: int) -> int:
    """A map of so many points, as the t-SNE of the project: what its pieces weigh."""
    rng = np.random.default_rng(0)
    with process.store.reading() as connection:
        project, row = project_of(connection, "1"), maps.newest(connection, 1, "umap")
        assert row is not None
        read = [maps.read_piece(connection, map_id, facts.number) for facts in maps.pieces(connection, map_id)]
    known, incoming = read[0], [piece for piece in read[1:] if piece is not None]
    assert known is not None
    columns = {name: np.concatenate([np.array(getattr(piece, name)) for piece in incoming]) for name in ("x", "y")}
    columns |= {
        name: np.concatenate([np.frombuffer(bytes(getattr(piece, name)), np.uint8) for piece in incoming])
        for name in ("route", "label", "dataset", "score", "axes")
    }
    with process.store.writing() as connection:
        million = maps.begin(connection, project, "tsne", 0)
        maps.write_piece(connection, million, maps.TRAINING, known)
    for number, start in enumerate(range(0, count, PIECE), start=1):
        rows = rng.integers(0, len(columns["x"]), PIECE)
        x, y = ((columns[name][rows] + rng.normal(0, 150, PIECE)).clip(0, FULL).astype(np.uint16) for name in ("x", "y"))
        codes = [bytearray(columns[name][rows].tobytes()) for name in ("route", "label", "dataset", "score", "axes")]
        piece = Piece(array("I", range(start + 1, start + PIECE + 1)), array("H", x.tobytes()), array("H", y.tobytes()), *codes)
        with process.store.writing() as connection:
            maps.write_piece(connection, million, number, piece)
    with process.store.writing() as connection:
        values = {name: getattr(row, name) for name in ("training", "fitted", "frame", "names", "read_until")}
        maps.finish(connection, million, total=count, **values)
    with process.store.reading() as connection:
        contents = [maps.piece_content(connection, million, facts.number) for facts in maps.pieces(connection, million)]
    return sum(len(content) for content in contents if content is not None)


def _browse(process: Process, path: str) -> Iterator[Figure]:
    from playwright.sync_api import sync_playwright

    with _served(process) as url, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM_OPTIONS))
        kinds = (
            ("method=umap", "pan(3, 0)", f"{POINTS:,} points, each drawn by itself", READY_SECONDS),
            ("dimensions=3", "turn(0.02, 0)", f"{POINTS:,} points in space", READY_SECONDS),
            ("method=tsne", "pan(3, 0)", f"{MANY:,} points, a density below the outliers", MANY_SECONDS),
        )
        for query, move, name, wanted in kinds:
            ready, frames = zip(*(_open(chromium, process, url, query, move) for _ in range(ROUNDS)), strict=True)
            middle = float(np.median(ready))
            yield Figure(f"click to a usable map: {name}", f"<= {wanted:g} s", f"{middle:.2f} s", middle <= wanted)
            drawn = float(np.median(frames))
            yield Figure(f"a frame while it is moved: {name}", f"<= {1000 * FRAME:g} ms", f"{1000 * drawn:.0f} ms", drawn <= FRAME)
        chromium.close()


def _browse_most(process: Process, path: str) -> Iterator[Figure]:
    """The map of ten million: what the browser holds of it, at once and after a part of it was looked at closely."""
    name = f"{MOST:,} points, thinned"
    with _served(process) as url, bare_page(path, CHROMIUM_OPTIONS) as page:
        _sign_in(page, process, url)
        before = min(page.held() for _ in range(3))
        started = time.perf_counter()
        page.go(f"{url}/projects/1/map?method=tsne")
        peak = _most_held(page, "document.querySelector('#map-app[data-ready]')") - before
        page.evaluate("annotriageMap.nearest(300, 300)")
        yield Figure(f"click to a usable map: {name}", "for information", f"{time.perf_counter() - started:.1f} s", None)
        kept = page.evaluate("annotriagePoints().count")
        standing = page.evaluate("annotriagePoints().weight.reduce((sum, one) => sum + one, 0)")
        held = [page.held() - before]
        started = time.perf_counter()
        page.evaluate("annotriageMap.zoom(8)")
        peak = max(
            peak, _most_held(page, "annotriagePoints().looked.size < 65536 / 4 && document.getElementById('map-loading').hidden") - before
        )
        closer = time.perf_counter() - started
        held.append(page.held() - before)
    yield Figure(f"until a part of it is drawn in finer cells: {name}", "for information", f"{closer:.1f} s", None)
    what = f"{held[0]:.0f} MB, {held[1]:.0f} after zooming in; {kept:,} stand for {standing:,}"
    yield Figure(f"memory that the map takes in the browser: {name}", f"<= {HELD:g} MB", what, max(held) <= HELD)
    yield Figure(f"memory that it takes meanwhile at most, garbage and all: {name}", "for information", f"{peak:.0f} MB", None)


def _sign_in(page: BarePage, process: Process, url: str) -> None:
    page.go(f"{url}/sign-in")
    page.wait_for("document.querySelector('main form button')", 60)
    for name, value in (("user", process.settings.user), ("password", process.password)):
        page.evaluate(f"document.querySelector('[name={name}]').value = {json.dumps(value)}")
    page.evaluate("document.querySelector('main form button').click()")
    page.wait_for(f"location.href === {json.dumps(url + '/')} && document.readyState === 'complete'", 60)


def _most_held(page: BarePage, until: str) -> float:
    """The most memory that the page's process is seen to take until an expression holds, in MB."""
    most = []

    def look() -> None:
        most.append(page.holds())

    page.wait_for(until, 240, look)
    return max(most, default=page.holds())


def _open(chromium: Any, process: Process, url: str, query: str, moved: str) -> tuple[float, float]:
    """Open the map in a fresh browser context: seconds from the click until it answers, and seconds a frame."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(f"{url}/sign-in")
    page.fill("[name=user]", process.settings.user)
    page.fill("[name=password]", process.password)
    page.click("main form button")
    page.wait_for_url(f"{url}/")
    started = time.perf_counter()
    page.goto(f"{url}/projects/1/map?{query}", wait_until="commit")
    page.wait_for_selector("#map-app[data-ready]", timeout=60_000)
    page.evaluate("annotriageMap.nearest(300, 300)")  # it answers
    ready = time.perf_counter() - started
    move = f"""() => new Promise(done => {{
        const start = performance.now();
        annotriageMap.{moved};
        const placed = performance.now() - start;
        requestAnimationFrame(() => requestAnimationFrame(() => done(placed + annotriageMap.drawMilliseconds)));
    }})"""
    frames = sorted(page.evaluate(move) for _ in range(9))
    context.close()
    return ready, frames[4] / 1000


@contextmanager
def _served(process: Process) -> Iterator[str]:
    server = create_server(create_app(process), host="127.0.0.1", port=0, threads=8, ident=None)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield f"http://127.0.0.1:{server.effective_port}"
    server.close()
    thread.join()
    server.task_dispatcher.shutdown()
