"""Triage on Ray Data: workers judge pieces of a dataset side by side, on this machine or on a cluster; a run that was ended goes on.

Each piece leaves two files, its verdicts as Parquet and what the state of the whole needs of it, written whole or not at all. So a worker
that dies costs one piece, which Ray gives to another; and the same command, run again after a killed run, judges what is missing. Put
together in order, the pieces come to the same numbers as one machine: samples are drawn by hashes of ids, whoever meets them.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar, overload
from uuid import uuid4

from threadpoolctl import threadpool_limits

from annotriage.data import Dataset, Source, open_dataset
from annotriage.engine.folders import refuse_existing
from annotriage.engine.gathering import gathered
from annotriage.engine.reference import Reference
from annotriage.engine.triage import Tally, Triage, finished
from annotriage.engine.verdict import Verdict
from annotriage.errors import AnnotriageError, DataError, OutputError, SettingError
from annotriage.lake.piece_files import read_piece, write_piece
from annotriage.model.batch_size import BatchSize
from annotriage.model.spec import ModelSpec
from annotriage.model.stream import stream
from annotriage.progress import Progress, silent
from annotriage.report.output import SUMMARY, write_summary
from annotriage.report.tables import write_table
from annotriage.report.verdict_files import TYPES, read_verdicts, verdict_row
from annotriage.settings import ServiceSettings, Settings

VERDICTS = "verdicts"  # the folder of parts
PIECE_ITEMS = 5_000  # in a piece: what one dead worker costs; about a minute of a ResNet-18 on one core
T = TypeVar("T")
_PIECES, _RUN, _LOCK = "pieces", "run.json", "run.lock"


class PartVerdicts(Sequence[Verdict]):
    """The verdicts in a folder of Parquet parts, in order. counts: of each part. Labels and figures as in verdicts.csv."""

    def __init__(self, folder: Path, counts: Sequence[int]) -> None:
        self._folder, self._counts = folder, list(counts)

    def __len__(self) -> int:
        return sum(self._counts)

    @overload
    def __getitem__(self, place: int) -> Verdict: ...
    @overload
    def __getitem__(self, place: slice) -> list[Verdict]: ...
    def __getitem__(self, place: int | slice) -> Verdict | list[Verdict]:
        if isinstance(place, slice):
            return [self[row] for row in range(*place.indices(len(self)))]
        left = place + len(self) if place < 0 else place
        for number, count in enumerate(self._counts):
            if 0 <= left < count:
                return list(read_verdicts(self._folder / _part(number)))[left]
            left -= count
        raise IndexError(place)

    def __iter__(self) -> Iterator[Verdict]:
        for number in range(len(self._counts)):
            yield from read_verdicts(self._folder / _part(number))


def triage_on_ray(
    reference: Reference,
    data: Source,
    out: Path | str,
    *,
    model: ModelSpec | Path | str | None = None,
    settings: Settings | None = None,
    replace_existing: bool = False,
    labeling_config: Path | None = None,
    server: ServiceSettings | None = None,
    workers: int | None = None,
    gpus: float = 0.0,
    address: str | None = None,
    piece_items: int = PIECE_ITEMS,
    progress: Progress = silent,
) -> Triage:
    """As `annotriage.triage_to_folder`, by many workers; the verdicts come as Parquet parts in `out`/verdicts, with no predictions.json.

    data: as of `triage`; Parquet and object stores are read in pieces where they lie, other files are read up to each piece. All nodes must
    see the model, the data and `out` under the same paths. workers: by default as many as the cluster's cores (or GPUs) carry; each uses
    the cores of the setting `threads`, 1 if that is not set. gpus: of each worker. address: of a running cluster, "auto" for the one of
    this machine; by default Ray is started here and ended afterwards. piece_items: raise it for tiny models, a piece may take a minute.
    An unfinished run of the same reference, data and settings is continued; replace_existing also throws away one of others.
    Raises what `triage` raises, and SettingError without Ray.
    """
    if find_spec("ray") is None:  # before anything is written
        raise SettingError('--engine ray: Ray is not installed; pip install "annotriage[ray]"')
    out, settings, server = Path(out).resolve(), settings or reference.settings, server or ServiceSettings.load()
    refuse_existing(out, what="results", mark=SUMMARY, replaceable=replace_existing)
    dataset = open_dataset(_here(data), labeling_config=labeling_config, classes=reference.space.classes, server=server)
    if (count := dataset.count) is None or dataset.part is None:
        raise DataError(
            f"{dataset.name}: cannot be read in pieces; give a folder, a manifest (CSV, Parquet) or arrays, or leave --engine ray out"
        )
    settings = replace(settings, threads=settings.threads or 1)
    model = _here(model)
    opened = reference.open_model(model, settings)  # what is wrong with it is said here, and not by each worker
    dataset = dataset.renamed(dict(opened.spec.aliases))
    settings = replace(settings, batch_size=BatchSize(opened, settings).size)  # for good: sizes found by the clock would differ by worker
    piece_items = -(-piece_items // settings.batch_size) * settings.batch_size  # whole batches, as one machine would cut them
    pieces = list(_pieces(count, piece_items))
    place = {"data": _place(data), "model": str(model), "labeling_config": str(labeling_config), "media_hosts": list(server.media_hosts)}
    facts = {"reference": reference.version, "items": count, "piece_items": piece_items, "settings": asdict(settings), **place}
    with _begun(out, facts, anew=replace_existing) as unfinished:
        task = _Task(reference, model, settings, _sampling(settings, piece_items, count), dataset, unfinished)
        started = time.perf_counter()
        missing = [piece for piece in pieces if not _is_done(unfinished, piece["number"])]
        with progress(f"triage of {dataset.name}", count) as advance:
            advance(count - sum(piece["stop"] - piece["start"] for piece in missing))
            if missing:
                for done in _run(task, missing, workers, gpus, address):
                    advance(done)
        return _together(reference, dataset, settings, unfinished, out, pieces, time.perf_counter() - started, opened.notes, progress)


def _together(
    reference: Reference,
    dataset: Dataset,
    settings: Settings,
    unfinished: Path,
    out: Path,
    pieces: list[dict[str, int]],
    seconds: float,
    notes: tuple[str, ...],
    progress: Progress,
) -> Triage:
    """The whole from its pieces; the folder takes its name at the end."""
    tally = Tally(reference, settings)
    for piece in pieces:
        try:
            tally.absorb(read_piece(unfinished / _PIECES / _kept(piece["number"])))
        except OutputError:
            (unfinished / VERDICTS / _part(piece["number"])).unlink(missing_ok=True)  # so that it is judged anew
            raise
    counts = [piece["stop"] - piece["start"] for piece in pieces]
    said = (*dataset.notes, *notes, "Run on Ray: the verdicts are Parquet parts, and no predictions.json was written.")
    with threadpool_limits(1, user_api="blas"):
        found = finished(tally, dataset.name, PartVerdicts(out / VERDICTS, counts), progress, said, seconds)
    found = write_summary(unfinished, found, settings, progress)
    former = out.with_name(f".{out.name}.{uuid4().hex}.old")
    try:
        if out.exists():
            out.rename(former)
        unfinished.rename(out)
    finally:
        if former.exists() and not out.exists():
            former.rename(out)
    shutil.rmtree(out / _PIECES)
    for file in (_RUN, _LOCK):
        (out / file).unlink()
    shutil.rmtree(former, ignore_errors=True)
    return found


def _sampling(settings: Settings, piece_items: int, count: int) -> Settings:
    """The settings with which pieces are judged: of the sample for the map each keeps no more than it can have in that of the whole.

    The sample is drawn by hashes, so a piece's share of it is binomial: ten standard deviations above its mean it never is.
    """
    mean = settings.map_sample * min(1.0, piece_items / count)
    return replace(settings, map_sample=min(settings.map_sample, int(mean + 10 * mean**0.5 + 100)))


@dataclass(frozen=True)
class _Task:
    """What all workers need."""

    reference: Reference
    model: ModelSpec | Path | str | None
    settings: Settings
    sampling: Settings
    dataset: Dataset
    folder: Path


class _Judge:
    """A worker: the model is opened once, then it judges one piece after the other."""

    def __init__(self, task: list[Any]) -> None:
        """task: a reference to the `_Task` in Ray's store, in a list, so that Ray hands on the reference and a new worker can ask again."""
        import ray

        self._task: _Task = ray.get(task[0])
        settings = self._task.settings
        self._model = self._task.reference.open_model(self._task.model, settings, settings.threads)  # others run on the other cores

    def __call__(self, piece: dict[str, Any]) -> dict[str, Any]:
        number, start, stop = (int(piece[key]) for key in ("number", "start", "stop"))
        task = self._task
        tally = Tally(task.reference, task.sampling)
        part = task.dataset.part
        assert part is not None  # looked at before the run
        with threadpool_limits(1, user_api="blas"):
            batches = gathered(stream(self._model, part(start, stop), task.settings), task.reference)
            rows = [verdict_row(verdict) for batch in batches for _, verdict in tally.add(batch)]
        if len(rows) != stop - start:
            raise DataError(
                f"{task.dataset.name}: items {start:,} to {stop:,} are {len(rows):,} by now; the data were changed while they were read."
                " Run this again with --replace"
            )
        write_piece(task.folder / _PIECES / _kept(number), tally.piece())
        write_table(task.folder / VERDICTS / _part(number), TYPES, [rows], replace=True)  # last: a piece is done when this file is there
        return {"items": len(rows)}


def _run(task: _Task, pieces: list[dict[str, int]], workers: int | None, gpus: float, address: str | None) -> Iterator[int]:
    """The numbers of items as pieces are done, in whatever order."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what matters is raised
    import ray
    from ray.data import DataContext

    logging.getLogger("ray.data").setLevel(logging.ERROR)  # its plans and progress; there is a progress bar already
    began, cores = not ray.is_initialized(), task.settings.threads or 1
    if began:
        here: dict[str, Any] = {} if address else {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        try:
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **here)
        except (OSError, ValueError, RuntimeError) as error:
            raise SettingError(
                f"--ray-address: Ray cannot be reached or started ({str(error).strip()[:300]}); is the cluster running?"
            ) from error
    try:
        DataContext.get_current().enable_progress_bars = False
        fits = sum(_fitting(node["Resources"], cores, gpus) for node in ray.nodes() if node["Alive"])
        if not fits:
            needs = f"{cores} {'core' if cores == 1 else 'cores'}{f' and {gpus:g} GPU' if gpus else ''}"
            raise SettingError(f"--engine ray: no node has {needs} for a worker; lower the setting threads, or --worker-gpus")
        at_once = min(workers or fits, len(pieces))
        blocks = ray.data.from_items(pieces, override_num_blocks=len(pieces))
        compute = ray.data.ActorPoolStrategy(size=at_once)
        judged = blocks.map(_Judge, fn_constructor_args=[[ray.put(task)]], compute=compute, num_cpus=cores, num_gpus=gpus or None)
        for row in judged.iter_rows():
            yield int(row["items"])
    except ray.exceptions.RayError as error:
        raise _own(error) from error
    finally:
        if began:
            ray.shutdown()


def _fitting(resources: dict[str, float], cores: int, gpus: float) -> int:
    """How many workers a node carries."""
    by_core = int(resources.get("CPU", 0) // cores)
    return min(by_core, int(resources.get("GPU", 0) / gpus)) if gpus else by_core


def _own(error: Exception) -> AnnotriageError:
    """What a worker raised, out of the envelopes in which Ray hands it on."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, AnnotriageError):
            return inner
        inner = getattr(inner, "cause", None) or inner.__cause__
    said = str(error).strip().split("\n")
    return OutputError(f"the run on Ray failed ({said[-1][:500]}); what is done is kept: mend the cause and run the same command again")


def _here(given: T) -> T | str:
    """A path on this machine, whole: workers have other current folders."""
    return str(Path(given).resolve()) if isinstance(given, str | Path) and given and Path(given).exists() else given


def _pieces(count: int, size: int) -> Iterable[dict[str, int]]:
    for number, start in enumerate(range(0, count, size)):
        yield {"number": number, "start": start, "stop": min(start + size, count)}


def _place(data: Source) -> list[Any]:
    """What data a run is on, as far as it can be told without reading them: where they lie, and how large and old a local file is."""
    if not isinstance(data, str | Path):
        return [type(data).__name__]
    path = Path(data)
    status = path.stat() if path.exists() else None
    return [str(_here(data)), *([] if status is None else [status.st_size, status.st_mtime_ns])]


@contextmanager
def _begun(out: Path, facts: dict[str, Any], *, anew: bool) -> Iterator[Path]:
    """The folder in the making, of this run or of one like it that was ended. anew: whether what another run left is thrown away.

    Raises OutputError if it is not, or if another process is at work there.
    """
    unfinished = out.with_name(f".{out.name}.unfinished")
    with ExitStack() as stack:
        try:
            unfinished.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context((unfinished / _LOCK).open("a"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _prepare(unfinished, json.loads(json.dumps(facts, default=str)), anew=anew)
        except BlockingIOError as error:
            raise OutputError(f"{out}: another run writes these results at this moment; wait for it, or choose another folder") from error
        except (OSError, ValueError) as error:
            raise OutputError(f"{unfinished}: cannot be written ({error}); choose another folder for the results") from error
        yield unfinished


def _prepare(unfinished: Path, facts: dict[str, Any], *, anew: bool) -> None:
    run = unfinished / _RUN
    if run.is_file() and json.loads(run.read_text("utf-8")) != facts:
        if not anew:
            raise OutputError(
                f"{unfinished}: an unfinished run with another reference, other data or settings; pass --replace to begin anew, or choose"
                " another folder for the results"
            )
        for folder in (_PIECES, VERDICTS):
            shutil.rmtree(unfinished / folder, ignore_errors=True)
    for folder in (_PIECES, VERDICTS):
        (unfinished / folder).mkdir(exist_ok=True)
    partial = unfinished / f".{_RUN}.part"
    partial.write_text(json.dumps(facts), "utf-8")
    partial.replace(run)


def _is_done(unfinished: Path, number: int) -> bool:
    return (unfinished / VERDICTS / _part(number)).is_file() and (unfinished / _PIECES / _kept(number)).is_file()


def _part(number: int) -> str:
    return f"part-{number:06d}.parquet"


def _kept(number: int) -> str:
    return f"piece-{number:06d}.npz"
