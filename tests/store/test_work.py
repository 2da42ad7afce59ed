"""Work: claims are leases that no two workers share, and what fails again and again ends alone."""

from __future__ import annotations

import time

import pytest

from annotriage.labeling_tool import Task
from annotriage.store import items, work
from annotriage.store.projects import change_project


@pytest.fixture
def bring(store, project):
    """Bring in tasks 1 to n."""

    def bring(count):
        with store.writing() as connection:
            items.add_tasks(connection, project, [Task(str(number), f"http://host/{number}.png") for number in range(1, count + 1)])

    return bring


def claimed(connection, owner, most=100):
    claim = work.claim(connection, owner, most)
    return [] if claim is None else [row.external_id for row in claim.rows]


class TestWork:
    def test_what_one_worker_has_claimed_no_other_gets(self, store, bring):
        bring(10)
        with store.writing() as connection:
            mine, others = claimed(connection, "me", 6), claimed(connection, "you")
            assert (len(mine), len(others)) == (6, 4)
            assert set(mine).isdisjoint(others)
            assert not work.anything_due(connection)
            assert work.claim(connection, "anybody", 1) is None

    def test_two_workers_at_the_same_moment_share_nothing(self, store, bring):
        if store.is_sqlite:
            pytest.skip("SQLite has one writer at a time")
        bring(10)
        with store.writing() as mine, store.writing() as yours:
            assert set(claimed(mine, "me", 5)).isdisjoint(claimed(yours, "you", 5))

    def test_what_a_dead_worker_held_is_free_again(self, store, bring):
        bring(2)
        with store.writing() as connection:
            claimed(connection, "me")
            work.bury(connection, ["me"])
            assert len(claimed(connection, "you")) == 2

    def test_a_lease_runs_out_unless_it_is_renewed(self, store, bring):
        bring(2)
        with store.writing() as connection:
            claimed(connection, "me")
            connection.execute(work.work.update().values(lease_until=time.time() - 1))
            work.renew(connection, "me")
            assert claimed(connection, "you") == []
            connection.execute(work.work.update().values(lease_until=time.time() - 1))
            assert len(claimed(connection, "you")) == 2

    def test_an_item_that_was_tried_before_is_taken_alone(self, store, bring):
        bring(2)
        with store.writing() as connection:
            for _ in range(work.SUSPECT):
                claimed(connection, "me")
                work.bury(connection, ["me"])
            assert len(claimed(connection, "me")) == 1

    def test_what_is_released_after_a_failure_still_counts_as_tried(self, store, bring):
        bring(1)
        with store.writing() as connection:
            for number in range(1, work.SUSPECT + 1):
                (row,) = work.claim(connection, "me", 10).rows
                assert (row.attempts, row.tries) == (number, 0)
                work.release(connection, [row.work_id], 0.0)
            for number in range(work.SUSPECT, work.GIVEN_UP + 1):
                claim = work.claim(connection, "me", 10)
                assert claim.suspect
                assert (claim.rows[0].attempts, claim.rows[0].tries) == (number, 0)
                work.begin(connection, "me", [claim.rows[0].work_id])
                work.release(connection, [claim.rows[0].work_id], 0.0)

    def test_a_suspect_that_was_claimed_and_not_begun_is_not_held_at_fault(self, store, bring):
        bring(1)
        with store.writing() as connection:
            for _ in range(work.SUSPECT):
                claimed(connection, "me")
                work.bury(connection, ["me"])
            for owner in ("me", "you"):
                claim = work.claim(connection, owner, 10)
                assert (claim.suspect, claim.rows[0].attempts) == (True, work.SUSPECT)
                work.begin(connection, "another one", [claim.rows[0].work_id])
                work.bury(connection, [owner])

    def test_what_is_put_off_comes_back_in_time_and_begins_anew(self, store, bring):
        bring(1)
        with store.writing() as connection:
            (row,) = work.claim(connection, "me", 10).rows
            work.put_off(connection, [row.work_id], time.time() + 60, tried=True)
            assert not work.anything_due(connection)
            assert claimed(connection, "me") == []
            work.put_off(connection, [row.work_id], time.time() - 1, tried=True)
            (again,) = work.claim(connection, "me", 10).rows
            assert (again.attempts, again.tries) == (1, 2)

    def test_finished_work_is_gone_but_not_what_was_queued_anew_meanwhile(self, store, project, bring):
        bring(2)
        with store.writing() as connection:
            first, second = work.claim(connection, "me", 10).rows
            items.change_media(connection, project, first.id, "http://host/other.png")
            work.finish(connection, [first.work_id, second.work_id])
            (left,) = work.claim(connection, "me", 10).rows
            assert (left.id, left.media) == (first.id, "http://host/other.png")

    def test_a_project_that_is_gone_is_not_judged(self, store, project, bring):
        bring(2)
        with store.writing() as connection:
            change_project(connection, project.id, gone=True)
            assert work.claim(connection, "me", 10) is None

    def test_a_name_is_held_and_let_go_by_its_holder_alone(self, store):
        with store.writing() as connection:
            slow = work.hold(connection, "a task", "command", "host", 1)
            assert work.hold(connection, "a task", "command", "host", 1) is None
            connection.execute(work.heartbeat.update().values(at=1.0))
            work.hold_on(connection, slow)
            assert [held.owner for held in work.living(connection)] == ["a task"]
            work.bury(connection, ["a task"])
            work.hold_on(connection, slow)  # nobody has taken it meanwhile
            assert work.hold(connection, "a task", "command", "host", 1) is None
            work.bury(connection, ["a task"])
            quick = work.hold(connection, "a task", "command", "host", 1)
            work.hold_on(connection, slow)
            work.let_go(connection, slow)
            assert work.hold(connection, "a task", "command", "host", 1) is None, "it is another click's by now"
            work.let_go(connection, quick)
            assert work.registered(connection) == []

    def test_who_has_joined_counts_as_started_then(self, store):
        with store.writing() as connection:
            work.beat(connection, "slow", "joining", "host", 1)
            connection.execute(work.heartbeat.update().values(started_at=1.0))
            since = []
            for role in ("joining", "worker", "worker"):
                work.beat(connection, "slow", role, "host", 1)
                (found,) = work.registered(connection)
                since.append(found.started_at)
            assert found.role == "worker"
            assert since[0] == 1.0 < since[1] == since[2]

    def test_processes_live_as_long_as_they_give_signs_of_life(self, store):
        with store.writing() as connection:
            work.beat(connection, "old", "worker", "host", 1)
            connection.execute(work.heartbeat.update().values(at=time.time() - work.DEAD_AFTER - 1))
            work.beat(connection, "new", "jobs", "host", 2)
            assert [(process.owner, process.role) for process in work.living(connection)] == [("new", "jobs")]
            assert {process.owner for process in work.registered(connection)} == {"old", "new"}
            work.beat(connection, "old", "worker", "host", 1)
            assert {process.owner for process in work.living(connection)} == {"old", "new"}
            work.bury(connection, ["old"])
            assert {process.owner for process in work.registered(connection)} == {"new"}
