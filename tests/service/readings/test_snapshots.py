"""Snapshots say of a dataset in the store what triage says of the same files."""

from __future__ import annotations

import time

import databases
import pytest
from sqlalchemy import select, update
from triaged import import_tasks, judge

from annotriage import triage
from annotriage.data import Item
from annotriage.service.readings.snapshots import snapshot
from annotriage.store import items, snapshots
from annotriage.store.datasets import dataset_of
from annotriage.store.schema import dataset, spot_check

pytestmark = databases.both


def dataset_id(process, kind="all"):
    with process.store.reading() as connection:
        return connection.execute(select(dataset.c.id).where(dataset.c.kind == kind).order_by(dataset.c.id.desc()).limit(1)).scalar_one()


def latest(process, project, kind="all"):
    id = dataset_id(process, kind)
    snapshot(process, project, id)
    with process.store.reading() as connection:
        return snapshots.latest(connection, [id], project.reference_id)[id]


def changed(process, project):
    with process.store.reading() as connection:
        return {line.id for line in snapshots.changed(connection, project)}


def test_a_snapshot_says_what_triage_of_the_same_pictures_says(process, connect, digits_reference, mixed):
    project, tool = connect()
    images = mixed[0]
    tasks = import_tasks(process, project, tool, [*images, "data:image/png;base64,AAAA"])
    judge(process)
    taken = latest(process, project)
    expected = triage(digits_reference, [*(Item(task.id, image) for task, image in zip(tasks, images, strict=False)), Item("broken", b"")])
    found, wanted = taken.facts["diversity"], expected.summary()["diversity"]
    exact = ("n", "outliers", "failed", "effective_n", "grouped", "held_out", "calibrated", "sentence")
    assert {key: found[key] for key in exact} == {key: wanted[key] for key in exact}
    close = ("share", "low", "high", "expected", "excess", "excess_low", "excess_high", "p_value", "rank_sum_p")
    assert {key: found[key] for key in close} == pytest.approx({key: wanted[key] for key in close})
    assert [list(row.values()) for row in found["clusters"]] == [pytest.approx(list(row.values())) for row in wanted["clusters"]]
    assert found["mmd"] == pytest.approx(wanted["mmd"], rel=0.05)
    assert found["mmd_p"] == wanted["mmd_p"]
    assert latest(process, project, "batch").facts["advice"] == expected.summary()["advice"]
    assert taken.facts["advice"][:-1] == expected.summary()["advice"][:-1], "on all items the last one speaks of the spot checks"
    assert taken.facts["counts"] == expected.counts
    assert (taken.n, taken.outliers, taken.failed) == (found["n"], found["outliers"], 1)
    assert (taken.low, taken.high) == (found["low"], found["high"])


def test_groups_are_found_with_the_task_that_is_their_face(process, connect, digits_reference, digits):
    project, tool = connect()
    tasks = import_tasks(process, project, tool, digits.strangers[0])
    judge(process)
    taken = latest(process, project)
    expected = triage(digits_reference, [Item(task.id, image) for task, image in zip(tasks, digits.strangers[0], strict=True)])
    assert taken.facts["searched"] == expected.searched
    assert [group["size"] for group in taken.facts["groups"]] == pytest.approx([group.size for group in expected.groups], abs=2)
    first = taken.facts["groups"][0]
    assert first["medoid"] == first["ids"][0]
    assert {*first["ids"]} <= {task.id for task in tasks}


def test_items_that_belong_together_count_as_fewer(process, connect, digits_reference, mixed):
    project, tool = connect()
    images = mixed[0][-200:]
    names = [f"video {place // 20}" if place < 100 else None for place in range(200)]
    tasks = [import_tasks(process, project, tool, [image], group=name)[0] for image, name in zip(images, names, strict=True)]
    judge(process)
    found = latest(process, project).facts["diversity"]
    pairs = zip(tasks, images, names, strict=True)
    wanted = triage(digits_reference, [Item(task.id, image, group=name) for task, image, name in pairs]).diversity
    assert found["grouped"]
    assert (found["effective_n"], found["rank_sum_p"]) == (wanted.effective_n, pytest.approx(wanted.rank_sum_p))


def test_items_labelled_before_and_deleted_ones_take_no_part(process, connect, digits):
    project, tool = connect()
    import_tasks(process, project, tool, digits.strangers[0][:20], labelled=True)
    gone = import_tasks(process, project, tool, digits.strangers[0][20:30])
    import_tasks(process, project, tool, digits.incoming[0][:30])
    judge(process)
    with process.store.writing() as connection:
        ids = [row.id for row in items.find_items(connection, project.id, [task.id for task in gone]).values()]
        items.mark_gone(connection, ids)
    assert latest(process, project).n == 30


def test_a_dataset_has_changed_until_its_snapshot_is_taken(process, connect, digits):
    project, tool = connect()
    import_tasks(process, project, tool, digits.incoming[0][:10])
    assert changed(process, project) == set()
    judge(process)
    assert changed(process, project) == {dataset_id(process), dataset_id(process, "batch")}
    latest(process, project)
    assert changed(process, project) == {dataset_id(process, "batch")}
    import_tasks(process, project, tool, digits.incoming[0][10:12])
    judge(process)
    assert dataset_id(process) in changed(process, project)


def test_answers_to_its_spot_checks_change_a_dataset_and_its_advice(process, connect, digits):
    project, tool = connect(sample_share=0.0, audit_share=1.0, accept="annotate")
    import_tasks(process, project, tool, digits.incoming[0][:60])
    judge(process)
    before = latest(process, project, "batch").facts["advice"][-1]
    assert (before["answer"], "Not yet checked on this dataset" in before["reason"]) == ("mixed", True)
    assert dataset_id(process, "batch") not in changed(process, project)
    with process.store.writing() as connection:
        ids = connection.execute(select(spot_check.c.item_id).where(spot_check.c.route == "auto")).scalars().all()
        connection.execute(update(spot_check).where(spot_check.c.item_id.in_(ids[:9])).values(state="right", answered_at=time.time()))
        connection.execute(update(spot_check).where(spot_check.c.item_id == ids[9]).values(state="wrong", answered_at=time.time()))
        contradicted = {"state": "disagreed", "answered_at": time.time()}
        connection.execute(update(spot_check).where(spot_check.c.item_id == ids[10]).values(contradicted))
    assert dataset_id(process, "batch") in changed(process, project)
    after = latest(process, project, "batch").facts["advice"][-1]
    assert "Not yet shown on this dataset: 2 of 11 checked labels were wrong so far" in after["reason"], "one person's word counts at once"


def test_a_dataset_that_passed_its_probation_is_annotated_automatically(process, connect, digits):
    project, tool = connect(sample_share=0.0, audit_share=1.0, accept="annotate")
    import_tasks(process, project, tool, digits.incoming[0][:200])
    judge(process)
    with process.store.writing() as connection:
        connection.execute(update(spot_check).where(spot_check.c.route == "auto").values(state="right", answered_at=time.time()))
    assert latest(process, project, "batch").facts["advice"][-1]["answer"] == "machine"


def test_another_reference_has_no_snapshot_yet(process, connect, digits):
    project, tool = connect()
    import_tasks(process, project, tool, digits.incoming[0][:10])
    judge(process)
    taken = latest(process, project)
    with process.store.reading() as connection:
        assert snapshots.latest(connection, [taken.dataset_id], project.reference_id + 1) == {}


def test_history_keeps_one_snapshot_in_five_minutes_and_fewer_of_old_ones(process, connect, monkeypatch):
    project, _ = connect()
    now = 1_800_000_000.0
    clock = [now - 40 * 86_400.0]
    monkeypatch.setattr(snapshots.time, "time", lambda: clock[0])
    with process.store.writing() as connection:
        id = dataset_of(connection, project.id, "all", "all", clock[0])
        while clock[0] < now:
            near = clock[0] > now - 7_200
            clock[0] += 60.0 if near else 900.0
            values = {"n": int(clock[0] % 1_000_000), "outliers": 0, "failed": 0, "low": 0.0, "high": 1.0, "facts": {}}
            snapshots.save(connection, id, project.reference_id, **values)
        snapshots.thin_out(connection)
        kept = snapshots.history(connection, id, limit=10_000)
        last = snapshots.latest(connection, [id], project.reference_id)[id]
    times = [row.at for row in kept]
    assert times == sorted(times, reverse=True)
    assert last.at == times[0] == clock[0]
    ages = [now - at for at in times]
    assert sum(age < 7_200 for age in ages) == pytest.approx(24, abs=2)
    assert sum(7_200 <= age < 86_400 for age in ages) == pytest.approx(22 * 4, abs=4)
    assert sum(86_400 <= age < 30 * 86_400 for age in ages) == pytest.approx(29 * 24, abs=4)
    assert sum(age >= 30 * 86_400 for age in ages) == pytest.approx(10, abs=2)
    with process.store.reading() as connection:
        assert snapshots.history(connection, id, before=times[3], limit=2) == kept[4:6]
