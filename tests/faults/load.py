"""More webhooks than anybody sends, and then steady traffic: `python tests/faults/load.py --seconds 60`, `... --steady-minutes 60`.

With `--to-the-end` a burst is followed for as long as anything moves, hours if need be, until every task has one verdict and one
prediction.

Told are the webhook's times as the service's own log has them, refusals with Retry-After, the memory of its processes, and how long it
took until everything was judged and delivered. Steady traffic must let nothing grow: memory, threads, descriptors, rows for each item.
Exit status 1 if a limit is not kept.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import mean
from urllib.parse import urlsplit

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "backend"), str(ROOT / "plugin")]
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "backend"), str(ROOT / "plugin"), os.environ.get("PYTHONPATH", "")])
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np  # noqa: E402, found by the paths above
import postgresql  # noqa: E402
import psutil  # noqa: E402
from fake_label_studio import FakeLabelStudio  # noqa: E402
from sqlalchemy import func, select  # noqa: E402
from sqlalchemy.exc import SQLAlchemyError  # noqa: E402
from storm_digits import digits_site  # noqa: E402
from storm_site import POLLS, Site  # noqa: E402

from annotriage.labeling_tool import SECRET_HEADER  # noqa: E402
from annotriage.settings import ServiceSettings  # noqa: E402
from annotriage.states import DeliveryState  # noqa: E402
from annotriage.store.schema import delivery, item, metadata, verdict  # noqa: E402
from annotriage.store.secrets import secret_of  # noqa: E402

SENDERS = 32
MOST_MS = 100.0  # that a webhook takes, 99 times of 100
MOST_MB = 1_500.0  # of all processes together, shared pages split among them
TELL_SECONDS = 30.0
END_SECONDS, STUCK_SECONDS = 7_200.0, 1_800.0  # for a burst to come to its end; and in which something must move on the way
AS_SHIPPED = {field: float(getattr(ServiceSettings(), field)) for field in POLLS}
GROWTH = 1.1  # between the second and the last quarter of steady traffic


@dataclass(frozen=True)
class Sample:
    """The service at one moment. at: seconds. mb: memory by role; pages that several processes share are split among them, also among
    others than the service's. resident_mb: of all together; shared pages count for each.
    """

    at: float
    mb: dict[str, float]
    resident_mb: float
    threads: int
    descriptors: int
    rows: int
    items: int

    @property
    def all_mb(self) -> float:
        """Of all processes together."""
        return sum(self.mb.values())

    @property
    def line(self) -> str:
        """In a line."""
        of_each = ", ".join(f"{role} {mb:.0f}" for role, mb in self.mb.items())
        return f"MB {of_each}; {self.threads} threads, {self.descriptors} descriptors"


def main() -> int:
    arguments = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whatever runs is ended
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="annotriage-load-")))
        studio = stack.enter_context(FakeLabelStudio().started())
        database = None
        if arguments.database == "postgresql" and (programs := postgresql.programs()) is not None:
            database = stack.enter_context(postgresql.running(programs))
        polls = POLLS if arguments.steady_minutes else AS_SHIPPED
        site = stack.enter_context(digits_site(folder, studio, Random(arguments.seed), database, polls))
        site.project = site.connect("--sample-share", 0)
        print(f"{arguments.database}, {os.cpu_count()} cores, load before {os.getloadavg()[0]:.1f}", flush=True)
        if arguments.steady_minutes:
            return _steady(site, arguments.steady_minutes, arguments.before)
        within = float("inf") if arguments.to_the_end else END_SECONDS
        return _burst(site, studio, arguments.rate, arguments.tasks, arguments.seconds, within)


def _burst(site: Site, studio: FakeLabelStudio, rate: int, tasks: int, seconds: float, within: float) -> int:
    """So many webhooks a second, at their times whether or not the last ones were answered. within: seconds until all is delivered."""
    with _watched(site, 1.0, rows=False) as samples:
        return _sent(site, studio, rate, tasks, seconds, within, samples)


def _sent(site: Site, studio: FakeLabelStudio, rate: int, tasks: int, seconds: float, within: float, samples: list[Sample]) -> int:
    secret = secret_of(site.store, "webhook")
    answers: Counter[int] = Counter()
    late: list[float] = []

    def send(due: float) -> None:
        rows = site.rng.choices(range(len(site.pictures.uris)), k=tasks)
        data = [{"image": site.pictures.uris[row]} for row in rows]
        ids = studio.import_tasks(site.project.id, data, tell=False)
        late.append(time.monotonic() - due)
        records = [{"id": id, "data": one} for id, one in zip(ids, data, strict=True)]
        answers[_webhook(site, secret, {"action": "TASKS_CREATED", "tasks": records, "project": {"id": site.project.id}})] += 1

    began = time.monotonic()
    with ThreadPoolExecutor(SENDERS) as senders:
        for number in range(int(rate * seconds)):
            due = began + number / rate
            time.sleep(max(0.0, due - time.monotonic()))
            senders.submit(send, due)
    sent_in = time.monotonic() - began
    taken, mb = _times(site), max(sample.all_mb for sample in samples)
    p50, p99, longest = (float(np.percentile(taken or [np.nan], share)) for share in (50, 99, 100))
    print(f"{rate * seconds:,.0f} webhooks of {tasks} tasks in {sent_in:.0f} s, at most {max(late):.1f} s late")
    print(f"answered {dict(answers)}; the machine's load was {os.getloadavg()[0]:.1f}")
    print(
        f"a webhook that is taken, in ms: median {p50:.1f}, 99% {p99:.1f}, longest {longest:.0f}; at most {mb:,.0f} MB so far", flush=True
    )
    judged_in, delivered_in = _followed(site, int(rate * seconds) * tasks, began, within, samples)
    sound = _is_sound(site, studio)
    most = max(samples, key=lambda sample: sample.all_mb)
    mb, resident_mb = most.all_mb, max(sample.resident_mb for sample in samples)
    print(f"memory of all processes: at most {mb:,.0f} MB ({most.line}); with what they share counted for each, {resident_mb:,.0f} MB")
    print(f"all judged after {judged_in:.0f} s, all delivered after {delivered_in:.0f} s; the load was {os.getloadavg()[0]:.1f} in the end")
    kept = p99 < MOST_MS and mb < MOST_MB and sound and set(answers) <= {200, 429, 503}
    print("kept" if kept else "NOT KEPT")
    return int(not kept)


def _followed(site: Site, sent: int, began: float, within: float, samples: list[Sample]) -> tuple[float, float]:
    """Tell how far it is until so many tasks are judged and delivered: in how many seconds each, since it began.

    Raises AssertionError if it takes longer than `within`, or if nothing moves for half an hour.
    """
    told_at = moved_at = time.monotonic()
    judged = delivered = told = 0
    judged_in = 0.0
    while True:
        before, now = judged + delivered, time.monotonic()
        with suppress(SQLAlchemyError):
            judged, delivered = site.counts()["judged"], _delivered(site)
        moved_at = now if judged + delivered > before else moved_at
        judged_in = judged_in or (now - began if judged >= sent else 0.0)
        if now - told_at >= TELL_SECONDS:
            print(
                f"after {(now - began) / 60:5.1f} min: {judged:,} of {sent:,} judged, {(judged - told) / (now - told_at):.0f} a second;"
                f" {delivered:,} delivered; {samples[-1].line if samples else ''}",
                flush=True,
            )
            told_at, told = now, judged
        if judged >= sent and delivered >= sent:
            return judged_in, now - began
        assert now - began < within, f"{judged:,} of {sent:,} judged, {delivered:,} delivered in {within:.0f} s\n{site.service.tail()}"
        assert now - moved_at < STUCK_SECONDS, f"nothing moved for {STUCK_SECONDS:.0f} s\n{site.service.tail()}"
        time.sleep(2.0)


def _delivered(site: Site) -> int:
    """How many predictions the labeling tool is known to have."""
    with site.store.reading() as connection:
        query = select(func.count()).select_from(delivery).where(delivery.c.state == DeliveryState.CONFIRMED)
        return int(connection.execute(query).scalar_one())


def _is_sound(site: Site, studio: FakeLabelStudio) -> bool:
    """Whether each task of the labeling tool has one verdict and one prediction; told."""
    shown = studio.predictions(site.project.id)
    with site.store.reading() as connection:
        query = select(item.c.external_id, func.count(verdict.c.item_id)).outerjoin(verdict, verdict.c.item_id == item.c.id)
        verdicts = {int(id): int(n) for id, n in connection.execute(query.group_by(item.c.id, item.c.external_id))}
    of_tasks = {"verdicts": Counter(verdicts.get(id, 0) for id in shown), "predictions": Counter(len(found) for found in shown.values())}
    for what, counted in of_tasks.items():
        print(f"{what} of a task: " + ", ".join(f"{n} on {tasks:,}" for n, tasks in sorted(counted.items())))
    return verdicts.keys() == shown.keys() and all(set(counted) == {1} for counted in of_tasks.values())


def _steady(site: Site, minutes: float, before: int) -> int:
    """A webhook of ten tasks every second, in a project that is as large already as anything that grows with it: maps and snapshots look
    at samples of 10,000."""
    while len(site.project.strange) < before:
        site.send(100)
        site.wait(lambda: site.counts()["judged"] >= len(site.project.strange) - 1_000, "for tasks to be judged", seconds=3600)
    _judged(site, len(site.project.strange))
    print(f"{before:,} tasks judged before; the machine's load is {os.getloadavg()[0]:.1f}", flush=True)
    with _watched(site, 15.0, rows=True) as samples:
        began, told = time.monotonic(), 0
        while (passed := time.monotonic() - began) < 60 * minutes:
            site.send(10)
            if samples and 10 * passed >= 60 * minutes * told:
                print(f"after {passed / 60:4.1f} min: {samples[-1].line}", flush=True)
                told += 1
            time.sleep(max(0.0, 1.0 - (time.monotonic() - began - passed)))
    state = site.settle()
    print(f"{minutes:g} minutes, {len(site.project.strange):,} tasks; lost {state.lost}, doubled {state.doubled}")
    quarter = max(1, len(samples) // 4)
    early, last = samples[quarter : 2 * quarter], samples[-quarter:]
    kept = True
    for name in ("all_mb", "threads", "descriptors"):
        first, after = (mean(getattr(sample, name) for sample in some) for some in (early, last))
        kept &= after <= GROWTH * first
        least, least_after = (min(getattr(sample, name) for sample in some) for some in (early, last))
        print(f"{name}: {first:.1f} in the second quarter, {after:.1f} in the last; at least {least:.1f} and {least_after:.1f}")
    first, after = (mean(sample.rows / max(1, sample.items) for sample in some) for some in (early, last))
    kept &= after <= GROWTH * first
    print(f"rows for each item: {first:.2f} in the second quarter, {after:.2f} in the last")
    print("kept" if kept and state.is_sound else "NOT KEPT")
    return int(not (kept and state.is_sound))


def _judged(site: Site, sent: int) -> None:
    """Wait until so many tasks are judged, and tell how far it is."""
    told_at, told = time.monotonic(), site.counts()["judged"]

    def are_judged() -> bool:
        nonlocal told_at, told
        now, judged = time.monotonic(), site.counts()["judged"]
        if now - told_at >= TELL_SECONDS:
            print(f"{judged:,} of {sent:,} judged, {(judged - told) / (now - told_at):.0f} a second", flush=True)
            told_at, told = now, judged
        return judged >= sent

    site.wait(are_judged, f"for {sent:,} tasks to be judged", seconds=7200, every=1.0)


@contextmanager
def _watched(site: Site, every: float, *, rows: bool) -> Iterator[list[Sample]]:
    """Samples, one each so many seconds as long as the block lasts. rows: whether they are counted, which takes a while where there are
    hundreds of thousands."""
    samples, stop = list[Sample](), threading.Event()

    def watch() -> None:
        while not stop.wait(every):
            with suppress(psutil.Error):  # a process that ends at this moment: the next look finds the others
                samples.append(_sample(site, rows=rows))

    watching = threading.Thread(target=watch, name="watching", daemon=True)
    watching.start()
    try:
        yield samples
    finally:  # before the service is ended, whatever ends the block
        stop.set()
        watching.join()


def _sample(site: Site, *, rows: bool) -> Sample:
    roles, processes, counted = {pid: role for role, pid in site.pids().items()}, site.processes(), Counter[str]()
    mb, resident = dict.fromkeys([*roles.values(), "others"], 0.0), 0
    for process in processes:
        memory = process.memory_full_info()
        mb[roles.get(process.pid, "others")] += memory.pss / 2**20
        resident += memory.rss
    if rows:
        with site.store.reading() as connection:
            for table in metadata.sorted_tables:
                counted[table.name] = int(connection.execute(select(func.count()).select_from(table)).scalar_one())
    return Sample(
        at=time.monotonic(),
        mb=mb,
        resident_mb=resident / 2**20,
        threads=sum(process.num_threads() for process in processes),
        descriptors=sum(process.num_fds() for process in processes),
        rows=counted.total(),
        items=counted["item"],
    )


def _webhook(site: Site, secret: str, event: dict[str, object]) -> int:
    """The status that one is answered with; 0 if it is not answered, or refused without Retry-After."""
    parts = urlsplit(site.service.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        headers = {"Content-Type": "application/json", SECRET_HEADER: secret}
        connection.request("POST", "/webhook", json.dumps(event), headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status if answer.status == 200 or answer.headers["Retry-After"] else 0
    except OSError:
        return 0
    finally:
        connection.close()


def _times(site: Site) -> list[float]:
    """How long webhooks took, in ms, as the service says: those that were taken, since one that is refused is answered at once."""
    line = re.compile(r'"path": "/webhook", "status": 200, "seconds": ([0-9.e-]+)')
    return [1000 * float(found) for found in line.findall(site.service.log.read_text("utf-8", "replace"))]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=200, help="webhooks a second")
    parser.add_argument("--tasks", type=int, default=50, help="in each")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--to-the-end", action="store_true", help="follow a burst however long it takes, as long as anything moves")
    parser.add_argument("--steady-minutes", type=float, default=0.0)
    parser.add_argument("--before", type=int, default=12_000, help="tasks in the project as steady traffic begins")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted")
