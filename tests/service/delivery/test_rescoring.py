"""A new reference takes over: annotators see one version or the other on every task, never none, whatever breaks off on the way."""

from __future__ import annotations

import contextlib
import dataclasses

import databases
import pytest
from delivery_states import states
from sqlalchemy import select
from stores import counted

from annotriage.engine.fitting import fit
from annotriage.errors import ToolUnavailable
from annotriage.service.delivery.rescoring import advance_rescoring
from annotriage.service.guarantee.changing_limits import with_limits
from annotriage.service.guarantee.pausing import pause, resume
from annotriage.service.guarantee.spot_checks import standing
from annotriage.service.operations.references import keep_reference
from annotriage.states import Alarm, EventKind
from annotriage.store.events import history, note
from annotriage.store.projects import change_project, get_project, raise_alarm
from annotriage.store.schema import item, spot_check, verdict
from annotriage.store.work import waiting


class Killed(Exception):
    """The process dies here."""


@pytest.fixture(scope="session")
def stricter(digits_model, digits, quick):
    """Another reference of the same digits: fewer held-out items, another threshold."""
    images, labels = digits.held_out
    return fit(digits_model, digits.train, (images[:300], labels[:300]), settings=dataclasses.replace(quick, alpha=0.1), name="digits")


@pytest.fixture
def running(process, scene, digits, picture):
    """A project with some digits, judged and delivered: the project's row and the project in the tool."""

    def running(count=60, **options):
        def begin(scene):
            project, tool = scene.connect(**{"sample_share": 0.0, "audit_share": 0.0} | options)
            for image in [*digits.incoming[0][:count], *digits.strangers[0][: count // 4]]:
                tool.add(picture(image))
            scene.worker.settle()
            return project

        project = scene((count, *options.items()), begin)
        return project, process.tool_project(project)

    return running


@pytest.fixture
def start(process, stricter):
    def start(project, reference=stricter):
        next_id = keep_reference(process.store, reference)
        with process.store.writing() as connection:
            change_project(connection, project.id, next_reference_id=next_id)
            return get_project(connection, project.id), next_id

    return start


def now(process, project):
    with process.store.reading() as connection:
        return get_project(connection, project.id)


def advance(process, project, worker, rounds=12):
    """Let a running service come to its end with it."""
    for _ in range(rounds):
        advance_rescoring(process, now(process, project))
        worker.settle()


def test_every_task_gets_the_new_version_before_it_is_shown_and_the_old_one_goes(process, running, worker, start, stricter):
    project, tool = running()
    start(project)
    blind = []

    def watch(name):
        if name in ("name_version", "drop_version", "deliver"):
            blind.extend(id for id in tool.tasks_by_id if not tool.shown(id))

    tool.faults = watch
    advance(process, project, worker)
    assert blind == []
    present = now(process, project)
    assert (present.version, present.next_reference_id, present.old_reference_id) == (stricter.prediction_version, None, None)
    assert tool.version == present.shown_version == stricter.prediction_version
    assert tool.versions() == {stricter.prediction_version: len(tool.tasks_by_id)}
    assert tool.calls.count("name_version") == 2, "once for the first version, once for the switch"
    assert tool.calls.count("drop_version") == 1


def test_the_queue_and_the_counts_are_those_of_the_new_reference(process, running, worker, start):
    project, _ = running()
    _, next_id = start(project)
    advance(process, project, worker)
    with process.store.reading() as connection:
        shown = connection.execute(item.select().order_by(item.c.id)).all()
        under = {row.item_id: row for row in connection.execute(verdict.select().where(verdict.c.reference_id == next_id))}
        judged, _ = counted(connection, project.id, next_id)
    assert [(row.route, row.trust) for row in shown] == [(under[row.id].route, under[row.id].shown_trust) for row in shown]
    assert judged == len(shown)


def test_tasks_that_come_in_meanwhile_get_both_versions(process, running, worker, start, digits, picture):
    project, tool = running()
    _, next_id = start(project)
    advance_rescoring(process, now(process, project))
    new = [tool.add(picture(image)).id for image in digits.incoming[0][60:80]]
    worker.settle()
    versions = {tuple(sorted(prediction.version for prediction in tool.predictions if prediction.task == id)) for id in new}
    assert {len(version) for version in versions} == {2}
    advance(process, project, worker)
    assert {len(tool.shown(id)) for id in tool.tasks_by_id} == {1}
    with process.store.reading() as connection:
        assert waiting(connection, project.id, project.reference_id) == waiting(connection, project.id, next_id) == 0


@pytest.mark.parametrize("call", ["versions", "delivered", "name_version", "drop_version", "facts"])
@pytest.mark.parametrize("afterwards", [False, True])
def test_a_process_that_dies_at_any_step_is_followed_by_one_that_ends_it(process, running, worker, start, stricter, call, afterwards):
    project, tool = running(20)
    start(project)
    advance_rescoring(process, now(process, project))
    worker.settle()
    died = []
    original = getattr(tool, call)

    def dying(*args, **kwargs):
        if died:
            return original(*args, **kwargs)
        died.append(call)
        if afterwards:
            original(*args, **kwargs)
        raise Killed

    setattr(tool, call, dying)
    for _ in range(4):
        with contextlib.suppress(Killed):
            advance_rescoring(process, now(process, project))
        assert all(tool.shown(id) for id in tool.tasks_by_id)
    advance(process, project, worker, rounds=3)
    assert died == [call]
    assert tool.version == stricter.prediction_version
    assert tool.versions() == {stricter.prediction_version: len(tool.tasks_by_id)}
    assert now(process, project).old_reference_id is None


def test_predictions_that_are_missing_at_the_check_are_sent_again_first(process, running, worker, start, stricter, monkeypatch):
    monkeypatch.setattr("annotriage.store.deliveries.AGREED_SECONDS", 0.0)
    project, tool = running(20)
    start(project)
    advance_rescoring(process, now(process, project))
    worker.settle()
    lost = [prediction.id for prediction in tool.predictions if prediction.version == stricter.prediction_version][:3]
    tool.withdraw(lost)
    advance_rescoring(process, now(process, project))
    assert now(process, project).reference_id == project.reference_id, "not yet"
    with process.store.reading() as connection:
        next_id = now(process, project).next_reference_id
        assert states(connection, project.id, next_id)["unknown"] == 3
    advance(process, project, worker)
    assert tool.versions() == {stricter.prediction_version: len(tool.tasks_by_id)}


def test_nothing_is_switched_while_the_tool_is_down(process, running, worker, start):
    project, tool = running(20)
    start(project)
    advance_rescoring(process, now(process, project))
    worker.settle()

    def down(name):
        raise ToolUnavailable("down")

    tool.faults = down
    with pytest.raises(ToolUnavailable):
        advance_rescoring(process, now(process, project))
    assert now(process, project).version == project.version
    tool.faults = lambda name: None
    advance(process, project, worker)
    assert now(process, project).version != project.version


def test_a_problem_holds_the_change_up(process, running, start):
    project, tool = running(20)
    start(project)
    with process.store.writing() as connection:
        change_project(connection, project.id, problem="the config lost a choice")
    tool.calls.clear()
    advance_rescoring(process, now(process, project))
    assert tool.calls == []


def test_in_watch_mode_the_store_changes_and_the_tool_is_left_alone(process, running, worker, start, stricter):
    project, tool = running(20, watch=True)
    start(project)
    tool.calls.clear()
    advance(process, project, worker)
    assert now(process, project).version == stricter.prediction_version
    assert tool.predictions == []
    assert not set(tool.calls) & {"name_version", "drop_version", "deliver"}


def test_a_new_reference_silences_the_alarm_and_labels_are_automatic_again(process, running, worker, start):
    project, tool = running(40)
    with process.store.writing() as connection:
        pause(connection, project, "holidays")
        raise_alarm(connection, project.id, Alarm(9, 20, 0.2, 0.7, 0.04, 1.0))
    start(project)
    advance(process, project, worker)
    assert (now(process, project).pause.reason, now(process, project).alarm) == ("holidays", None)
    with process.store.writing() as connection:
        resume(connection, project)
        raise_alarm(connection, project.id, Alarm(9, 20, 0.2, 0.7, 0.04, 1.0))
        note(connection, project.id, EventKind.REPAIRED, what="something else")
        change_project(connection, project.id, next_reference_id=project.reference_id)
    advance(process, project, worker)
    present = now(process, project)
    assert (present.paused, present.version) == (False, project.version), "a former reference can come back"
    assert tool.versions() == {project.version: len(tool.tasks_by_id)}
    with process.store.reading() as connection:
        routes = {row.route for row in connection.execute(verdict.select().where(verdict.c.reference_id == project.reference_id))}
        assert "auto" in routes
        assert history(connection, project.id)[0].kind == "switched"


def test_spot_checks_that_wait_stay_hidden_and_test_the_new_reference(process, running, worker, start):
    project, tool = running(60, sample_share=0.3, audit_share=0.2)
    with process.store.reading() as connection:
        before = {row.item_id for row in connection.execute(spot_check.select().where(spot_check.c.state == "open"))}
    assert before
    _, next_id = start(project)
    advance(process, project, worker)
    with process.store.reading() as connection:
        after = {row.item_id: row for row in connection.execute(spot_check.select().where(spot_check.c.state == "open"))}
        judged = {row.item_id: row.judged for row in connection.execute(verdict.select().where(verdict.c.reference_id == next_id))}
    assert before <= set(after)
    assert {row.reference_id for row in after.values()} == {next_id}
    assert all(row.route == judged[id] for id, row in after.items())
    assert all(tool.shown(str(id))[0].labels is None for id in after)


def test_what_people_answered_after_seeing_a_label_is_no_spot_check_of_the_next_reference(process, running, worker, start):
    project, tool = running(40, audit_share=0.0)
    for id in list(tool.tasks_by_id):
        tool.annotate(id, "1")
    worker.follow()
    with process.store.writing() as connection:
        change_project(connection, project.id, options=dataclasses.asdict(project.options) | {"audit_share": 1.0})
    start(project)
    advance(process, project, worker)
    with process.store.reading() as connection:
        assert connection.execute(spot_check.select()).all() == []


@databases.both
@pytest.mark.parametrize(("limits_alone", "kept"), [(True, 2), (False, 0)])
def test_blind_answers_on_labels_that_stay_count_on_under_other_limits(
    process, running, worker, start, digits_reference, stricter, limits_alone, kept
):
    project, tool = running(40, sample_share=1.0)
    with process.store.reading() as connection:
        automatic = connection.execute(select(item.c.external_id, verdict.c.label).join(verdict).where(verdict.c.judged == "auto")).all()
    for row in automatic[:2]:
        tool.annotate(row.external_id, row.label)
    worker.follow()
    _, next_id = start(project, with_limits(digits_reference, {"max_error": 0.05}) if limits_alone else stricter)
    advance(process, project, worker)
    assert now(process, project).reference_id == next_id
    with process.store.reading() as connection:
        assert standing(connection, now(process, project)).answers == kept


def test_people_who_found_errors_are_heard_under_other_limits_too(process, running, worker, start, digits_reference):
    project, tool = running(120, sample_share=1.0)
    with process.store.reading() as connection:
        automatic = connection.execute(select(item.c.external_id, verdict.c.label).join(verdict).where(verdict.c.judged == "auto")).all()
    _, next_id = start(project, with_limits(digits_reference, {"max_error": 0.041}))
    for row in automatic[:12]:
        wrong = next(name for name in "01" if name != row.label)
        for person in ("ann", "bob"):
            tool.annotate(row.external_id, wrong, by=person)
    worker.follow()
    advance(process, project, worker)
    present = now(process, project)
    assert present.reference_id == next_id
    assert present.alarm.wrong == 12
