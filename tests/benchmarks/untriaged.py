"""What Label Studio waits for when it opens a task that is not triaged yet: /predict of it, against fetching, decoding and the model alone.

The service runs as its users run it, with a model of ResNet-18's cost; Label Studio is in memory, and the pictures lie on a web server of
this machine. Both sides take turns, each time with a picture that neither has seen.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import requests
from figure import Figure
from PIL import Image

from annotriage import ModelSpec, load_model
from annotriage.model import Model
from annotriage.model.inputs import load

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from fake_label_studio import FakeLabelStudio  # noqa: E402 - tests/support is no package
from picture_server import serving  # noqa: E402
from running import RunningService  # noqa: E402
from two_replicas import CONFIG, write_fitted  # noqa: E402

MOST = 1.3
TASKS, FIRST = 30, 3
SIDE = 512  # of a picture, in pixels
POLLED = 3_600.0  # seconds: nothing else finds the tasks
NAMES = (
    "/predict of a task that is not triaged over fetching, decoding and the model, a ResNet-18",
    "  in ms: /predict, fetching with decoding and the model",
    "  of these calls delivery was sooner, and they were answered 503",
)


def figures(data: Path | None) -> Iterator[Figure]:
    """The ratio, and what it is of. `data` is not used."""
    with TemporaryDirectory() as name, FakeLabelStudio().started() as studio, serving(_noise()) as pictures:
        folder = Path(name)
        write_fitted(folder)
        model = load_model(ModelSpec.load(folder / "model.toml"))
        service = RunningService(
            folder / "service", studio.url, studio.token, poll_seconds=POLLED, predict_seconds=60.0, media_hosts="127.0.0.1"
        )
        service.start()
        try:
            project = studio.project(CONFIG)
            service.command("connect", "--project", project, "--reference", folder / "reference", "--sample-share", 0)
            with requests.Session() as asking, requests.Session() as fetching:
                asking.auth = (service.settings.user, service.password)
                taken = np.array([_turn(studio, project, service, model, pictures, asking, fetching) for _ in range(FIRST + TASKS)])
        finally:
            service.stop()
    theirs, ours = taken[FIRST:].T
    answered = ~np.isnan(ours)
    theirs, ours = theirs[answered], ours[answered]
    ratio = float(np.median(ours) / np.median(theirs))
    yield Figure(NAMES[0], f"<= {MOST:g}", f"{ratio:.2f}", ratio <= MOST)
    what = f"{1000 * np.median(ours):.0f} (slowest {1000 * ours.max():.0f}), {1000 * np.median(theirs):.0f}"
    yield Figure(NAMES[1], "for information", what, None)
    sooner = f"{int((~answered).sum())} of {TASKS}"
    yield Figure(NAMES[2], "for information", sooner, None)


def _turn(
    studio: FakeLabelStudio,
    project: int,
    service: RunningService,
    model: Model,
    pictures: str,
    asking: requests.Session,
    fetching: requests.Session,
) -> tuple[float, float]:
    """Seconds of fetching, decoding and running one picture, and of /predict of a task with another; NaN where delivery was sooner."""
    started = time.perf_counter()
    content = fetching.get(f"{pictures}/{started}.jpg", timeout=60).content
    loaded = load(content, model.spec.input, 10**9, "the picture")
    model.run(loaded.tensor[None])
    alone = time.perf_counter() - started
    image = f"{pictures}/{time.perf_counter()}.jpg"
    (task,) = studio.import_tasks(project, [{"image": image}], tell=False)
    record = {"id": task, "data": {"image": image}, "annotations": [], "predictions": []}
    body = {"tasks": [record], "project": f"{project}.1795319246", "label_config": CONFIG, "params": {"context": None}}
    started = time.perf_counter()
    answer = asking.post(f"{service.url}/predict", json=body, timeout=60)
    taken = time.perf_counter() - started
    if answer.status_code not in (200, 503):
        raise RuntimeError(f"/predict: {answer.status_code} {answer.text[:500]}")
    return alone, taken if answer.status_code == 200 else np.nan


def _noise() -> Iterator[bytes]:
    """Pictures of noise, each another one."""
    rng = np.random.default_rng(0)
    while True:
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).resize((SIDE, SIDE)).save(file, "JPEG")
        yield file.getvalue()
