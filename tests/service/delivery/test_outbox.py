"""Every task has exactly one prediction of the version in the end, wherever in a call the labeling tool fails."""

from __future__ import annotations

from contextlib import ExitStack

import databases
import outages
import pytest
from delivery_states import states
from memory_tool import Failure
from sqlalchemy import event, select

from annotriage.errors import OutcomeUnknown, StoreError, ToolError, ToolRefused, ToolUnavailable
from annotriage.store import deliveries
from annotriage.store.pushing import PushedItem, add_pushed
from annotriage.store.schema import delivery, item

NO_SPOT_CHECKS = {"sample_share": 0.0, "audit_share": 0.0}
TASKS = 8

LOST = (OutcomeUnknown("the connection broke off"), False)  # no answer at all
UNKNOWN = (OutcomeUnknown("the connection broke off"), True)  # the parts before are known
DOWN = (ToolUnavailable("no connection"), True)
REFUSED = (ToolRefused("401: the token was revoked"), True)
every_failure = pytest.mark.parametrize(("error", "told"), [LOST, UNKNOWN, DOWN, REFUSED], ids=["lost", "unknown", "down", "refused"])
every_place = pytest.mark.parametrize("after", [0, 3, TASKS - 1])


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """No waiting between two readings or before another try; and few predictions in a transaction, so that there are several."""
    monkeypatch.setattr("annotriage.store.deliveries.AGREED_SECONDS", 0.0)
    monkeypatch.setattr("annotriage.service.delivery.outbox.BACK_OFF", (0.0,))
    monkeypatch.setattr("annotriage.service.delivery.outbox.AT_ONCE", 3)


@pytest.fixture
def judged(connect, worker, digits, picture):
    """A project whose tasks are judged, and not delivered yet."""

    def judged(**options):
        project, tool = connect(**NO_SPOT_CHECKS, **options)
        tasks = [tool.add(picture(image)) for image in digits.incoming[0][:TASKS]]
        judge_all(worker)
        return project, tool, [task.id for task in tasks]

    return judged


def judge_all(worker):
    worker.follow()
    while worker.judge.step():
        pass


def recover(worker):
    """Rounds enough for two readings and another try, whatever failed before."""
    for _ in range(6):
        worker.settle()


def fail(tool, *calls, error):
    def raise_in(name):
        if name in calls:
            raise error

    tool.faults = raise_in


def change(process, project, task_ids, trust):
    """Another verdict replaces that of these tasks."""
    with process.store.writing() as connection:
        ids = connection.execute(select(item.c.id).where(item.c.external_id.in_(task_ids))).scalars()
        rows = [
            {"item_id": id, "reference_id": project.reference_id, "project_id": project.id, "labels": None, "trust": trust} for id in ids
        ]
        deliveries.enqueue(connection, rows)


def states_of(process, project):
    with process.store.reading() as connection:
        return states(connection, project.id, project.reference_id)


@databases.both
@every_place
@every_failure
def test_a_delivery_that_fails_in_its_middle_brings_one_prediction_each(process, judged, worker, after, error, told):
    project, tool, tasks = judged()
    tool.failure = Failure("deliver", after, error, told)
    recover(worker)
    assert {id: len(tool.shown(id)) for id in tasks} == dict.fromkeys(tasks, 1)
    assert states_of(process, project) == {"confirmed": TASKS}


@every_place
@every_failure
def test_a_creation_that_fails_in_its_middle_makes_one_task_each(process, connect, worker, digits, picture, after, error, told):
    project, tool = connect(**NO_SPOT_CHECKS)
    markers = [f"item {number}" for number in range(TASKS)]
    pushed = [PushedItem(marker, picture(image), None, {}) for marker, image in zip(markers, digits.incoming[0], strict=False)]
    with process.store.writing() as connection:
        add_pushed(connection, project, "pushed", pushed)
    while worker.judge.step():
        pass
    tool.failure = Failure("create", after, error, told)
    recover(worker)
    assert sorted(task.marker for task in tool.tasks_by_id.values()) == markers
    assert {len(tool.shown(id)) for id in tool.tasks_by_id} == {1}
    with process.store.reading() as connection:
        linked = {row.marker: row.external_id for row in connection.execute(select(item))}
    assert linked == {task.marker: task.id for task in tool.tasks_by_id.values()}
    assert states_of(process, project) == {"confirmed": TASKS}


def test_tasks_that_were_created_without_their_predictions_get_them(process, connect, worker, digits, picture, monkeypatch):
    project, tool = connect(**NO_SPOT_CHECKS)
    pushed = [PushedItem(f"item {number}", picture(image), None, {}) for number, image in enumerate(digits.incoming[0][:TASKS])]
    with process.store.writing() as connection:
        add_pushed(connection, project, "pushed", pushed)
    while worker.judge.step():
        pass
    create = tool.create

    def forgetful(items, version):
        create(items, version)
        tool.predictions.clear()
        raise OutcomeUnknown("fewer predictions were stored than sent")

    monkeypatch.setattr(tool, "create", forgetful)
    recover(worker)
    assert len(tool.tasks_by_id) == TASKS
    assert {len(tool.shown(id)) for id in tool.tasks_by_id} == {1}
    assert states_of(process, project) == {"confirmed": TASKS}


@every_place
@pytest.mark.parametrize("error", [LOST[0], DOWN[0], REFUSED[0]])
def test_a_withdrawal_that_fails_in_its_middle_leaves_the_new_predictions_alone(process, judged, worker, after, error):
    project, tool, tasks = judged()
    worker.settle()
    change(process, project, tasks, 0.125)
    tool.failure = Failure("withdraw", after, error)
    recover(worker)
    assert {id: [prediction.trust for prediction in tool.shown(id)] for id in tasks} == {id: [0.125] for id in tasks}


@pytest.mark.parametrize("error", [DOWN[0], LOST[0], REFUSED[0], ToolError("500")])
def test_a_reading_that_fails_does_not_decide_about_the_delivery_before_it(judged, worker, error):
    _, tool, tasks = judged()
    tool.lose_answers = 1
    fail(tool, "delivered", "tasks", "created", error=error)
    for _ in range(4):
        worker.delivery.step()
    fail(tool, error=error)
    recover(worker)
    assert tool.calls.count("deliver") == 1
    assert {len(tool.shown(id)) for id in tasks} == {1}


@pytest.mark.parametrize("error", [DOWN[0], REFUSED[0]])
def test_a_version_that_cannot_be_named_sends_nothing_again(process, judged, worker, error):
    project, tool, _ = judged()
    fail(tool, "name_version", error=error)
    for _ in range(4):
        worker.delivery.step()
    assert tool.calls.count("deliver") == 1
    assert states_of(process, project) == {"confirmed": TASKS}


def test_predictions_that_the_tool_refuses_one_by_one_hold_up_no_other(process, judged, worker, monkeypatch):
    from dataclasses import replace

    project, tool, tasks = judged()
    deliver = tool.deliver

    def refusing(predictions, version):
        taken = deliver([prediction for prediction in predictions if prediction.task not in tasks[:2]], version)
        return replace(
            taken,
            refused={prediction.task: f"{prediction.task}: no such label" for prediction in predictions if prediction.task in tasks[:2]},
        )

    monkeypatch.setattr(tool, "deliver", refusing)
    recover(worker)
    assert {len(tool.shown(id)) for id in tasks[2:]} == {1}
    assert states_of(process, project) == {"confirmed": TASKS - 2, "refused": 2}
    with process.store.reading() as connection:
        assert {row.error for row in deliveries.troubles(connection, project.id)} == {f"{id}: no such label" for id in tasks[:2]}


@databases.both
def test_a_prediction_that_fails_as_nobody_foresaw_is_found_and_refused_alone(process, judged, worker, caplog):
    project, tool, tasks = judged()
    deliver = tool.deliver

    def fails(shown, version):
        if any(prediction.task == tasks[5] for prediction in shown):
            raise ZeroDivisionError("of one task")
        return deliver(shown, version)

    tool.deliver = fails
    for _ in range(8):
        recover(worker)
    assert [len(tool.shown(task)) for task in tasks] == [1] * 5 + [0] + [1] * 2
    with process.store.reading() as connection:
        (trouble,) = deliveries.troubles(connection, project.id)
    assert (trouble.external_id, trouble.state, trouble.error) == (tasks[5], "refused", "ZeroDivisionError: of one task")
    assert f"{tasks[5]}: nobody foresaw this" in caplog.text


@databases.both
@pytest.mark.parametrize("lose_answers", [0, 1])
def test_a_verdict_that_changes_while_its_prediction_is_sent_is_what_annotators_see(process, judged, worker, lose_answers):
    project, tool, tasks = judged()
    tool.lose_answers = lose_answers

    def change_meanwhile(name):
        if name == "deliver" and tool.calls.count("deliver") == 1:
            change(process, project, tasks[:3], 0.125)

    tool.faults = change_meanwhile
    recover(worker)
    assert {id: [prediction.trust for prediction in tool.shown(id)] for id in tasks[:3]} == {id: [0.125] for id in tasks[:3]}
    assert {len(tool.shown(id)) for id in tasks} == {1}


def test_a_verdict_that_changes_while_nothing_could_be_sent_is_sent_alone(process, judged, worker):
    project, tool, tasks = judged()

    def change_and_fail(name):
        if name == "deliver" and tool.calls.count("deliver") == 1:
            change(process, project, tasks[:3], 0.125)
            raise ToolUnavailable("no connection")

    tool.faults = change_and_fail
    recover(worker)
    assert {id: [prediction.trust for prediction in tool.shown(id)] for id in tasks[:3]} == {id: [0.125] for id in tasks[:3]}
    assert "withdraw" not in tool.calls


def test_a_verdict_that_changes_while_its_task_is_created_is_what_annotators_see(process, connect, worker, digits, picture):
    for lost in (False, True):
        project, tool = connect(str(int(lost) + 1), **NO_SPOT_CHECKS)
        with process.store.writing() as connection:
            add_pushed(connection, project, "pushed", [PushedItem(f"a {lost}", picture(digits.incoming[0][0]), None, {})])
            (id,) = connection.execute(select(item.c.id).where(item.c.project_id == project.id)).scalars()
        while worker.judge.step():
            pass
        tool.lose_answers = int(lost)

        def change_meanwhile(name, project=project, tool=tool, id=id):
            if name == "create" and tool.calls.count("create") == 1:
                row = {"item_id": id, "reference_id": project.reference_id, "project_id": project.id, "labels": None, "trust": 0.125}
                with process.store.writing() as connection:
                    deliveries.enqueue(connection, [row])

        tool.faults = change_meanwhile
        recover(worker)
        (task,) = tool.tasks_by_id
        assert [prediction.trust for prediction in tool.shown(task)] == [0.125]


@databases.both
def test_what_was_sent_as_the_database_went_away_is_delivered_once(process, judged, worker, monkeypatch):
    monkeypatch.setattr("annotriage.store.database.BUSY_SECONDS", 0.0)
    project, tool, ids = judged()
    away = ExitStack()
    tool.faults = lambda name: away.enter_context(outages.unusable(process.settings.database)) if name == "deliver" else None
    with away:
        assert not worker.delivery.step()
    tool.faults = lambda name: None
    assert states_of(process, project) == {"sending": TASKS}
    recover(worker)
    assert states_of(process, project) == {"confirmed": TASKS}
    assert [len(tool.shown(id)) for id in ids] == [1] * TASKS


@databases.both
def test_where_the_database_goes_away_between_two_parts_what_was_written_down_stays_and_the_rest_is_read_back(process, judged, worker):
    project, tool, ids = judged()
    calls, ended = [], []

    def goes_away(connection):
        if "deliver" in calls and connection.get_execution_options().get("writing"):
            ended.append(connection)
            if len(ended) == 2:
                raise StoreError("away")

    tool.faults = calls.append
    event.listen(process.store.engine, "commit", goes_away)
    assert not worker.delivery.step()
    assert states_of(process, project) == {"confirmed": 3, "unknown": TASKS - 3}
    recover(worker)
    assert states_of(process, project) == {"confirmed": TASKS}
    assert [len(tool.shown(id)) for id in ids] == [1] * TASKS


def test_an_answer_that_comes_after_the_process_was_held_for_dead_changes_nothing(process, judged, worker):
    """Another process has read back what became of the call, and is sending what was missing."""
    project, tool, _ = judged()

    def held_for_dead(name):
        if name == "deliver":
            with process.store.writing() as connection:
                deliveries.release(connection, [process.owner])
                ids = connection.execute(select(delivery.c.item_id)).scalars().all()
                deliveries.move(connection, project.reference_id, ids, ("unknown",), "pending")
                assert len(deliveries.take(connection, project.id, "pending", "another", 100)) == TASKS

    tool.faults = held_for_dead
    worker.delivery.step()
    with process.store.reading() as connection:
        assert {(row.state, row.owner) for row in connection.execute(select(delivery))} == {("sending", "another")}


def test_what_became_unknown_between_two_readings_is_read_twice_itself(process, judged, worker):
    project, tool, _ = judged()
    tool.lose_answers = 1
    worker.delivery.step()
    tool.predictions.clear()  # the call is not carried out yet
    with process.store.writing() as connection:
        ids = connection.execute(select(delivery.c.item_id).order_by(delivery.c.item_id)).scalars().all()
        deliveries.move(connection, project.reference_id, ids[4:], ("unknown",), "pending")
        deliveries.move(connection, project.reference_id, ids[4:], ("pending",), "pending", not_before=10.0**12)
    worker.delivery.step()
    with process.store.writing() as connection:
        deliveries.move(connection, project.reference_id, ids[4:], ("pending",), "unknown")
    worker.delivery.step()
    with process.store.reading() as connection:
        rows = connection.execute(select(delivery.c.state).order_by(delivery.c.item_id)).scalars().all()
    assert "unknown" not in rows[:4]
    assert rows[4:] == ["unknown"] * 4


def transactions(process):
    """The writing transactions from now on, as they begin."""
    begun = []
    event.listen(process.store.engine, "begin", lambda connection: begun.append(connection.get_execution_options().get("writing", False)))
    return begun


@databases.both
def test_an_idle_round_writes_nothing(process, judged, worker):
    judged()
    recover(worker)
    begun = transactions(process)
    assert not worker.delivery.step()
    assert begun
    assert not any(begun)


def test_many_predictions_are_taken_and_written_down_a_few_at_a_time(process, judged, worker):
    judged()
    begun = transactions(process)
    worker.delivery.step()
    assert sum(begun) == 7, "three parts are taken, three written down, and the version is named"


def test_missing_predictions_are_queued_again_in_one_transaction_however_many_they_are(process, judged, worker, monkeypatch):
    monkeypatch.setattr("annotriage.service.delivery.outbox.AT_ONCE", TASKS)
    project, tool, _ = judged()
    tool.lose_answers = 1
    worker.delivery.step()
    tool.predictions.clear()
    worker.delivery.step()
    begun = transactions(process)
    fail(tool, "deliver", error=DOWN[0])
    worker.delivery.step()
    assert states_of(process, project) == {"pending": TASKS}
    assert sum(begun) <= 5, "taken and finished, then taken, finished and let go of"
