"""Fields of queued tasks: what they say, when they are written, and that those of a spot check say nothing of the model's answer."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from types import SimpleNamespace

import databases
import numpy as np
import pytest
from memory_tool import Failure
from sqlalchemy import event, select, update
from triaged import import_tasks, judge

from annotriage.errors import OutcomeUnknown, ToolError, ToolRefused, ToolUnavailable
from annotriage.service.delivery import field_writing
from annotriage.service.delivery.field_writing import FIELDS, FieldWriting, diversity_text, fields_of
from annotriage.service.readings.snapshots import snapshot
from annotriage.store import field_writes, items, snapshots
from annotriage.store.projects import get_project
from annotriage.store.schema import dataset, delivery, field_write, group_member, item, spot_check, verdict


@pytest.fixture
def at_once(monkeypatch):
    """Writes follow each other at once."""
    for name in ("EACH_SECONDS", "PEOPLE_SECONDS", "BUSY_SECONDS"):
        monkeypatch.setattr(field_writing, name, 0.001)


@pytest.fixture
def mixed_project(process, scene, mixed, at_once):
    """A project with known and unseen digits, judged and assessed; a third of all are spot checks."""

    def begin(scene):
        project, tool = scene.connect(sample_share=0.3)
        import_tasks(scene.process, project, tool, mixed[0][::5])
        judge(scene.process)
        assess(scene.process, project)
        return project

    project = scene((), begin)
    return project, process.tool_project(project)


def assess(process, project):
    with process.store.reading() as connection:
        ids = connection.execute(select(dataset.c.id).where(dataset.c.project_id == project.id)).scalars().all()
    for id in ids:
        snapshot(process, project, id)


def write_all(process, project):
    writing = FieldWriting(process)
    while writing.step(project):
        pass


def verdicts(process, project):
    """By task: route, kind of spot check, and the verdict's own figures."""
    with process.store.reading() as connection:
        query = (
            select(item.c.external_id, verdict.c.route, verdict.c.reason, verdict.c.outlier_score, verdict.c.shown_trust, spot_check.c.kind)
            .join(verdict, verdict.c.item_id == item.c.id)
            .outerjoin(spot_check, spot_check.c.item_id == item.c.id)
            .where(item.c.project_id == project.id)
        )
        return {row.external_id: row for row in connection.execute(query)}


def states(process):
    with process.store.reading() as connection:
        query = select(item.c.external_id, field_write.c.state).join(item, item.c.id == field_write.c.item_id)
        return dict(connection.execute(query).all())


def triage_fields(tool, task):
    return {key: value for key, value in tool.data[task].items() if key in FIELDS}


@databases.both
def test_queued_tasks_carry_the_fields_and_automatic_ones_none(process, mixed_project):
    project, tool = mixed_project
    write_all(process, project)
    for task, row in verdicts(process, project).items():
        queued = row.route != "auto" or row.kind is not None
        expected = {"triage_route", "triage_reason"} if queued else set()
        if row.kind:
            expected |= {"triage_spot_check"}
        elif queued:
            expected |= {"triage_outlier_score"} | ({"triage_diversity"} if row.route == "outlier" else set())
        assert triage_fields(tool, task).keys() == expected, row
        assert "image" in tool.data[task]


def test_queued_tasks_link_to_their_pages_once_the_service_knows_where_people_reach_it(process, mixed_project):
    project, tool = mixed_project
    process.settings = replace(process.settings, public_url="https://triage.example.com/at/")
    write_all(process, project)
    links = {task: data["triage_link"] for task, data in tool.data.items() if "triage_link" in data}
    assert links == {task: f"https://triage.example.com/at/projects/1/items/{task}" for task in states(process)}


def test_a_reason_says_how_many_look_alike_and_is_written_again_once_they_are_more(process, mixed_project, digits):
    project, tool = mixed_project
    write_all(process, project)

    def alike():
        with process.store.reading() as connection:
            sizes = {}
            for number, task in connection.execute(
                select(group_member.c.number, item.c.external_id)
                .join(item, item.c.id == group_member.c.item_id)
                .join(dataset, dataset.c.id == group_member.c.dataset_id)
                .where(dataset.c.kind == "all")
            ):
                sizes.setdefault(number, []).append(task)
        return {task: len(tasks) for tasks in sizes.values() for task in tasks}

    def said():
        found = {task: re.search(r"one of (\d+) that look alike", str(data.get("triage_reason"))) for task, data in tool.data.items()}
        return {task: int(match.group(1)) for task, match in found.items() if match}

    blind = {task for task, row in verdicts(process, project).items() if row.kind}
    before = alike()
    assert said() == {task: n for task, n in before.items() if task not in blind}
    assert said()
    import_tasks(process, project, tool, np.repeat(digits.strangers[0], 2, axis=0))
    judge(process)
    assess(process, project)
    with process.store.writing() as connection:
        connection.execute(update(field_write).values(at=time.time() - 700))
    write_all(process, project)
    after, shown = alike(), said()
    grown = {task for task, n in after.items() if n > 1.2 * before.get(task, n) and task not in blind}
    assert grown
    assert {task: shown[task] for task in grown} == {task: after[task] for task in grown}


def test_unsure_and_failed_items_say_why_in_their_own_words(process, connect, digits, at_once):
    project, tool = connect(sample_share=0.0, audit_share=0.0)
    import_tasks(process, project, tool, [*digits.incoming[0], "data:image/png;base64,AAAA"])
    judge(process)
    assess(process, project)
    write_all(process, project)
    rows = {task: row for task, row in verdicts(process, project).items() if row.route in ("uncertain", "failed") and row.kind is None}
    assert {row.route for row in rows.values()} == {"uncertain", "failed"}
    for task, row in rows.items():
        found = triage_fields(tool, task)
        assert (found["triage_route"], found["triage_reason"]) == (row.route, row.reason)
        assert found.get("triage_outlier_score") == (None if row.outlier_score is None else round(row.outlier_score, 4))


@databases.both
def test_a_spot_check_says_that_it_is_one_and_nothing_of_the_models_answer(process, mixed_project):
    project, tool = mixed_project
    write_all(process, project)
    spot_checks = {task: triage_fields(tool, task) for task, row in verdicts(process, project).items() if row.kind}
    routes = {row.route for row in verdicts(process, project).values() if row.kind}
    assert len(spot_checks) > 20
    assert routes == {"auto", "uncertain", "outlier"}
    assert {(fields["triage_route"], fields["triage_spot_check"]) for fields in spot_checks.values()} == {("spot check", "yes")}
    assert len({fields["triage_reason"] for fields in spot_checks.values()}) == 1
    assert not any("triage_outlier_score" in fields for fields in spot_checks.values())


def test_outliers_have_their_own_reasons_and_true_scores_but_no_class(process, mixed_project, digits):
    project, tool = mixed_project
    write_all(process, project)
    rows = {task: row for task, row in verdicts(process, project).items() if row.route == "outlier" and not row.kind}
    assert len(rows) > 20
    for task, row in rows.items():
        found = triage_fields(tool, task)
        assert (found["triage_route"], found["triage_outlier_score"]) == ("outlier", round(row.outlier_score, 4))
        how_strange, _, why = found["triage_reason"].partition(". ")
        assert row.reason.startswith(how_strange.partition(";")[0])
        assert ("like no class" in why, "another source" in why) == ("like no class" in row.reason, "another source" in row.reason)
        assert "nearest" not in found["triage_reason"]
        assert "triage_spot_check" not in found
    assert len({triage_fields(tool, task)["triage_reason"] for task in rows}) > 1


def test_spot_checks_are_written_first_then_the_strangest(process, mixed_project):
    project, tool = mixed_project
    written = []
    tool.write_fields = lambda task, fields: written.append(task)
    write_all(process, project)
    rows = verdicts(process, project)
    kinds = [rows[task].kind is None for task in written]
    assert kinds == sorted(kinds)
    others = [rows[task].shown_trust for task in written if rows[task].kind is None]
    assert others == sorted(others)


def test_an_answered_spot_check_stays_as_it_is(process, mixed_project):
    project, tool = mixed_project
    write_all(process, project)
    (task, *_) = [task for task, row in verdicts(process, project).items() if row.kind and row.route == "auto"]
    before = triage_fields(tool, task)
    with process.store.writing() as connection:
        id = items.find_items(connection, project.id, [task])[task].id
        connection.execute(update(spot_check).where(spot_check.c.item_id == id).values(state="right", answered_at=time.time()))
        found = fields_of(connection, project, [id])
    write_all(process, project)
    assert triage_fields(tool, task) == before == found[id]


def test_what_else_stands_in_a_task_stays(process, mixed_project):
    project, tool = mixed_project
    for data in tool.data.values():
        data["comment"] = "mine"
    write_all(process, project)
    assert {data["comment"] for data in tool.data.values()} == {"mine"}


@databases.both
def test_the_diversity_is_that_of_the_batch_or_of_all_if_that_is_small(process, connect, digits, at_once):
    project, tool = connect(sample_share=0.0, dataset_fields=("scanner",))
    few = import_tasks(process, project, tool, digits.strangers[0][:10], fields={"scanner": "A"})
    many = import_tasks(process, project, tool, [*digits.incoming[0][:50], *digits.strangers[0][10:30]], fields={"scanner": "B"})
    judge(process)
    assess(process, project)
    write_all(process, project)
    with process.store.reading() as connection:
        names = dict(connection.execute(select(dataset.c.name, dataset.c.id)).all())
        found = snapshots.latest(connection, list(names.values()), project.reference_id)
    shown = {
        name: f"{'All items' if name == 'all' else name}: {diversity_text(found[id].facts['diversity'])}" for name, id in names.items()
    }
    assert {tool.data[task.id].get("triage_diversity") for task in few} - {None} == {shown["all"]}
    assert {tool.data[task.id].get("triage_diversity") for task in many} - {None} == {shown["scanner=B"]}
    assert shown["all"] != shown["scanner=B"]


def test_the_diversity_reads_as_a_sentence():
    figures = {"n": 57, "failed": 0, "share": 0.31, "low": 0.2641, "high": 0.3618, "expected": 0.05, "calibrated": True}
    assert diversity_text(figures) == "31% strange (26.4 to 36.2%), 5% expected"
    assert diversity_text(figures | {"calibrated": False, "expected": None}) == "31% strange (26.4 to 36.2%), uncalibrated"
    assert diversity_text(figures | {"n": 0, "failed": 3, "share": None}) == "none of 3 items could be scored"


def test_nothing_is_written_before_the_first_snapshot(process, connect, digits, at_once):
    project, tool = connect(sample_share=1.0)
    import_tasks(process, project, tool, digits.incoming[0][:5])
    judge(process)
    writing = FieldWriting(process)
    assert not writing.step(project)
    assert "write_fields" not in tool.calls
    with process.store.reading() as connection:
        ids = connection.execute(select(item.c.id)).scalars().all()
        assert {tuple(fields) for fields in fields_of(connection, project, ids).values()} == {
            ("triage_route", "triage_reason", "triage_spot_check")
        }
    assess(process, project)
    assert writing.step(project)
    assert tool.calls.count("write_fields") == 5


@pytest.mark.parametrize("change", [{"watch": True}, {"problem": "a class has no choice"}, {"gone": True}])
def test_nothing_is_written_where_nothing_may_be(process, mixed_project, change):
    project, tool = mixed_project
    assert not FieldWriting(process).step(replace(project, **change))
    assert "write_fields" not in tool.calls


def test_nothing_is_written_where_fields_are_switched_off(process, connect, digits, at_once):
    project, tool = connect(item_fields=False)
    import_tasks(process, project, tool, digits.strangers[0][:20])
    judge(process)
    assess(process, project)
    assert not FieldWriting(process).step(project)
    assert states(process) == {}


@pytest.mark.parametrize(("busy", "people", "seconds"), [(False, False, 0.08), (False, True, 0.2), (True, True, 5.0)])
def test_writes_are_fewer_while_people_answer_or_predictions_are_on_their_way(process, connect, digits, monkeypatch, busy, people, seconds):
    project, tool = connect(sample_share=1.0)
    import_tasks(process, project, tool, digits.incoming[0][:3])
    judge(process)
    assess(process, project)
    with process.store.writing() as connection:
        if not busy:
            connection.execute(update(delivery).values(state="confirmed"))
        if people:
            connection.execute(update(item).values(answered_at=time.time()))
    clock, times = [1000.0], []
    monkeypatch.setattr(field_writing, "time", SimpleNamespace(time=time.time, monotonic=lambda: clock[-1]))
    monkeypatch.setattr(process.stopping, "wait", lambda seconds: clock.append(clock[-1] + seconds))
    tool.write_fields = lambda task, fields: times.append(clock[-1])
    write_all(process, project)
    assert np.diff(times) == pytest.approx([seconds] * 2)


@databases.both
def test_the_diversity_is_written_again_once_its_share_has_left_the_limits(process, mixed_project, mixed, monkeypatch):
    project, tool = mixed_project
    write_all(process, project)
    task = next(task for task, row in verdicts(process, project).items() if not row.kind and row.route == "outlier")
    before = triage_fields(tool, task)
    import_tasks(process, project, tool, mixed[0][-300:])
    judge(process)
    assess(process, project)
    write_all(process, project)
    assert triage_fields(tool, task) == before, "it is not ten minutes old"
    with process.store.writing() as connection:
        connection.execute(update(field_write).values(at=time.time() - 700))
    sent = {}
    tool.write_fields = lambda task, fields: sent.update({task: fields})
    write_all(process, project)
    assert sent[task].keys() == {"triage_diversity", "triage_reason"}
    assert sent[task]["triage_diversity"] != before["triage_diversity"]
    with process.store.writing() as connection:
        connection.execute(update(field_write).values(at=time.time() - 3700))
    sent.clear()
    write_all(process, project)
    assert sent == {}, "the share lies within what was written"


@databases.both
def test_answered_tasks_are_left_alone_when_the_diversity_moves(process, mixed_project):
    project, _ = mixed_project
    write_all(process, project)
    unanswered = next(task for task, row in verdicts(process, project).items() if not row.kind and row.route == "outlier")
    with process.store.writing() as connection:
        connection.execute(update(field_write).values(at=0.0, low=0.99, high=1.0))
        connection.execute(update(item).values(answer="resolved"))
        connection.execute(update(item).where(item.c.external_id == unanswered).values(answer="open"))
    sent = []
    process.tool_project(project).write_fields = lambda task, fields: sent.append(task)
    write_all(process, project)
    assert sent == [unanswered]


def test_a_deleted_task_is_forgotten(process, mixed_project):
    project, tool = mixed_project
    (task, *_) = states(process)
    tool.delete_task(task)
    write_all(process, project)
    assert task not in states(process)
    assert set(states(process).values()) == {"written"}


@pytest.mark.parametrize("error", [ToolUnavailable("no answer"), ToolRefused("401: the token was revoked")])
def test_what_is_not_the_tasks_fault_is_neither_lost_nor_counted(process, mixed_project, error):
    project, tool = mixed_project

    def fails(name):
        raise error

    tool.faults = fails
    with pytest.raises(type(error)):
        FieldWriting(process).step(project)
    assert set(states(process).values()) == {"pending"}
    with process.store.reading() as connection:
        assert set(connection.execute(select(field_write.c.attempts)).scalars()) == {0}
    tool.faults = lambda name: None
    write_all(process, project)
    assert set(states(process).values()) == {"written"}


@databases.both
@pytest.mark.parametrize("error", [OutcomeUnknown("no answer"), ToolUnavailable("no connection"), ToolRefused("401")])
def test_a_write_that_fails_is_made_again_and_nobody_holds_it(process, mixed_project, error):
    project, tool = mixed_project
    tool.failure = Failure("write_fields", 0, error)
    with pytest.raises(type(error)):
        FieldWriting(process).step(project)
    with process.store.reading() as connection:
        assert not field_writes.any_held(connection, project.id)
    write_all(process, project)
    written = {task for task, state in states(process).items() if state == "written"}
    assert {task for task in tool.tasks_by_id if triage_fields(tool, task)} == written


def test_a_round_with_nothing_to_write_writes_nothing(process, mixed_project):
    project, _ = mixed_project
    writing = FieldWriting(process)
    while writing.step(project):
        pass
    begun = []
    event.listen(process.store.engine, "begin", lambda connection: begun.append(connection.get_execution_options().get("writing", False)))
    assert not writing.step(project)
    assert begun
    assert not any(begun)


@databases.both
@pytest.mark.parametrize("error", [ToolError("400: data is locked"), ZeroDivisionError("nobody foresaw it")])
def test_a_task_that_is_refused_again_and_again_fails_alone_and_is_logged(process, mixed_project, caplog, error):
    project, tool = mixed_project
    (bad, *_) = states(process)
    write = tool.write_fields

    def refusing(task, fields):
        if task == bad:
            raise error
        write(task, fields)

    tool.write_fields = refusing
    for _ in range(5):
        write_all(process, project)
        assert not FieldWriting(process).step(project), "it waits before it is tried again"
        with process.store.writing() as connection:
            connection.execute(update(field_write).values(not_before=0.0))
    assert states(process).pop(bad) == "failed"
    assert set(states(process).values()) == {"written", "failed"}
    assert any("cannot be written" in record.message and record.fields["item"] == bad for record in caplog.records)
    write_all(process, project)
    assert states(process)[bad] == "failed"


@databases.both
def test_what_is_judged_again_while_it_is_written_is_written_again(process, mixed_project):
    project, tool = mixed_project
    write = tool.write_fields
    again = []

    def interrupted(task, fields):
        write(task, fields)
        if not again:
            again.append(task)
            with process.store.writing() as connection:
                row = items.find_items(connection, project.id, [task])[task]
                field_writes.queue(connection, project.id, {row.id: 0.5}, [])

    tool.write_fields = interrupted
    FieldWriting(process).step(project)
    assert states(process)[again[0]] == "pending"
    with process.store.reading() as connection:
        assert not field_writes.any_held(connection, project.id)


@databases.both
def test_what_is_judged_again_after_it_was_taken_is_written_as_it_is_then(process, mixed_project, monkeypatch):
    """What is written is read after the write was taken, so that no change falls between the two."""
    project, tool = mixed_project
    take, changed = field_writes.take, []

    def take_and_change(connection, *args):
        taken = take(connection, *args)
        changed.extend(write.external_id for write in taken.writes)
        connection.execute(update(verdict).values(route="uncertain", outlier_score=0.5))
        connection.execute(spot_check.delete())
        return taken

    monkeypatch.setattr(field_writes, "take", take_and_change)
    FieldWriting(process).step(project)
    assert {tool.data[task]["triage_outlier_score"] for task in changed} == {0.5}


@databases.both
def test_an_item_that_turns_automatic_loses_its_fields(process, connect, digits, at_once):
    project, tool = connect(sample_share=0.0, audit_share=0.0)
    (task,) = import_tasks(process, project, tool, digits.strangers[0][:1])
    auto = import_tasks(process, project, tool, digits.incoming[0][:40])
    judge(process)
    assess(process, project)
    write_all(process, project)
    rows = verdicts(process, project)
    assert rows[task.id].route == "outlier"
    known = next(candidate for candidate in auto if rows[candidate.id].route == "auto" and rows[candidate.id].kind is None)
    assert triage_fields(tool, task.id)
    with process.store.writing() as connection:
        id = items.find_items(connection, project.id, [task.id])[task.id].id
        items.change_media(connection, project, id, known.media)
    judge(process)
    if verdicts(process, project)[task.id].kind is None:
        write_all(process, project)
        assert triage_fields(tool, task.id) == {}
        assert task.id not in states(process)


def test_tasks_created_with_their_fields_only_get_what_was_missing(process, mixed_project):
    project, tool = mixed_project
    with process.store.writing() as connection:
        field_writes.created(connection, connection.execute(select(field_write.c.item_id)).scalars().all())
    sent = {}
    tool.write_fields = lambda task, fields: sent.update({task: set(fields)})
    write_all(process, project)
    outliers = {task for task, row in verdicts(process, project).items() if row.route == "outlier" and not row.kind}
    assert sent == {task: {"triage_reason", "triage_diversity"} for task in outliers}
    assert set(states(process).values()) == {"written"}


@databases.both
def test_a_reference_that_takes_over_renews_the_fields_of_unanswered_tasks(process, mixed_project):
    project, _ = mixed_project
    write_all(process, project)
    with process.store.writing() as connection:
        *others, last = sorted(connection.execute(select(field_write.c.item_id)).scalars())
        answered = others[:5]
        connection.execute(update(item).where(item.c.id.in_(answered)).values(answer="resolved"))
        connection.execute(field_write.delete().where(field_write.c.item_id == last))
        field_writes.queue_all(connection, get_project(connection, project.id), project.reference_id)
        found = dict(connection.execute(select(field_write.c.item_id, field_write.c.state)).all())
        queued = {
            row.item_id for row in field_writes.verdicts_shown(connection, project, list(found)) if row.route != "auto" or row.spot_check
        }
    assert {id for id, state in found.items() if state == "written"} == set(answered)
    assert queued == set(found) == {*others, last}


def test_outlier_scores_are_numbers_that_sort(process, mixed_project):
    project, tool = mixed_project
    write_all(process, project)
    scores = [data["triage_outlier_score"] for data in tool.data.values() if "triage_outlier_score" in data]
    assert all(isinstance(score, float) for score in scores)
    assert np.all((np.array(scores) > 0) & (np.array(scores) <= 1))


def test_a_diversity_that_a_few_items_gave_is_written_again_once_many_say_it_more_exactly(process, connect, digits, at_once):
    project, tool = connect(sample_share=0.0)
    few = import_tasks(process, project, tool, [*digits.incoming[0][:4], digits.strangers[0][0]])[-1:]
    judge(process)
    assess(process, project)
    write_all(process, project)
    before = triage_fields(tool, few[0].id)["triage_diversity"]
    import_tasks(process, project, tool, digits.incoming[0][5:205])
    judge(process)
    assess(process, project)
    with process.store.writing() as connection:
        connection.execute(update(field_write).values(at=time.time() - 700))
    write_all(process, project)
    after = triage_fields(tool, few[0].id)["triage_diversity"]
    assert re.match(r"All items: \d+% strange \(\d+(\.\d)? to \d\d\.\d%\)", before), before
    assert after != before
