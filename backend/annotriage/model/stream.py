"""Items through the model in batches, as one iterator for fitting, triage and the service.

The next items are decoded and run while the last are judged, in flat memory however many they are.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
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

PART = 5_000_000  # bytes of inputs in one of the runs side by side: much more of what lies between layers leaves the processor's cache
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
    running: as many threads for the model as it has lanes, by default the stream's own. Streams that share them take turns.

    Where the model has several lanes, batches are run in parts side by side, on a core each. What is small and comes first, as an item that
    somebody waits for, has all cores at once, and no turn to wait for.
    """
    stages = stages or Stages()
    workers = decoding_threads(settings)
    size = size or BatchSize(model, settings)
    waiting: deque[_Begun] = deque()
    own = nullcontext(running) if running is not None else ThreadPoolExecutor(model.lanes, "model")
    with ThreadPoolExecutor(workers, "decode") as decoding, own as runs:
        try:
            for asked, piece in in_batches(items, size, stages):
                decoded = decoding.submit(decode, piece, model, settings, stages)
                count = _parts(model, len(piece))
                lanes = 1 if count == 1 and not waiting else model.lanes
                executor = decoding if lanes < model.lanes else runs
                run = partial(_run, model, decoded, size, stages, lanes, begun)
                waiting.append(_Begun(piece, asked, decoded, lanes, [executor.submit(run, part, count) for part in range(count)]))
                if len(waiting) > (min(workers, GROWING_AHEAD) if size.growing else workers):
                    yield _awaited(waiting.popleft(), size, stages)
            while waiting:
                yield _awaited(waiting.popleft(), size, stages)
        finally:
            running_still = [part for left in waiting for part in left.parts if not part.cancel()]
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


@dataclass(frozen=True)
class _Ran:
    """A part of a batch that was run. failures: what is wrong with items, by place among the batch's decoded ones. seconds: it took."""

    outputs: Outputs | None
    failures: dict[int, str]
    seconds: float


@dataclass(frozen=True)
class _Begun:
    """A batch on its way through the model. asked: how many items were to be in it. lanes: how many parts run side by side."""

    items: list[Item]
    asked: int
    decoded: Future[Decoded]
    lanes: int
    parts: list[Future[_Ran]]


def _parts(model: Model, count: int) -> int:
    """In how many parts so many items are run."""
    if model.lanes == 1 or model.fixed_batch:
        return 1
    most = max(1, PART // (4 * math.prod(model.spec.input.shape)))
    return math.ceil(count / most)


def _awaited(begun: _Begun, size: BatchSize, stages: Stages) -> Batch:
    """The batch, once all its parts have run."""
    with stages.timed(Stage.WAIT):
        ran = [part.result() for part in begun.parts]
    items, (found, _) = begun.items, begun.decoded.result()
    problems = [result if isinstance(result, Problem) else None for result in found]
    rows = [row for row, problem in enumerate(problems) if problem is None]
    loaded = [result for result in found if isinstance(result, Loaded)]
    if loaded:
        stages.batch(min(begun.asked, size.size), len(items))  # of one that failed and ran in halves that of these
    failures = {place: failure for part in ran for place, failure in part.failures.items()}
    for place, failure in failures.items():
        item = items[rows[place]]
        problems[rows[place]] = Problem(Failure.MODEL, f"{item.path or item.id}: {failure}")
    good = [place for place in range(len(rows)) if place not in failures]
    outputs = _joined([part.outputs for part in ran if part.outputs is not None])
    seconds = sum(part.seconds for part in ran) / begun.lanes / len(items)
    return Batch(items, problems, [rows[place] for place in good], outputs, [loaded[place] for place in good], seconds)


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
    loading: Future[Decoded],
    size: BatchSize,
    stages: Stages,
    lanes: int,
    begun: threading.Event | None,
    part: int,
    parts: int,
) -> _Ran:
    """Run one of so many parts of a batch, all as long."""
    with stages.timed(Stage.STARVE, lanes):
        found, tensors = loading.result()
    if begun is not None:
        begun.set()
    start, stop = (len(tensors) * bound // parts for bound in (part, part + 1))
    if start == stop:
        return _Ran(None, {}, 0.0)
    started = time.perf_counter()
    with stages.timed(Stage.MODEL, lanes):
        cut = len(found) if parts == 1 else stop - start
        outputs, failures = _run_or_split(model, tensors[start:stop], size, cut, beside=lanes > 1)
    return _Ran(outputs, {start + place: failure for place, failure in failures.items()}, time.perf_counter() - started)


def _run_or_split(model: Model, tensors: Array, size: BatchSize, cut: int, beside: bool) -> tuple[Outputs | None, dict[int, str]]:
    """The outputs of the inputs that the model can take, and what is wrong with the others, by place.

    cut: items, broken ones too. beside: as of `Model.run`.
    """
    started = time.perf_counter()
    try:
        outputs = model.run(tensors, beside)
    except Exception as error:  # a runtime raises its own kinds; one poisoned item must not take its batch along
        failure = str(error).strip()[:300]
    else:
        size.ran(len(tensors), time.perf_counter() - started)
        return _usable(outputs)
    if len(tensors) == 1:  # from here on the error is gone, and with it what the failed run held of the GPU's memory
        return None, {0: f"the model failed on it; compare its size and values with items that work ({failure})"}
    half = len(tensors) // 2
    first, first_failures = _run_or_split(model, tensors[:half], size, half, beside)
    second, second_failures = _run_or_split(model, tensors[half:], size, len(tensors) - half, beside)
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
