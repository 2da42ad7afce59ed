"""A store as it is after months: 300,000 items with verdicts on real digits, groups, spot checks, answers, counts and snapshots.

    .venv/bin/python tests/benchmarks/big_store.py FILE.db [--items 300000]

What the worker would write one by one is written in bulk; the same seed gives the same store. Look at it with
`annotriage serve --database sqlite:///FILE.db`.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from sqlalchemy import Table, select

from annotriage import ModelSpec, Reference, fit, triage
from annotriage.demo.digits import load_digits, train_model
from annotriage.model.spec import InputSpec
from annotriage.service.guarantee.changing_limits import with_limits
from annotriage.service.operations.process import Process
from annotriage.service.operations.references import keep_reference
from annotriage.service.readings.snapshots import snapshot
from annotriage.settings import ServiceSettings, Settings
from annotriage.states import FindingState, IssueKind
from annotriage.store import Store, label_audits, snapshots, versions
from annotriage.store.counters import recounted
from annotriage.store.datasets import dataset_of
from annotriage.store.first_answers import keep_those_answered
from annotriage.store.label_audits import Finding
from annotriage.store.projects import Project, ProjectOptions, add_project, change_project, projects
from annotriage.store.schema import delivery, group_member, item, item_dataset, point, review, spot_check, thumbnail, verdict
from annotriage.store.versions import Said

MANY = 300_000
STRANGERS, FAILED, SPOT_CHECKS, ANSWERED = 0.06, 0.002, 0.03, 0.15
SPOT_CHECKS_ANSWERED = 0.8  # they come first
BATCHES, SCANNERS = 12, ("A", "B", "C")
FACES = 3_000  # items with a thumbnail
GROUPS, GROUPED = 9, 4_500
COMPARED = 5_000  # items of the comparison of two versions
DOUBTED = 1_000  # findings of the label audit
AT_ONCE = 10_000
DAY = 86_400.0


def digits_reference(folder: Path) -> Reference:
    """A reference of real digits with its model."""
    digits = load_digits()
    train_model(folder / "digits.onnx", *digits.train)
    ModelSpec(tuple("01234567"), InputSpec((8, 8), mode="L", scale=1 / 255), file="digits.onnx").write(folder / "model.toml")
    return fit(folder / "model.toml", digits.train, digits.held_out, settings=Settings(max_error=0.05, map="pca"), name="digits")


def fill(database: str, reference: Reference, count: int = MANY) -> None:
    """Fill an empty database with one project, number 1, of so many items."""
    store = Store(database)
    rng = np.random.default_rng(0)
    now = time.time()
    reference_id = keep_reference(store, reference)
    with store.writing() as connection:
        project = add_project(connection, "1", "Digits from three scanners", reference_id, ProjectOptions(("scanner",)), watch=False)
        change_project(connection, project.id, shown_version=project.version)
        every = dataset_of(connection, project.id, "all", "all", now - 90 * DAY)
        batches = [dataset_of(connection, project.id, "batch", f"import {n + 1}", now - (90 - 7 * n) * DAY) for n in range(BATCHES)]
        scanners = [dataset_of(connection, project.id, "field", f"scanner={name}", now) for name in SCANNERS]
    kinds = _verdicts(reference)
    for start in range(0, count, AT_ONCE):
        ids = np.arange(start, min(start + AT_ONCE, count)) + 1
        with store.writing() as connection, recounted(connection, ids.tolist()):
            for table, rows in _rows(project, reference_id, kinds, ids, count, rng, now, every, batches, scanners):
                if rows:
                    connection.execute(table.insert(), rows)
            keep_those_answered(connection, ids.tolist())
    with store.writing() as connection:
        strange = select(item.c.id).where(item.c.route == "outlier", item.c.answer == "open").limit(GROUPED)
        members = connection.execute(strange).scalars().all()
        connection.execute(group_member.delete())
        rows = [{"dataset_id": every, "item_id": id, "number": 1 + place % GROUPS} for place, id in enumerate(members)]
        if rows:
            connection.execute(group_member.insert(), rows)
    _add_later_work(store, project, reference)
    if not store.is_sqlite:  # which nobody lets count in the service either; PostgreSQL does it by itself, later
        with store.writing() as connection:
            connection.exec_driver_sql("ANALYZE")
    store.close()


def _add_later_work(store: Store, project: Project, reference: Reference) -> None:
    """A former version that was compared with the current one, and a label audit with as many findings as are kept."""
    former = keep_reference(store, with_limits(reference, {"alpha": 0.2}))
    with store.writing() as connection:
        every = versions.comparable_items(connection, project)
        drawn = sorted(random.Random(0).sample(every, min(COMPARED, len(every))))
        now = versions.said_by(connection, project.reference_id, drawn)
        columns = [column.name for column in verdict.c]
        copied = ", ".join(str(former) if name == "reference_id" else name for name in columns)
        some = f"item_id IN (SELECT id FROM item ORDER BY id LIMIT {COMPARED})"
        connection.exec_driver_sql(f"INSERT INTO verdict ({', '.join(columns)}) SELECT {copied} FROM verdict WHERE {some}")
        stranger = {id: Said("outlier", now[id].labels) if id % 11 == 0 else now[id] for id in drawn}
        versions.keep_comparison(
            connection, project, former, project.reference_id, {id: (stranger[id], now[id]) for id in drawn}, len(every), "Ann"
        )
        answered = label_audits.answered_items(connection, project.id, DOUBTED)
        findings = [
            Finding(row.id, "", place, IssueKind.WRONG, row.given, ("7",), 0.1, "The model finds it unlikely.", True, FindingState.OPEN)
            for place, row in enumerate(answered)
        ]
        facts = {"items": len(every), "sentences": [f"{len(findings):,} labels look wrong."], "findings": {}, "notes": []}
        label_audits.keep_audit(connection, project.id, facts, findings)


def take_snapshots(database: str) -> None:
    """The snapshots of all its datasets, as the jobs process takes them: half a minute for 300,000 items."""
    process = Process(ServiceSettings(database=database, label_studio_token="unused"), "jobs")
    with process.store.reading() as connection:
        (project,) = projects(connection)
        changed = snapshots.changed(connection, project)
    for line in changed:
        snapshot(process, project, line.id)
    process.leave()


def _verdicts(reference: Reference) -> list[tuple[list[Any], dict[str, Any]]]:
    """Verdicts on known and on unseen digits, and what was kept of each by its id."""
    digits = load_digits()
    runs = [triage(reference, part) for part in (digits.incoming, digits.unseen)]
    return [(list(run.verdicts), {seen.verdict.id: seen for seen in run.drawn}) for run in runs]


def _rows(
    project: Project,
    reference_id: int,
    kinds: list[tuple[list[Any], dict[str, Any]]],
    ids: Any,
    count: int,
    rng: np.random.Generator,
    now: float,
    every: int,
    batches: list[int],
    scanners: list[int],
) -> Iterator[tuple[Table, list[dict[str, Any]]]]:
    """The rows of some items, table by table."""
    strange = rng.random(len(ids)) < STRANGERS
    broken = rng.random(len(ids)) < FAILED
    drawn = (rng.random(len(ids)) < SPOT_CHECKS) & ~broken
    answered = rng.random(len(ids)) < np.where(drawn, SPOT_CHECKS_ANSWERED, ANSWERED)
    jitter = rng.random(len(ids))
    draws = rng.random(len(ids))
    batch = (ids - 1) * BATCHES // count
    scanner = rng.integers(0, len(SCANNERS), len(ids))
    tables: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("item", "in", "verdict", "point", "spot_check", "review", "delivery", "thumbnail")
    }
    for place, id in enumerate(ids.tolist()):
        found, kept = kinds[int(strange[place])]
        copied = found[int(draws[place] * len(found))]
        fails = bool(broken[place])
        route = "failed" if fails else copied.route
        trust = 0.0 if fails else min(1.0, max(0.0, copied.trust + (jitter[place] - 0.5) * 1e-3))
        hidden = bool(drawn[place])
        shown = float(0.01 + 0.09 * jitter[place]) if hidden else trust
        at = now - 90 * DAY + 90 * DAY * id / count
        resolved = bool(answered[place])
        own = {"item_id": id, "project_id": project.id, "reference_id": reference_id}
        tables["item"].append(
            {
                "id": id,
                "project_id": project.id,
                "external_id": str(id),
                "media": f"http://127.0.0.1:1/{id}.png",
                "media_hash": f"{id:032}",
                "shown_dataset_id": scanners[scanner[place]],
                "route": route,
                "trust": shown,
                "answer": "resolved" if resolved else "open",
                "labels": list(copied.labels) if resolved else None,
                "answered_at": at + DAY if resolved else None,
                "at": at,
            }
        )
        tables["in"] += [{"dataset_id": into, "item_id": id} for into in (every, batches[batch[place]], scanners[scanner[place]])]
        numbers = dict.fromkeys(("cluster", "confidence", "sureness", "score", "p_value", "outlier_score"))
        if not fails:
            numbers = {name: getattr(copied, name) for name in numbers} | {"score": copied.score + float(jitter[place]) * 1e-3}
        reason = f"task {id}: http://127.0.0.1:1/{id}.png answered 404: there is no such file" if fails else copied.reason
        labels = [] if fails else list(copied.labels)
        tables["verdict"].append(
            own
            | numbers
            | {
                "route": route,
                "judged": route,
                "labels": labels,
                "label": " + ".join(labels),
                "members": {} if fails else dict(copied.members),
                "trust": trust,
                "shown_trust": shown,
                "reason": reason,
                "failure": "gone" if fails else None,
                "seconds": 0.001,
                "at": at,
            }
        )
        tables["delivery"].append(
            own
            | {"state": "confirmed", "labels": labels if route in ("auto", "uncertain") and not hidden else None, "trust": shown, "at": at}
        )
        if not fails:
            compressed = kept[copied.id].point.astype(np.float16)
            tables["point"].append({"item_id": id, "reference_id": reference_id, "compressed": compressed.tobytes()})
        if hidden:
            state = ("wrong" if jitter[place] < 0.02 else "right") if resolved else "open"
            values = {
                "kind": "sample" if draws[place] < 0.5 else "audit",
                "route": route,
                "dataset_id": None,
                "state": state,
                "drawn_at": at,
            }
            tables["spot_check"].append(
                own | values | {"answered_at": at + DAY if resolved else None, "labels": list(copied.labels) if resolved else None}
            )
        if resolved:
            flags = dict.fromkeys(("skipped", "empty", "ground_truth", "machine"), False)
            given = {"external_id": str(id), "annotator": "ann@example.com", "labels": list(copied.labels), "updated_at": at + DAY}
            tables["review"].append({"item_id": id, "project_id": project.id} | given | flags)
        if id % max(1, count // FACES) == 0 and not fails:
            tables["thumbnail"].append({"item_id": id, "content": kept[copied.id].picture})
    named = {
        "item": item,
        "in": item_dataset,
        "verdict": verdict,
        "point": point,
        "spot_check": spot_check,
        "review": review,
        "delivery": delivery,
    }
    for name, rows in tables.items():
        yield {**named, "thumbnail": thumbnail}[name], rows


def main() -> None:
    """Make one."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--items", type=int, default=MANY)
    given = parser.parse_args()
    started = time.perf_counter()
    with TemporaryDirectory() as folder:
        fill(f"sqlite:///{given.file}", digits_reference(Path(folder)), given.items)
        take_snapshots(f"sqlite:///{given.file}")
    print(
        json.dumps({"items": given.items, "MB": round(given.file.stat().st_size / 2**20), "seconds": round(time.perf_counter() - started)})
    )


if __name__ == "__main__":
    main()
