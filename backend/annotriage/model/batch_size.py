"""How many items go into one run of the model: as the settings say, or found while it runs."""

from __future__ import annotations

import math

from annotriage.model.types import Model
from annotriage.settings import Settings

START = 32  # more is hardly faster on a CPU, and takes memory
LARGEST = 1024
BYTES = 128_000_000  # of a batch's inputs, unless a size is given; one for every thread that decodes is in memory
GAIN = 0.9  # twice as many must take at most this share of the time per item
TRIED = 2  # runs of a size before it is judged: the first one also chooses kernels and takes memory


class BatchSize:
    """The size of the next batch.

    A size in the settings stays; with 0 it starts with 32 (fewer where inputs are large), and on a GPU doubles as long as that makes an
    item at least a tenth faster. A size that failed where its halves went well is not tried again, given or found. Keep it with the model
    where that runs many streams, so that each goes on from there.

    size: of the next batch. largest: what it grows to at most. growing: whether it may still grow.
    """

    def __init__(self, model: Model, settings: Settings) -> None:
        given = model.fixed_batch or settings.batch_size
        self.largest = given or max(1, min(LARGEST, BYTES // (4 * math.prod(model.spec.input.shape))))
        self.size = given or min(START, self.largest)
        self.growing = not given and model.device == "cuda"
        self._fixed = model.fixed_batch is not None
        self._refused = 0
        self._runs = 0
        self._best = float("inf")

    def ran(self, count: int, seconds: float) -> None:
        """A run of so many items took so long, and went well."""
        if not self.growing or count != self.size:  # a rest, or a batch that was cut before the size changed
            return
        self._runs += 1
        if self._runs < TRIED:
            return
        each, self._runs = seconds / count, 0
        if each > GAIN * self._best:
            self.size, self.growing = max(self.size // 2, 1), False
        elif 2 * self.size > self.largest:
            self.growing = False
        else:
            self._best, self.size = each, 2 * self.size

    def did_not_fit(self, count: int) -> None:
        """A batch that was cut at so many items failed, and went well in two halves: most likely memory was short.

        Smaller ones than the present size say nothing of it: the last of the data, or halves of what failed.
        """
        if count < self.size:
            return
        self.growing = False
        if not self._fixed and count == self.size:  # larger ones were cut before it shrank
            self._refused = count
            self.size = max(count // 2, 1)

    @property
    def note(self) -> str:
        """What is to be told at the end; "" if nothing."""
        if not self._refused:
            return ""
        return (
            f"{self._refused} items at once failed and ran in halves, mostly for want of memory; from there on the model ran on {self.size}"
            " at a time (setting batch_size)."
        )
