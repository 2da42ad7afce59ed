"""What the labeling tool gets when it asks for predictions itself."""

from __future__ import annotations

import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest
from delivery_states import set_state, states
from waiting import wait_until

from annotriage.errors import UnknownError
from annotriage.labeling_tool import Shown
from annotriage.service.judging import predicting
from annotriage.service.judging.predicting import MOST_WAITED_FOR, MOST_WAITING, StorePredictor
from annotriage.service.operations.calls import Bell, Foretold
from annotriage.store import items, work
from annotriage.store.inbox import unread
from annotriage.store.jobs import jobs_of
from annotriage.store.projects import change_project, get_project

LONG = 90.0  # seconds: the most that the setting takes


@pytest.fixture
def predictor(process):
    process.settings = replace(process.settings, predict_seconds=0.3)
    return StorePredictor(process)


@pytest.fixture
def waited(process):
    """The ids of the threads that waited before they looked at the store again."""
    waited = set()

    class Heard(Bell):
        def wait(self, heard, seconds):
            waited.add(threading.get_ident())
            super().wait(heard, seconds)

    process.judged = Heard()
    return waited


def records(tasks):
    return [{"id": int(task.id)} for task in tasks]


def set_deliveries(process, project, tasks, state):
    with process.store.writing() as connection:
        ids = [row.id for row in items.find_items(connection, project.id, [task.id for task in tasks]).values()]
        set_state(connection, project.reference_id, ids, state)


def delivery_states(process, project):
    with process.store.reading() as connection:
        return states(connection, project.id, project.reference_id)


@pytest.fixture
def triaged(connect, worker, picture, mixed):
    """A project with twenty known digits and ten strangers, triaged and delivered."""
    project, tool = connect(sample_share=0.0, audit_share=0.0)
    images = mixed[0]
    tasks = [tool.add(picture(image)) for image in [*images[:20], *images[-10:]]]
    worker.settle()
    return project, tool, tasks


def test_triaged_tasks_are_answered_in_the_order_asked_for_as_they_were_delivered(triaged, predictor):
    _, tool, tasks = triaged
    version, shown = predictor.predictions("1", records(tasks[::-1]))
    assert [prediction.task for prediction in shown] == [task.id for task in tasks[::-1]]
    assert {prediction.labels is None for prediction in shown} == {True, False}
    for prediction in shown:
        (stored,) = tool.shown(prediction.task, version)
        assert (stored.labels, stored.trust) == (prediction.labels, prediction.trust)


def test_an_answer_leaves_confirmed_deliveries_alone(triaged, process, predictor):
    project, _, tasks = triaged
    set_deliveries(process, project, tasks, "confirmed")
    predictor.predictions("1", records(tasks))
    assert delivery_states(process, project) == {"confirmed": len(tasks)}


def test_what_waits_for_delivery_is_taken_by_the_tool_itself_and_read_back_later(triaged, process, predictor):
    project, _, tasks = triaged
    set_deliveries(process, project, tasks, "pending")
    assert predictor.predictions("1", records(tasks[:3])) is not None
    assert delivery_states(process, project) == {"pending": len(tasks) - 3, "answered": 3}


@pytest.mark.parametrize("state", ["sending", "unknown", "stale"])
def test_nothing_is_answered_while_one_of_the_tasks_is_on_its_way(triaged, process, predictor, state):
    project, _, tasks = triaged
    set_deliveries(process, project, tasks, "pending")
    set_deliveries(process, project, tasks[:1], state)
    assert predictor.predictions("1", records(tasks[:3])) is None
    assert delivery_states(process, project) == {"pending": len(tasks) - 1, state: 1}


def test_an_unknown_task_is_judged_before_all_others_and_answered(triaged, process, predictor, worker, waited, picture, digits):
    process.settings = replace(process.settings, predict_seconds=LONG)
    project, tool, _ = triaged
    for image in digits.incoming[0][50:60]:
        tool.add(picture(image))
    worker.follow()
    task = tool.add(picture(digits.incoming[0][40]))

    def judge():
        wait_until(lambda: waited, what="for the call to wait")
        worker.judge.step()

    called = []
    process.call_worker = lambda: called.append(bool(waited))
    judging = threading.Thread(target=judge)
    judging.start()
    version, (shown,) = predictor.predictions("1", records([task]))
    judging.join()
    assert called == [False], "the worker is called before anybody waits for it"
    assert (version, shown.task) == (project.version, task.id)
    assert shown.labels == (digits.incoming[1][40],)
    worker.settle()
    assert delivery_states(process, project)["answered"] == 1


def test_who_waits_looks_again_as_soon_as_the_worker_has_judged(triaged, process, predictor, worker, waited, monkeypatch, picture, digits):
    monkeypatch.setattr(predicting, "ASK_SECONDS", 1e6)  # by itself it would never look again
    process.settings = replace(process.settings, predict_seconds=LONG)
    process.tell_judged = process.judged.ring
    _, tool, _ = triaged
    task = tool.add(picture(digits.incoming[0][40]))
    answers = []
    asking = threading.Thread(target=lambda: answers.append(predictor.predictions("1", records([task]))), daemon=True)
    asking.start()
    wait_until(lambda: waited, what="for the call to wait")
    worker.judge.step()
    wait_until(lambda: answers, what="for the answer")
    assert answers[0] is not None


def test_the_worker_is_told_of_a_new_task_before_it_is_written_down(triaged, process, predictor, picture, digits):
    project, tool, _ = triaged
    first, second = (tool.add(picture(digits.incoming[0][number])) for number in (40, 41))
    told = []

    def foretell(foretold):
        with process.store.reading() as connection:
            told.append((foretold, [*items.find_items(connection, project.id, [first.id, second.id])]))

    process.foretell = foretell
    assert predictor.predictions("1", records([first])) is None
    assert predictor.predictions("1", records([second])) is None
    assert told == [
        ([Foretold("1", project.classes, first.id, first.media)], []),
        ([Foretold("1", project.classes, second.id, second.media)], [first.id]),
    ]


def test_what_somebody_waits_for_is_answered_before_delivery_can_send_it(triaged, process, predictor, worker, monkeypatch, picture, digits):
    process.settings = replace(process.settings, predict_seconds=LONG)
    project, tool, tasks = triaged
    before = delivery_states(process, project)
    other, task = (tool.add(picture(digits.incoming[0][number])) for number in (41, 40))
    worker.follow()  # it finds both, and nobody waits for the other
    process.foretell = lambda told: [process.foretold(one) for one in told]

    def judge_and_deliver():
        worker.judge.step()
        assert delivery_states(process, project) == before | {"pending": 1, "answered": 1}
        worker.delivery.step()
        monkeypatch.setattr(process.store, "writing", None)  # what is marked is not marked again

    process.call_worker = judge_and_deliver
    version, (shown,) = predictor.predictions("1", records([task]))
    monkeypatch.undo()
    assert (version, shown.labels) == (project.version, (digits.incoming[1][40],))
    assert (len(tool.shown(task.id, version)), len(tool.shown(other.id, version))) == (0, 1)
    assert len(tasks) + 1 == sum(n for state, n in delivery_states(process, project).items() if state != "answered")


def test_a_task_that_is_not_judged_in_time_is_delivered_later(triaged, process, predictor, worker, monkeypatch, picture, digits):
    project, tool, _ = triaged
    task = tool.add(picture(digits.incoming[0][40]))
    clock = [1000.0]
    monkeypatch.setattr(predicting, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    process.judged = SimpleNamespace(rung=0, wait=lambda heard, seconds: clock.append(clock.pop() + seconds))
    assert predictor.predictions("1", records([task])) is None
    assert clock[0] == pytest.approx(1000.3, abs=predicting.ASK_SECONDS)
    worker.settle()
    assert len(tool.shown(task.id, project.version)) == 1


def test_waiting_leaves_threads_for_others(triaged, process, predictor, waited, picture, digits):
    process.settings = replace(process.settings, predict_seconds=LONG)
    _, tool, _ = triaged
    task = tool.add(picture(digits.incoming[0][40]))
    waiting = [threading.Thread(target=lambda: predictor.predictions("1", records([task]))) for _ in range(MOST_WAITING)]
    for thread in waiting:
        thread.start()
    wait_until(lambda: len(waited) == MOST_WAITING, what="for the calls to wait")
    assert predictor.predictions("1", records([task])) is None
    assert waited == {thread.ident for thread in waiting}
    process.stopping.set()
    for thread in waiting:
        thread.join()


def test_more_missing_tasks_than_anybody_waits_for_are_queued_at_once(triaged, process, predictor, waited, picture, digits):
    process.settings = replace(process.settings, predict_seconds=LONG)
    project, tool, _ = triaged
    media = picture(digits.incoming[0][40])
    tasks = [tool.add(media) for _ in range(MOST_WAITED_FOR + 1)]
    assert predictor.predictions("1", records(tasks)) is None
    assert not waited
    with process.store.reading() as connection:
        assert work.waiting(connection, project.id, project.reference_id) == len(tasks)


def test_tasks_that_people_had_labelled_get_an_empty_prediction(connect, worker, predictor, picture, digits):
    _, tool = connect()
    task = tool.add(picture(digits.incoming[0][0]))
    tool.annotate(task.id, "3")
    worker.follow()
    _, (shown,) = predictor.predictions("1", records([task]))
    assert shown == Shown(task.id, None, 1.0)


def test_spot_checks_are_answered_blind(connect, worker, predictor, picture, digits):
    _, tool = connect(sample_share=1.0)
    tasks = [tool.add(picture(image)) for image in digits.incoming[0][:5]]
    worker.settle()
    _, shown = predictor.predictions("1", records(tasks))
    assert [prediction.labels for prediction in shown] == [None] * 5


def test_a_project_that_is_only_watched_gets_nothing(connect, worker, predictor, picture, digits):
    _, tool = connect(watch=True)
    task = tool.add(picture(digits.incoming[0][0]))
    worker.settle()
    assert predictor.predictions("1", records([task])) is None


def test_a_task_that_was_held_for_deleted_is_back_when_the_tool_asks_for_it(triaged, process, predictor, worker):
    project, tool, tasks = triaged
    with process.store.writing() as connection:
        ids = [row.id for row in items.find_items(connection, project.id, [tasks[0].id]).values()]
        items.mark_gone(connection, ids)
    tool.predictions = [prediction for prediction in tool.predictions if prediction.task != tasks[0].id]
    assert predictor.predictions("1", records(tasks[:1])) is None
    worker.settle()
    assert predictor.predictions("1", records(tasks[:1])) is not None
    assert len(tool.shown(tasks[0].id, project.version)) == 1


def test_a_project_that_is_not_connected_is_said_to_be_so(predictor, process, connect):
    with pytest.raises(UnknownError, match="annotriage connect --project 7"):
        predictor.predictions("7", [{"id": 1}])
    assert predictor.version_of("7") is None
    project, _ = connect()
    assert predictor.version_of("1") == project.version
    with process.store.writing() as connection:
        change_project(connection, project.id, gone=True)
    assert predictor.version_of("1") is None


def test_a_known_task_costs_one_query(triaged, process, predictor):
    from sqlalchemy import event

    project, _, tasks = triaged
    set_deliveries(process, project, tasks, "confirmed")
    asked = []
    event.listen(process.store.engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
    predictor.predictions("1", records(tasks[:1]))
    assert len([query for query in asked if not query.startswith("BEGIN")]) == 1


def test_a_webhook_is_kept_and_training_queues_one_recalibration(connect, process, predictor):
    project, _ = connect()
    predictor.take_event(b"anything")
    predictor.train("1")
    predictor.train("1")
    with process.store.inbox.reading() as connection:
        assert [row.body for row in unread(connection, 5)] == [b"anything"]
    with process.store.reading() as connection:
        assert [(row.kind, row.state) for row in jobs_of(connection, project.id)] == [("recalibrate", "queued")]
        assert get_project(connection, project.id).pause is None
