"""The service beside a real Label Studio: how soon predictions are there, how fast it answers while it works, and what kills lose.

Each figure is a ratio to what Label Studio itself takes for the same, measured in the same run. The model is small (real digits,
8 x 8), so that what is measured is the way and not the model. Needs `.venv-label-studio` (make test makes it).
"""

from __future__ import annotations

import base64
import io
import itertools
import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread

import numpy as np
import requests
from figure import Figure
from PIL import Image
from sqlalchemy import func, select

from annotriage.demo.digits import load_digits, write_digits
from annotriage.engine.fitting import fit
from annotriage.states import FieldWriteState
from annotriage.store.database import Store
from annotriage.store.schema import field_write
from annotriage_label_studio.demo.server import serving

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from label_studio import LabelStudio, Person  # noqa: E402 - tests/support is no package
from running import RunningService, free_port  # noqa: E402
from waiting import wait_until  # noqa: E402

EXECUTABLE = ROOT / ".venv-label-studio" / "bin" / "label-studio"
TASKS = 5_000
UPLOADS = 1_500
RETRIEVED = 500
QUEUED, QUEUED_WANTED = 1_000, 5_000  # tasks whose fields are written, and those that the figure is for
FIELD_MINUTES = 8.0
PATCHED = 100
KILLS, KILLED_TASKS = 30, 3_000
CONFIG = (
    '<View><Image name="image" value="$image"/><Choices name="label" toName="image">'
    + "".join(f'<Choice value="{digit}"/>' for digit in range(8))
    + "</Choices></View>"
)


def figures(data: Path | None) -> Iterator[Figure]:
    """All rows. `data` is not used."""
    if not EXECUTABLE.is_file():
        yield Figure("all of it", "a real Label Studio", f"no {EXECUTABLE.relative_to(ROOT)}", None)
        return
    with TemporaryDirectory() as name, serving(EXECUTABLE, Path(name) / "label-studio") as server:
        digits = write_digits(Path(name) / "digits")
        fit(digits.spec, digits.train, digits.held_out, name="digits").save(Path(name) / "reference")
        label_studio = LabelStudio(server.url, server.token, Person(server.url, server.email, server.password))
        bench = _Bench(label_studio, Path(name))
        yield from bench.data_uris()
        yield from bench.fields()
        yield from bench.uploads()
        yield from bench.webhooks()
        yield from bench.kills()


class _Bench:
    def __init__(self, label_studio: LabelStudio, folder: Path) -> None:
        self.label_studio, self.folder = label_studio, folder
        self.own_predictions = self.own_retrieval = 0.0

    def data_uris(self) -> Iterator[Figure]:
        """Import of tasks that carry their pictures, against the bulk import of as many predictions."""
        tasks = [{"image": uri} for uri in _data_uris(TASKS)]
        own = self.label_studio.project(config=CONFIG)
        ids = self.label_studio.import_tasks(own, tasks)
        value = {"choices": ["3"]}
        result = [{"from_name": "label", "to_name": "image", "type": "choices", "value": value}]
        rows = [{"task": id, "result": result, "score": 0.5, "model_version": "own"} for id in ids]
        started = time.perf_counter()
        self.label_studio.call("POST", f"/api/projects/{own}/import/predictions", rows)
        self.own_predictions = time.perf_counter() - started
        self.own_retrieval = self._retrieve_predictions() * TASKS / RETRIEVED
        with self._service("uris") as (_, project):
            self.label_studio.import_tasks(project, tasks[:10])  # the model is loaded
            self._wait(project, 10)
            self.label_studio.import_tasks(project, tasks)
            taken = self._wait(project, TASKS + 10)
        yield _ratio(f"{TASKS:,} tasks with data URIs / bulk import of the predictions alone", taken, self.own_predictions, most=2.0)
        yield _ratio("the server's own Retrieve predictions (500, scaled) / these", self.own_retrieval, taken, least=20.0)

    def fields(self) -> Iterator[Figure]:
        """The fields of queued tasks, from their predictions on, against the server's bare PATCH of a task's data, one after another."""
        own = self.label_studio.project(config=CONFIG)
        uris = _data_uris(QUEUED)
        ids = self.label_studio.import_tasks(own, [{"image": uri} for uri in uris[:PATCHED]])
        started = time.perf_counter()
        for id, uri in zip(ids, uris, strict=False):
            self.label_studio.call("PATCH", f"/api/tasks/{id}/", {"data": {"image": uri, "triage_route": "spot check"}})
        bare = (time.perf_counter() - started) / PATCHED
        with self._service("fields", "--sample-share", "1") as (service, project):
            self.label_studio.import_tasks(project, [{"image": uri} for uri in uris])
            self._wait(project, QUEUED)
            store, begun = service.store(), time.perf_counter()
            try:
                before = _written(store)
                wait_until(lambda: _written(store) >= QUEUED, 900, 0.5, "for the fields")
            finally:
                store.close()
            each = (time.perf_counter() - begun) / (QUEUED - before)
        minutes = each * QUEUED_WANTED / 60
        name = f"minutes for the fields of {QUEUED_WANTED:,} queued tasks, as {QUEUED:,} took"
        yield Figure(name, f"<= {FIELD_MINUTES:g}", f"{minutes:.1f} ({1000 * each:.0f} ms each)", minutes <= FIELD_MINUTES)
        yield Figure("the same over bare PATCHes, one after another", "for information", f"{each / bare:.2f} ({1000 * bare:.0f} ms)", None)

    def uploads(self) -> Iterator[Figure]:
        """Import of uploaded files, against fetching the same files alone over 8 connections."""
        pictures = [base64.b64decode(uri.partition(",")[2]) for uri in _data_uris(UPLOADS)]
        with self._service("uploads") as (_, project):
            self.label_studio.import_tasks(project, [{"image": uri} for uri in _data_uris(10)])
            self._wait(project, 10)
            own = self.label_studio.project(config=CONFIG)
            addresses = self._upload(own, pictures)
            started = time.perf_counter()
            with ThreadPoolExecutor(8) as threads:
                list(threads.map(self._fetch, addresses))
            alone = time.perf_counter() - started
            self.label_studio.import_tasks(project, [{"image": address} for address in addresses])
            taken = self._wait(project, UPLOADS + 10)
        yield _ratio(f"{UPLOADS:,} uploads / fetching them alone over 8 connections", taken, alone, most=1.3)
        yield _ratio("the server's own Retrieve predictions (500, scaled) / these", self.own_retrieval * UPLOADS / TASKS, taken, least=4.0)

    def webhooks(self) -> Iterator[Figure]:
        """The handlers' times while the worker is busy, and while a model loads."""
        with self._service("webhooks") as (service, project):
            header = {"X-Annotriage-Secret": _secret(service)}
            uris = _data_uris(500)
            slowest, count = 0.0, itertools.count(10_000_000)
            for _ in range(200):
                tasks = [{"id": next(count), "data": {"image": uri}, "project": int(project), "is_labeled": False} for uri in uris]
                body = {"action": "TASKS_CREATED", "tasks": tasks, "project": {"id": int(project)}}
                started = time.perf_counter()
                answer = requests.post(f"{service.url}/webhook", json=body, headers=header, timeout=10)
                slowest = max(slowest, time.perf_counter() - started)
                assert answer.ok, answer.text
            yield Figure("webhook, slowest of 200 imports of 500 tasks, worker busy", "< 100 ms", f"{1000 * slowest:.0f} ms", slowest < 0.1)
        with self._service("answers", start=False) as (service, project):
            service.start()
            self.label_studio.import_tasks(project, [{"image": uri} for uri in _data_uris(1500)])
            slowest_of = self._slowest_while(service, project, lambda: self._wait(project, 1500))
            for path, seconds in slowest_of.items():
                yield Figure(
                    f"{path}, slowest while the model loads and 1,500 are predicted", "< 100 ms", f"{1000 * seconds:.0f} ms", seconds < 0.1
                )

    def kills(self) -> Iterator[Figure]:
        """The service killed at random moments of an import: every task ends with exactly one prediction of the version."""
        chance = random.Random(0)
        with self._service("kills") as (service, project):
            self.label_studio.import_tasks(project, [{"image": uri} for uri in _data_uris(10)])
            self._wait(project, 10)
            uris = iter(_data_uris(KILLED_TASKS))
            for _ in range(KILLS):
                part = [{"image": uri} for uri in itertools.islice(uris, KILLED_TASKS // KILLS)]
                self.label_studio.import_tasks(project, part)
                time.sleep(chance.uniform(0.0, 2.5))
                service.kill()
                service.start()
            self._wait(project, KILLED_TASKS + 10, seconds=300)
            time.sleep(20)  # what was under way when it was killed may still arrive
            counts = self._counts(project)
            wrong = sum(number != 1 for number in counts)
        yield Figure(
            f"tasks without exactly one prediction after {KILLS} kills in {KILLED_TASKS:,}", "0", f"{wrong} of {len(counts)}", wrong == 0
        )

    # -- parts

    @contextmanager
    def _service(self, name: str, *options: str, start: bool = True) -> Iterator[tuple[RunningService, int]]:
        service = RunningService(self.folder / name, self.label_studio.url, self.label_studio.token, poll_seconds=3.0)
        service.start()
        project = self.label_studio.project(config=CONFIG)
        service.command("connect", "--project", project, "--reference", self.folder / "reference", *options)
        if not start:
            service.stop()
        try:
            yield service, project
        finally:
            service.stop()

    def _wait(self, project: int, count: int, seconds: float = 240.0) -> float:
        """Seconds until that many tasks have a prediction."""
        started = time.perf_counter()
        wait_until(lambda: self._done(project) >= count, seconds, 0.5, f"for {count} predictions")
        return time.perf_counter() - started

    def _done(self, project: int) -> int:
        versions = self.label_studio.call("GET", f"/api/projects/{project}/model-versions/", extended="true")["static"]
        return sum(int(version["count"]) for version in versions)

    def _counts(self, project: int) -> list[int]:
        found = self.label_studio.call("GET", f"/api/projects/{project}/export", exportType="JSON", download_all_tasks="true")
        return [len(task["predictions"]) for task in found]

    def _retrieve_predictions(self) -> float:
        """Seconds of the server's own way for some tasks, with a backend that answers at once."""
        with _backend() as url:
            own = self.label_studio.project(config=CONFIG)
            self.label_studio.import_tasks(own, [{"image": uri} for uri in _data_uris(RETRIEVED)])
            self.label_studio.call("POST", "/api/ml", {"project": own, "url": url, "title": "bare"})
            started = time.perf_counter()
            everything = {"selectedItems": {"all": True, "excluded": []}}
            self.label_studio.call("POST", "/api/dm/actions", everything, id="retrieve_tasks_predictions", project=own)
            return time.perf_counter() - started

    def _upload(self, project: int, pictures: list[bytes]) -> list[str]:
        headers = {"Authorization": f"Token {self.label_studio.token}"}
        for start in range(0, len(pictures), 100):
            files = [(f"f{place}", (f"{start + place}.png", part)) for place, part in enumerate(pictures[start : start + 100])]
            answer = requests.post(f"{self.label_studio.url}/api/projects/{project}/import", files=files, headers=headers, timeout=120)
            assert answer.ok, answer.text
        found = self.label_studio.call("GET", f"/api/projects/{project}/export", exportType="JSON", download_all_tasks="true")
        return [task["data"]["image"] for task in found]

    def _fetch(self, address: str) -> None:
        headers = {"Authorization": f"Token {self.label_studio.token}"}
        assert requests.get(self.label_studio.url + address, headers=headers, timeout=60).ok

    def _slowest_while(self, service: RunningService, project: int, work: object) -> dict[str, float]:
        slowest = {"/health": 0.0, "/setup": 0.0}
        done = Event()

        def ask() -> None:
            while not done.is_set():
                for path in slowest:
                    started = time.perf_counter()
                    if path == "/health":
                        requests.get(service.url + path, timeout=10)
                    else:
                        service.call("POST", path, json={"project": f"{project}.1", "schema": CONFIG})
                    slowest[path] = max(slowest[path], time.perf_counter() - started)
                time.sleep(0.02)

        asking = Thread(target=ask)
        asking.start()
        try:
            work()  # type: ignore[operator]
        finally:
            done.set()
            asking.join()
        return slowest


def _ratio(name: str, measured: float, against: float, *, most: float = np.inf, least: float = 0.0) -> Figure:
    ratio = measured / against
    wanted = f"<= {most:g}" if np.isfinite(most) else f">= {least:g}"
    return Figure(name, wanted, f"{ratio:.2f} ({measured:.1f} s / {against:.1f} s)", least <= ratio <= most)


def _data_uris(count: int) -> list[str]:
    """Real digits, known ones and strangers, each shifted a little so that no two pictures are the same."""
    digits = load_digits()
    images = np.concatenate([digits.incoming[0], digits.unseen[0]])
    chance = np.random.default_rng(1)
    found = []
    for place in range(count):
        noise = chance.integers(0, 4, images[0].shape)
        content = io.BytesIO()
        Image.fromarray(np.clip(images[place % len(images)] + noise, 0, 255).astype(np.uint8)).save(content, "PNG")
        found.append("data:image/png;base64," + base64.b64encode(content.getvalue()).decode())
    return found


def _written(store: Store) -> int:
    """Tasks whose fields are written."""
    query = select(func.count()).select_from(field_write).where(field_write.c.state == FieldWriteState.WRITTEN)
    with store.reading() as connection:
        return int(connection.execute(query).scalar_one())


def _secret(service: RunningService) -> str:
    from annotriage.store.secrets import secret_of

    store = service.store()
    try:
        return secret_of(store, "webhook")
    finally:
        store.close()


@contextmanager
def _backend() -> Iterator[str]:
    """An ML backend that answers at once."""
    from flask import Flask, request
    from waitress.server import create_server

    app = Flask("bare")
    app.add_url_rule("/health", "health", lambda: {"status": "UP"})
    app.add_url_rule("/setup", "setup", lambda: {"model_version": "bare"}, methods=["POST"])
    results = lambda: {"results": [{"result": [], "score": 0.5} for _ in request.get_json()["tasks"]]}  # noqa: E731
    app.add_url_rule("/predict", "predict", results, methods=["POST"])
    port = free_port()
    server = create_server(app, host="127.0.0.1", port=port)
    Thread(target=server.run, daemon=True).start()
    yield f"http://127.0.0.1:{port}"
    server.close()
