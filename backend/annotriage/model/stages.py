"""How long each stage of a run took, and in what batches: added up from whichever thread, once a batch, so that it costs nothing."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum


class Stage(StrEnum):
    """A part of a run. The first three go on beside all others, in threads of their own."""

    DECODE = "decode"  # files opened, pictures decoded, resized and scaled
    STARVE = "starve"  # the model's thread waits until the next items are decoded
    MODEL = "model"  # the runtime, the pooling of its feature maps, and the check of what it put out
    READ = "read"  # the dataset is listed, unpacked or fetched
    WAIT = "wait"  # nothing is left to do until the model has put out a batch
    JUDGE = "judge"  # activations -> verdicts
    SAMPLE = "sample"  # what the report and the dataset's score need of the items, thumbnails included
    WRITE = "write"  # verdicts into files
    STORE = "store"  # verdicts, with all that follows from them, into the service's database
    COMPARE = "compare"  # the dataset as a whole: score, tests, groups
    MAP = "map"
    REPORT = "report"


class Stages:
    """Seconds by stage, by the clock and of a core. A stage that runs inside another one counts for itself alone. Safe in threads."""

    def __init__(self) -> None:
        self._elapsed: dict[Stage, float] = dict.fromkeys(Stage, 0.0)
        self._processor: dict[Stage, float] = dict.fromkeys(Stage, 0.0)
        self._sizes: Counter[int] = Counter()
        self._lock = threading.Lock()
        self._inner = threading.local()

    @contextmanager
    def timed(self, stage: Stage, among: int = 1) -> Iterator[None]:
        """What happens in this context, in this thread, belongs to `stage`. among: threads at it side by side, each of which counts for its
        part, so that together they took as long as by the clock."""
        outer = getattr(self._inner, "taken", (0.0, 0.0))
        self._inner.taken = (0.0, 0.0)
        elapsed, processor = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            elapsed, processor = time.perf_counter() - elapsed, time.thread_time() - processor
            inner = self._inner.taken
            self._inner.taken = outer[0] + elapsed, outer[1] + processor
            self.add(stage, (elapsed - inner[0]) / among, processor - inner[1])

    def add(self, stage: Stage, elapsed: float, processor: float) -> None:
        """So many seconds more of a stage."""
        with self._lock:
            self._elapsed[stage] += elapsed
            self._processor[stage] += processor

    def batch(self, size: int, items: int) -> None:
        """So many more items went through the model in a batch of this size, or in the rest of one."""
        with self._lock:
            self._sizes[size] += items

    @property
    def batch_size(self) -> int:
        """The size of the batches that most items went through the model in. Raises ValueError before the first."""
        with self._lock:
            return max(self._sizes, key=lambda size: self._sizes[size])

    def elapsed(self, *stages: Stage) -> float:
        """Seconds by the clock; of stages that several threads were at, all of theirs together."""
        with self._lock:
            return sum(self._elapsed[stage] for stage in stages)

    def processor(self, *stages: Stage) -> float:
        """Seconds of a core, as far as these threads themselves used one; a runtime's own threads are not counted."""
        with self._lock:
            return sum(self._processor[stage] for stage in stages)
