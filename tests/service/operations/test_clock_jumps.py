"""A clock that runs ahead and is put right: nothing waits for as long as it had been ahead."""

from __future__ import annotations

import time

import databases
import pytest
from sqlalchemy import func, select, update

from annotriage.service.operations.process import Process
from annotriage.settings import ServiceSettings
from annotriage.store.projects import get_project
from annotriage.store.schema import delivery, item, notice, work

AHEAD = 86_400.0


@pytest.fixture
def ahead(monkeypatch):
    """The clock runs a day ahead; call it to put it right."""
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + AHEAD)
    return lambda: monkeypatch.setattr(time, "time", right)


def test_polls_and_sweeps_go_on_after_the_clock_was_put_back(process, connect, worker, ahead, picture, digits):
    project, tool = connect(sample_share=0.0, audit_share=0.0)
    worker.sweep(project)
    ahead()
    tool.add(picture(digits.incoming[0][0]))
    (state,) = worker.follower._followed.values()
    assert state.next_poll <= time.monotonic() + process.settings.poll_seconds, "no poll waits for the clock"
    worker.settle()
    worker.follow()
    with process.store.reading() as connection:
        assert connection.execute(select(func.count()).select_from(item).where(item.c.route.is_not(None))).scalar_one() == 1
        assert get_project(connection, project.id).swept_at <= time.time(), "and no sweep"


@databases.both
def test_what_was_put_off_by_a_clock_ahead_is_due_once_it_is_put_back(process, connect, worker, ahead, picture, digits):
    _, tool = connect(sample_share=0.0, audit_share=0.0)
    process.beat()
    for image in digits.incoming[0][:3]:
        tool.add(picture(image))
    worker.follow()
    with process.store.writing() as connection:
        connection.execute(update(work).values(not_before=time.time() + 60))  # as after a failure
    ahead()
    worker.settle()
    assert tool.predictions == []
    process.beat()
    worker.settle()
    assert len(tool.predictions) == 3


def test_predictions_of_a_clock_ahead_wait_no_longer_for_others(process, connect, worker, ahead, picture, digits):
    _, tool = connect(sample_share=0.0, audit_share=0.0)
    tool.add(picture(digits.incoming[0][0]))
    worker.follow()
    assert worker.judge.step()
    tool.add(picture(digits.incoming[0][1]))
    worker.follow()
    ahead()
    assert worker.delivery.step(), "though another item is still to be judged"
    assert len(tool.predictions) == 1


def test_a_worker_that_starts_later_ends_such_waits_as_well(process, connect, worker, ahead, picture, digits):
    _, tool = connect(sample_share=0.0, audit_share=0.0)
    tool.add(picture(digits.incoming[0][0]))
    worker.settle()
    with process.store.writing() as connection:
        connection.execute(update(delivery).values(state="pending", not_before=time.time() + 10))
    ahead()
    later = Process(ServiceSettings(database=process.settings.database, label_studio_token="unused"), "worker")
    later.beat()
    later.leave()
    with process.store.reading() as connection:
        assert connection.execute(select(delivery.c.not_before)).scalar_one() == 0.0


def test_what_waits_for_good_reasons_goes_on_waiting(process, connect, worker, picture, digits):
    _, tool = connect(sample_share=0.0, audit_share=0.0)
    tool.add(picture(digits.incoming[0][0]))
    worker.follow()
    until = time.time() + 6 * 3600.0
    with process.store.writing() as connection:
        connection.execute(update(work).values(not_before=until))
    process.beat()
    with process.store.reading() as connection:
        assert connection.execute(select(work.c.not_before)).scalar_one() == until
        assert connection.execute(select(func.count()).select_from(notice)).scalar_one() == 0
