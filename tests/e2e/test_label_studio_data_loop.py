"""The data loop in a real Label Studio: an answer inherited by a copy, and wrong answers found, corrected and learned by a new model."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from click.testing import CliRunner
from encoders import encoder_of
from triaged_project import Triaged, picture

from annotriage.cli import main
from annotriage.engine.fitting import fit
from annotriage.engine.reference import Reference
from annotriage.labeling_tool import AUDIT_VERSION, INHERITED_VERSION
from annotriage.model.spec import ModelSpec
from annotriage.service.delivery.rescoring import advance_rescoring
from annotriage.service.guarantee.model_choice import ask_training, go_back, let_take_over
from annotriage.service.guarantee.retraining import retrain_project
from annotriage.service.judging import check_assignment
from annotriage.service.operations.jobs import TRAINING_KINDS, run_queued
from annotriage.service.quality.auditing import audit_project, withdraw_decided
from annotriage.service.quality.inheriting import inherit, take_inherited_back
from annotriage.service.quality.near_duplicates import NearDuplicates
from annotriage.service.readings.label_audit import label_audit_state
from annotriage.service.readings.training import training_state
from annotriage.store.queue import waiting_by_kind

CHOICES = "".join(f'<Choice value="{digit}"/>' for digit in range(10))
CONFIG = f'<View><Image name="image" value="$image"/><Choices name="label" toName="image">{CHOICES}</Choices></View>'
ANSWERED, WRONG = 160, 6


@pytest.fixture
def triaged(tmp_path, label_studio, digits_model, digits, quick):
    """Makes a project with such images, and with a limit that a few dozen answers can show."""
    made = []

    def triaged(images, **options):
        lenient = fit(digits_model, digits.train, digits.held_out, settings=dataclasses.replace(quick, max_error=0.2), name="digits")
        made.append(Triaged(tmp_path, label_studio, lenient, images, config=CONFIG, **options))
        return made[-1]

    yield triaged
    for started in made:
        started.process.leave()


def test_a_copy_inherits_an_answer_as_a_prediction_of_its_own_and_loses_it_again(triaged, label_studio, digits):
    images = digits.incoming[0][:6]
    project = triaged(images, sample_share=0.0, audit_share=0.0, inherit_answers=True)
    step = NearDuplicates(project.process).step
    (first, *_), before = sorted(project.items(), key=int), set(project.items())
    assert step(project.project)
    project.add(images[:1])
    (copy,) = set(project.items()) - before
    while step(project.project):
        pass
    label_studio.annotate(int(first), "9")
    project.follow()
    assert inherit(project.process, project.project)
    said = {stored["model_version"]: stored["result"] for stored in project.predictions()[copy]}
    assert said.keys() == {project.version(), INHERITED_VERSION}
    assert said[INHERITED_VERSION][0]["value"]["choices"] == ["9"]
    assert project.tasks()[copy]["annotations"] == [], "nobody has answered it"
    assert take_inherited_back(project.process, project.project, "boss") == 1
    assert [stored["model_version"] for stored in project.predictions()[copy]] == [project.version()]


@pytest.fixture
def same_draws(label_studio, monkeypatch):
    """Whatever ids the tool gives, the same tasks are drawn as spot checks: how much a few answers teach hangs on which they are."""
    (last,) = label_studio.import_tasks(label_studio.project(config=CONFIG), [{"image": "data:,"}])
    monkeypatch.setattr(check_assignment, "draw_name", lambda project, marker, task: f"task {int(task) - last}")


@pytest.mark.usefixtures("same_draws")
def test_wrong_answers_are_found_corrected_and_learned_and_fewer_items_wait(triaged, label_studio, digits, tmp_path):
    np.savez(tmp_path / "train.npz", x=digits.train[0], y=digits.train[1])
    images, labels = (np.concatenate([known[:-10], new[:-40]]) for known, new in zip(digits.incoming, digits.strangers, strict=True))
    rows = np.random.default_rng(0).permutation(len(images))[:ANSWERED]
    later = np.concatenate([digits.incoming[0][-10:], digits.strangers[0][-40:]])
    options = {"sample_share": 0.5, "audit_share": 0.0, "training_data": str(tmp_path / "train.npz")}
    project = triaged(np.concatenate([images[rows], later]), **options)
    answered, checks = sorted(project.items(), key=int)[:ANSWERED], project.spot_checks()
    truth = {task: str(labels[row]) for task, row in zip(answered, rows, strict=True)}
    wrong = [task for task in answered if task not in checks and int(truth[task]) < 8][:WRONG]
    given = {task: label_studio.annotate(int(task), str((int(truth[task]) + 3) % 8 if task in wrong else truth[task])) for task in answered}
    project.follow()

    def read(question, *others, **options):
        with project.process.store.reading() as connection:
            return question(connection, project.project, *others, **options)

    def waiting():
        found = read(waiting_by_kind)
        return found.strange + found.unsure

    def take_over():
        while project.project.next_reference_id or project.project.old_reference_id:
            project.settle()
            advance_rescoring(project.process, project.project)

    audit_project(project.process, project.project)
    doubted = {finding.name: finding for finding in read(label_audit_state, limit=100).findings}
    assert len(doubted.keys() & set(wrong)) >= WRONG - 1
    assert tab(label_studio, project.id, "Label audit") == doubted.keys()
    for task in doubted:  # as people do who look at each of them
        label_studio.call("PATCH", f"/api/annotations/{given[task]}/", {"result": choice(truth[task])})
    project.follow()
    withdraw_decided(project.process, project.project)
    real = len(doubted.keys() & set(wrong))
    assert read(label_audit_state, limit=100).precision.corrected == real
    assert {task for task, said in project.predictions().items() if AUDIT_VERSION in {one["model_version"] for one in said}} == set(
        doubted
    ) - set(wrong), "what was corrected is not in doubt any more"

    former, waited = project.version(), waiting()
    with project.process.store.writing() as connection:
        ask_training(connection, project.project, "ann")
    assert run_queued(project.process, TRAINING_KINDS)
    state = read(training_state)
    assert project.version() == former, "nothing changes by itself"
    let_take_over(project.process, project.project, state.trained.id, "ann")
    take_over()
    assert project.version() == state.trained.version != former
    shown = {task: [one["model_version"] for one in said] for task, said in project.predictions().items() if task not in doubted}
    assert all(versions == [project.version()] for versions in shown.values())
    assert waiting() < 0.7 * waited, state.trained.facts["guarantee"]["sentence"]
    go_back(project.process, project.project, state.trained.id, "bob")
    take_over()
    assert (project.version(), waiting()) == (former, waited)


def test_an_encoder_gets_its_head_from_the_first_answers_in_label_studio_and_grows_with_those_that_follow(
    label_studio, digits, digits_reference, tmp_path
):
    images, labels = (np.concatenate(part) for part in zip(digits.incoming, digits.strangers, strict=True))
    rows = np.random.default_rng(1).permutation(len(images))
    first, later = rows[:150], rows[150:210]
    earlier = label_studio.project(config=CONFIG)
    answered = [{"data": {"image": picture(images[row])}, "annotations": [{"result": choice(str(labels[row]))}]} for row in first]
    label_studio.import_tasks(earlier, answered)
    encoder = encoder_of(ModelSpec.load(digits_reference.spec_path), tmp_path)
    words = ["train", "--model", str(encoder), "--train", f"label-studio:{earlier}", "--out", str(tmp_path / "first"), "--quiet"]
    there = {"ANNOTRIAGE_LABEL_STUDIO_URL": label_studio.url, "ANNOTRIAGE_LABEL_STUDIO_TOKEN": label_studio.token}
    done = CliRunner().invoke(main, words, env=there)
    assert done.exit_code == 0, done.output
    reference = Reference.load(tmp_path / "first" / "reference")
    assert {"8", "9"} < set(reference.space.classes), "a class needs ten answers"
    project = Triaged(tmp_path, label_studio, reference, images[later], config=CONFIG, sample_share=0.0, audit_share=0.0)
    try:
        assert all(len(said) == 1 for said in project.predictions().values()), "triaged from the first day"
        for task, row in zip(sorted(project.items(), key=int), later, strict=True):
            label_studio.annotate(int(task), str(labels[row]))
        project.follow()
        made = retrain_project(project.process, project.project, f"label-studio:{earlier}", tmp_path / "second")
        assert made.examples.added.sum() > 0.5 * len(later), "grown by what people answered since"
    finally:
        project.process.leave()


def choice(label):
    return [{"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [label]}}]


def tab(label_studio, project, title):
    """The tasks that people see in a tab."""
    (view,) = [view["id"] for view in label_studio.call("GET", "/api/dm/views/", project=project) if view["data"]["title"] == title]
    return {str(task["id"]) for task in label_studio.call("GET", "/api/tasks/", project=project, view=view, page_size=100)["tasks"]}
