"""Two replicas on PostgreSQL against one, each bound to a core of its own: what they judge in a second, and what an item costs them.

The model costs what ResNet-18 costs, so that it and not the way takes the time. Label Studio (in memory), PostgreSQL and this program
run on the other cores; a machine of two has none, and they share the replicas' cores. Then the ratio says how much they take, and the
processor time of the replicas for an item what holds on any machine: as much with two as with one means nothing is lost by sharing.
"""

from __future__ import annotations

import base64
import io
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil
from figure import Figure
from networks import write_resnet18
from PIL import Image

from annotriage import ModelSpec, Settings, fit
from annotriage.model.spec import InputSpec

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

import postgresql  # noqa: E402 - tests/support is no package
from fake_label_studio import FakeLabelStudio  # noqa: E402
from running import RunningService  # noqa: E402
from waiting import wait_until  # noqa: E402

CLASSES = tuple("abcdefgh")
CONFIG = (
    '<View><Image name="image" value="$image"/><Choices name="label" toName="image">'
    + "".join(f'<Choice value="{name}"/>' for name in CLASSES)
    + "</Choices></View>"
)
TRAIN, HELD_OUT, FIRST, TASKS = 64, 40, 160, 600
LEAST = 1.8
MOST_COST = 1.1  # of an item with two replicas over one
NAMES = (
    "two replicas over one, a core each, a ResNet-18, PostgreSQL: items a second",
    "two replicas: processor time of an item over that of one",
    "two replicas: rates with one and with two",
)


@dataclass(frozen=True)
class Measured:
    """One run. seconds: for all tasks. own, others: processor seconds of the replicas, and of PostgreSQL and Label Studio."""

    seconds: float
    own: float
    others: float
    shares: tuple[int, ...]


def figures(data: Path | None) -> Iterator[Figure]:
    """The ratio, and the cost of an item. `data` is not used."""
    programs = postgresql.programs()
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if programs is None or len(cores) < 2:
        yield Figure("two replicas over one, items a second", f">= {LEAST}", "needs PostgreSQL, Linux and two cores", None)
        return
    with TemporaryDirectory() as name, FakeLabelStudio().started() as studio, postgresql.running(programs) as database:
        folder = Path(name)
        write_fitted(folder)
        one, two = (_measure(folder, studio, database.address, cores, replicas) for replicas in (1, 2))
    ratio, cost = one.seconds / two.seconds, two.own / one.own
    spare = len(cores) - 2
    shared = f"{two.others / two.seconds:.2f} cores for PostgreSQL and Label Studio, {'beside' if spare else 'out of'} the replicas'"
    yield Figure(
        NAMES[0], f">= {LEAST}" if spare else f">= {LEAST} with cores to spare", f"{ratio:.2f}", bool(ratio >= LEAST) if spare else None
    )
    yield Figure(NAMES[1], f"<= {MOST_COST}", f"{cost:.3f}", bool(cost <= MOST_COST))
    rates = f"{TASKS / one.seconds:.1f} and {TASKS / two.seconds:.1f} items/s; each judged {min(two.shares)} and {max(two.shares)}"
    yield Figure(NAMES[2], "for information", f"{rates}; {shared}", None)


def write_fitted(folder: Path) -> None:
    """The model with its spec, and a reference of it, in a folder."""
    write_resnet18(folder / "resnet18.onnx")
    spec = ModelSpec(CLASSES, InputSpec((224, 224), scale=1 / 255), file="resnet18.onnx", path=folder / "model.toml")
    spec.write(folder / "model.toml")
    images = np.random.default_rng(0).integers(0, 256, (TRAIN + HELD_OUT, 64, 64, 3), dtype=np.uint8)
    labels = np.array([CLASSES[place % len(CLASSES)] for place in range(len(images))])
    train, held_out = (images[:TRAIN], labels[:TRAIN]), (images[TRAIN:], labels[TRAIN:])
    fit(folder / "model.toml", train, held_out, settings=Settings(map="none"), name="resnet18").save(folder / "reference")


def _measure(folder: Path, studio: FakeLabelStudio, address: str, cores: Sequence[int], replicas: int) -> Measured:
    import psycopg

    name = f"replicas_{replicas}"
    with psycopg.connect(address.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    with ExitStack() as stack:
        others = cores[2:] or [core for core in cores if core not in cores[:replicas]] or cores
        stack.enter_context(_bound(others))
        services = []
        for number in range(replicas):
            settings = {"database": f"{address.rpartition('/')[0]}/{name}", "poll_seconds": 1.0}
            services.append(RunningService(folder / f"{name}-{number}", studio.url, studio.token, **settings))
            stack.callback(services[-1].stop)
            with _bound([cores[number]]):
                services[-1].start()
        project = studio.project(CONFIG)
        services[0].command("connect", "--project", project, "--reference", folder / "reference", "--sample-share", 0)
        uris = _pictures(FIRST + TASKS)
        studio.import_tasks(project, [{"image": uri} for uri in uris[:FIRST]])
        wait_until(lambda: judged(studio, project) >= FIRST, 300, 0.1, "for the models to be loaded")
        started, own, elsewhere = time.monotonic(), processor(services), _processor_of_others(address)
        before = [_lines(service) for service in services]
        studio.import_tasks(project, [{"image": uri} for uri in uris[FIRST:]])
        wait_until(lambda: judged(studio, project) >= FIRST + TASKS, 300, 0.1, "for all to be delivered")
        seconds = time.monotonic() - started
        shares = tuple(_lines(service) - was for service, was in zip(services, before, strict=True))
        return Measured(seconds, processor(services) - own, _processor_of_others(address) - elsewhere, shares)


def judged(studio: FakeLabelStudio, project: int) -> int:
    return sum(bool(versions) for versions in studio.predictions(project).values())


def _lines(service: RunningService) -> int:
    """The items that a replica's log says it has judged."""
    lines = [json.loads(line) for line in service.log.read_text("utf-8").splitlines() if '"event": "judged"' in line]
    return sum(int(line["items"]) for line in lines)


def processor(services: Sequence[RunningService]) -> float:
    """Processor seconds of all processes of the replicas so far."""
    found = [one for service in services for one in (psutil.Process(service.pid), *psutil.Process(service.pid).children(recursive=True))]
    return sum(one.cpu_times().user + one.cpu_times().system for one in found)


def _processor_of_others(address: str) -> float:
    """Processor seconds of this process, which is also Label Studio, and of PostgreSQL."""
    port, total = address.rpartition(":")[2].partition("/")[0], time.process_time()
    for one in psutil.process_iter():
        with suppress(psutil.Error):
            if one.name() == "postgres" and port in one.cmdline():
                times = one.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
                total += sum(child.cpu_times().user + child.cpu_times().system for child in one.children())
    return total


@contextmanager
def _bound(cores: Sequence[int]) -> Iterator[None]:
    """A block in which this process, and what it starts, runs on some cores alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _pictures(count: int) -> list[str]:
    rng, found = np.random.default_rng(1), []
    for _ in range(count):
        content = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(content, "PNG")
        found.append(f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}")
    return found
