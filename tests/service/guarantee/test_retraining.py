"""Retraining from a project: people's answers are learned, spot checks never, the random sample judges, and a person decides."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from sqlalchemy import update
from waiting import PATIENCE, wait_until

from annotriage.advice.event_words import event_sentence
from annotriage.errors import MismatchError, StateError
from annotriage.service.delivery.rescoring import advance_rescoring
from annotriage.service.guarantee import retraining
from annotriage.service.guarantee.model_choice import ask_training, cancel_training, go_back, let_take_over, work_folder
from annotriage.service.guarantee.retraining import retrain_project
from annotriage.service.guarantee.tightening import with_stricter_gate
from annotriage.service.judging.predicting import StorePredictor
from annotriage.service.operations.erasing import erase
from annotriage.service.operations.jobs import TRAINING_KINDS, run_queued
from annotriage.service.readings.training import training_state
from annotriage.states import EventKind, JobState, TrainedState
from annotriage.store import erasing, jobs, trainings
from annotriage.store.events import history
from annotriage.store.projects import change_project, get_project
from annotriage.store.schema import job, spot_check, training
from annotriage.training import side_by_side


@pytest.fixture(scope="module")
def training_data(digits, tmp_path_factory):
    """The digits that the model was trained on, as a file."""
    file = tmp_path_factory.mktemp("training") / "train.npz"
    np.savez(file, x=digits.train[0], y=digits.train[1])
    return str(file)


@pytest.fixture
def answered(scene, digits, picture, training_data):
    """A project into which digits came, 8s and 9s among them, all answered by people; which tasks are spot checks; the true labels."""

    def answered(**options):
        def begin(scene):
            project, tool = scene.connect(sample_share=0.5, audit_share=0.0, training_data=training_data, **options)
            images, labels = (np.concatenate(part) for part in zip(digits.incoming, digits.strangers, strict=True))
            rows = np.random.default_rng(0).permutation(len(images))[:240]
            truth = {tool.add(picture(images[row])).id: labels[row] for row in rows}
            scene.worker.settle()
            for number, label in truth.items():
                tool.annotate(number, label)
            scene.worker.follow()
            with scene.process.store.reading() as connection:
                drawn = {str(row.item_id) for row in connection.execute(spot_check.select())}
            return project, drawn, truth

        return scene((*options.items(),), begin)

    return answered


def present(process, project):
    with process.store.reading() as connection:
        return get_project(connection, project.id)


def state_of(process, project):
    with process.store.reading() as connection:
        return training_state(connection, get_project(connection, project.id))


def ask(process, project, **plan):
    with process.store.writing() as connection:
        ask_training(connection, project, "ann", **plan)


def take_over(process, worker, project):
    """Let the reference that is to come take over, as the worker does in turns."""
    worker.settle()
    end = time.monotonic() + PATIENCE
    while present(process, project).next_reference_id or present(process, project).old_reference_id:
        advance_rescoring(process, present(process, project))
        worker.settle()
        assert time.monotonic() < end


def test_answers_are_learned_and_spot_checks_are_not(process, answered, digits, tmp_path):
    project, drawn, truth = answered()
    made = retrain_project(process, project, digits.train, tmp_path / "better")
    learned = set(made.examples.collected.ids[len(digits.train[0]) :])
    assert made.new_classes == ("8", "9")
    assert 0 < len(learned) <= len(truth) - len(drawn)
    assert not learned & drawn
    assert made.comparison.new.n > 50
    assert made.comparison.new.accuracy > made.comparison.old.accuracy
    assert (tmp_path / "better" / "reference" / "reference.json").exists()


def test_a_model_is_trained_by_a_click_takes_over_by_another_and_goes_back_by_a_third(process, answered, worker):
    project, drawn, truth = answered()
    before = state_of(process, project)
    assert (before.learnable, before.job, before.trained) == (len(truth) - len(drawn), None, None)
    ask(process, project)
    assert run_queued(process, TRAINING_KINDS)
    state = state_of(process, project)
    assert (state.job.state, state.job.text) == (JobState.DONE, state.trained.facts["sentences"][0])
    assert (state.trained.state, state.trained.by, state.in_use) == (TrainedState.OFFERED, "ann", False)
    assert state.trained.version.startswith("annotriage digits-2 ")
    assert present(process, project).reference_id == project.reference_id, "nothing changes by itself"

    let_take_over(process, project, state.trained.id, "ann")
    with pytest.raises(StateError, match="taking over"):
        let_take_over(process, project, state.trained.id, "ann")
    take_over(process, worker, project)
    assert state_of(process, project).in_use
    assert {"8", "9"} <= set(present(process, project).classes)

    go_back(process, present(process, project), state.trained.id, "bob")
    take_over(process, worker, project)
    assert present(process, project).reference_id == project.reference_id
    assert state_of(process, project).trained.state == TrainedState.RETURNED
    with process.store.reading() as connection:
        kinds = [event.kind for event in history(connection, project.id, limit=30)]
    assert [kind for kind in kinds if kind in ("trained", "chosen", "switched")] == ["switched", "chosen", "switched", "chosen", "trained"]


def test_a_model_takes_over_by_itself_only_where_that_is_set_and_it_is_shown_to_be_better(process, answered, monkeypatch):
    project, *_ = answered(take_over="better")
    ask(process, project)
    run_queued(process, TRAINING_KINDS)
    state = state_of(process, project)
    assert state.trained.facts["comparison"]["takes_over"] == "undecided", "some 60 items of the old classes do not exclude a lost point"
    assert (state.trained.state, state.coming) == (TrainedState.OFFERED, False)

    monkeypatch.setattr(side_by_side, "NOT_WORSE", 0.5)
    ask(process, project)
    run_queued(process, TRAINING_KINDS)
    state = state_of(process, project)
    assert state.trained.facts["comparison"]["takes_over"] == "yes"
    assert present(process, project).next_reference_id == state.trained.reference_id
    assert state.trained.state == TrainedState.TAKEN


def test_a_class_that_the_labeling_config_has_no_place_for_does_not_take_over(process, answered, monkeypatch):
    project, *_ = answered(take_over="better")
    monkeypatch.setattr(side_by_side, "NOT_WORSE", 0.5)
    process.tool_project(project).problem = "no choice fits the classes 8, 9"
    ask(process, project)
    run_queued(process, TRAINING_KINDS)
    state = state_of(process, project)
    trained = state.trained
    assert (trained.facts["comparison"]["takes_over"], state.job.state) == ("yes", JobState.DONE)
    with process.store.reading() as connection:
        (told,) = [event for event in history(connection, project.id) if event.kind == EventKind.NOT_TAKEN_OVER]
    assert "no choice fits the classes 8, 9; then let it take over on the page Training" in event_sentence(told.kind, told.facts)
    with pytest.raises(MismatchError, match="no choice fits"):
        let_take_over(process, project, trained.id, "ann")
    assert state_of(process, project).trained.state == TrainedState.OFFERED


def test_a_training_that_nobody_wants_any_more_stops_and_leaves_nothing(process, answered):
    project, *_ = answered()
    ask(process, project, epochs=100_000)
    running = threading.Thread(target=run_queued, args=(process, TRAINING_KINDS))
    running.start()
    wait_until(lambda: state_of(process, project).job.text == "training")
    assert state_of(process, project).job.total
    assert cancel_training(process, project)
    running.join()
    state = state_of(process, project)
    assert (state.job.state, state.trained) == (JobState.CANCELLED, None)
    assert not any(work_folder(process, project).iterdir())
    assert not cancel_training(process, project)
    ask(process, project)
    assert state_of(process, project).job.state == JobState.QUEUED


def test_what_another_process_trains_by_now_is_left_to_it_and_an_erased_item_stops_what_may_have_learned_it(process, answered):
    project, *_ = answered()
    ask(process, project, epochs=100_000)
    kept = work_folder(process, project) / "of another process"
    kept.touch()

    def train(stop):
        running = threading.Thread(target=run_queued, args=(process, TRAINING_KINDS))
        running.start()
        wait_until(lambda: state_of(process, project).job.text == "training")
        found = stop()
        running.join()
        return found

    def held_for_dead():
        with process.store.writing() as connection:
            jobs.take_back(connection, [process.owner])
            connection.execute(update(job).values(text=""))

    train(held_for_dead)
    assert (state_of(process, project).job.state, kept.exists()) == (JobState.QUEUED, True)

    done = train(lambda: erase(process, project, ["1"], "ann"))
    assert any("training that ran was stopped" in sentence for sentence in done.remains)
    state = state_of(process, project)
    assert (state.job.state, state.trained, kept.exists()) == (JobState.CANCELLED, None, False)


def test_a_training_that_is_cancelled_at_its_very_end_leaves_no_model(process, answered, monkeypatch):
    project, *_ = answered()
    real = retraining.keep_reference

    def cancelled_meanwhile(store, reference):
        id = real(store, reference)
        assert cancel_training(process, project)
        return id

    monkeypatch.setattr(retraining, "keep_reference", cancelled_meanwhile)
    ask(process, project, epochs=1)
    run_queued(process, TRAINING_KINDS)
    state = state_of(process, project)
    assert (state.job.state, state.trained) == (JobState.CANCELLED, None)


def test_what_cannot_be_trained_says_what_to_do(process, connect, digits, training_data, tmp_path):
    project, _ = connect()
    with pytest.raises(StateError, match="Manual review"):
        retrain_project(process, project, digits.train, tmp_path / "better")
    assert not (tmp_path / "better").exists()
    with pytest.raises(StateError, match="set training_data"):
        ask(process, project)
    other, _ = connect("2", training_data=training_data)
    ask(process, other)
    run_queued(process, TRAINING_KINDS)
    job = state_of(process, other).job
    assert (job.state, "Manual review" in job.text) == (JobState.FAILED, True)


def test_a_report_goes_with_an_item_that_is_erased(process, answered):
    project, *_ = answered()
    ask(process, project, epochs=1)
    run_queued(process, TRAINING_KINDS)
    assert state_of(process, project).trained.stored_file_id
    with process.store.writing() as connection:
        facts = {**state_of(process, project).trained.facts, "notes": ["1 items could not be used: task 1: no picture, task 11: neither"]}
        connection.execute(update(training).values(facts=facts))
        found = erasing.doomed(connection, project, ["1"])
        erasing.erase(connection, project, list(found.values()))
    trained = state_of(process, project).trained
    assert (trained.stored_file_id, trained.facts["regions"]) == (None, [])
    assert trained.facts["notes"][0].endswith("task (erased): no picture, task 11: neither")


def test_start_training_in_the_labeling_tool_makes_a_new_model_where_that_is_set(process, answered):
    project, *_ = answered(start_training="train")
    StorePredictor(process).train(project.external_id)
    assert state_of(process, project).job.state == JobState.QUEUED


def test_a_stricter_gate_meanwhile_costs_no_training_and_two_models_are_not_decided_on_at_once(
    process, answered, digits_reference, monkeypatch
):
    project, *_ = answered()
    sureness = digits_reference.answered.sureness
    stricter = with_stricter_gate(digits_reference, float(np.quantile(sureness[sureness > digits_reference.guarantee.tau], 0.25)))
    real, kept = retraining.keep_reference, []

    def made_stricter_meanwhile(store, reference):
        kept.append(real(store, stricter))
        with store.writing() as connection:
            change_project(connection, project.id, reference_id=kept[0])
        return real(store, reference)

    monkeypatch.setattr(retraining, "keep_reference", made_stricter_meanwhile)
    ask(process, project, epochs=1)
    run_queued(process, TRAINING_KINDS)
    trained = state_of(process, project).trained
    assert [trained.former_id] == kept
    with process.store.writing() as connection:
        trainings.move(connection, project, trained.id, (TrainedState.OFFERED,), TrainedState.TAKEN)
        change_project(connection, project.id, next_reference_id=None)
    with pytest.raises(StateError, match="somebody else"):
        let_take_over(process, project, trained.id, "ann")
