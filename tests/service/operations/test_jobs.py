"""The jobs process: what it does when, and that one project's trouble is not another's."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace

import pytest
from sqlalchemy import select, update
from triaged import import_tasks, judge
from waiting import PATIENCE, wait_until

from annotriage.service.guarantee import recalibrating
from annotriage.service.operations import jobs
from annotriage.service.operations.jobs import PUT_OFF_SECONDS, Snapshots, clean, put_off, run_jobs
from annotriage.states import EventKind
from annotriage.store import events, snapshots, work
from annotriage.store import jobs as job_queries
from annotriage.store.datasets import dataset_of
from annotriage.store.projects import projects
from annotriage.store.schema import dataset, delivery, snapshot


@pytest.fixture
def running(process):
    """Start the jobs process, in a thread; it is stopped and waited for at the end."""
    threads = []

    def start():
        thread = threading.Thread(target=run_jobs, args=[process])
        thread.start()
        threads.append(thread)
        return thread

    yield start
    process.stopping.set()
    for thread in threads:
        thread.join()


def taken(process):
    with process.store.reading() as connection:
        query = select(dataset.c.kind, snapshot.c.n, snapshot.c.at).join(snapshot, snapshot.c.dataset_id == dataset.c.id)
        return {row.kind: row for row in connection.execute(query.order_by(snapshot.c.id))}


def test_what_was_judged_gets_its_snapshots_and_fields_and_stopping_ends_it(process, connect, digits, running):
    project, tool = connect(sample_share=1.0)
    import_tasks(process, project, tool, digits.incoming[0][:8])
    judge(process)
    with process.store.writing() as connection:
        connection.execute(update(delivery).values(state="confirmed"))
    thread = running()
    wait_until(lambda: tool.calls.count("write_fields") == 8)
    wait_until(lambda: {kind: row.n for kind, row in taken(process).items()} == {"all": 8, "batch": 8}, what="for another thread's")
    with process.store.reading() as connection:
        assert process.owner in {row.owner for row in work.living(connection)}
    process.stopping.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_it_gives_way_to_everything_else(process, monkeypatch):
    lowered = []
    monkeypatch.setattr(os, "nice", lowered.append)
    process.stopping.set()
    run_jobs(process)
    assert lowered == [10]


def test_a_snapshot_is_taken_at_once_and_again_when_all_is_judged(process, connect, digits):
    project, tool = connect()
    import_tasks(process, project, tool, digits.incoming[0][:10])
    judge(process)
    taking = Snapshots(process)
    assert taking.step(project)
    assert not taking.step(project), "nothing has changed"
    import_tasks(process, project, tool, digits.incoming[0][10:15])
    judge(process)
    wait_until(lambda: taking.step(project) and taken(process)["all"].n == 15)


def test_while_items_stream_in_there_are_three_seconds_between_snapshots(process, connect, digits, monkeypatch):
    project, tool = connect()
    clock = [1000.0]
    monkeypatch.setattr(jobs.time, "monotonic", lambda: clock[0])
    import_tasks(process, project, tool, digits.incoming[0][:10])
    judge(process)
    taking = Snapshots(process)
    taking.step(project)
    import_tasks(process, project, tool, digits.incoming[0][10:15])
    judge(process)
    import_tasks(process, project, tool, digits.incoming[0][15:20])  # still to be judged
    clock[0] += 2.9
    assert not taking.step(project)
    clock[0] += 0.2
    assert taking.step(project)
    assert taken(process)["all"].n == 15


def test_while_items_stream_in_a_dataset_that_has_hardly_grown_waits_ten_seconds(process, connect, digits, monkeypatch):
    project, tool = connect()
    clock = [1000.0]
    monkeypatch.setattr(jobs.time, "monotonic", lambda: clock[0])
    import_tasks(process, project, tool, digits.incoming[0][:10])
    judge(process)
    taking = Snapshots(process)
    taking.step(project)
    import_tasks(process, project, tool, digits.incoming[0][10:14])
    judge(process)
    import_tasks(process, project, tool, digits.incoming[0][14:20])  # still to be judged
    clock[0] += 9.9
    assert not taking.step(project)
    clock[0] += 0.2
    assert taking.step(project)
    assert taken(process)["all"].n == 14


def test_a_snapshot_is_not_taken_again_for_counts_that_it_cannot_explain(process, connect, digits):
    project, tool = connect()
    import_tasks(process, project, tool, digits.incoming[0][:10])
    judge(process)
    taking = Snapshots(process)
    taking.step(project)
    with process.store.writing() as connection:
        connection.execute(update(snapshot).values(n=3))
    assert not taking.step(project)
    assert Snapshots(process).step(project), "a process that has just started does look"


def test_what_takes_long_waits_while_items_are_judged_but_not_for_ever(process, connect, digits):
    project, tool = connect()
    now, made = [1000.0], []
    step = put_off(process, lambda project: bool(made.append(project.id)) or True, lambda: now[0])
    import_tasks(process, project, tool, digits.incoming[0][:2])
    assert not step(project)
    now[0] += PUT_OFF_SECONDS - 1
    assert not step(project)
    now[0] += 2
    assert step(project)
    assert not step(project), "it waits anew"
    judge(process)
    assert step(project)
    assert made == [project.id] * 2


def test_queued_jobs_are_run_and_say_what_came_of_them(process, connect):
    project, _ = connect()
    assert not jobs.run_queued(process)
    with process.store.writing() as connection:
        job_queries.queue(connection, project.id, "recalibrate")
    assert jobs.run_queued(process)
    assert not jobs.run_queued(process)
    with process.store.reading() as connection:
        (row,) = job_queries.jobs_of(connection, project.id)
    assert row.state == "failed"
    assert "0 items of the sample are answered" in row.text, "nobody has answered a spot check yet"


def test_a_job_that_fails_as_nobody_foresaw_says_why_and_holds_up_no_other(process, connect, monkeypatch, caplog):
    first, second = connect("3")[0], connect("4")[0]
    with process.store.writing() as connection:
        for project in (first, second):
            job_queries.queue(connection, project.id, "recalibrate")

    plain = recalibrating.recalibrate

    def recalibrate(process, project, *others):
        if project.id == first.id:
            raise KeyError("nobody foresaw this")
        return plain(process, project, *others)

    monkeypatch.setattr(recalibrating, "recalibrate", recalibrate)
    assert [jobs.run_queued(process) for _ in range(3)] == [True, True, False], "each once"
    with process.store.reading() as connection:
        found = [job_queries.latest_of(connection, project.id, "recalibrate") for project in (first, second)]
        told = events.history(connection, first.id, limit=1)[0]
    assert [job.state for job in found] == ["failed", "failed"]
    assert "nobody foresaw this" in found[0].text
    assert "0 items of the sample are answered" in found[1].text
    assert (told.kind, told.facts) == (EventKind.RECALIBRATION_FAILED, {"error": found[0].text})
    assert "the job 'recalibrate' failed" in caplog.text


def test_a_job_that_ended_as_the_database_went_away_is_run_again(process, connect):
    project, _ = connect()
    with process.store.writing() as connection:
        job_queries.queue(connection, project.id, "recalibrate")
        assert job_queries.take(connection, process.owner, jobs.KINDS)  # and what came of it could not be written down
    assert jobs.run_queued(process)
    with process.store.reading() as connection:
        (row,) = job_queries.jobs_of(connection, project.id)
    assert (row.state, row.attempts) == ("failed", 1), "nobody has answered a spot check yet"


def test_cleaning_thins_out_old_snapshots(process, connect):
    project, _ = connect()
    with process.store.writing() as connection:
        id = dataset_of(connection, project.id, "all", "all", 0.0)
        for _ in range(3):
            values = {"n": 1, "outliers": 0, "failed": 0, "low": 0.0, "high": 1.0, "facts": {}}
            connection.execute(
                snapshot.insert().values(dataset_id=id, reference_id=project.reference_id, at=time.time() - 100 * 86_400, **values)
            )
    clean(process)
    with process.store.reading() as connection:
        assert len(snapshots.history(connection, id)) == 1


def test_a_project_that_is_gone_is_left_alone(process, connect, digits):
    project, tool = connect()
    import_tasks(process, project, tool, digits.incoming[0][:3])
    judge(process)
    with process.store.reading() as connection:
        assert [connected.id for connected in projects(connection)] == [project.id]
    taking = Snapshots(process)
    assert not taking.step(replace(project, reference_id=project.reference_id + 1)), "nothing was judged under that reference"
