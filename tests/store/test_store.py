"""What a verdict brings with it, and the files of references."""

from __future__ import annotations

from dataclasses import replace

import pytest
from delivery_states import set_state, states

from annotriage.engine.verdict import Verdict
from annotriage.labeling_tool import Task
from annotriage.store import Store, deliveries, items, work
from annotriage.store.projects import ProjectOptions, add_project
from annotriage.store.references import save_reference
from annotriage.store.verdicts import Judgement, record

FACTS = {"model": {"spec": {"model": {"classes": ["cat", "dog"]}}}, "guarantee": {"auto": True}}


@pytest.fixture
def store(sqlite):
    store = Store(sqlite)
    yield store
    store.close()


@pytest.fixture
def project(store, tmp_path):
    file = tmp_path / "a.bin"
    file.write_bytes(b"x" * 100)
    with store.writing() as connection:
        reference = save_reference(
            connection, version="v1", name="pets", prediction_version="annotriage pets v1", facts=FACTS, files={"model/a.bin": file}
        )
        return add_project(connection, "3", "Pets", reference, ProjectOptions(dataset_fields=("scanner",)), watch=False)


def tasks(*numbers, **values):
    return [Task(str(number), f"http://host/{number}.png", **values) for number in numbers]


def judged(item_id, route="auto", **values):
    verdict = Verdict(str(item_id), "", ("cat",), 0.9, "cat", trust=0.9, route=route)
    shown = ("cat",) if route == "auto" else None
    return replace(Judgement(item_id, verdict, route, shown, 0.9, None, b"", b""), **values)


def test_a_verdict_that_replaces_a_delivered_one_makes_it_stale(store, project):
    with store.writing() as connection:
        items.add_tasks(connection, project, tasks(1))
        (row,) = work.claim(connection, "me", 10).rows
        record(connection, project, project.reference_id, [judged(row.id)])
        deliveries.take(connection, project.id, "pending", "me", 10)
        set_state(connection, project.reference_id, [row.id], "confirmed")
        record(connection, project, project.reference_id, [judged(row.id, "outlier")])
        assert states(connection, project.id, project.reference_id) == {"stale": 1}
