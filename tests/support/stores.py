"""Items of a store, judged at a word: no model, no labeling tool."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import pytest
from sqlalchemy import func, select, text
from waiting import PATIENCE

from annotriage.engine.verdict import Verdict
from annotriage.labeling_tool import Task
from annotriage.states import Failure
from annotriage.store import Store, items
from annotriage.store.projects import Project, get_project
from annotriage.store.schema import counter, dataset, item, metadata, verdict, work
from annotriage.store.verdicts import Judgement, record

GUARANTEE = {"max_error": 0.02, "confidence": 0.95, "auto": True, "coverage": 0.5}
FACTS = {"model": {"spec": {"model": {"classes": ["cat", "dog"]}}}, "guarantee": GUARANTEE, "calibrated": True}
on_sqlite = pytest.mark.parametrize("store", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize("store", ["postgres"], indirect=True)
TRUSTS = {"failed": 0.0, "outlier": 0.2, "uncertain": 0.5, "auto": 0.9}


@dataclass
class Filled:
    """A store with a project."""

    store: Store
    project: Project
    references: list[int]

    tables = tuple(metadata.tables.values())

    def present(self):
        """The project as it is now."""
        with self.store.reading() as connection:
            return get_project(connection, self.project.id)

    def add(self, count, **values):
        """New items, not judged yet: their ids."""
        with self.store.writing() as connection:
            first = connection.execute(select(item.c.id).order_by(item.c.id.desc()).limit(1)).scalar_one_or_none() or 0
            names = [str(number) for number in range(first + 1, first + 1 + count)]
            tasks = [Task(name, f"http://host/{name}.png", **values) for name in names]
            items.add_tasks(connection, self.present(), tasks)
            return list(connection.execute(select(item.c.id).where(item.c.external_id.in_(names)).order_by(item.c.id)).scalars())

    def judge(self, ids, route="auto", *, reference_id=None, labels=("cat",), trust=None, spot_check=None):
        """Judge items, all alike."""
        reference_id = reference_id or self.project.reference_id
        trust = TRUSTS[route] if trust is None else trust
        score = None if route == "failed" else 1.0
        failure = Failure.GONE if route == "failed" else None
        given = Verdict("", "", labels, 0.9, labels[0], score=score, trust=trust, route=route, reason="because", failure=failure)
        shown = labels if route in ("auto", "uncertain") and not spot_check else None
        found = [Judgement(id, given, route, shown, 0.1 if spot_check else trust, spot_check, b"\0\0", b"png") for id in ids]
        with self.store.writing() as connection:
            record(connection, self.present(), reference_id, found)
            connection.execute(work.delete().where(work.c.reference_id == reference_id, work.c.item_id.in_(ids)))
        return ids

    def judged(self, count, route="auto", **values):
        """New items, judged."""
        return self.judge(self.add(count), route, **values)

    def counts(self):
        """What the counters hold of the dataset of all items: {route: (items, of them open)}."""
        query = select(counter.c.route, counter.c.n, counter.c.open).where(counter.c.dataset_id == 1)
        with self.store.reading() as connection:
            return {route: (n, still_open) for route, n, still_open in connection.execute(query) if n or still_open}


def while_it_waits(store, action, meanwhile):
    """Run `action` in a thread of its own; once it waits for a lock of PostgreSQL, run `meanwhile`, and let it end."""
    failures = []

    def run():
        try:
            action()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    waits = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
    end = time.monotonic() + PATIENCE
    while thread.is_alive() and time.monotonic() < end:
        with store.reading() as connection:
            if connection.execute(waits).scalar_one():
                break
        time.sleep(0.01)
    meanwhile()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    if failures:
        raise failures[0]


def verdict_of(connection, item_id, reference_id):
    """The row of an item's verdict under a reference."""
    query = select(verdict).where(verdict.c.item_id == item_id, verdict.c.reference_id == reference_id)
    return connection.execute(query).one_or_none()


def counted(connection, project_id, reference_id):
    """What the counters hold of all items of a project under a reference: how many there are, and how many of them are open."""
    every = select(dataset.c.id).where(dataset.c.project_id == project_id, dataset.c.kind == "all").scalar_subquery()
    query = select(func.coalesce(func.sum(counter.c.n), 0), func.coalesce(func.sum(counter.c.open), 0))
    return tuple(connection.execute(query.where(counter.c.dataset_id == every, counter.c.reference_id == reference_id)).one())
