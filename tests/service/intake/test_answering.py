"""Answers that people give in the queue: whose they are, what they may say, and that nobody answers twice or for somebody else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select, update
from triaged import import_tasks
from waiting import wait_until

from annotriage.errors import DataError, StateError, ToolUnavailable
from annotriage.labeling_tool import Account
from annotriage.service.intake.answering import answering, give_answer, take_answer_back
from annotriage.service.operations.process import Process
from annotriage.store import work
from annotriage.store.browsing import item_of_id, item_of_task
from annotriage.store.reviews import reviews_of
from annotriage.store.schema import heartbeat

ANN, BOB = Account("7", "Ann Lee", ("ann@example.com", "ann")), Account("8", "bob@example.com", ("bob@example.com",))


@pytest.fixture
def asked(process, connect, worker, digits, server):
    """A project whose strangers wait, the tool's side of it, and their items."""
    server.people = [ANN, BOB]
    project, tool = connect(sample_share=0.0, audit_share=0.0)
    tasks = import_tasks(process, project, tool, digits.strangers[0][:3])
    worker.settle()
    with process.store.reading() as connection:
        return project, tool, [item_of_task(connection, project, task.id) for task in tasks]


def now(process, project, item):
    with process.store.reading() as connection:
        return item_of_id(connection, project, item.id), reviews_of(connection, [item.id]).get(item.id, [])


def test_an_answer_counts_at_once_as_that_of_the_account_that_its_person_signs_in_as(process, asked):
    project, tool, (item, *_) = asked
    given = give_answer(process, project, item.id, ["something else"], "Ann@Example.com", 3.2)
    assert [(one.id, one.annotator, one.labels) for one in tool.tasks_by_id[item.task].reviews] == [
        (given.review, "7", ("something else",))
    ]
    after, reviews = now(process, project, item)
    assert (after.answer, after.answered, [one.annotator for one in reviews]) == ("resolved", ("something else",), ["7"])


def test_whoever_the_tool_does_not_know_is_told_how_to_answer_and_changes_nothing(process, asked, server):
    project, tool, (item, *_) = asked
    assert answering(process, project, "ann").labels == (*project.classes, "something else")
    for visitor in ("carol@example.com", "Ann Lee", ""):
        assert answering(process, project, visitor).account is None
        with pytest.raises(StateError, match="sign in here with the email address"):
            give_answer(process, project, item.id, ["something else"], visitor, 1.0)
    server.people = [ANN, replace(BOB, signs_in_as=("ann",))]
    assert answering(process, project, "ann").account is None, "a name that two accounts have says nothing"
    assert tool.tasks_by_id[item.task].reviews is None


def test_nobody_answers_twice_and_a_second_person_answers_what_wants_two(process, asked):
    project, tool, (item, *_) = asked
    tool.tasks_by_id[item.task] = replace(tool.tasks_by_id[item.task], wanted=2)
    give_answer(process, project, item.id, ["3"], "ann", 1.0)
    with pytest.raises(StateError, match="somebody else's"):
        give_answer(process, project, item.id, ["3"], "ann", 1.0)
    assert now(process, project, item)[0].answer == "open"
    give_answer(process, project, item.id, ["3"], "bob@example.com", 1.0)
    assert now(process, project, item)[0].answer == "resolved"
    with pytest.raises(StateError, match="nothing to answer any more"):
        give_answer(process, project, item.id, ["3"], "bob@example.com", 1.0)


def test_what_somebody_answered_a_moment_ago_is_not_answered_again(process, asked):
    project, tool, (item, *_) = asked
    tool.annotate(item.task, "3", by="9")
    with pytest.raises(StateError, match="answered it meanwhile"):
        give_answer(process, project, item.id, ["4"], "ann", 1.0)
    assert len(tool.tasks_by_id[item.task].reviews) == 1


def test_two_clicks_at_once_are_one_answer(process, asked):
    project, tool, (item, *_) = asked

    def clicks_again(name):
        if name == "answer":
            with pytest.raises(StateError, match="at this moment"):
                give_answer(process, project, item.id, ["3"], "ann", 1.0)

    tool.faults = clicks_again
    given = give_answer(process, project, item.id, ["3"], "ann", 1.0)
    assert [review.id for review in tool.tasks_by_id[item.task].reviews] == [given.review]
    tool.faults = lambda name: None
    take_answer_back(process, project, item.id, given.review, "ann")
    assert give_answer(process, project, item.id, ["4"], "ann", 1.0).labels == ("4",)


def test_a_task_is_held_for_as_long_as_its_answer_takes(process, asked, monkeypatch):
    project, tool, (item, *_) = asked
    monkeypatch.setattr(work, "DEAD_AFTER", 0.6)
    answer, row = tool.answer, heartbeat.c.owner == f"answering item {item.id} of project {project.id}"

    def last_sign():
        with process.store.reading() as connection:
            return connection.execute(select(heartbeat.c.at).where(row)).scalar_one()

    def slowly(*given):
        with process.store.writing() as connection:
            connection.execute(update(heartbeat).where(row).values(at=1.0))
        wait_until(lambda: last_sign() > 1.0)
        return answer(*given)

    tool.answer = slowly
    give_answer(process, project, item.id, ["3"], "ann", 1.0)
    with process.store.reading() as connection:
        assert connection.execute(select(heartbeat).where(row)).all() == []


@pytest.mark.parametrize("labels", [[], ["no such class"], ["3", "4"], ["3", "no such class"]])
def test_only_what_can_be_chosen_is_an_answer(process, asked, labels):
    project, tool, (item, *_) = asked
    with pytest.raises(DataError, match="choose one of"):
        give_answer(process, project, item.id, labels, "ann", 1.0)
    tool.several = True
    if len(labels) == 2 and labels[1] == "4":
        assert give_answer(process, project, item.id, labels, "ann", 1.0).labels == ("3", "4")


def test_an_answer_is_taken_back_by_its_person_alone(process, asked):
    project, tool, (item, *_) = asked
    given = give_answer(process, project, item.id, ["3"], "ann", 1.0)
    with pytest.raises(StateError, match="no such answer of yours"):
        take_answer_back(process, project, item.id, given.review, "bob@example.com")
    assert take_answer_back(process, project, item.id, given.review, "ann") == item.task
    assert (now(process, project, item)[0].answer, tool.tasks_by_id[item.task].reviews) == ("open", ())
    with pytest.raises(StateError, match="no such answer of yours"):
        take_answer_back(process, project, item.id, given.review, "ann")


def test_an_answer_holds_where_the_tool_falls_silent_after_it(process, asked, worker):
    project, tool, (item, *_) = asked

    def silent(name):
        if name == "tasks" and tool.calls[-2] == "answer":
            raise ToolUnavailable("no answer")

    tool.faults = silent
    give_answer(process, project, item.id, ["3"], "ann", 1.0)
    assert now(process, project, item)[0].answer == "open", "nobody knows yet"
    tool.faults = lambda name: None
    worker.settle()
    assert now(process, project, item)[0].answer == "resolved"


@pytest.mark.parametrize("change", [{"watch": True}, {"problem": "a class has no choice"}, {"gone": True}])
def test_nothing_is_answered_where_nothing_may_be_written(process, asked, change):
    project, tool, (item, *_) = asked
    closed = replace(project, **change)
    assert answering(process, closed, "ann").account is None
    with pytest.raises(StateError, match="Nothing is written"):
        give_answer(process, closed, item.id, ["3"], "ann", 1.0)
    assert "answer" not in tool.calls


def test_a_task_is_answered_on_one_replica_at_a_time(process, asked, server):
    project, tool, (item, *_) = asked
    other = Process(process.settings, "web")
    other.server = server
    answer = tool.answer

    def meanwhile(*given):
        with pytest.raises(StateError, match="somebody is answering it at this moment"):
            give_answer(other, project, item.id, ["something else"], "bob@example.com", 1.0)
        return answer(*given)

    tool.answer = meanwhile
    give_answer(process, project, item.id, ["something else"], "ann", 1.0)
    assert [one.annotator for one in tool.tasks_by_id[item.task].reviews] == ["7"]
    tool.answer = answer
    with pytest.raises(StateError, match="nothing to answer any more"):
        give_answer(other, project, item.id, ["something else"], "bob@example.com", 1.0)
    other.leave()
