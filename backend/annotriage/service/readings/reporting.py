"""report.html of a dataset in the store: the same file as of a run over files, from what was judged and kept.

`assessment` and samples of points and pictures become a `Triage`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from annotriage.engine.assessment import FACES
from annotriage.engine.triage import Seen, Triage
from annotriage.engine.verdict import OutlierGroup, Verdict
from annotriage.progress import Progress, silent
from annotriage.report.output import report_of
from annotriage.report.page import WAITING_SHOWN, write_report
from annotriage.service.operations.log import log
from annotriage.service.operations.process import Process
from annotriage.service.readings.snapshots import assessment, sampled
from annotriage.store import reports
from annotriage.store.datasets import dataset_of_project
from annotriage.store.projects import Project
from annotriage.store.reports import Full

if TYPE_CHECKING:
    from annotriage.engine.reference import Reference

NAMED = 300  # characters of an item's media that are shown


def make_report(process: Process, project: Project, dataset_id: int, progress: Progress = silent) -> str:
    """Make the report of one of the project's datasets and keep it: a sentence on it. Raises UnknownError, MismatchError, OutputError."""
    reference = process.reference(project.reference_id)
    settings = process.run_settings(reference)
    with process.store.reading() as connection:
        dataset = dataset_of_project(connection, project, dataset_id)
    name = f"all items of {project.title}" if dataset.kind == "all" else f"{dataset.name} of {project.title}"
    with progress("assessing the dataset", None):
        assessed, scored, items = assessment(process, project, dataset_id)
    chosen = sampled(scored, np.arange(len(scored.ids)), reference.settings.seed, "map", settings.map_sample)
    named = {name: items[name] for group in assessed.groups for name in group.ids}
    with process.store.reading() as connection:
        waiting = reports.waiting_in(connection, project, dataset_id, WAITING_SHOWN)
        faces = [named[name] for group in assessed.groups for name in group.ids[:FACES]]
        wanted = sorted({*scored.ids[chosen].tolist(), *waiting, *faces})
        hidden = reports.hidden_among(connection, [*named.values(), *waiting])
        rows = reports.items_in_full(connection, project.reference_id, wanted)
    drawn = [rows[id] for id in scored.ids[chosen].tolist() if id in rows and rows[id].compressed is not None]
    found = Triage(
        dataset=name,
        reference=reference,
        verdicts=[],
        counts=dict(scored.counts),
        diversity=assessed.diversity,
        advice=assessed.advice,
        groups=tuple(shown for group in assessed.groups if (shown := _with_faces(group, named, rows, hidden)).ids),
        searched=assessed.searched,
        drawn=[_seen(row, reference) for row in drawn],
        waiting=[_seen(rows[id], reference) for id in waiting if id in rows and id not in hidden],
        notes=_notes(len(drawn), len(scored.ids), assessed.searched, scored.counts["outlier"]),
    )
    report = report_of(found, settings, progress)
    return keep_page(process, project, dataset_id, reports.REPORT, name, partial(write_report, report))


def keep_page(process: Process, project: Project, dataset_id: int, kind: str, name: str, write: Callable[[Path], object]) -> str:
    """Keep a page about a dataset, and tell of it in a sentence. name: of the dataset; write: writes the page into a file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{kind}.html"
        write(file)
        size = file.stat().st_size
        with process.store.writing() as connection:
            reports.keep_report(connection, dataset_id, kind, file)
    log(f"{kind} made", project=project.external_id, dataset=dataset_id, bytes=size)
    return f"The {kind} of {name} is ready ({size / 2**20:.1f} MB)."


def _seen(row: Full, reference: Reference) -> Seen:
    point = np.frombuffer(row.compressed, np.float16).astype(np.float32) if row.compressed else np.empty(0, np.float32)
    return Seen(_verdict(row, reference), point, row.picture or b"")


def _verdict(row: Full, reference: Reference) -> Verdict:
    axes = ("class_score", "source_score")
    columns = (
        "confidence",
        "cluster",
        "score",
        *axes,
        "p_value",
        "outlier_score",
        "trust",
        "reason",
        "failure",
        "seconds",
        "sureness",
        "labels",
    )
    values: dict[str, Any] = {name: getattr(row.verdict, name) for name in columns}
    path = row.media if len(row.media) <= NAMED and not row.media.startswith("data:") else f"task {row.name}"
    values["members"] = {name: value for name, value in row.verdict.members.items() if value is not None}
    return Verdict(row.name, path, route=row.route, reference=reference.version, model=reference.model.hash, **values)


def _with_faces(group: OutlierGroup, named: dict[str, int], rows: dict[int, Full], hidden: frozenset[int]) -> OutlierGroup:
    """A group with its pictures, that names nothing that people are asked about blind."""
    pictures = (rows[named[name]].picture for name in group.ids[:FACES] if named[name] in rows)
    ids = tuple(name for name in group.ids if named[name] not in hidden)
    medoid = group.medoid if group.medoid in ids else next(iter(ids), "")  # which is the nearest to it
    return replace(group, medoid=medoid, ids=ids, faces=tuple(picture for picture in pictures if picture))


def _notes(drawn: int, scored: int, searched: int, outliers: int) -> tuple[str, ...]:
    notes = ["Made from what the service had judged by then; items that people had labelled before, and deleted ones, take no part."]
    if drawn < scored:
        notes.append(f"The map uses a seeded sample of {drawn:,} of {scored:,} scored items (setting map_sample).")
    if searched < outliers:
        notes.append(f"Groups were searched in a seeded sample of {searched:,} of {outliers:,} strange items.")
    return tuple(notes)
