"""Items through the model in batches, as one iterator for fitting, triage and the service.

The next items are decoded and run while the last are judged, in flat memory however many they are.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from annotriage.data import Item, Problem
from annotriage.errors import MediaError
from annotriage.model.batch_size import BatchSize
from annotriage.model.cores import cores
from annotriage.model.inputs import Loaded, load, shrunk
from annotriage.model.stages import Stage, Stages
from annotriage.model.types import Array, Model, Outputs
from annotriage.settings import Settings
from annotriage.states import Failure

GROWING_AHEAD = 2  # batches cut ahead while their size grows: those cut at a former size only hold it up


@dataclass(frozen=True)
class Batch:
    """Some items and what the model made of them.

    items: all that were read, in order. problems: one per item, None or why it could not be scored. rows: indices of the
    items without a problem; outputs and loaded have one row for each of them. seconds: model and decoding time per item.
    """

    items: list[Item]
    problems: list[Problem | None]
    rows: list[int]
    outputs: Outputs | None
    loaded: list[Loaded]
    seconds: float

    @property
    def failures(self) -> list[str]:
        """The problems in sentences."""
        return [problem.text for problem in self.problems if problem is not None]


def stream(
    model: Model,
    items: Iterable[Item],
    settings: Settings,
    stages: Stages | None = None,
    size: BatchSize | None = None,
    begun: threading.Event | None = None,
    running: Executor | None = None,
) -> Generator[Batch, None, None]:
    """Run all items through the model, in their order; every item comes out in exactly one batch.

    A broken item has its problem named and leaves the others alone. Pictures are kept at the size of a thumbnail.
    stages: where to note how long reading, decoding, the model, and the wait for them took. size: what an earlier stream found of the
    model's batch size, to go on with. begun: set as the first batch is decoded: what else there is to do holds up nothing from then on.
    running: one thread for the model, by default one of the stream's own. Streams that share it take turns, batch by batch.
    """
    stages = stages or Stages()
    workers = decoding_threads(settings)
    size = size or BatchSize(model, settings)
    waiting: deque[Future[Batch]] = deque()
    own = nullcontext(running) if running is not None else ThreadPoolExecutor(1, "model")
    with ThreadPoolExecutor(workers, "decode") as decoding, own as runs:
        try:
            for asked, piece in in_batches(items, size, stages):
                decoded = decoding.submit(decode, piece, model, settings, stages)
                waiting.append(runs.submit(_run, model, piece, decoded, size, stages, asked, begun))
                if len(waiting) > (min(workers, GROWING_AHEAD) if size.growing else workers):
                    yield _awaited(waiting.popleft(), stages)
            while waiting:
                yield _awaited(waiting.popleft(), stages)
        finally:
            running_still = [left for left in waiting if not left.cancel()]
            decoding.shutdown(wait=False, cancel_futures=True)
            for left in running_still:
                left.exception()  # waited for, whoever the thread belongs to
            if size.note and size.note not in model.notes:
                model.notes = (*model.notes, size.note)


def together(batches: Sequence[Batch]) -> Batch:
    """Batches, one at least, as a single one."""
    if len(batches) == 1:
        return batches[0]
    starts = np.cumsum([0, *(len(batch.items) for batch in batches)])
    return Batch(
        items=[item for batch in batches for item in batch.items],
        problems=[problem for batch in batches for problem in batch.problems],
        rows=[int(start) + row for start, batch in zip(starts, batches, strict=False) for row in batch.rows],
        outputs=_joined([batch.outputs for batch in batches if batch.outputs is not None]),
        loaded=[loaded for batch in batches for loaded in batch.loaded],
        seconds=sum(batch.seconds * len(batch.items) for batch in batches) / int(starts[-1]),
    )


def decoding_threads(settings: Settings) -> int:
    """Threads that decode while the model runs."""
    return settings.threads or cores()


def in_batches(items: Iterable[Item], size: BatchSize, stages: Stages) -> Iterator[tuple[int, list[Item]]]:
    """The items by batches, as they are read, each with the size that was asked for; the last one may be smaller."""
    iterator = iter(items)
    while True:
        asked = size.size
        with stages.timed(Stage.READ):
            piece = list(islice(iterator, asked))
        if not piece:
            return
        yield asked, piece


Decoded = tuple[list[Loaded | Problem], Array]  # each item or what is wrong with it; the good ones' tensors in one array


def decode(items: list[Item], model: Model, settings: Settings, stages: Stages) -> Decoded:
    """Items as the model takes them: (N, ...) float32 of those without a problem."""
    with stages.timed(Stage.DECODE):
        tensors = np.empty((len(items), *model.spec.input.shape), dtype=np.float32)
        found = [_load(item, model, settings, out) for item, out in zip(items, tensors, strict=True)]
        good = [isinstance(result, Loaded) for result in found]
        return found, tensors if all(good) else tensors[good]


def _awaited(batch: Future[Batch], stages: Stages) -> Batch:
    with stages.timed(Stage.WAIT):
        return batch.result()


def _load(item: Item, model: Model, settings: Settings, out: Array) -> Loaded | Problem:
    if item.media is None:
        return item.problem or Problem(Failure.ADDRESS, f"{item.path or item.id}: there is nothing to look at; give the item a file")
    try:
        loaded = load(item.media, model.spec.input, settings.max_pixels, item.path or f"item {item.id}", out)
    except MediaError as error:
        return Problem(error.failure, str(error))
    return loaded if loaded.picture is None else replace(loaded, picture=shrunk(loaded.picture, settings.thumbnail))


def _run(
    model: Model,
    items: list[Item],
    loading: Future[Decoded],
    size: BatchSize,
    stages: Stages,
    asked: int,
    begun: threading.Event | None,
) -> Batch:
    with stages.timed(Stage.STARVE):
        found, tensors = loading.result()
    if begun is not None:
        begun.set()
    started = time.perf_counter()
    problems = [result if isinstance(result, Problem) else None for result in found]
    rows = [row for row, problem in enumerate(problems) if problem is None]
    loaded = [result for result in found if isinstance(result, Loaded)]
    outputs = None
    if loaded:
        with stages.timed(Stage.MODEL):
            outputs, failures = _run_or_split(model, tensors, size, len(items))
        stages.batch(min(asked, size.size), len(items))  # of one that failed and ran in halves that of these
        for place, failure in failures.items():
            item = items[rows[place]]
            problems[rows[place]] = Problem(Failure.MODEL, f"{item.path or item.id}: {failure}")
        good = [place for place in range(len(rows)) if place not in failures]
        rows, loaded = [rows[place] for place in good], [loaded[place] for place in good]
    return Batch(items, problems, rows, outputs, loaded, (time.perf_counter() - started) / len(items))


def _run_or_split(model: Model, tensors: Array, size: BatchSize, cut: int) -> tuple[Outputs | None, dict[int, str]]:
    """The outputs of the inputs that the model can take, and what is wrong with the others, by place. cut: items, broken ones too."""
    started = time.perf_counter()
    try:
        outputs = model.run(tensors)
    except Exception as error:  # a runtime raises its own kinds; one poisoned item must not take its batch along
        failure = str(error).strip()[:300]
    else:
        size.ran(len(tensors), time.perf_counter() - started)
        return _usable(outputs)
    if len(tensors) == 1:  # from here on the error is gone, and with it what the failed run held of the GPU's memory
        return None, {0: f"the model failed on it; compare its size and values with items that work ({failure})"}
    half = len(tensors) // 2
    first, first_failures = _run_or_split(model, tensors[:half], size, half)
    second, second_failures = _run_or_split(model, tensors[half:], size, len(tensors) - half)
    moved = {half + place: failure for place, failure in second_failures.items()}
    if not first_failures and not moved:
        size.did_not_fit(cut)
    return _joined([part for part in (first, second) if part is not None]), first_failures | moved


def _usable(outputs: Outputs) -> tuple[Outputs | None, dict[int, str]]:
    """The rows that can be reckoned with, and what is wrong with the others, by place."""
    usable = np.all([(np.abs(part) < LARGEST).all(axis=1) for part in (outputs.logits, *outputs.activations)], axis=0)
    if usable.all():
        return outputs, {}
    kept = Outputs(outputs.logits[usable], tuple(layer[usable] for layer in outputs.activations)) if usable.any() else None
    return kept, {int(place): UNUSABLE for place in np.flatnonzero(~usable)}


def _joined(parts: list[Outputs]) -> Outputs | None:
    if not parts:
        return None
    layers = range(len(parts[0].activations))
    logits = np.concatenate([part.logits for part in parts])
    return Outputs(logits, tuple(np.concatenate([part.activations[layer] for part in parts]) for layer in layers))


LARGEST = 1e9  # beyond it squared distances overflow; no activation of a sound model comes near
UNUSABLE = (
    "the model's numbers for it are not finite (NaN or infinite) or absurdly large; look for broken pixels or values, or for a wrong"
    " scale, mean or std in the model spec"
)
