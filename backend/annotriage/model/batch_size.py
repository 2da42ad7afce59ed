"""How many items go into one run of the model: as the settings say, or found while it runs."""

from __future__ import annotations

import math

from annotriage.model.types import Model
from annotriage.settings import Settings

ON_CPU = 32  # more is hardly faster on a CPU, and takes memory
LARGEST = 1024
BYTES = 128_000_000  # of a batch's inputs; one for every thread that decodes is in memory
GAIN = 0.9  # twice as many must take at most this share of the time per item
TRIED = 2  # runs of a size before it is judged: the first one also chooses kernels and takes memory


class BatchSize:
    """The size of the next batch.

    A size in the settings stays; with 0 it starts with 32, and on a GPU doubles as long as that makes an item at least a tenth faster.
    What did not fit into memory is not tried again, given or found.
    """

    def __init__(self, model: Model, settings: Settings) -> None:
        given = model.fixed_batch or settings.batch_size
        self.size = given or ON_CPU
        self._grows = not given and model.device == "cuda"
        self._largest = min(LARGEST, BYTES // (4 * math.prod(model.spec.input.shape)))
        self._fixed = model.fixed_batch is not None
        self._refused = 0
        self._runs = 0
        self._best = float("inf")

    def ran(self, count: int, seconds: float) -> None:
        """A run of so many items took so long, and went well."""
        if not self._grows or count != self.size:  # a rest, or a batch that was cut before the size changed
            return
        self._runs += 1
        if self._runs < TRIED:
            return
        each, self._runs = seconds / count, 0
        if each > GAIN * self._best:
            self.size, self._grows = max(self.size // 2, 1), False
        elif 2 * self.size > self._largest:
            self._grows = False
        else:
            self._best, self.size = each, 2 * self.size

    def did_not_fit(self, count: int) -> None:
        """A run of so many items failed, and went well in two halves: memory was short."""
        self._grows = False
        if not self._fixed and count <= self.size:
            self._refused = count
            self.size = max(count // 2, 1)

    @property
    def note(self) -> str:
        """What is to be told at the end; "" if nothing."""
        if not self._refused:
            return ""
        return f"{self._refused} items at once did not fit into memory, so the model ran on {self.size} at a time (setting batch_size)."
