"""End to end, live: tasks with pictures on a web server until their predictions are in Label Studio, against onnxruntime alone.

The model costs what ResNet-18 costs. The service is as its users run it, with its database and its dashboard; onnxruntime alone gets the
same cores, and batches that lie ready, before the service begins and after it has ended, since the machine may be slower at one time than
at another. Label Studio (in memory), the web server and this program have no cores of their own: their share is stated, and what the
service itself takes of the cores for an item is compared, too.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

import numpy as np
from figure import Figure
from networks import write_resnet18
from numpy.typing import NDArray
from overhead import bare, pictures
from PIL import Image
from two_replicas import CLASSES, CONFIG, judged, processor

from annotriage import ModelSpec, Settings, fit
from annotriage.model.spec import InputSpec
from annotriage.settings import ServiceSettings

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from fake_label_studio import FakeLabelStudio  # noqa: E402 - tests/support is no package
from picture_server import serving  # noqa: E402
from running import RunningService  # noqa: E402
from waiting import wait_until  # noqa: E402

LEAST = 0.9
TRAIN, HELD_OUT = 160, 80
FIRST, TASKS, BATCH, ALONE = 64, 1_600, 32, 20
CALM, CALM_SECONDS = 0.1, 5.0  # of a core in so many seconds: what a new project costs once, as its first map, is done
HEIGHT, WIDTH = 256, 256  # of a picture, in pixels
DIFFERENT = 80  # pictures; each address is asked for once
POLLED = ServiceSettings().poll_seconds
NAMES = (
    f"live, {WIDTH} x {HEIGHT} JPEG over HTTP until their predictions are there, over bare onnxruntime, a ResNet-18",
    "  items a second: live, bare onnxruntime",
)


def figures(data: Path | None) -> Iterator[Figure]:
    """The ratio, and what it is of. `data` is not used."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        _write_fitted(folder)
        model = bare(folder / "resnet18.onnx", ())
        before = _bare(model)
        live = _live(folder)
        alone = tuple(map(fmean, zip(before, _bare(model), strict=True)))
    rate, cost = alone[0] / live.seconds, alone[1] / live.own
    said = f"{rate:.2f} (by processor time {cost:.2f})"
    yield Figure(NAMES[0], f">= {LEAST}", said, bool(cost >= LEAST))
    said = f"{1 / live.seconds:.1f}, {1 / alone[0]:.1f}; {live.others / live.seconds:.2f} cores for Label Studio and the web server"
    yield Figure(NAMES[1], "for information", said, None)


def _write_fitted(folder: Path) -> None:
    """The model with its spec, and a reference of pictures like those that come, so that most of these are familiar."""
    write_resnet18(folder / "resnet18.onnx")
    spec = ModelSpec(CLASSES, InputSpec((224, 224), scale=1 / 255), file="resnet18.onnx", path=folder / "model.toml")
    spec.write(folder / "model.toml")
    images = pictures(TRAIN + HELD_OUT, HEIGHT, WIDTH)
    labels = np.array([CLASSES[place % len(CLASSES)] for place in range(len(images))])
    train, held_out = (images[:TRAIN], labels[:TRAIN]), (images[TRAIN:], labels[TRAIN:])
    fit(folder / "model.toml", train, held_out, settings=Settings(map="none"), name="resnet18").save(folder / "reference")


def _bare(run: Callable[[NDArray[np.float32]], object]) -> tuple[float, float]:
    """Seconds of an item with the model alone, and processor seconds."""
    batch = np.random.default_rng(0).random((BATCH, 3, 224, 224), dtype=np.float32)
    run(batch)
    started, before = time.perf_counter(), time.process_time()
    for _ in range(ALONE):
        run(batch)
    return (time.perf_counter() - started) / (ALONE * BATCH), (time.process_time() - before) / (ALONE * BATCH)


@dataclass(frozen=True)
class _Live:
    """Of an item. seconds: from the import on until all predictions are there. own, others: processor seconds of the service's processes,
    and of this one, which is Label Studio and the web server."""

    seconds: float
    own: float
    others: float


def _live(folder: Path) -> _Live:
    with FakeLabelStudio().started() as studio, serving(_jpegs()) as address:
        service = RunningService(folder / "service", studio.url, studio.token, poll_seconds=POLLED, media_hosts="127.0.0.1")
        service.start()
        try:
            project = studio.project(CONFIG)
            service.command("connect", "--project", project, "--reference", folder / "reference", "--sample-share", 0)
            tasks = [{"image": f"{address}/{number}.jpg"} for number in range(FIRST + TASKS)]
            studio.import_tasks(project, tasks[:FIRST])
            wait_until(lambda: judged(studio, project) >= FIRST, 300, 0.1, "for the model to be loaded")
            wait_until(lambda: _spent(service) < CALM * CALM_SECONDS, 300, 0.1, "for what a new project costs once")
            started, before, elsewhere = time.perf_counter(), processor([service]), time.process_time()
            studio.import_tasks(project, tasks[FIRST:])
            wait_until(lambda: judged(studio, project) >= FIRST + TASKS, 300, 0.1, "for all to be delivered")
            taken = time.perf_counter() - started, processor([service]) - before, time.process_time() - elsewhere
            return _Live(*(seconds / TASKS for seconds in taken))
        finally:
            service.stop()


def _spent(service: RunningService) -> float:
    """Processor seconds of the next CALM_SECONDS."""
    before = processor([service])
    time.sleep(CALM_SECONDS)
    return processor([service]) - before


def _jpegs() -> list[bytes]:
    found = []
    for image in pictures(DIFFERENT, HEIGHT, WIDTH):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=90)
        found.append(file.getvalue())
    return found
