"""How fast triage is with a user's own model and data on this machine, where its time goes, and which setting would change that.

The run that is measured is `triage_to_folder` itself, into a folder that is thrown away; the stages are those that every run notes.
Beside it the model alone is run on batches that lie ready: nothing that needs its answers can be faster than that on the same cores.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.advice import speed_words as words
from annotriage.data import Dataset, Item, Source, open_dataset
from annotriage.data.remote_media import is_address
from annotriage.engine.reference import Reference
from annotriage.errors import DataError, ModelError, SettingError
from annotriage.latent.products import rounds_alike
from annotriage.model import Model, alone, gpu_missing
from annotriage.model.batch_size import BatchSize
from annotriage.model.cores import cores
from annotriage.model.spec import ModelSpec
from annotriage.model.stages import Stage, Stages
from annotriage.model.stream import decode, decoding_threads, in_batches
from annotriage.progress import Progress, silent
from annotriage.report.output import triage_to_folder
from annotriage.settings import ServiceSettings, Settings

Array = NDArray[Any]

ITEMS, SECONDS = 1_000, 60.0
ROUNDS = 3  # in each of which every batch size takes its turn
LEAST_TURN = 0.2  # seconds that the model is run in one turn
LARGEST_BATCH = {"cpu": 256, "cuda": 4096}
WORTH = 1.05  # times as fast: less is noise
UNSTEADY = 1.15
FEW_BATCHES = 10
JUDGED_WELL, JUDGED_FASTER = 256, (2.0, 3.0)  # a batch size, and how many times less an item costs in it than in 32: docs/scale.md
FASTEST_GPU, FASTEST_SERVER = 100.0, 2.0  # times as fast: no more is promised; twice the connections fetch twice as fast at most

IN_TURN = (Stage.READ, Stage.WAIT, Stage.JUDGE, Stage.SAMPLE, Stage.WRITE)
OF_SERVICE = (Stage.READ, Stage.WAIT, Stage.JUDGE, Stage.STORE)
BESIDE = (Stage.DECODE, Stage.MODEL, Stage.STARVE)
ONCE = (Stage.COMPARE, Stage.MAP, Stage.REPORT)


@dataclass(frozen=True)
class StageTime:
    """One stage. seconds: by the clock; of decoding, of all its threads together. processor: of a core, the runtime's own not counted."""

    stage: str
    seconds: float
    processor: float


@dataclass(frozen=True)
class Bench:
    """How fast triage was, and where its time went.

    seconds: of the items' pass by the clock; `in_turn` and `rest` add up to it. beside: what went on meanwhile in threads of its own; it
    overlaps with `in_turn`, and is no part of that sum. once: what follows once per dataset. opening: of the model. per_second: items of
    the pass. alone_per_second: of the model alone on the same cores, the limit; share: the part of it that is reached. by_batch: items
    per second of the model alone by batch size; batch_size: the one that most items of the run came in. held_up_by: the stage that most of
    the pass went to. changes: what would make it faster, with what is to be expected. notes: what to know about these figures.
    """

    dataset: str
    items: int
    failed: int
    device: str
    cores: int
    batch_size: int
    threads: int
    opening: float
    seconds: float
    in_turn: tuple[StageTime, ...]
    rest: float
    beside: tuple[StageTime, ...]
    once: tuple[StageTime, ...]
    per_second: float
    alone_per_second: float
    share: float
    by_batch: dict[int, float]
    held_up_by: str
    held_up_share: float
    changes: tuple[str, ...]
    notes: tuple[str, ...]
    recorded: tuple[str, ...] = ()

    @property
    def once_seconds(self) -> float:
        """Seconds of all that comes once per dataset."""
        return sum(part.seconds for part in self.once)

    def summary(self) -> dict[str, Any]:
        """The figures as plain values."""
        return asdict(self) | {"sentences": list(bench_sentences(self))}


def bench(
    reference: Reference,
    data: Source,
    *,
    items: int = ITEMS,
    seconds: float = SECONDS,
    model: Model | ModelSpec | Path | str | None = None,
    settings: Settings | None = None,
    labeling_config: Path | None = None,
    server: ServiceSettings | None = None,
    progress: Progress = silent,
) -> Bench:
    """Triage the first items of a dataset and say where the time went, what the limit is and which setting would bring it nearer.

    items, seconds: no more is read after that many items or seconds, whichever comes first. Take more where files differ much, or where
    a fast model is through with them in a moment. The other arguments are those of `annotriage.triage_to_folder`, which is what is run;
    its results go into a temporary folder that is removed. data: is read twice, its first batch alone at first.

    Raises DataError where there are no items or none can be read, ModelError where the model fails, SettingError on items or seconds
    below 1, MismatchError as `triage`.
    """
    if items < 1 or seconds < 1:
        raise SettingError(f"items = {items} and seconds = {seconds:g}: both must be at least 1")
    settings = settings or reference.settings
    dataset = _first(open_dataset(data, labeling_config=labeling_config, classes=reference.space.classes, server=server), items, seconds)
    started = time.perf_counter()
    opened = reference.open_model(model, settings)
    opening = time.perf_counter() - started
    inputs = first_inputs(opened, dataset, settings)
    with progress("the model alone", None):
        by_batch = alone_by_batch(opened, settings, seconds, inputs)
    with TemporaryDirectory() as folder:
        found = triage_to_folder(
            reference, dataset, Path(folder) / "results", model=opened, settings=settings, server=server, progress=progress
        )
    if not found.diversity.n:
        raise DataError(f"none of the {len(found.verdicts):,} items of {dataset.name} could be scored: {found.waiting[0].verdict.reason}")
    elsewhere = isinstance(data, str) and not Path(data).exists()  # an object store, a labeling tool's server
    fetched = elsewhere or any(is_address(verdict.path) for verdict in found.verdicts if verdict.failure is None)
    with progress("the model alone, again", None):
        limit = limit_of(opened, inputs, by_batch, found.stages.batch_size)
    passed = MeasuredPass(found.dataset, found.stages, len(found.verdicts), found.counts["failed"], found.timings["items"], opening)
    return bench_of(passed, limit, opened, settings, server or ServiceSettings.load(), fetched=fetched)


def bench_sentences(found: Bench) -> Iterator[str]:
    """What was found, one sentence or two at a time."""
    if found.once:
        yield words.speed_sentence(found.items, found.dataset, found.per_second, found.seconds, found.once_seconds)
    else:
        yield words.project_speed_sentence(found.items, found.dataset, found.per_second, found.seconds)
    yield words.limit_sentence(found.alone_per_second, found.share, found.device, found.cores)
    yield words.holds_up_sentence(found.held_up_by, found.held_up_share)
    yield words.million_sentence(found.per_second)
    yield from found.recorded


_NAMES = {
    Stage.READ: "reading and fetching",
    Stage.WAIT: "waiting for the model",
    Stage.JUDGE: "judging",
    Stage.SAMPLE: "samples and thumbnails",
    Stage.WRITE: "writing",
    Stage.STORE: "storing",
    Stage.DECODE: "decoding",
    Stage.MODEL: "the model",
    Stage.STARVE: "the model waiting for decoded items",
    Stage.COMPARE: "comparing the dataset",
    Stage.MAP: "drawing the map",
    Stage.REPORT: "writing the report",
}


def bench_text(found: Bench) -> str:
    """What was found, for the terminal."""
    lines = [*bench_sentences(found), ""]
    lines.append(f"{'one after another':<36} {'seconds':>9} {'share':>6} {'ms an item':>11}")
    rest = StageTime("", found.rest, 0.0)
    for name, part in [*((_NAMES[Stage(part.stage)], part) for part in found.in_turn), ("handing over to threads, the rest", rest)]:
        lines.append(_row(name, part.seconds, found))
    lines.append(_row("the items' pass", found.seconds, found))
    lines += ["", "meanwhile, in threads of their own"]
    for part in found.beside:
        name = _NAMES[Stage(part.stage)]
        if part.stage == Stage.DECODE:
            each = 1000 * part.processor / found.items
            lines.append(f"{_row(name, part.seconds / found.threads, found)}   ({found.threads} threads; {each:.2f} ms of a core an item)")
        else:
            lines.append(_row(name, part.seconds, found))
    lines += ["", f"{'once':<36} {'seconds':>9}"] if not found.once else ["", f"{'once per dataset':<36} {'seconds':>9}"]
    lines += [f"{_NAMES[Stage(part.stage)]:<36} {part.seconds:>9.2f}" for part in found.once]
    lines += [f"{'opening the model':<36} {found.opening:>9.2f}", ""]
    lines.append("The model alone by batch size, items a second:")
    lines.append("  ".join(f"{size}: {words.figure(rate)}{' (now)' * (size == found.batch_size)}" for size, rate in found.by_batch.items()))
    lines += ["", *found.changes, *(f"Note: {note}" for note in found.notes)]
    return "\n".join(lines)


def _row(name: str, seconds: float, found: Bench) -> str:
    return f"{name:<36} {seconds:>9.2f} {100 * seconds / found.seconds:>5.0f}% {1000 * seconds / found.items:>11.3f}"


def _first(dataset: Dataset, items: int, seconds: float) -> Dataset:
    """The first items of a dataset: as many as are asked for, or as can be read in that time."""

    def read() -> Iterator[Item]:
        end = time.perf_counter() + seconds
        for item in islice(dataset, items):
            yield item
            if time.perf_counter() > end:
                return

    return replace(dataset, count=None if dataset.count is None else min(items, dataset.count), read=read, part=None)


def first_inputs(model: Model, dataset: Dataset, settings: Settings) -> Array:
    """A few items as the model takes them, from the first batch of which any can be read: (n, ...) float32."""
    first = None
    stages = Stages()
    for _, piece in in_batches(dataset, BatchSize(model, settings), stages):
        found, inputs = decode(piece, model, settings, stages)
        if len(inputs):
            return inputs
        first = first or found[0]
    if first is None:
        raise DataError(f"{dataset.name}: there are no items in it; give data with at least one")
    raise DataError(f"none of the items of {dataset.name} that were read can be decoded. The first: {getattr(first, 'text', first)}")


def _all_sizes(model: Model, size: BatchSize, seconds: float, inputs: Array) -> dict[int, float]:
    """Items per second of the model alone by batch size. What runs it is gone afterwards: a run has the GPU's memory for itself."""
    runs = alone(model)
    return _by_batch(runs, inputs, _sizes(model, size, seconds, runs, inputs))


def _sizes(model: Model, size: BatchSize, seconds: float, runs: Callable[[Array], object], inputs: Array) -> tuple[int, ...]:
    """Batch sizes to try, that of the run's first batch first: smaller and larger ones, as far as they fit into memory and time.

    Where a run finds its own size, all that it may come to are among them.
    """
    first = size.size
    _run(runs, inputs, first)  # the first run is slower
    started = time.perf_counter()
    _run(runs, inputs, first)
    each = (time.perf_counter() - started) / first
    if model.fixed_batch is not None:
        return (first,)
    largest = size.largest if size.growing else max(first, min(8 * first, LARGEST_BATCH[model.device]))
    tried = [first]
    for other in (first // 4, first // 2, *(first * 2**times for times in range(1, 11))):
        too_slow = 2 * ROUNDS * other * each > seconds / 4
        if other < 1 or other in tried or too_slow or other > largest:
            continue
        try:
            _run(runs, inputs, other)
        except ModelError:  # memory ran out
            break
        tried.append(other)
    return tuple(tried)


def _by_batch(runs: Callable[[Array], object], inputs: Array, sizes: Sequence[int]) -> dict[int, float]:
    """Items per second of the model alone by batch size, in order of size: the median of rounds in which all take turns."""
    rates: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(ROUNDS):
        for size in sizes:
            batch = _batch(inputs, size)
            started, done = time.perf_counter(), 0
            while done == 0 or time.perf_counter() - started < LEAST_TURN:
                runs(batch)
                done += size
            rates[size].append(done / (time.perf_counter() - started))
    return {size: float(np.median(rates[size])) for size in sorted(sizes)}


def _run(runs: Callable[[Array], object], inputs: Array, size: int) -> None:
    runs(_batch(inputs, size))


def _batch(inputs: Array, size: int) -> Array:
    """As many inputs as are asked for, the same ones again and again where there are fewer."""
    return np.ascontiguousarray(inputs[np.arange(size) % len(inputs)])


@dataclass(frozen=True)
class Limit:
    """The model alone. by_batch: items per second by batch size. before, after: with the batch size of the pass."""

    by_batch: dict[int, float]
    before: float
    after: float


@dataclass(frozen=True)
class MeasuredPass:
    """What was run. count, failed: items. seconds: of the pass. opening: of the model."""

    name: str
    stages: Stages
    count: int
    failed: int
    seconds: float
    opening: float


def alone_by_batch(model: Model, settings: Settings, seconds: float, inputs: Array) -> dict[int, float]:
    """Items per second of the model alone by batch size, before a pass. inputs: (n, ...) float32. seconds: a quarter is taken at most."""
    return _all_sizes(model, BatchSize(model, settings), seconds, inputs)


def limit_of(model: Model, inputs: Array, by_batch: dict[int, float], size: int) -> Limit:
    """The limit, measured once more after a pass whose batches were of this size."""
    runs = alone(model)
    _run(runs, inputs, size)
    after = _by_batch(runs, inputs, (size,))[size]
    by_batch = dict(sorted(({size: after} | by_batch).items()))  # memory or time may have been short for it before
    return Limit(by_batch, by_batch[size], after)


def bench_of(
    passed: MeasuredPass,
    limit: Limit,
    model: Model,
    settings: Settings,
    server: ServiceSettings,
    *,
    fetched: bool,
    in_turn: Sequence[Stage] = IN_TURN,
    once: Sequence[Stage] = ONCE,
    recorded: tuple[str, ...] = (),
) -> Bench:
    """What the stages of a pass and the speed of the model alone say. fetched: items come from addresses. in_turn, once: its stages."""
    stages, count, seconds = passed.stages, passed.count, passed.seconds
    size, by_batch = stages.batch_size, limit.by_batch
    times = [tuple(StageTime(stage, stages.elapsed(stage), stages.processor(stage)) for stage in some) for some in (in_turn, BESIDE, once)]
    fastest = float(np.sqrt(limit.before * limit.after))
    held_up_by, held_up = holds_up(stages)
    notes = [words.AS_IT_WAS]
    if max(limit.before, limit.after) > UNSTEADY * min(limit.before, limit.after):
        notes.insert(0, words.unsteady_sentence(limit.before, limit.after))
    if count < FEW_BATCHES * size:
        notes.append(words.small_sentence(count))
    return Bench(
        dataset=passed.name,
        items=count,
        failed=passed.failed,
        device=model.device,
        cores=cores(),
        batch_size=size,
        threads=decoding_threads(settings),
        opening=passed.opening,
        seconds=seconds,
        in_turn=times[0],
        rest=seconds - stages.elapsed(*in_turn),
        beside=times[1],
        once=times[2],
        per_second=count / seconds,
        alone_per_second=fastest,
        share=count / seconds / fastest,
        by_batch=by_batch,
        held_up_by=held_up_by,
        held_up_share=held_up / seconds,
        changes=tuple(changes(stages, seconds, by_batch, model, settings, server, fetched=fetched)) or (words.nothing_to_change(),),
        notes=(*notes, *model.notes),
        recorded=recorded,
    )


def holds_up(stages: Stages) -> tuple[str, float]:
    """The stage that most of the pass went to, and its seconds: one of the main thread, the model, or its wait for decoding."""
    spent = {str(stage): stages.elapsed(stage) for stage in (Stage.READ, Stage.JUDGE, Stage.SAMPLE, Stage.WRITE, Stage.STORE, Stage.MODEL)}
    spent[str(Stage.DECODE)] = stages.elapsed(Stage.STARVE)
    longest = max(spent, key=lambda stage: spent[stage])
    return longest, spent[longest]


def changes(
    stages: Stages,
    seconds: float,
    by_batch: Mapping[int, float],
    model: Model,
    settings: Settings,
    server: ServiceSettings,
    *,
    fetched: bool,
) -> Iterator[str]:
    """What would make triage faster, each with what it brings at most: by what is left of the pass when a stage is gone or shorter.

    seconds: of the items' pass. by_batch: items per second of the model alone. fetched: whether items come from addresses.
    """
    held_up_by, _ = holds_up(stages)
    running, starving = stages.elapsed(Stage.MODEL), stages.elapsed(Stage.STARVE)
    own = seconds - stages.elapsed(Stage.WAIT)  # what the main thread does by itself
    threads, size = decoding_threads(settings), stages.batch_size
    finds_size = BatchSize(model, settings).growing
    if held_up_by == Stage.MODEL:
        best = max(by_batch, key=lambda other: by_batch[other])
        faster = by_batch[best] / by_batch[size]
        gain = seconds / max(seconds - running * (1 - 1 / faster), own)
        if gain > WORTH and not finds_size:
            yield words.batch_change(best, size, faster, gain)
        if model.device == "cpu":
            decoding = stages.processor(Stage.DECODE) / cores()
            yield words.gpu_change(seconds / max(own, decoding, seconds / FASTEST_GPU), _gpu_unused(model, settings))
    elif held_up_by == Stage.READ:
        gain = seconds / max(running + starving, seconds - stages.elapsed(Stage.READ), seconds / FASTEST_SERVER)
        waits = stages.processor(Stage.READ) < stages.elapsed(Stage.READ) / 2
        if gain > WORTH:
            if not waits:
                yield words.unpacking_change(gain)
            elif fetched:
                yield words.connections_change(server.media_connections, gain)
            else:
                yield words.disk_change(gain)
    elif held_up_by == Stage.JUDGE and size < JUDGED_WELL and model.fixed_batch is None and not finds_size and not rounds_alike():
        least, most = (seconds / (seconds - stages.elapsed(Stage.JUDGE) * (1 - 1 / times)) for times in JUDGED_FASTER)
        if least > WORTH:
            yield words.judging_batch_change(JUDGED_WELL, size, least, most)
    elif held_up_by != Stage.DECODE and cores() > 1:
        gain = seconds / max(running, own / cores())
        if gain > WORTH:
            yield words.workers_change(gain)
    gain = seconds / max(seconds - starving, own)
    if gain > WORTH and held_up_by in (Stage.DECODE, Stage.MODEL):
        if threads < cores():
            yield words.threads_change(threads, cores(), gain)
        elif model.spec.input.kind == "image":
            yield words.smaller_pictures_change(gain)
    drawing = stages.elapsed(Stage.MAP)
    whole = seconds + stages.elapsed(*ONCE)
    if drawing > (1 - 1 / WORTH) * whole:
        yield words.map_change(drawing, drawing / whole)


def _gpu_unused(model: Model, settings: Settings) -> str:
    """Why a model on the CPU does not run on a GPU; "" if only because of the settings."""
    fell_back = next((note for note in model.notes if "the GPU" in note), "")
    return gpu_missing(model.spec) or ("" if settings.device == "cpu" else fell_back)
