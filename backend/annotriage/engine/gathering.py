"""Small batches of a quick model, put together before they are judged: what judging multiplies with is read anew for each."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from annotriage.engine.reference import Reference
from annotriage.latent.products import rounds_alike
from annotriage.model.stream import Batch, together

TOGETHER = 512  # items: an item costs a third less than among 32, and two threads have a part of the best size each
BYTES = 32_000_000  # of inputs, which a batch holds until it is judged
SECONDS = 0.1  # for which a batch waits for the next ones: of a slower model judging is a small part anyway


def gathered(batches: Iterable[Batch], reference: Reference) -> Iterator[Batch]:
    """The same items in the same order, in batches of about TOGETHER where they come quickly.

    How many come together depends on the clock, and nothing else may. Each batch is left alone where digits depend on it: on some
    processors (`rounds_alike`), and where the reference places items together (`one_by_one`).
    """
    if not (rounds_alike() and reference.detector.one_by_one):
        yield from batches
        return
    waiting: list[Batch] = []
    began = time.monotonic()
    for batch in batches:
        waiting.append(batch)
        enough = sum(len(one.items) for one in waiting) >= TOGETHER or sum(map(_bytes, waiting)) >= BYTES
        if enough or time.monotonic() - began > SECONDS:
            yield together(waiting)
            waiting, began = [], time.monotonic()
    if waiting:
        yield together(waiting)


def _bytes(batch: Batch) -> int:
    return sum(loaded.tensor.nbytes for loaded in batch.loaded)
