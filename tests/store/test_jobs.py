"""Jobs: one open at a time, the last word on limits holds, and a job over which processes die is given up."""

from __future__ import annotations

import threading
import time

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from annotriage.states import JobState
from annotriage.store import jobs, work
from annotriage.store.jobs import ERASURE, LIMITS, MOST_ATTEMPTS
from annotriage.store.projects import change_project
from annotriage.store.schema import heartbeat, job

KINDS = ("recalibrate", LIMITS, "report")


class TestLatestJob:
    def test_the_page_of_a_kind_finds_its_job_among_any_number_of_others_and_reads_no_payload(self, store, project):
        others = [{"project_id": project.id, "kind": "report", "payload": {}, "at": 0.0, "state": "done"}] * 60
        with store.writing() as connection:
            assert jobs.latest_of(connection, project.id, "recalibrate") is None
            id = jobs.queue(connection, project.id, "recalibrate", {"file": "large"})
            connection.execute(job.insert(), others)
            found = jobs.latest_of(connection, project.id, "recalibrate")
            assert [row.id for row in jobs.jobs_of(connection, project.id, kinds=("recalibrate", LIMITS))] == [id]
        assert (found.id, found.state, found.payload) == (id, JobState.QUEUED, {})

    @pytest.mark.parametrize("end", ["done", "cancelled"])
    def test_what_a_job_was_asked_for_is_forgotten_at_its_end_where_that_is_wanted(self, store, project, end):
        with store.writing() as connection:
            id = jobs.queue(connection, project.id, "recalibrate", {"file": "large"})
            jobs.take(connection, "me", KINDS)
            assert jobs.is_doing(connection, project.id, "recalibrate", {"file": "large"})
            jobs.queue_last_word(connection, project.id, "recalibrate", {"file": "other"})
            assert not jobs.is_doing(connection, project.id, "recalibrate", {"file": "large"})
            if end == "done":
                jobs.finish(connection, id, "well", forget=True)
                assert jobs.take(connection, "me", KINDS).payload == {"file": "other"}
                jobs.finish(connection, id, "well", forget=True)
            else:
                jobs.cancel(connection, project.id, "recalibrate", forget=True)
            assert [(row.state, row.payload) for row in jobs.jobs_of(connection, project.id)] == [(end, {})]


class TestFailedJobs:
    @pytest.mark.parametrize(
        ("states", "told"),
        [
            (["failed"], [0]),
            (["failed", "failed"], [1]),
            (["done", "failed"], [1]),
            (["failed", "done"], []),
            (["failed", "done", "failed"], [2]),
            (["failed", "cancelled"], [0]),
            (["failed", "cancelled", "queued"], []),
            (["failed", "running"], []),
        ],
    )
    def test_the_last_that_failed_of_a_kind_counts_until_one_is_done_or_asked_for(self, store, project, states, told):
        ended = {"project_id": project.id, "payload": {"file": "large"}, "at": 1.0, "finished_at": 5.0}
        with store.writing() as connection:
            ids = [
                connection.execute(job.insert().values(**ended, kind="report", state=state).returning(job.c.id)).scalar_one()
                for state in states
            ]
            connection.execute(job.insert(), [{**ended, "kind": "atlas", "state": "done"}] * 60)
            found = jobs.failed_of(connection, project.id, 4.0)
            assert [(row.id, row.payload) for row in found] == [(ids[place], {}) for place in told]
            assert jobs.failed_of(connection, project.id, 6.0) == []
            assert jobs.failed_of(connection, project.id + 1, 4.0) == []


class TestHeldJob:
    @pytest.mark.parametrize("end", ["cancelled", "another's"])
    def test_what_a_job_found_is_kept_only_while_it_is_wanted_here(self, store, project, end):
        with store.writing() as connection:
            id = jobs.queue(connection, project.id, "recalibrate")
            jobs.take(connection, "me", KINDS)
            jobs.hold(connection, id, "me")
            if end == "cancelled":
                jobs.cancel(connection, project.id, "recalibrate")
            else:
                jobs.give_back(connection, "me")
                jobs.take(connection, "you", KINDS)
            with pytest.raises(jobs.Cancelled):
                jobs.hold(connection, id, "me")


class TestJob:
    def test_a_job_is_asked_for_once_and_taken_once(self, store, project):
        with store.writing() as connection:
            id = jobs.queue(connection, project.id, "recalibrate")
            assert jobs.queue(connection, project.id, "recalibrate") == id
            assert not jobs.any_waiting(connection, ["report"])
            assert jobs.take(connection, "me", ["report"]) is None
            assert jobs.any_waiting(connection, KINDS)
            taken = jobs.take(connection, "me", KINDS)
            assert (taken.id, taken.state, taken.attempts) == (id, JobState.RUNNING, 1)
            assert jobs.queue(connection, project.id, "recalibrate") == id, "it runs"
            assert not jobs.any_waiting(connection, KINDS)
            assert jobs.take(connection, "you", KINDS) is None
            jobs.finish(connection, id, "done well")
            assert jobs.queue(connection, project.id, "recalibrate") != id
            assert [(row.state, row.text) for row in jobs.jobs_of(connection, project.id)] == [("queued", ""), ("done", "done well")]

    def test_the_database_holds_one_open_job_of_a_kind_at_most(self, store, project):
        values = {"project_id": project.id, "kind": "report", "payload": {}, "at": 0.0}
        with store.writing() as connection:
            connection.execute(job.insert().values(values | {"state": "done"}))
            connection.execute(job.insert().values(values | {"state": "running"}))
        with pytest.raises(IntegrityError), store.writing() as connection:
            connection.execute(job.insert().values(values | {"state": "queued"}))

    def test_what_many_ask_for_at_the_same_moment_is_one_job(self, store, project):
        ids, start = [], threading.Barrier(8)

        def ask():
            start.wait()
            with store.writing() as connection:
                ids.append(jobs.queue(connection, project.id, "recalibrate"))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(ids) == 8
        assert len(set(ids)) == 1

    def test_the_latest_of_a_kind_is_found_however_many_others_came_since(self, store, project):
        with store.writing() as connection:
            assert jobs.latest_job(connection, project.id, jobs.VERSIONS) is None
            id = jobs.queue(connection, project.id, jobs.VERSIONS)
            for _ in range(21):
                jobs.queue(connection, project.id, "map")
                jobs.cancel(connection, project.id, "map")
            found = jobs.latest_job(connection, project.id, jobs.VERSIONS)
        assert (found.id, found.open) == (id, True)

    def test_the_last_word_replaces_one_that_waits(self, store, project):
        with store.writing() as connection:
            assert jobs.queue_last_word(connection, project.id, LIMITS, {"max_error": 0.05}) is None
            assert jobs.queue_last_word(connection, project.id, LIMITS, {"alpha": 0.1}) == JobState.QUEUED
            assert jobs.take(connection, "me", KINDS).payload == {"alpha": 0.1}
            assert len(jobs.jobs_of(connection, project.id)) == 1

    def test_the_last_word_follows_one_that_runs(self, store, project):
        with store.writing() as connection:
            jobs.queue_last_word(connection, project.id, LIMITS, {"max_error": 0.05})
            first = jobs.take(connection, "me", KINDS)
            assert jobs.queue_last_word(connection, project.id, LIMITS, {"max_error": 0.03}) == JobState.RUNNING
            assert jobs.queue_last_word(connection, project.id, LIMITS, {"max_error": 0.02}) == JobState.RUNNING
            jobs.finish(connection, first.id, "taken over")
            assert jobs.take(connection, "me", KINDS).payload == {"max_error": 0.02}
            jobs.finish(connection, first.id, "taken over")
            assert [row.state for row in jobs.jobs_of(connection, project.id)] == ["done"]

    def test_what_waits_can_be_withdrawn_and_what_runs_goes_on(self, store, project):
        with store.writing() as connection:
            assert not jobs.withdraw(connection, project.id, LIMITS)
            jobs.queue_last_word(connection, project.id, LIMITS, {"max_error": 0.05})
            jobs.queue(connection, project.id, "recalibrate")
            assert jobs.withdraw(connection, project.id, LIMITS)
            assert [row.kind for row in jobs.jobs_of(connection, project.id)] == ["recalibrate"]
            jobs.queue_last_word(connection, project.id, LIMITS, {"max_error": 0.05})
            running = jobs.take(connection, "me", [LIMITS])
            assert not jobs.withdraw(connection, project.id, LIMITS)
            jobs.queue_last_word(connection, project.id, LIMITS, {"max_error": 0.03})
            assert jobs.withdraw(connection, project.id, LIMITS)
            jobs.finish(connection, running.id, "taken over")
            assert jobs.take(connection, "me", [LIMITS]) is None

    def test_new_limits_wait_until_another_reference_has_taken_over(self, store, project):
        with store.writing() as connection:
            jobs.queue_last_word(connection, project.id, LIMITS, {"max_error": 0.05})
            for column in ("next_reference_id", "old_reference_id"):
                change_project(connection, project.id, **{column: project.reference_id})
                assert not jobs.any_waiting(connection, KINDS)
                assert jobs.take(connection, "me", KINDS) is None
                change_project(connection, project.id, **{column: None})
            assert jobs.take(connection, "me", KINDS) is not None

    def test_a_job_whose_process_died_is_taken_again_and_given_up_after_a_few_times(self, store, project):
        with store.writing() as connection:
            jobs.queue(connection, project.id, "recalibrate")
            for number in range(1, MOST_ATTEMPTS + 1):
                work.beat(connection, "doomed", "jobs", "host", 1)
                assert jobs.take(connection, "doomed", KINDS).attempts == number
                work.bury(connection, ["doomed"])
            (given_up,) = jobs.jobs_of(connection, project.id)
            assert given_up.state == JobState.FAILED
            assert "died, after 3 attempts" in given_up.text
            assert given_up.finished_at is not None
            assert not jobs.any_waiting(connection, KINDS)
            jobs.queue(connection, project.id, "recalibrate")
            assert jobs.any_waiting(connection, KINDS), "it may be asked for again"

    def test_what_must_be_erased_is_not_given_up_however_many_processes_died_over_it(self, store, project):
        with store.writing() as connection:
            jobs.queue(connection, project.id, ERASURE)
            for _ in range(MOST_ATTEMPTS):
                work.beat(connection, "doomed", "jobs", "host", 1)
                assert jobs.take(connection, "doomed", [ERASURE])
                work.bury(connection, ["doomed"])
            (waiting,) = jobs.jobs_of(connection, project.id)
            assert (waiting.state, waiting.finished_at) == (JobState.QUEUED, None)
            assert "died, after 3 attempts" in waiting.text
            assert not jobs.any_waiting(connection, [ERASURE]), "others have their turn first"
            connection.execute(update(job).values(not_before=time.time()))
            assert jobs.take(connection, "me", [ERASURE])

    def test_a_job_of_a_living_process_stays_its_own_however_long_it_takes(self, store, project):
        with store.writing() as connection:
            jobs.queue(connection, project.id, "recalibrate")
            work.beat(connection, "alive", "jobs", "host", 1)
            jobs.take(connection, "alive", KINDS)
            connection.execute(update(job).values(at=time.time() - 3600))
            work.bury(connection, ["somebody else"])
            assert jobs.take(connection, "me", KINDS) is None

    def test_a_job_of_a_process_that_never_gave_a_sign_of_life_is_taken_back_after_a_while(self, store, project):
        with store.writing() as connection:
            jobs.queue(connection, project.id, "recalibrate")
            jobs.take(connection, "unheard", KINDS)
            work.bury(connection, [])
            assert jobs.take(connection, "me", KINDS) is None
            connection.execute(update(job).values(at=time.time() - 3600))
            connection.execute(heartbeat.delete())
            work.bury(connection, [])
            assert jobs.take(connection, "me", KINDS) is not None

    def test_stopping_in_order_is_not_held_against_a_job(self, store, project):
        with store.writing() as connection:
            jobs.queue(connection, project.id, "recalibrate")
            for _ in range(MOST_ATTEMPTS + 2):
                assert jobs.take(connection, "me", KINDS).attempts == 1
                jobs.give_back(connection, "me")

    def test_what_has_ended_says_nothing_more(self, store, project):
        with store.writing() as connection:
            id = jobs.queue(connection, project.id, "recalibrate")
            assert not jobs.begin_step(connection, id, "me", "waits", None)
            assert not jobs.finish(connection, id, "was never begun")
            jobs.take(connection, "me", KINDS)
            assert jobs.begin_step(connection, id, "me", "half way", 10)
            assert not jobs.begin_step(connection, id, "another one", "beginning", 20)
            assert not jobs.advance(connection, id, "another one", 7)
            assert jobs.advance(connection, id, "me", 5)
            running = jobs.jobs_of(connection, project.id)[0]
            assert (running.text, running.done, running.total) == ("half way", 5, 10)
            assert running.left >= 0
            assert jobs.is_wanted(connection, id)
            assert jobs.finish(connection, id, "not possible", failed=True)
            assert not jobs.begin_step(connection, id, "me", "still there", None)
            assert not jobs.advance(connection, id, "me", 6)
            assert not jobs.finish(connection, id, "twice")
            assert not jobs.is_wanted(connection, id)
            (row,) = jobs.jobs_of(connection, project.id)
            assert (row.state, row.text, row.left) == (JobState.FAILED, "not possible", None)

    def test_a_job_that_a_person_cancels_ends_at_once_and_may_be_asked_for_again(self, store, project):
        with store.writing() as connection:
            for begun in (False, True):
                id = jobs.queue(connection, project.id, "recalibrate")
                if begun:
                    jobs.take(connection, "me", KINDS)
                assert jobs.cancel(connection, project.id, "recalibrate", waiting=False) == begun
                assert jobs.cancel(connection, project.id, "recalibrate") != begun
                assert not jobs.cancel(connection, project.id, "recalibrate")
                assert not jobs.begin_step(connection, id, "me", "on", None)
                jobs.finish(connection, id, "done all the same")
                row = jobs.jobs_of(connection, project.id)[0]
                assert (row.id, row.state, row.open) == (id, JobState.CANCELLED, False)
