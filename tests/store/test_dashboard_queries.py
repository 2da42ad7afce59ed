"""What the dashboard asks, on both databases."""

from __future__ import annotations

import time

import databases
import pytest
from sqlalchemy import select, update
from triaged import import_tasks, judge

from annotriage.service.operations.references import open_reference
from annotriage.service.readings.reporting import make_report
from annotriage.service.readings.snapshots import snapshot
from annotriage.states import EventKind
from annotriage.store import dashboard, reports
from annotriage.store.events import note
from annotriage.store.files import piece_of
from annotriage.store.projects import change_project
from annotriage.store.schema import delivery, field_write, inbox, item
from annotriage.store.schema import snapshot as snapshots

pytestmark = databases.both
DAY = 86_400.0


@pytest.fixture
def judged(process, connect, digits):
    """A project with known and strange items, judged and assessed once: project, tasks and the id of the dataset of all."""
    project, tool = connect()
    tasks = import_tasks(process, project, tool, [*digits.incoming[0][:30], *digits.strangers[0][:30]])
    judge(process)
    with process.store.reading() as connection:
        every = dashboard.dataset_of_all(connection, project)
    snapshot(process, project, every.id)
    return project, tasks, every.id


def test_peoples_speed_is_that_of_their_latest_answers(process, judged):
    project, tasks, _ = judged
    ids = [task.id for task in tasks[:28]]
    with process.store.writing() as connection:
        connection.execute(update(item).where(item.c.external_id.in_(ids)).values(answered_at=time.time() - 7 * DAY))
        connection.execute(update(item).where(item.c.external_id == tasks[29].id).values(answered_at=time.time(), machine=True))
    with process.store.reading() as connection:
        assert dashboard.answers_per_day(connection, project) == pytest.approx(4.0, rel=0.01)


def test_nobody_answered_is_no_speed(process, judged):
    with process.store.reading() as connection:
        assert dashboard.answers_per_day(connection, judged[0]) == 0.0


def test_moments_are_thinned_out_and_in_order(process, judged):
    project, _, every = judged
    now = time.time()
    with process.store.writing() as connection:
        (row,) = connection.execute(select(snapshots)).mappings()
        values = {name: row[name] for name in row if name != "id"}
        connection.execute(snapshots.insert(), [{**values, "at": now - 3600 + second} for second in range(0, 3000, 3)])
    with process.store.reading() as connection:
        found = dashboard.moments(connection, every, now - 3600, now + 60)
        assert 150 < len(found) <= dashboard.STEPS + 1
        assert [row.at for row in found] == sorted(row.at for row in found)
        assert dashboard.first_moment(connection, every) == pytest.approx(now - 3600)
        assert dashboard.snapshot_before(connection, every, project.reference_id, now - 1800).at <= now - 1800
        assert dashboard.snapshot_before(connection, every, project.reference_id, now - 4000) is None


def test_the_mark_changes_with_whatever_pages_show(process, judged):
    project, _, every = judged

    def mark():
        with process.store.reading() as connection:
            return dashboard.mark_of(connection, [project.id])

    marks = [mark(), mark()]
    assert marks[0] == marks[1]
    with process.store.writing() as connection:
        change_project(connection, project.id, paused_at=1.0)
    marks.append(mark())
    with process.store.writing() as connection:
        note(connection, project.id, EventKind.PAUSED, reason="x")
    marks.append(mark())
    with process.store.writing() as connection:
        connection.execute(update(snapshots).where(snapshots.c.dataset_id == every).values(at=time.time() + 5))
    marks.append(mark())
    assert len(set(marks)) == 4


def test_the_strangest_are_outliers_the_strangest_first(process, judged):
    project, tasks, every = judged
    with process.store.reading() as connection:
        of_all = dashboard.strangest_of(connection, project, every, 5)
        lately = dashboard.strangest_between(connection, project, time.time() - 60, time.time() + 60, 5)
        assert [row.id for row in of_all] == [row.id for row in lately]
        assert dashboard.strangest_between(connection, project, 0.0, 1.0, 5) == []
        named = dashboard.items_named(connection, project, [row.external_id for row in of_all] + ["nobody"])
    assert set(named) == {row.external_id for row in of_all}
    assert {row.external_id for row in of_all} <= {task.id for task in tasks}


def test_what_went_wrong_is_tried_again(process, judged):
    project, _, _ = judged
    with process.store.writing() as connection:
        ids = list(connection.execute(select(delivery.c.item_id).order_by(delivery.c.item_id)).scalars())
        connection.execute(update(delivery).where(delivery.c.item_id.in_(ids[:3])).values(state="refused", error="400", attempts=5))
        late = {"state": "pending", "error": "503", "not_before": time.time() + 600}
        connection.execute(update(delivery).where(delivery.c.item_id.in_(ids[3:5])).values(late))
        connection.execute(field_write.delete())
        connection.execute(field_write.insert().values(item_id=ids[0], project_id=project.id, state="failed", trust=0.5))
        connection.execute(inbox.insert().values(body=b"{", state="failed", error="no JSON", at=time.time()))
        assert dashboard.failed_fields(connection, project.id) == 1
        assert dashboard.retry_deliveries(connection, project) == 5
        assert dashboard.retry_fields(connection, project) == 1
        assert dashboard.clear_inbox(connection) == 1
        rows = connection.execute(select(delivery).where(delivery.c.item_id.in_(ids[:5]))).all()
    assert {(row.state, row.attempts, row.not_before) for row in rows} == {("pending", 0, 0.0)}


def test_a_report_replaces_the_one_before(process, judged, tmp_path):
    project, _, every = judged
    said = make_report(process, project, every)
    assert said.startswith("The report of all items of Project 1 is ready")
    with process.store.reading() as connection:
        first = reports.report_of(connection, every)
        content = piece_of(connection, first.stored_file_id, 0)
        assert piece_of(connection, first.stored_file_id, 1) is None
    assert content.startswith(b"<!doctype html>")
    assert len(content) == first.size
    with process.store.writing() as connection:
        connection.execute(update(item).where(item.c.id == 1).values(gone=True))
    make_report(process, project, every)
    with process.store.reading() as connection:
        second = reports.report_of(connection, every)
        assert second.stored_file_id != first.stored_file_id
        assert piece_of(connection, first.stored_file_id, 0) is None
    assert open_reference(process.store, project.reference_id, tmp_path / "read").version  # its files are still there
