"""What is kept for a while only goes when its days are over, and nothing that people still need."""

from __future__ import annotations

import time
from dataclasses import replace

import databases
import pytest
from sqlalchemy import select, update
from triaged import import_tasks, judge

from annotriage.service.operations.jobs import clean
from annotriage.states import EventKind
from annotriage.store import events, inbox, jobs
from annotriage.store.schema import inbox as inbox_table
from annotriage.store.schema import item, thumbnail

pytestmark = databases.both
DAY = 86_400.0


@pytest.fixture
def aged(process, connect, digits, monkeypatch):
    """Judged items of which all but the last three came 40 days ago; some wait for people."""
    monkeypatch.setattr("annotriage.service.operations.jobs.AT_ONCE", 7)
    project, tool = connect(sample_share=0.0, audit_share=0.0)
    import_tasks(process, project, tool, [*digits.incoming[0][:30], *digits.strangers[0][:10], *digits.incoming[0][30:33]])
    judge(process)
    with process.store.writing() as connection:
        ids = connection.execute(select(item.c.id).order_by(item.c.id)).scalars().all()
        connection.execute(update(item).where(item.c.id.in_(ids[:-3])).values(at=time.time() - 40 * DAY))
    return ids


def pictured(process):
    with process.store.reading() as connection:
        query = select(item.c.id, item.c.route).join(thumbnail, thumbnail.c.item_id == item.c.id).order_by(item.c.id)
        return [tuple(row) for row in connection.execute(query)]


def keep(process, **days):
    process.settings = replace(process.settings, **days)
    clean(process)


def test_thumbnails_stay_as_long_as_nobody_says_otherwise(process, aged):
    before = pictured(process)
    keep(process)
    assert pictured(process) == before


def test_thumbnails_go_after_their_days_unless_their_items_wait_for_people(process, aged):
    before = pictured(process)
    keep(process, keep_thumbnails_days=41.0)
    assert pictured(process) == before
    keep(process, keep_thumbnails_days=30.0)
    left = pictured(process)
    assert left == [(id, route) for id, route in before if route != "auto" or id in aged[-3:]]
    assert 3 < len(left) < len(before)


def test_of_jobs_that_ended_and_of_what_nobody_did_the_latest_are_kept_and_of_what_people_did_all(process, connect, monkeypatch):
    monkeypatch.setattr("annotriage.service.operations.jobs.AT_ONCE", 2)
    monkeypatch.setattr("annotriage.service.operations.jobs.KEPT", 3)
    connected = [connect(id)[0].id for id in ("1", "2")]
    places = [(id, kind) for id in connected for kind in ("report", "recalibrate")]
    kinds = (EventKind.UNREACHABLE, EventKind.REFUSED, EventKind.REVEALED)
    with process.store.writing() as connection:
        for number in range(8):
            for project_id, kind in places:
                id = jobs.queue(connection, project_id, kind)
                jobs.take(connection, "me", [kind])
                jobs.finish(connection, id, str(number), failed=number % 2 == 0)
            for project_id in connected:
                for kind in kinds:
                    events.note(connection, project_id, kind, error=str(number))
        waiting = jobs.queue(connection, places[0][0], "report")
    keep(process)
    with process.store.reading() as connection:
        for project_id, kind in places:
            kept = [row for row in jobs.jobs_of(connection, project_id, kinds=(kind,)) if row.id != waiting]
            assert [row.text for row in kept] == ["7", "6", "5"]
            told = events.history(connection, project_id)
            assert [[row.facts["error"] for row in told if row.kind == of] for of in kinds] == [
                ["7", "6", "5"],
                ["7", "6", "5"],
                list("76543210"),
            ]
        assert jobs.is_wanted(connection, waiting)


def test_webhooks_that_could_not_be_read_go_after_their_days_and_new_ones_stay(process):
    with process.store.inbox.writing() as connection:
        for _ in range(3):
            inbox.put(connection, b"what")
        first, second, _ = (row.id for row in inbox.unread(connection, 3))
        for id in (first, second):
            inbox.failed(connection, id, "no JSON")
        connection.execute(update(inbox_table).where(inbox_table.c.id != second).values(at=time.time() - 31 * DAY))
    keep(process)
    with process.store.inbox.reading() as connection:
        assert inbox.states(connection) == {"new": 1, "failed": 1}
