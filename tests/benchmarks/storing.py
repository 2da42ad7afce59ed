"""What it costs to store verdicts, with all that follows from them, beside SQLite's plain bulk insert of the very same rows.

    .venv/bin/python tests/benchmarks/run.py --only storing

The service's way is `store.verdicts.record`, a transaction for each batch as the worker's: verdicts, counts, points, thumbnails, spot
checks, deliveries, fields and the queue. The plain way puts the rows that came of it into an empty database of the same schema, table by
table with `executemany`, in one transaction.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from figure import Figure
from numpy.typing import NDArray

from annotriage.engine.verdict import Verdict
from annotriage.store import Store
from annotriage.store.projects import Project, ProjectOptions, add_project
from annotriage.store.references import save_reference
from annotriage.store.schema import item, item_dataset
from annotriage.store.verdicts import Judgement, record

Seconds = tuple[float, float]  # by the wall clock, of the processor

VERDICTS = 1_000_000
FIRST = 10_000  # and last: what a verdict costs in a small and in a large store
BATCH = 1_000
PIECE = 50_000  # rows that are in memory at once
TIMES = 3.0
NAMES = (
    f"{VERDICTS:,} verdicts against a plain bulk insert of the same rows, commits included",
    f"the last {FIRST:,} verdicts against the first",
)
WRITTEN = ("verdict", "point", "thumbnail", "spot_check", "delivery", "field_write", "counter")


def figures(data: Path | None) -> Iterator[Figure]:
    """All rows. `data` is not used."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        own = np.array(_through_the_store(folder / "own.db"))
        plain = _plainly(folder / "own.db", folder / "plain.db")
        whole = own.sum(axis=0)
        ratio, by_processor = whole / plain
        said = f"{ratio:.1f} times ({1e6 * whole[0] / VERDICTS:.0f} to {1e6 * plain[0] / VERDICTS:.0f} us a verdict; by processor time "
        yield Figure(
            NAMES[0],
            f"<= {TIMES:g} times",
            f"{said}{by_processor:.1f} times)",
            bool(ratio <= TIMES),
        )
        batches = FIRST // BATCH
        growth = np.median(own[-batches:, 0]) / np.median(own[:batches, 0])
        yield Figure(NAMES[1], "<= 1.5 times", f"{growth:.2f} times", bool(growth <= 1.5))


def _through_the_store(file: Path) -> list[Seconds]:
    """What each batch takes."""
    store, rng = Store(f"sqlite:///{file}"), np.random.default_rng(0)
    project = _prepare(store)
    taken: list[Seconds] = []
    for start in range(0, VERDICTS, BATCH):
        judgements = [_judgement(id, *rng.random(3)) for id in range(start + 1, start + BATCH + 1)]
        with _timed(taken), store.writing() as connection:
            record(connection, project, project.reference_id, judgements)
    store.close()
    return taken


def _prepare(store: Store) -> Project:
    """A project with its items, each in two datasets, as they wait for the model."""
    facts = {"model": {"spec": {"model": {"classes": ["cat", "dog"]}}}, "guarantee": {"auto": True}}
    with store.writing() as connection:
        reference = save_reference(connection, version="1", name="pets", prediction_version="pets-1", facts=facts, files={})
        project = add_project(connection, "1", "Pets", reference, ProjectOptions(), watch=False)
        for kind in ("all", "batch"):
            connection.exec_driver_sql(
                "INSERT INTO dataset (project_id, kind, name, first_at, last_at) VALUES (?, ?, ?, 0, 0)", (project.id, kind, kind)
            )
        rows = [
            {"id": id, "project_id": project.id, "external_id": str(id), "media": f"http://host/{id}.png", "media_hash": "", "at": 0.0}
            for id in range(1, VERDICTS + 1)
        ]
        connection.execute(item.insert(), rows)
        connection.execute(item_dataset.insert(), [{"dataset_id": part, "item_id": row["id"]} for part in (1, 2) for row in rows])
    return project


def _judgement(id: int, strangeness: float, sureness: float, draw: float) -> Judgement:
    route = "outlier" if strangeness > 0.94 else "auto" if sureness > 0.2 else "uncertain"
    label = "cat" if draw > 0.5 else "dog"
    verdict = Verdict(
        str(id), "", (label,), sureness, label, score=strangeness, p_value=1 - strangeness, outlier_score=strangeness, trust=sureness,
        route=route, reason="as usual as most of the training data", members={"class": strangeness, "source": sureness},
    )  # fmt: skip
    drawn = "sample" if draw < 0.02 else None
    shown = None if drawn or route == "outlier" else (label,)
    return Judgement(id, verdict, route, shown, sureness, drawn, bytes(256), bytes(1_000))


@contextmanager
def _timed(taken: list[Seconds]) -> Iterator[None]:
    wall, processor = time.perf_counter(), time.process_time()
    yield
    taken.append((time.perf_counter() - wall, time.process_time() - processor))


def _plainly(source: Path, target: Path) -> NDArray[np.float64]:
    """The wall-clock and processor seconds in which the rows of one database are put into an empty one."""
    Store(f"sqlite:///{target}").close()
    read, write = sqlite3.connect(source), sqlite3.connect(target, isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "cache_size=-65536"):
        write.execute(f"PRAGMA {pragma}")
    taken: list[Seconds] = []
    for table in ("reference", "project", "dataset", "item", "item_dataset"):  # there before
        _put(read, write, table, [])
    for table in WRITTEN:
        _put(read, write, table, taken)
    read.close()
    write.close()
    return np.array(taken).sum(axis=0)


def _put(read: sqlite3.Connection, write: sqlite3.Connection, table: str, taken: list[Seconds]) -> None:
    """All rows of a table from one database into the other, in one transaction; what reading them takes is not counted."""
    found = read.execute(f"SELECT * FROM {table}")
    columns = [column[0] for column in found.description]
    names, marks = ", ".join(f'"{name}"' for name in columns), ", ".join("?" * len(columns))
    write.execute("BEGIN IMMEDIATE")
    while rows := found.fetchmany(PIECE):
        with _timed(taken):
            write.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)
    with _timed(taken):
        write.execute("COMMIT")
