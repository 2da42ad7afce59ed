"""Following the labeling tool: by its own clock, however few tasks it gives at once, and without a write while nothing happens."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import event, select

from annotriage.errors import ToolUnavailable
from annotriage.service.intake.following import LATE, OVERLAP, WHOLE_SECONDS, Follower
from annotriage.service.judging.judge import Judge
from annotriage.service.operations.jobs import run_queued
from annotriage.service.operations.loops import Loop, ProjectStep
from annotriage.service.operations.worker import tending
from annotriage.store import inbox, items, work
from annotriage.store.events import history
from annotriage.store.projects import change_project, get_project
from annotriage.store.schema import item, review


@pytest.fixture
def turned():
    """Seconds that have passed by the clock of a follower."""
    return [1000.0]


@pytest.fixture
def follower(process, turned):
    return Follower(process, lambda: turned[0])


@pytest.fixture
def poll(process, follower):
    """Poll every project once, whenever it was polled last."""

    def poll():
        for state in follower._followed.values():
            state.next_poll = 0.0
        Loop(process, "polls", [ProjectStep("poll", follower.poll)], 1.0).round()

    return poll


def answered(process):
    with process.store.reading() as connection:
        return {row.external_id: row.answer for row in connection.execute(select(item.c.external_id, item.c.answer))}


def gone(process):
    with process.store.reading() as connection:
        return sorted(connection.execute(select(item.c.external_id).where(item.c.gone)).scalars())


@pytest.mark.parametrize("off", [-7200.0, 7200.0])
def test_answers_are_found_however_far_the_tools_clock_is_off(process, connect, poll, picture, digits, off):
    _, tool = connect()
    tool.clock = lambda: time.time() + off
    tasks = [tool.add(picture(image)) for image in digits.incoming[0][:3]]
    poll()
    for task in tasks:
        tool.annotate(task.id, "3")
        poll()
        assert answered(process)[task.id] == "resolved"


def test_a_poll_does_not_wait_for_a_long_inbox(process, connect, poll, picture, digits):
    _, tool = connect()
    told, untold = (tool.add(picture(image)) for image in digits.incoming[0][:2])
    del tool.tasks_by_id[told.id]
    body = {"action": "TASKS_DELETED", "project": {"id": 1}, "tasks": [{"id": int(told.id)}]}
    with process.store.inbox.writing() as connection:
        for _ in range(100):
            inbox.put(connection, json.dumps(body).encode())
    poll()
    assert list(answered(process)) == [untold.id]
    with process.store.inbox.reading() as connection:
        assert len(inbox.unread(connection, 100)) > 50


def test_what_was_read_is_read_again_until_no_transaction_can_end_late(process, connect, poll, turned, picture, digits):
    project, tool = connect()
    tool.clock = lambda: 5_000.0
    tool.add(picture(digits.incoming[0][0]))
    poll()
    for passed in (3.0, WHOLE_SECONDS - 3.0, 3.0, OVERLAP, 10 * OVERLAP):
        turned[0] += passed
        poll()
    ago = [5_000.0 - since for since in tool.asked_since[1:]]
    assert ago == [LATE - 3.0, OVERLAP, 0.0, 0.0, 0.0], "the last seconds at each poll, a whole minute each quarter of one"
    with process.store.reading() as connection:
        assert get_project(connection, project.id).changes_until == 5_000.0


def test_an_answer_whose_transaction_ended_late_is_found(process, connect, poll, turned, picture, digits):
    _, tool = connect()
    tool.clock = lambda: 5_000.0
    first, second = (tool.add(picture(image)) for image in digits.incoming[0][:2])
    poll()
    tool.annotate(first.id, "3")
    poll()
    tool.clock = lambda: 4_970.0
    tool.annotate(second.id, "3")
    turned[0] += WHOLE_SECONDS
    poll()
    assert answered(process) == {first.id: "resolved", second.id: "resolved"}


@pytest.mark.parametrize("ended_after", [3.0, 21.0, 42.0, OVERLAP - 3.0])
def test_an_answer_is_found_soon_after_its_transaction_ended(process, connect, poll, turned, picture, digits, ended_after):
    """Whatever is polled, and changes, every 3 s meanwhile."""
    _, tool = connect()
    began = turned[0]

    def since_began():
        return turned[0] - began

    tool.clock = lambda: 5_000.0 + since_began()
    late, *others = (tool.add(picture(image)) for image in digits.incoming[0][:40])
    poll()
    while since_began() <= ended_after + WHOLE_SECONDS:
        if since_began() == ended_after:
            tool.clock = lambda: 5_000.0
            tool.annotate(late.id, "3")
            tool.clock = lambda: 5_000.0 + since_began()
        tool.annotate(others.pop().id, "3")
        turned[0] += 3.0
        poll()
    assert answered(process)[late.id] == "resolved"


@pytest.fixture
def tell(process, follower):
    """A webhook tells of new tasks, or of deleted ones, and is read."""

    def tell(tasks, action="TASKS_CREATED"):
        body = {"action": action, "project": {"id": 1}, "tasks": [{"id": int(task.id), "data": {}} for task in tasks]}
        with process.store.inbox.writing() as connection:
            inbox.put(connection, json.dumps(body).encode())
        follower.read_inbox()

    return tell


def test_what_webhooks_told_of_is_not_listed(process, connect, poll, tell, picture, digits):
    project, tool = connect()
    for images in (digits.incoming[0][:5], digits.incoming[0][5:7]):
        tell([tool.add(picture(image)) for image in images])
        poll()
        poll()
        assert "task_ids_after" not in tool.calls
        with process.store.reading() as connection:
            assert get_project(connection, project.id).last_task == str(len(tool.tasks_by_id))
    assert len(answered(process)) == 7


@pytest.mark.parametrize("what", ["fewer", "one that was deleted since", "one from before"])
def test_a_task_that_no_webhook_told_of_is_found_beside_those_that_they_told_of(
    process, connect, poll, tell, picture, digits, monkeypatch, what
):
    """Also where they told of as many as are new."""
    monkeypatch.setattr("annotriage.service.intake.following.TOLD_WITHIN", 0.0)
    _, tool = connect()
    first = tool.add(picture(digits.incoming[0][0]))
    if what == "one from before":
        tell([first])
        poll()
    untold, last = (tool.add(picture(image)) for image in digits.incoming[0][1:3])
    tell([first, last])
    if what == "one that was deleted since":
        tool.delete_task(first.id)
        tell([first], "TASKS_DELETED")
    poll()
    poll()
    assert untold.id in answered(process)


def test_an_answer_is_taken_once_however_often_it_is_read(process, connect, poll, picture, digits):
    _, tool = connect()
    task = tool.add(picture(digits.incoming[0][0]))
    tool.annotate(task.id, "3")
    for _ in range(3):
        poll()
    with process.store.reading() as connection:
        assert len(connection.execute(select(review.c.id)).all()) == 1


def test_a_tool_that_gives_few_tasks_at_once_loses_none_and_none_counts_as_deleted(process, connect, poll, worker, picture, digits):
    project, tool = connect()
    tool.most = 2
    tasks = [tool.add(picture(image)) for image in digits.incoming[0][:7]]
    poll()
    assert len(answered(process)) == 7
    tool.page = 3
    pages = tool.tasks_after
    tool.tasks_after = lambda task_id, limit=None: iter(list(pages(task_id, limit))[:1])  # its short page is taken for the last
    tool.delete_task(tasks[6].id)
    worker.sweep(project)
    assert gone(process) == [tasks[6].id]


def test_a_sweep_goes_on_where_a_page_failed(process, connect, poll, picture, digits):
    project, tool = connect()
    tool.page = 2
    tasks = [tool.add(picture(image)) for image in digits.incoming[0][:6]]
    for _ in range(5):
        poll()  # the first sweep
    tool.change_media(tasks[5].id, picture(digits.incoming[0][7]))
    tool.changed.clear()  # nothing but a sweep finds it
    with process.store.reading() as connection:
        swept_at = get_project(connection, project.id).swept_at
    _let_sweep(process, project)
    whole, failures = tool.tasks_after, [ToolUnavailable("503 for a moment")]

    def pages(after):
        for number, page in enumerate(whole(after)):
            if number == 1 and failures:
                raise failures.pop()
            yield page

    tool.tasks_after = pages
    tool.calls.clear()
    for _ in range(7):
        poll()
    assert not failures
    with process.store.reading() as connection:
        assert get_project(connection, project.id).swept_at > swept_at
        media = connection.execute(select(item.c.media).where(item.c.external_id == tasks[5].id)).scalar_one()
    assert media == tool.tasks_by_id[tasks[5].id].media
    assert "tasks" not in tool.calls, "no task that is there was held for missing"


def _let_sweep(process, project):
    with process.store.writing() as connection:
        change_project(connection, project.id, swept_at=0.0)


def test_a_task_that_was_held_for_deleted_comes_back_once_it_is_read_and_not_by_a_late_webhook(
    process, connect, poll, worker, picture, digits
):
    project, tool = connect()
    tasks = [tool.add(picture(image)) for image in digits.incoming[0][:2]]
    worker.settle()
    with process.store.writing() as connection:
        items.mark_gone(connection, [row.id for row in items.find_items(connection, project.id, [task.id for task in tasks]).values()])
    body = {"action": "TASKS_CREATED", "project": {"id": 1}, "tasks": [{"id": int(tasks[0].id), "data": {}}]}
    with process.store.inbox.writing() as connection:
        inbox.put(connection, json.dumps(body).encode())
    worker.follower.read_inbox()
    assert gone(process) == [task.id for task in tasks]
    worker.sweep(project)
    worker.settle()
    assert gone(process) == []
    assert [len(tool.shown(task.id)) for task in tasks] == [1, 1]


def test_a_tool_that_cannot_be_reached_is_noted_and_asked_again_later(process, connect, picture, digits, monkeypatch):
    project, tool = connect()

    def away(_name):
        raise ToolUnavailable("no answer from 127.0.0.1")

    tool.faults = away
    now = [0.0]
    follower = Follower(process)
    polls = Loop(process, "polls", [ProjectStep("poll", follower.poll)], 1.0, back_off=(7.0,), clock=lambda: now[0])
    polls.round()
    calls = len(tool.calls)
    follower._followed[project.id].next_poll = 0.0
    polls.round()
    assert len(tool.calls) == calls
    with process.store.reading() as connection:
        assert [(row.kind, row.facts) for row in history(connection, project.id)] == [
            ("unreachable", {"error": "no answer from 127.0.0.1"})
        ]
    tool.faults = lambda _name: None
    now[0] += 7.0
    polls.round()
    assert len(tool.calls) > calls


def test_nothing_is_written_while_nothing_happens(process, connect, worker, turned, picture, digits, monkeypatch):
    project, tool = connect(sample_share=0.0, audit_share=0.0)
    tool.add(picture(digits.incoming[0][0]))
    worker.settle()
    with process.store.writing() as connection:
        work.beat(connection, process.owner, process.role, process.host, process.pid)
        change_project(connection, project.id, swept_at=time.time())
    follower, judge = Follower(process, lambda: turned[0]), Judge(process)
    loops = [*follower.loops(), *judge.loops(), tending(process)]
    for _ in range(2):
        for state in follower._followed.values():
            state.next_poll = 0.0
        for loop in loops:
            loop.round()
        turned[0] += OVERLAP
    writes, writing = [], process.store.writing

    @contextmanager
    def counted():
        writes.append(1)
        with writing() as connection:
            yield connection

    monkeypatch.setattr(process.store, "writing", counted)
    for _ in range(3):
        for state in follower._followed.values():
            state.next_poll = state.next_facts = 0.0
        for loop in loops:
            loop.round()
        run_queued(process)
    assert writes == []
    judge.close()


def test_a_task_that_brings_the_transaction_down_fails_alone_with_its_place_kept(process, connect, poll, worker, picture, digits, caplog):
    project, tool = connect()
    sound = [tool.add(picture(image)) for image in digits.incoming[0][:4]]
    tool.tasks_by_id[sound[1].id] = replace(sound[1], wanted=2**70)  # no database has room for it
    poll()
    assert sorted(answered(process)) == sorted(task.id for task in sound)
    assert f"task {sound[1].id}: nobody foresaw this" in caplog.text
    worker.settle()
    with process.store.reading() as connection:
        routes = dict(connection.execute(select(item.c.external_id, item.c.route)).all())
    assert routes.pop(sound[1].id) == "failed"
    assert "failed" not in routes.values()
    worker.sweep(project)


def test_a_webhook_that_fails_in_a_way_nobody_foresaw_is_set_aside_and_holds_up_no_other(process, connect, picture, digits):
    _, tool = connect()
    answer, created = tool.add(picture(digits.incoming[0][0])), tool.add(picture(digits.incoming[0][1]))

    def fails(name):
        if name == "tasks":
            raise ZeroDivisionError("half \ud83d")

    tool.faults = fails
    bodies = [
        {"action": "ANNOTATION_CREATED", "project": {"id": 1}, "task": {"id": int(answer.id)}, "annotation": {"task": int(answer.id)}},
        {"action": "TASKS_CREATED", "project": {"id": 1}, "tasks": [{"id": int(created.id), "data": {"image": created.media}}]},
    ]
    with process.store.inbox.writing() as connection:
        for body in bodies:
            inbox.put(connection, json.dumps(body).encode())
    follower = Follower(process)
    assert follower.read_inbox()
    assert not follower.read_inbox()
    assert list(answered(process)) == [created.id]
    with process.store.inbox.reading() as connection:
        (trouble,) = inbox.troubles(connection)
    assert trouble.error == r"ZeroDivisionError: half \ud83d"


def put_created(process, *webhooks):
    """Webhooks of new tasks, each of the tasks with these ids."""
    with process.store.inbox.writing() as connection:
        for ids in webhooks:
            tasks = [{"id": int(id), "data": {}} for id in ids]
            inbox.put(connection, json.dumps({"action": "TASKS_CREATED", "project": {"id": 1}, "tasks": tasks}).encode())


def test_a_burst_of_webhooks_takes_few_transactions(process, connect, picture, digits):
    _, tool = connect()
    ids = [tool.add(picture(image)).id for image in digits.incoming[0][:40]]
    put_created(process, *(ids[start : start + 2] for start in range(0, 40, 2)), ids[:3])
    commits = []
    event.listen(process.store.engine, "commit", commits.append)
    follower = Follower(process)
    while follower.read_inbox():
        pass
    assert list(answered(process)) == ids
    assert len(commits) < 10, "each webhook is read in transactions of its own"


def test_of_webhooks_that_are_read_together_one_that_cannot_be_acted_upon_holds_up_no_other(process, connect, picture, digits):
    _, tool = connect()
    ids = [tool.add(picture(image)).id for image in digits.incoming[0][:4]]
    put_created(process, ids[:2], ["999"], ids[2:])
    follower = Follower(process)
    assert follower.read_inbox()
    assert not follower.read_inbox()
    assert list(answered(process)) == ids
    with process.store.inbox.reading() as connection:
        assert len(inbox.troubles(connection)) == 1


def test_text_that_no_database_stores_is_taken_in_as_escapes(process, connect, poll, digits, picture):
    _, tool = connect()
    task = tool.add(picture(digits.incoming[0][0]), group="patient \0 \ud83d", fields={"note\0": "half \ud83d"})
    tool.annotate(task.id, "3", by="half \ud83d")
    poll()
    with process.store.reading() as connection:
        assert connection.execute(select(item.c.group)).scalar_one() == r"patient \0 \ud83d"
        assert connection.execute(select(review.c.annotator)).scalar_one() == r"half \ud83d"
