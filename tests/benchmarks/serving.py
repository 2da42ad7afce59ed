"""What Label Studio waits for when it opens a task: /predict of one triaged task, against an empty authenticated route.

Both under waitress, with the same JSON body, over kept connections, taking turns. The store holds many other tasks.
"""

from __future__ import annotations

import base64
import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from figure import Figure, spread, turns
from flask import Flask, request
from waitress.server import create_server

from annotriage.labeling_tool import Task
from annotriage.service.operations.process import Process
from annotriage.settings import ServiceSettings
from annotriage.store import deliveries, items
from annotriage.store.projects import ProjectOptions, add_project
from annotriage.store.references import save_reference
from annotriage.web.app import create_app

TASKS = 20_000
REQUESTS, ROUNDS = 100, 9
MOST = 3.0
CONFIG = """<View><Image name="image" value="$image"/><Choices name="label" toName="image">
<Choice value="cat"/><Choice value="dog"/></Choices></View>"""
FACTS = {"model": {"spec": {"model": {"classes": ["cat", "dog"]}}}, "guarantee": {"auto": True}}
BODY = json.dumps(
    {
        "tasks": [{"id": TASKS // 2, "data": {"image": "/data/upload/1/a.png"}, "annotations": [], "predictions": []}],
        "project": "1.1795319246",
        "label_config": CONFIG,
        "params": {"login": None, "password": None, "context": None},
    }
)


def figures(data: Path | None) -> Iterator[Figure]:
    """The ratio, and what it is of. `data` is not used."""
    with TemporaryDirectory() as name:
        settings = ServiceSettings(database=f"sqlite:///{name}/store.db", label_studio_token="unused", password="secret")
        process = Process(settings, "web")
        _fill(process)
        app = create_app(process)
        app.add_url_rule("/api/empty", view_func=lambda: {"results": [], "asked": request.get_json()["project"]}, methods=["POST"])
        with _serving(app) as port, closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
            predict, empty = _asking(connection, "/predict"), _asking(connection, "/api/empty")
            turns(predict, empty, rounds=1)
            taken = turns(predict, empty, rounds=ROUNDS)[:, :, 0] / REQUESTS * 1000
        process.leave()
    ratio = taken[:, 0] / taken[:, 1]
    yield Figure("/predict of one triaged task over an empty route", f"<= {MOST:g}", spread(ratio), bool(np.median(ratio) <= MOST))
    yield Figure("  in ms: /predict, empty route", "for information", ", ".join(f"{np.median(side):.2f}" for side in taken.T), None)


def _fill(process: Process) -> None:
    """A project whose tasks are all triaged and delivered."""
    with process.store.writing() as connection:
        reference = save_reference(connection, version="v", name="pets", prediction_version="annotriage pets v", facts=FACTS, files={})
        project = add_project(connection, "1", "Pets", reference, ProjectOptions(), watch=False)
        items.add_tasks(connection, project, [Task(str(number), "") for number in range(1, TASKS + 1)])
        rows = items.find_items(connection, project.id, [str(number) for number in range(1, TASKS + 1)]).values()
        shown = {"reference_id": reference, "project_id": project.id, "labels": ["cat"], "trust": 0.9}
        deliveries.enqueue(connection, [{"item_id": row.id, **shown} for row in rows])
        deliveries.move(connection, reference, [row.id for row in rows], ("pending",), "confirmed")


@contextmanager
def _serving(app: Flask) -> Iterator[int]:
    server = create_server(app, host="127.0.0.1", port=0, threads=4)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield server.effective_port
    finally:
        server.task_dispatcher.shutdown()
        server.close()
        thread.join(5)


def _asking(connection: http.client.HTTPConnection, path: str) -> Callable[[], None]:
    credentials = base64.b64encode(b"annotriage:secret").decode()
    headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}

    def ask() -> None:
        for _ in range(REQUESTS):
            connection.request("POST", path, BODY, headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{path}: {answer.status} {text[:500]!r}")

    return ask
