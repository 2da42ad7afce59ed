"""The store: tasks become items with work, claims are leases, counts follow verdicts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from annotriage.engine.verdict import Verdict
from annotriage.labeling_tool import Task
from annotriage.store import Store, counters, deliveries, items, work
from annotriage.store.projects import ProjectOptions, add_project
from annotriage.store.references import save_reference
from annotriage.store.verdicts import Judgement, record

FACTS = {"model": {"spec": {"model": {"classes": ["cat", "dog"]}}}, "guarantee": {"auto": True}}


@pytest.fixture
def store(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/store.db")
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


def test_a_task_is_taken_in_once(store, project):
    with store.writing() as connection:
        assert items.add_tasks(connection, project, tasks(1, 2, 3)) == 3
        assert items.add_tasks(connection, project, tasks(2, 3, 4)) == 1
        assert work.waiting(connection, project.id, project.reference_id) == 4


def test_tasks_that_people_labelled_before_are_not_judged(store, project):
    with store.writing() as connection:
        items.add_tasks(connection, project, tasks(1, labelled=True))
        assert work.claim(connection, "me", 10) is None


def test_what_one_worker_has_claimed_no_other_gets(store, project):
    with store.writing() as connection:
        items.add_tasks(connection, project, tasks(*range(10)))
        mine, others = work.claim(connection, "me", 6), work.claim(connection, "you", 6)
    assert (len(mine.rows), len(others.rows)) == (6, 4)
    assert {row.id for row in mine.rows}.isdisjoint(row.id for row in others.rows)


def test_what_a_dead_worker_held_is_free_again(store, project):
    with store.writing() as connection:
        items.add_tasks(connection, project, tasks(1, 2))
        work.claim(connection, "me", 10)
        assert work.claim(connection, "you", 10) is None
        work.bury(connection, ["me"])
        assert len(work.claim(connection, "you", 10).rows) == 2


def test_an_item_that_was_tried_before_is_taken_alone(store, project):
    with store.writing() as connection:
        items.add_tasks(connection, project, tasks(1, 2))
        for _ in range(work.SUSPECT):
            work.claim(connection, "me", 10)
            work.bury(connection, ["me"])
        assert len(work.claim(connection, "me", 10).rows) == 1


def test_deleted_tasks_are_not_counted_and_not_delivered(store, project):
    with store.writing() as connection:
        items.add_tasks(connection, project, tasks(1, 2))
        ids = [row.id for row in work.claim(connection, "me", 10).rows]
        record(connection, project, project.reference_id, [judged(id) for id in ids])
        items.mark_gone(connection, ids[:1])
        assert [row.n for row in counters.counts_of(connection, 1, project.reference_id)] == [1]
        assert len(deliveries.take(connection, project.id, "pending", "me", 10)) == 1


def test_new_tasks_are_judged_under_the_next_reference_too(store, project):
    with store.writing() as connection:
        next_one = save_reference(connection, version="v2", name="pets", prediction_version="annotriage pets v2", facts=FACTS, files={})
        items.add_tasks(connection, replace(project, next_reference_id=next_one), tasks(1))
        assert {work.claim(connection, "me", 10).reference_id for _ in range(2)} == {project.reference_id, next_one}
