"""The label audit of a project: people's wrong answers are found, decided on and counted; nothing is changed by itself."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sqlalchemy import select

from annotriage.errors import DataError, ModelError
from annotriage.labeling_tool import AUDIT_VERSION
from annotriage.quality.label_issues import worth_offering
from annotriage.service.judging import kept_model
from annotriage.service.operations.jobs import KINDS, run_queued
from annotriage.service.operations.process import Process
from annotriage.service.quality.auditing import audit_project, withdraw_decided
from annotriage.service.readings.label_audit import label_audit_state
from annotriage.states import FindingState
from annotriage.store import jobs, label_audits
from annotriage.store.projects import get_project
from annotriage.store.reviews import Answer, set_answers
from annotriage.store.schema import delivery, spot_check


@pytest.fixture
def mislabelled(process, connect, worker, digits, picture):
    """A project whose digits people have answered, one in ten wrong: project, tool, true labels and ids of the wrong ones."""
    project, tool = connect(sample_share=0.1, audit_share=0.0)
    images, labels = digits.incoming[0][:160], digits.incoming[1][:160]
    truth = {tool.add(picture(image)).id: label for image, label in zip(images, labels, strict=True)}
    worker.settle()
    with process.store.reading() as connection:
        checks = {str(id) for id in connection.execute(select(spot_check.c.item_id)).scalars()}
    wrong = set()
    for place, (task, label) in enumerate(truth.items()):
        if place % 10 == 0:
            wrong.add(task)
        tool.annotate(task, str((int(label) + 1) % 8) if place % 10 == 0 else label)
    worker.follow()
    return project, tool, truth, wrong - checks, checks


def present(process, project):
    with process.store.reading() as connection:
        return get_project(connection, project.id)


def state_of(process, project):
    with process.store.reading() as connection:
        return label_audit_state(connection, project, limit=100)


def test_wrong_answers_are_found_and_spot_checks_take_no_part(process, mislabelled):
    project, _, truth, wrong, checks = mislabelled
    assert checks
    text = audit_project(process, project)
    state = state_of(process, project)
    found = {finding.name for finding in state.findings}
    assert len(found & wrong) >= 0.8 * len(wrong)
    assert len(found - wrong) <= 0.05 * len(truth)
    assert not found & checks
    assert text == state.facts["sentences"][0]
    assert state.facts["items"] == len(truth) - len(checks)
    assert (state.precision, state.offered) == (None, True)


def test_an_audit_changes_no_annotation_and_shows_what_is_likely_under_a_version_of_its_own(process, mislabelled):
    project, tool, truth, wrong, checks = mislabelled
    shown, tasks, version = list(tool.predictions), dict(tool.tasks_by_id), tool.version
    audit_project(process, present(process, project))
    assert tool.tasks_by_id == tasks
    assert [stored for stored in tool.predictions if stored.version != AUDIT_VERSION] == shown
    assert tool.version == version
    audited = {stored.task: stored.labels for stored in tool.predictions if stored.version == AUDIT_VERSION}
    assert {finding.name: finding.likely or None for finding in state_of(process, project).findings} == audited
    assert sum(labels == (truth[task],) for task, labels in audited.items() if task in wrong) >= 0.7 * len(wrong)
    assert not set(audited) & checks
    audit_project(process, present(process, project))  # once more: nothing is there twice
    assert len([stored for stored in tool.predictions if stored.version == AUDIT_VERSION]) == len(audited)
    with process.store.reading() as connection:
        assert not connection.execute(select(delivery.c.item_id).where(delivery.c.state == "pending")).all()


def test_what_is_decided_leaves_the_labeling_tool(process, worker, mislabelled):
    project, tool, truth, *_ = mislabelled
    audit_project(process, present(process, project))
    assert not withdraw_decided(process, project)
    first, second = state_of(process, project).findings[:2]
    tool.annotate(first.name, truth[first.name], by="ann")
    worker.follow()
    with process.store.writing() as connection:
        label_audits.keep_label(connection, project, second.item_id, "boss")
    assert withdraw_decided(process, project)
    left = {stored.task for stored in tool.predictions if stored.version == AUDIT_VERSION}
    assert left == {finding.name for finding in state_of(process, project).findings}
    assert not withdraw_decided(process, project)


def test_what_is_likely_is_hidden_again_once_the_answer_is_gone(process, worker, mislabelled):
    project, tool, *_ = mislabelled
    audit_project(process, present(process, project))
    before = state_of(process, project)
    undone, disputed = before.findings[:2]
    with process.store.writing() as connection:
        set_answers(connection, {undone.item_id: Answer("open"), disputed.item_id: Answer("disputed", at=1.0)})
    after = state_of(process, project)
    assert after.open == before.open - 2
    assert {undone.name, disputed.name}.isdisjoint(finding.name for finding in after.findings)
    assert withdraw_decided(process, project)
    assert {undone.name, disputed.name}.isdisjoint(stored.task for stored in tool.predictions if stored.version == AUDIT_VERSION)
    assert not withdraw_decided(process, project)
    assert after.precision is None


def test_a_project_that_is_only_watched_gets_nothing(process, mislabelled):
    project, tool, *_ = mislabelled
    before = list(tool.predictions)
    audit_project(process, dataclasses.replace(present(process, project), watch=True))
    assert state_of(process, project).open > 5
    assert tool.predictions == before


def test_what_people_decide_comes_back_and_is_counted(process, worker, mislabelled):
    project, tool, truth, *_ = mislabelled
    audit_project(process, project)
    first, second, third = state_of(process, project).findings[:3]
    tool.annotate(first.name, truth[first.name], by="ann")  # the same person answers again: the latest counts
    worker.follow()
    with process.store.writing() as connection:
        label_audits.keep_label(connection, project, second.item_id, "boss")
    state = state_of(process, project)
    assert (state.precision.corrected, state.precision.decided, state.precision.share) == (1, 2, 0.5)
    assert state.precision.low < 0.5 < state.precision.high
    assert {first.name, second.name}.isdisjoint(finding.name for finding in state.findings)
    audit_project(process, project)  # what was decided is not asked again
    again = state_of(process, project)
    assert again.precision.decided == 2
    assert third.name in {finding.name for finding in again.findings}
    assert {first.name, second.name}.isdisjoint(finding.name for finding in again.findings)


def test_it_is_a_job_that_says_what_came_of_it(process, mislabelled):
    project, *_ = mislabelled
    with process.store.writing() as connection:
        jobs.queue(connection, project.id, jobs.LABEL_AUDIT)
    assert run_queued(process)
    with process.store.reading() as connection:
        (job,) = jobs.jobs_of(connection, project.id)
    assert (job.state, job.text) == ("done", state_of(process, project).facts["sentences"][0])


def test_a_replica_that_cannot_run_the_model_leaves_the_job_to_one_that_can_and_it_fails_where_none_can(process, mislabelled, monkeypatch):
    project, *_ = mislabelled
    other = Process(process.settings, process.role)
    other.server = process.server
    load, able = kept_model.load_model, set()

    def load_model(*given):
        if not able:
            raise ModelError("it needs torch")
        return load(*given)

    monkeypatch.setattr(kept_model, "load_model", load_model)
    left, left_by_the_other = set(), set()

    def ask():
        for replica in (process, other):
            replica.beat()
        with process.store.writing() as connection:
            jobs.queue(connection, project.id, jobs.LABEL_AUDIT)
        assert run_queued(process, KINDS, left)
        assert job().state == "queued"
        assert not run_queued(process, KINDS, left), "it takes it no more"

    def job():
        with process.store.reading() as connection:
            return jobs.jobs_of(connection, project.id)[0]

    ask()
    assert run_queued(other, KINDS, left_by_the_other)
    assert (job().state, job().text) == ("failed", "it needs torch")
    ask()
    able.add("other")
    assert run_queued(other, KINDS, left_by_the_other)
    assert job().state == "done"
    able.clear()
    ask()
    other.leave()
    assert run_queued(process, KINDS, left), "there is nobody else any more"
    assert (job().state, job().text) == ("failed", "it needs torch")


def test_without_answers_it_fails_with_what_to_do(process, connect):
    project, _ = connect()
    with pytest.raises(DataError, match="people have answered no items"):
        audit_project(process, project)
    with process.store.writing() as connection:
        jobs.queue(connection, project.id, jobs.LABEL_AUDIT)
    run_queued(process)
    with process.store.reading() as connection:
        (job,) = jobs.jobs_of(connection, project.id)
    assert job.state == "failed"


@pytest.mark.parametrize(
    ("real", "offered"),
    [([], True), ([False] * 29, True), ([False] * 30, False), ([True] * 50 + [False] * 50, False), ([True, False] * 30, True)],
)
def test_findings_are_offered_while_the_next_hundred_hold_one_in_ten_real_ones(real, offered):
    assert worth_offering(real) is offered


def test_a_tenth_is_enough():
    assert worth_offering(np.tile([True, *[False] * 8], 6).tolist())


def test_states_are_as_in_the_database():
    assert {state.value for state in FindingState} == {"open", "right", "corrected"}
