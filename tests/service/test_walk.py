"""From a task to its prediction: every task gets exactly one, whatever happens on the way."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from delivery_states import states
from stores import verdict_of

from annotriage.errors import ToolRefused, ToolUnavailable
from annotriage.store import inbox, work
from annotriage.store.datasets import routes_of
from annotriage.store.events import history
from annotriage.store.projects import change_project, project_of

NO_SPOT_CHECKS = {"sample_share": 0.0, "audit_share": 0.0}


@pytest.fixture
def fast(monkeypatch):
    """No waiting between two readings or before another try."""
    monkeypatch.setattr("annotriage.store.deliveries.AGREED_SECONDS", 0.0)
    monkeypatch.setattr("annotriage.service.delivery.outbox.BACK_OFF", (0.0,))
    monkeypatch.setattr("annotriage.service.judging.judge.TRY_AGAIN", (0.0,) * 6)


def add_digits(tool, picture, images, **values):
    return [tool.add(picture(image), **values) for image in images]


def events(process, project):
    with process.store.reading() as connection:
        return [row.kind for row in history(connection, project.id)]


def test_every_task_gets_one_prediction_and_the_version_is_shown(connect, worker, digits, picture):
    project, tool = connect(**NO_SPOT_CHECKS)
    tasks = add_digits(tool, picture, [*digits.incoming[0][:60], *digits.strangers[0][:30]])
    worker.settle()
    assert tool.version == project.version
    assert {len(tool.shown(task.id)) for task in tasks} == {1}


def test_what_annotators_see_follows_the_route(process, connect, worker, digits, picture):
    project, tool = connect(**NO_SPOT_CHECKS)
    tasks = add_digits(tool, picture, [*digits.incoming[0][:100], *digits.strangers[0][:50]])
    worker.settle()
    seen = Counter()
    with process.store.reading() as connection:
        for number, task in enumerate(tasks, start=1):
            row, (prediction,) = verdict_of(connection, number, project.reference_id), tool.shown(task.id)
            assert (prediction.labels is None) == (row.route in ("outlier", "failed"))
            assert prediction.trust == row.trust
            seen[row.route] += 1
    assert seen["auto"] > 60
    assert seen["outlier"] > 20


def test_spot_checks_are_shown_empty_and_before_what_is_automatic(process, connect, worker, digits, picture):
    project, tool = connect(sample_share=0.3, audit_share=0.0)
    tasks = add_digits(tool, picture, digits.incoming[0][:100])
    worker.settle()
    with process.store.reading() as connection:
        rows = [verdict_of(connection, number, project.reference_id) for number in range(1, len(tasks) + 1)]
    hidden = [tool.shown(task.id)[0] for task, row in zip(tasks, rows, strict=True) if row.route == "auto"]
    spot_checks = [shown for shown in hidden if shown.labels is None]
    assert 10 < len(spot_checks) < 50
    assert max(check.trust for check in spot_checks) < 2 / 3


def test_webhooks_bring_tasks_before_the_poll_does(process, connect, worker, digits, picture):
    _, tool = connect()
    task = add_digits(tool, picture, digits.incoming[0][:1])[0]

    def down(name):
        if name in ("newest_if_known", "task_ids_after", "tasks"):
            raise ToolUnavailable("down")

    tool.faults = down
    body = {"action": "TASKS_CREATED", "tasks": [{"id": int(task.id), "data": {}}], "project": {"id": 1}}
    with process.store.inbox.writing() as connection:
        inbox.put(connection, json.dumps(body).encode())
    worker.settle()
    assert len(tool.shown(task.id)) == 1


def test_a_webhook_that_cannot_be_read_is_kept_with_the_reason_and_stops_nothing(process, connect, worker, digits, picture):
    _, tool = connect()
    with process.store.inbox.writing() as connection:
        inbox.put(connection, b'{"action": "TASKS_CRE')
    task = add_digits(tool, picture, digits.incoming[0][:1])[0]
    worker.settle()
    with process.store.inbox.reading() as connection:
        assert len(inbox.troubles(connection)) == 1
    assert len(tool.shown(task.id)) == 1


@pytest.mark.parametrize("name", ["facts", "newest_if_known", "task_ids_after", "tasks", "deliver", "name_version"])
def test_a_tool_that_is_down_for_a_while_delays_and_loses_nothing(fast, connect, worker, digits, picture, name):
    project, tool = connect()
    tasks = add_digits(tool, picture, digits.incoming[0][:20])
    tool.faults = lambda call: (_ for _ in ()).throw(ToolUnavailable("down")) if call == name else None
    worker.settle()
    tool.faults = lambda call: None
    worker.settle()
    worker.settle()
    assert {len(tool.shown(task.id, project.version)) for task in tasks} == {1}
    assert tool.version == project.version


@pytest.mark.parametrize("error", [ToolRefused("401: the token was revoked"), ToolUnavailable("down")])
def test_a_delivery_that_is_refused_while_nothing_can_be_read_goes_out_later(fast, connect, worker, digits, picture, error):
    project, tool = connect()
    tasks = add_digits(tool, picture, digits.incoming[0][:20])
    worker.follow()
    while worker.judge.step():
        pass

    def refuse(name):
        if name == "deliver":
            raise ToolRefused("401: the token was revoked")
        if name in ("tasks", "delivered"):
            raise error

    tool.faults = refuse
    worker.delivery.step()
    tool.faults = lambda name: None
    for _ in range(4):
        worker.settle()
    assert {len(tool.shown(task.id, project.version)) for task in tasks} == {1}


def test_a_delivery_whose_answer_was_lost_is_not_sent_again(fast, connect, worker, digits, picture):
    project, tool = connect()
    tasks = add_digits(tool, picture, digits.incoming[0][:20])
    tool.lose_answers = 1
    for _ in range(4):
        worker.settle()
    assert tool.calls.count("deliver") == 1
    assert {len(tool.shown(task.id, project.version)) for task in tasks} == {1}


def test_a_delivery_that_broke_off_with_the_process_is_read_back_first(fast, process, connect, worker, digits, picture):
    project, tool = connect()
    tasks = add_digits(tool, picture, digits.incoming[0][:20])

    def killed(name):
        if name == "deliver":
            raise KeyboardInterrupt

    tool.faults = killed
    with pytest.raises(KeyboardInterrupt):
        worker.settle()
    tool.faults = lambda name: None
    with process.store.writing() as connection:
        work.bury(connection, [process.owner])
        assert states(connection, project.id, project.reference_id) == {"unknown": 20}
    for _ in range(4):
        worker.settle()
    assert {len(tool.shown(task.id, project.version)) for task in tasks} == {1}


def test_two_predictions_of_one_task_become_one(fast, process, connect, worker, digits, picture):
    project, tool = connect()
    task = add_digits(tool, picture, digits.incoming[0][:1])[0]
    worker.settle()
    tool.predictions.append(tool.predictions[0].__class__("999", task.id, project.version, None, 0.5))
    worker.sweep(project)
    assert [prediction.id for prediction in tool.shown(task.id)] != ["999"]
    assert len(tool.shown(task.id)) == 1


def test_a_task_deleted_in_flight_takes_no_other_along(fast, process, connect, worker, digits, picture):
    project, tool = connect()
    tasks = add_digits(tool, picture, digits.incoming[0][:10])
    worker.follow()
    while worker.judge.step():
        pass
    tool.delete_task(tasks[3].id)
    worker.settle()
    worker.settle()
    assert {len(tool.shown(task.id)) for task in tasks if task is not tasks[3]} == {1}
    with process.store.reading() as connection:
        assert sum(row.items for row in routes_of(connection, project)) == 9


def test_a_task_deleted_without_a_word_is_found_by_the_sweep(process, connect, worker, digits, picture):
    project, tool = connect()
    tasks = add_digits(tool, picture, digits.incoming[0][:10])
    worker.settle()
    tool.delete_task(tasks[3].id)
    worker.sweep(project)
    with process.store.reading() as connection:
        assert sum(row.items for row in routes_of(connection, project)) == 9


def test_a_labeling_config_that_no_longer_fits_stops_delivery_until_it_does(process, connect, worker, digits, picture, monkeypatch):
    monkeypatch.setattr("annotriage.service.intake.following.FACTS_SECONDS", 0.0)
    project, tool = connect()
    tool.problem = "no choice for '3'; add it"
    tasks = add_digits(tool, picture, digits.incoming[0][:10])
    worker.settle()
    assert tool.predictions == []
    with process.store.reading() as connection:
        assert project_of(connection, "1").problem == "no choice for '3'; add it"
    tool.problem = None
    worker.settle()
    assert {len(tool.shown(task.id)) for task in tasks} == {1}
    assert [kind for kind in events(process, project) if kind in ("problem", "solved")] == ["solved", "problem"]


def test_a_wrong_version_is_put_right(process, connect, worker, digits, picture, monkeypatch):
    monkeypatch.setattr("annotriage.service.intake.following.FACTS_SECONDS", 0.0)
    project, tool = connect()
    add_digits(tool, picture, digits.incoming[0][:5])
    worker.settle()
    tool.version = ""
    worker.follow()
    assert tool.version == project.version


def test_a_deleted_project_is_left_alone_and_remembered(process, connect, worker, digits, picture):
    project, tool = connect()
    add_digits(tool, picture, digits.incoming[0][:5])
    worker.settle()
    tool.exists = False
    worker.follow()
    with process.store.reading() as connection:
        assert project_of(connection, "1").gone
    assert "gone" in events(process, project)


def test_watching_writes_nothing_into_the_tool(process, connect, worker, digits, picture):
    project, tool = connect(watch=True)
    add_digits(tool, picture, digits.incoming[0][:20])
    worker.settle()
    with process.store.reading() as connection:
        assert sum(row.items for row in routes_of(connection, project)) == 20
    assert {"deliver", "name_version", "write_fields", "repair"}.isdisjoint(tool.calls)


def test_while_paused_nothing_is_automatic(process, connect, worker, digits, picture):
    project, tool = connect(**NO_SPOT_CHECKS)
    with process.store.writing() as connection:
        change_project(connection, project.id, paused_at=1.0, pause_reason="looking into scanner B")
    add_digits(tool, picture, digits.incoming[0][:50])
    worker.settle()
    with process.store.reading() as connection:
        rows = [verdict_of(connection, number, project.reference_id) for number in range(1, 51)]
    assert "auto" not in {row.route for row in rows}
    assert "auto" in {row.judged for row in rows}
    assert max(prediction.trust for prediction in tool.predictions) < 2 / 3
    assert {row.held_back for row in rows if row.judged == "auto"} == {"pause"}


@pytest.mark.parametrize(
    ("media", "reason"),
    [
        ("", "names no picture"),
        ("data:image/png;base64,AAAA", "task 1"),
        ("data:nonsense", "without a comma"),
        ("http://10.0.0.1/secret.png", "10.0.0.1"),
        ("ftp://host/a.png", "is no address"),
    ],
)
def test_media_that_cannot_be_had_make_a_failed_item_with_the_reason(process, connect, worker, media, reason):
    project, tool = connect()
    task = tool.add(media)
    worker.settle()
    with process.store.reading() as connection:
        row = verdict_of(connection, 1, project.reference_id)
    assert row.route == "failed"
    assert reason in row.reason
    assert [prediction.labels for prediction in tool.shown(task.id)] == [None]
    assert tool.shown(task.id)[0].trust == 0.0


def test_an_item_on_which_the_worker_dies_again_and_again_fails_alone(process, connect, worker, digits, picture):
    project, tool = connect(**NO_SPOT_CHECKS)
    add_digits(tool, picture, digits.incoming[0][:3])
    worker.follow()
    for _ in range(work.GIVEN_UP):
        with process.store.writing() as connection:
            claim = work.claim(connection, "doomed", 1)
            if claim.suspect:
                work.begin(connection, "doomed", [claim.rows[0].work_id])
            work.bury(connection, ["doomed"])
    worker.settle()
    with process.store.reading() as connection:
        routes = Counter(verdict_of(connection, number, project.reference_id).route for number in (1, 2, 3))
        assert routes["failed"] == 1
        assert "died on it" in verdict_of(connection, 1, project.reference_id).reason


def test_a_media_field_that_changes_is_judged_anew_and_its_prediction_replaced(fast, process, connect, worker, digits, picture):
    project, tool = connect(**NO_SPOT_CHECKS)
    task = add_digits(tool, picture, digits.incoming[0][:1])[0]
    worker.settle()
    before = tool.shown(task.id)[0]
    tool.change_media(task.id, picture(digits.strangers[0][0]))
    worker.settle()
    worker.settle()
    (after,) = tool.shown(task.id)
    assert after.trust != before.trust
    with process.store.reading() as connection:
        assert sum(row.items for row in routes_of(connection, project)) == 1


def test_a_token_that_is_revoked_is_told_and_nothing_is_lost(fast, process, connect, worker, digits, picture):
    project, tool = connect()
    tasks = add_digits(tool, picture, digits.incoming[0][:5])
    tool.faults = lambda name: (_ for _ in ()).throw(ToolRefused("401: the token was revoked; make a new one"))
    worker.settle()
    assert "unreachable" in events(process, project)
    tool.faults = lambda name: None
    for state in worker.follower._followed.values():
        state.next_poll = 0.0
    worker.settle()
    assert {len(tool.shown(task.id)) for task in tasks} == {1}


def test_tasks_that_people_labelled_before_take_no_part(process, connect, worker, digits, picture):
    project, tool = connect()
    task = add_digits(tool, picture, digits.incoming[0][:1])[0]
    tool.annotate(task.id, "3")
    worker.settle()
    assert tool.predictions == []
    with process.store.reading() as connection:
        assert routes_of(connection, project) == []
