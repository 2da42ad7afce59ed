"""What it costs to store verdicts, with all that follows from them, beside SQLite's plain bulk insert of the very same rows.

    .venv/bin/python tests/benchmarks/run.py --only storing

The service's way is `store.verdicts.record`, a transaction for each batch as the worker's: verdicts, counts, points, thumbnails, spot
checks, deliveries, fields and the queue. The plain way puts the rows that came of it into an empty database of the same schema, table by
table with `executemany`, in one transaction.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from figure import Figure

from annotriage.engine.verdict import Verdict
from annotriage.store import Store
from annotriage.store.projects import Project, ProjectOptions, add_project
from annotriage.store.references import save_reference
from annotriage.store.schema import item, item_dataset
from annotriage.store.verdicts import Judgement, record

VERDICTS = 100_000
FIRST = 10_000  # and last: what a verdict costs in a small and in a large store
BATCH = 1_000
TIMES = 3.0
WRITTEN = ("verdict", "point", "thumbnail", "spot_check", "delivery", "field_write", "counter")


def figures(data: Path | None) -> Iterator[Figure]:
    """All rows. `data` is not used."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        own = np.array(_through_the_store(folder / "own.db"))
        plain = _plainly(folder / "own.db", folder / "plain.db")
        ratio = own.sum() / plain
        said = f"{ratio:.1f} times ({1e6 * own.sum() / VERDICTS:.0f} to {1e6 * plain / VERDICTS:.0f} us a verdict)"
        yield Figure(
            f"{VERDICTS:,} verdicts against a plain bulk insert of the same rows", f"<= {TIMES:g} times", said, bool(ratio <= TIMES)
        )
        batches = FIRST // BATCH
        growth = np.median(own[-batches:]) / np.median(own[:batches])
        yield Figure(f"the last {FIRST:,} verdicts against the first", "<= 1.5 times", f"{growth:.2f} times", bool(growth <= 1.5))


def _through_the_store(file: Path) -> list[float]:
    """The seconds of each batch."""
    store, rng = Store(f"sqlite:///{file}"), np.random.default_rng(0)
    project = _prepare(store)
    taken = []
    for start in range(0, VERDICTS, BATCH):
        judgements = [_judgement(id, *rng.random(3)) for id in range(start + 1, start + BATCH + 1)]
        started = time.perf_counter()
        with store.writing() as connection:
            record(connection, project, project.reference_id, judgements)
        taken.append(time.perf_counter() - started)
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


def _plainly(source: Path, target: Path) -> float:
    """The seconds in which the rows of one database are put into an empty one."""
    Store(f"sqlite:///{target}").close()
    read, write = sqlite3.connect(source), sqlite3.connect(target, isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "cache_size=-65536"):
        write.execute(f"PRAGMA {pragma}")
    taken = 0.0
    for table in ("reference", "project", "dataset", "item", "item_dataset"):  # there before
        _put(write, table, *_rows(read, table))
    for table in WRITTEN:
        columns, rows = _rows(read, table)
        started = time.perf_counter()
        _put(write, table, columns, rows)
        taken += time.perf_counter() - started
    read.close()
    write.close()
    return taken


def _rows(database: sqlite3.Connection, table: str) -> tuple[list[str], list[Any]]:
    found = database.execute(f"SELECT * FROM {table}")
    return [column[0] for column in found.description], found.fetchall()


def _put(database: sqlite3.Connection, table: str, columns: Sequence[str], rows: Sequence[Any]) -> None:
    names, marks = ", ".join(f'"{name}"' for name in columns), ", ".join("?" * len(columns))
    database.execute("BEGIN IMMEDIATE")
    database.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)
    database.execute("COMMIT")
