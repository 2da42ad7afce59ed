"""How snapshots grow with their dataset: time and peak memory from 20,000 to 300,000 verdicts in the store, streamed as columns.

One item in twenty is a stranger. Each snapshot is taken in a process of its own, SQLite below it, on one core as in the jobs process.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from figure import Figure, in_child, peak_memory
from sqlalchemy import Connection, Table
from threadpoolctl import threadpool_limits

from annotriage import ModelSpec, Reference, fit, triage
from annotriage.demo.digits import load_digits, train_model
from annotriage.model.spec import InputSpec
from annotriage.service.operations.references import keep_reference
from annotriage.store import Store, snapshots
from annotriage.store.datasets import dataset_of
from annotriage.store.projects import Project, ProjectOptions, add_project
from annotriage.store.schema import counter, item, item_dataset, point, verdict

FEW, SOME, MANY = 20_000, 100_000, 300_000
LONGEST, LARGEST = 2.0, 100.0  # processor seconds and MB for each further 100,000 verdicts, from 20,000 on
STRANGERS = 0.05
AT_ONCE = 10_000


def figures(data: Path | None) -> Iterator[Figure]:
    """All rows. `data` is not used."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        reference = _reference(folder)
        for count in (FEW, SOME, MANY):
            _fill(folder / f"{count}.db", reference, count)
        few = in_child(Path(__file__), folder, FEW)
        for count in (SOME, MANY):
            seconds, memory = in_child(Path(__file__), folder, count)
            more = (count - FEW) / 100_000
            slower, larger = (seconds - few[0]) / more, (memory - few[1]) / more
            what = f"of a snapshot of {count:,} items, beyond one of {FEW:,}"
            yield Figure(
                f"processor time {what}",
                f"<= {LONGEST:g} s for each 100,000 items",
                f"{slower:.2f} s ({few[0]:.1f} to {seconds:.1f} s)",
                slower <= LONGEST,
            )
            yield Figure(
                f"peak memory {what}",
                f"<= {LARGEST:g} MB for each 100,000 items",
                f"{larger:.0f} MB ({few[1]:.0f} to {memory:.0f} MB)",
                larger <= LARGEST,
            )


def _reference(folder: Path) -> Reference:
    digits = load_digits()
    train_model(folder / "digits.onnx", *digits.train)
    ModelSpec(tuple("01234567"), InputSpec((8, 8), mode="L", scale=1 / 255), file="digits.onnx").write(folder / "model.toml")
    return fit(folder / "model.toml", digits.train, digits.held_out)


def _fill(file: Path, reference: Reference, count: int) -> None:
    """A database with one project and so many verdicts, as the worker writes them: those on real digits, again and again."""
    digits = load_digits()
    kinds = [triage(reference, part) for part in (digits.incoming, digits.unseen)]
    verdicts = [(list(kind.verdicts), {seen.verdict.id: seen.point for seen in kind.drawn}) for kind in kinds]
    rng = np.random.default_rng(0)
    store = Store(f"sqlite:///{file}")
    reference_id = keep_reference(store, reference)
    with store.writing() as connection:
        project = add_project(connection, "1", "Digits", reference_id, ProjectOptions(), watch=True)
        every = dataset_of(connection, project.id, "all", "all", 0.0)
        for start in range(1, count + 1, AT_ONCE):
            ids = range(start, min(start + AT_ONCE, count + 1))
            chosen = [_draw(verdicts, rng) for _ in ids]
            _insert(connection, item, [_item(project, id) for id in ids])
            _insert(connection, item_dataset, [{"dataset_id": every, "item_id": id} for id in ids])
            rows = [_verdict(project, id, found_item, rng) for id, (found_item, _) in zip(ids, chosen, strict=True)]
            _insert(connection, verdict, rows)
            noise = rng.standard_normal((len(chosen), chosen[0][1].size)) * 0.01
            drawn = [(at + grain).astype(np.float16).tobytes() for (_, at), grain in zip(chosen, noise, strict=True)]
            points = [
                {"item_id": id, "reference_id": reference_id, "compressed": drawn_point} for id, drawn_point in zip(ids, drawn, strict=True)
            ]
            _insert(connection, point, points)
        row = {"dataset_id": every, "reference_id": reference_id, "route": "auto", "cluster": "", "n": count, "open": count}
        _insert(connection, counter, [row])
    store.close()


def _draw(verdicts: list[tuple[list[Any], dict[str, Any]]], rng: np.random.Generator) -> tuple[Any, Any]:
    found, points = verdicts[int(rng.random() < STRANGERS)]
    found_item = found[int(rng.integers(len(found)))]
    return found_item, points[found_item.id]


def _item(project: Project, id: int) -> dict[str, Any]:
    return {
        "id": id,
        "project_id": project.id,
        "external_id": str(id),
        "media": f"/data/upload/1/{id}.png",
        "media_hash": f"{id:032}",
        "at": 0.0,
    }


def _verdict(project: Project, id: int, found_item: Any, rng: np.random.Generator) -> dict[str, Any]:
    named = ("route", "cluster", "confidence", "sureness", "p_value", "outlier_score", "trust", "reason", "seconds")
    values = {name: getattr(found_item, name) for name in named}
    own = {"item_id": id, "reference_id": project.reference_id, "project_id": project.id, "at": time.time()}
    score = found_item.score + float(rng.random()) * 1e-3
    return (
        own
        | values
        | {
            "judged": found_item.route,
            "labels": list(found_item.labels),
            "score": score,
            "members": dict(found_item.members),
            "shown_trust": found_item.trust,
        }
    )


def _insert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    connection.execute(table.insert(), rows)


def _child(folder: Path, count: int) -> None:
    """Take one snapshot and print the processor seconds and the peak memory in MB."""
    from annotriage.service.operations.process import Process
    from annotriage.service.readings.snapshots import snapshot
    from annotriage.settings import ServiceSettings
    from annotriage.store.projects import projects

    process = Process(ServiceSettings(database=f"sqlite:///{folder}/{count}.db", label_studio_token="unused"), "jobs")
    with process.store.reading() as connection:
        (project,) = projects(connection)
        (changed,) = snapshots.changed(connection, project)
    process.reference(project.reference_id)
    with threadpool_limits(1):
        started = time.process_time()
        snapshot(process, project, changed.id)
        seconds = time.process_time() - started
    with process.store.reading() as connection:
        taken = snapshots.latest(connection, [changed.id], project.reference_id)[changed.id]
    if taken.n != count:
        raise RuntimeError(f"{taken.n} of {count} items were counted")
    process.leave()
    print(seconds, peak_memory())


if __name__ == "__main__":
    _child(Path(sys.argv[1]), int(sys.argv[2]))
