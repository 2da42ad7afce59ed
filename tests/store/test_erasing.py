"""Asking for items to be erased, and what of the store speaks of them."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from sqlalchemy import select
from stores import on_postgresql, while_it_waits

from annotriage.states import Alarm, EventKind
from annotriage.store import erasing, events, jobs
from annotriage.store.mentions import Mentions
from annotriage.store.projects import change_project
from annotriage.store.saved_views import keep_view, saved_views
from annotriage.store.schema import job, proposal
from annotriage.store.schema import project as project_table


class TestAsked:
    @on_postgresql
    def test_what_two_ask_for_at_the_same_moment_is_all_to_be_erased(self, store, project):
        first = store.writing()
        connection = first.__enter__()
        erasing.ask(connection, project, ["1"], "ann")

        def ask():
            with store.writing() as other:
                erasing.ask(other, project, ["2"], "bob")

        while_it_waits(store, ask, lambda: first.__exit__(None, None, None))
        with store.reading() as connection:
            assert jobs.open_payload(connection, project.id, jobs.ERASURE)["names"] == ["1", "2"]

    def test_what_is_asked_for_again_need_not_wait_until_it_would_have_been_tried_again(self, store, project):
        with store.writing() as connection:
            erasing.ask(connection, project, ["1"], "ann")
            erasing.put_off(connection, jobs.take(connection, "me", [jobs.ERASURE]), "me", "no room", 1e12)
            assert not jobs.any_waiting(connection, [jobs.ERASURE])
            erasing.ask(connection, project, ["2"], "ann")
            assert jobs.take(connection, "me", [jobs.ERASURE]).payload["names"] == ["1", "2"]


def erase(store, filled, *tasks):
    with store.writing() as connection:
        doomed = erasing.doomed(connection, filled.present(), tasks)
        assert len(doomed) == len(tasks)
        erasing.erase(connection, filled.present(), list(doomed.values()))


class TestErased:
    def test_what_only_has_the_number_of_an_erased_task_stays_as_it_is(self, store, filled, project):
        filled.judged(3)
        alarm = {"project": "3", **asdict(Alarm(9, 100, 0.05, 0.15, 0.02, 0.0))}
        with store.writing() as connection:
            keep_view(connection, project, "queue", "scanner", "dataset=3&order=newest", "ann")
            keep_view(connection, project, "items", "this one", "task=3&label=a%20b", "ann")
            events.note(connection, project.id, EventKind.ALARM, **alarm)
            events.note(connection, project.id, EventKind.REFUSED, error="predictions of tasks 1, 3 and 13 did not arrive: 3 times")
            events.note(connection, project.id, EventKind.DECIDED, task="3", by="3", right=True)
            change_project(connection, project.id, trouble="task 3: 3 GB of memory are not enough")
            for reason in ("outlier group 3", "the 3 most similar to task 3"):
                columns = {"members": 3, "group_error": 0.05, "confidence": 0.95, "state": "offered", "by": "ann", "at": 0.0}
                connection.execute(proposal.insert().values(project_id=project.id, reason=reason, **columns))
        erase(store, filled, "3")
        with store.reading() as connection:
            views = {
                view.name: view.query for view in saved_views(connection, project, "queue") + saved_views(connection, project, "items")
            }
            told = [event.facts for event in events.history(connection, project.id)]
            reasons = connection.execute(select(proposal.c.reason).order_by(proposal.c.id)).scalars().all()
            trouble = connection.execute(select(project_table.c.trouble)).scalar_one()
        assert views == {"scanner": "dataset=3&order=newest", "this one": "label=a+b"}
        assert told == [
            {"task": "(erased)", "by": "3", "right": True},
            {"error": "predictions of tasks 1, (erased) and 13 did not arrive: 3 times"},
            alarm,
        ]
        assert reasons == ["outlier group 3", "the 3 most similar to task (erased)"]
        assert trouble == "task (erased): 3 GB of memory are not enough"

    def test_every_event_is_looked_at_however_many_there_are(self, store, filled, project, monkeypatch):
        monkeypatch.setattr(erasing, "AT_ONCE", 2)
        filled.judged(3)
        with store.writing() as connection:
            for number in range(5):
                events.note(connection, project.id, EventKind.REFUSED, error=f"task 3: attempt {number}")
        erase(store, filled, "3")
        with store.reading() as connection:
            told = [event.facts["error"] for event in events.history(connection, project.id)]
        assert told == [f"task (erased): attempt {number}" for number in range(5)[::-1]]

    @on_postgresql
    def test_what_is_asked_for_while_a_job_that_names_the_item_is_changed_is_not_lost(self, store, filled, project):
        filled.judged(3)
        with store.writing() as connection:
            erasing.ask(connection, project, ["3"], "ann")
            jobs.take(connection, "me", [jobs.ERASURE])
        first = store.writing()
        connection = first.__enter__()
        erasing.ask(connection, project, ["2"], "bob")
        while_it_waits(store, lambda: erase(store, filled, "3"), lambda: first.__exit__(None, None, None))
        with store.reading() as connection:
            (row,) = connection.execute(select(job.c.payload, job.c.next_payload))
        assert (row.payload["names"], row.next_payload["names"]) == (["(erased)"], ["2"])


class TestMentions:
    @pytest.mark.parametrize(
        ("text", "left"),
        [
            ("task 7", "task (erased)"),
            ("Task 7: tasks 70, 7, and 8 of 7", "Task (erased): tasks 70, (erased), and 8 of 7"),
            ("404 for /api/tasks/7/ of project 7", "404 for /api/tasks/(erased)/ of project 7"),
            ('{"task": 7, "project": 7}', '{"task": (erased), "project": 7}'),
            ("tasks 5, 6, 7, ... wait", "tasks 5, 6, (erased), ... wait"),
            ("annotriage recalibrate --project 7", "annotriage recalibrate --project 7"),
            ("multitask 7; 7 tasks", "multitask 7; 7 tasks"),
            ("https://host/scan-0815.png cannot be read", "(erased) cannot be read"),
            ("7.png, task 7.png", "7.png, task 7.png"),
        ],
    )
    def test_a_number_is_a_task_only_where_it_is_called_one(self, text, left):
        mentions = Mentions(["7"], ["7", "https://host/scan-0815.png", "7.png"])
        assert mentions.out_of(text) == left
        assert mentions.out_of({"error": [text], "count": 7}) == {"error": [left], "count": 7}
