"""Where the time goes with a project's tasks: the worker's own steps on the last of them, with nothing kept, and what was recorded."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice

import numpy as np

from annotriage.advice import speed_words as words
from annotriage.data import Dataset, Item
from annotriage.data.remote_media import is_address
from annotriage.engine.gathering import gathered
from annotriage.errors import DataError, SettingError
from annotriage.model.batch_size import BatchSize
from annotriage.model.stages import Stage, Stages
from annotriage.model.stream import stream
from annotriage.progress import Progress, silent
from annotriage.report.bench import ITEMS, OF_SERVICE, SECONDS, Bench, MeasuredPass, alone_by_batch, bench_of, first_inputs, limit_of
from annotriage.service.judging.check_assignment import DrawState, current_draw
from annotriage.service.judging.judge import RECORDED, judged_batch
from annotriage.service.judging.kept_model import load_kept_model
from annotriage.service.judging.media import MediaReader
from annotriage.service.operations.process import Process
from annotriage.store import deliveries, work
from annotriage.store.counters import chunks
from annotriage.store.projects import Project, project_of
from annotriage.store.verdicts import Judgement, record

FETCHED = 64  # tasks whose media are read for what the model is run on alone
KEPT = "Verdicts were written and taken back, a few at a time; the disk's part in keeping them is left out, and so is delivery."


def bench_project(
    process: Process, external_id: str, *, items: int = ITEMS, seconds: float = SECONDS, progress: Progress = silent
) -> Bench:
    """Judge the last tasks of a project as the worker does, keep nothing, and say where the time went.

    items, seconds: as of `annotriage.bench`. A running service goes on meanwhile, and takes its part of the machine.
    Raises DataError where no task can be read, UnknownError if the project is not connected, ModelError where the model does not run
    here, MismatchError if it is another one here.
    """
    if items < 1 or seconds < 1:
        raise SettingError(f"items = {items} and seconds = {seconds:g}: both must be at least 1")
    with process.store.reading() as connection:
        project = project_of(connection, external_id)
        rows = {row.id: row for row in work.to_try(connection, project.id, items)}
        recorded = tuple(_recorded(deliveries.last_times(connection, project, items)))
        draw = current_draw(connection, project, project.reference_id, list(rows), DrawState())
    reference = process.reference(project.reference_id)
    settings = process.run_settings(reference)
    started = time.perf_counter()
    model = load_kept_model(reference, settings)
    opening = time.perf_counter() - started
    tool, reader, stages = process.tool_project(project), MediaReader(process.settings, process.server), Stages()
    later = 0

    def tasks(most: int) -> Iterator[Item]:
        nonlocal later
        end = time.perf_counter() + seconds
        reading = reader.read(tool, list(islice(rows.values(), most)))
        try:
            for _, item in reading:
                if isinstance(item, Item):
                    yield item
                else:
                    later += 1
                if time.perf_counter() > end:
                    return
        finally:
            reading.close()

    try:
        some = Dataset(f"project {external_id}", None, lambda: tasks(FETCHED))
        inputs = first_inputs(model, some, settings)
        with progress("the model alone", None):
            by_batch = alone_by_batch(model, settings, seconds, inputs)
        found: list[Judgement] = []
        later, started = 0, time.perf_counter()
        with progress(f"the last tasks of project {external_id}", len(rows)) as advance:
            for batch in gathered(stream(model, tasks(items), settings, stages, BatchSize(model, settings)), reference):
                with stages.timed(Stage.JUDGE):
                    judged = judged_batch(project, rows, reference, draw, batch, settings)
                with stages.timed(Stage.STORE):
                    _store(process, project, judged)
                found += judged
                advance(len(batch.items))
        passed = time.perf_counter() - started
    finally:
        reader.close()
    failed = sum(judgement.judged == "failed" for judgement in found)
    if failed == len(found):
        why = found[0].verdict.reason if found else "none of their media can be had at the moment"
        raise DataError(f"none of the last {len(found) + later:,} tasks of project {external_id} could be judged: {why}")
    with progress("the model alone, again", None):
        limit = limit_of(model, inputs, by_batch, stages.batch_size)
    fetched = any(is_address(row.media) or row.media.startswith("/") for row in rows.values())
    of = MeasuredPass(external_id, stages, len(found), failed, passed, opening)
    return bench_of(of, limit, model, settings, process.settings, fetched=fetched, in_turn=OF_SERVICE, once=(), recorded=(*recorded, KEPT))


def _store(process: Process, project: Project, judged: list[Judgement]) -> None:
    for some in chunks(judged, RECORDED):
        with process.store.trying() as connection:
            record(connection, project, project.reference_id, some)


def _recorded(times: list[tuple[float, float, float | None]]) -> Iterator[str]:
    """What is told of when tasks came, were judged, and were seen in the labeling tool with their prediction."""
    judged = np.array([verdict - came for came, verdict, _ in times])
    seen = np.array([seen - verdict for _, verdict, seen in times if seen is not None])
    for what, taken in (
        ("from a task's arrival to its verdict", judged),
        ("from the verdict to its prediction in the labeling tool", seen),
    ):
        if len(taken):
            yield words.recorded_sentence(what, len(taken), *np.quantile(np.maximum(taken, 0), [0.5, 0.95]).tolist())
