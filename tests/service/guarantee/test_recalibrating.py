"""Recalibration on what people answered on the sample, and nothing else."""

from __future__ import annotations

import dataclasses

import pytest

from annotriage.advice.event_words import event_sentence
from annotriage.advice.guarantee_words import guarantee_sentence
from annotriage.errors import FitError, StateError
from annotriage.service.guarantee import recalibrating
from annotriage.service.guarantee.recalibrating import recalibrate
from annotriage.service.operations.jobs import run_queued
from annotriage.store import jobs
from annotriage.store.events import history
from annotriage.store.projects import change_project, get_project
from annotriage.store.schema import spot_check
from annotriage.store.spot_checks import sample_answers


@pytest.fixture
def stream(process, scene, digits, picture):
    """A project into which digits came, strangers among them, a random part of them in the sample; people have answered some of it."""

    def stream(known=300, strangers=40, answered=1.0, **options):
        def begin(scene):
            project, tool = scene.connect(**{"sample_share": 0.7, "audit_share": 0.0} | options)
            images = [*zip(*(part[:known] for part in digits.incoming), strict=True)]
            images += [*zip(*(part[:strangers] for part in digits.strangers), strict=True)]
            truth = {tool.add(picture(image)).id: label for image, label in images}
            scene.worker.settle()
            with scene.process.store.reading() as connection:
                sample = [row.item_id for row in connection.execute(spot_check.select().order_by(spot_check.c.item_id))]
            for number in sample[: round(answered * len(sample))]:
                for person in ("ann", "bob"):  # the second one is not asked where the first agrees; an answer more does no harm
                    tool.annotate(str(number), truth[str(number)], by=person)
            scene.worker.follow()
            return project, truth

        given = {name: getattr(value, "version", value) for name, value in options.items()}  # of a reference
        project, truth = scene((known, strangers, answered, *given.items()), begin)
        return project, process.tool_project(project), truth

    return stream


def present(process, project):
    with process.store.reading() as connection:
        return get_project(connection, project.id)


def test_the_samples_answers_make_the_guarantee_anew(process, stream, digits_reference):
    project, _, truth = stream()
    with process.store.reading() as connection:
        sample = sample_answers(connection, project.id)
    foreign = sum(truth[row.external_id] in "89" for row in sample)
    assert foreign > 10
    reference = recalibrate(process, present(process, project))
    assert reference.guarantee.labelled == len(sample)
    assert len(reference.held_out.scores) == len(sample) - foreign, "strangers do not say what is usual"
    assert reference.counts["held_out_foreign"] == foreign
    assert any(note.startswith(f"{foreign} of {len(sample)} held-out items are none of the model's classes") for note in reference.notes)
    assert reference.guarantee.attempt == 1, "none of them was looked at before"
    assert reference.model == digits_reference.model
    assert reference.version != digits_reference.version
    assert reference.prediction_version != project.version
    now = present(process, project)
    assert (now.reference_id, now.next_reference_id is None) == (project.reference_id, False)
    with process.store.reading() as connection:
        event = history(connection, project.id)[0]
    assert event.kind == "recalibrated"
    assert event_sentence(event.kind, event.facts).endswith(f" answers of the sample: {guarantee_sentence(reference.guarantee)}")


def test_what_came_in_lately_is_compared_with_the_samples_answers(process, stream):
    project, _, _ = stream(compare_incoming=True)
    with process.store.reading() as connection:
        sample = sample_answers(connection, project.id)
    reference = recalibrate(process, present(process, project))
    assert reference.ratio.incoming == 340 - len(sample), "the sample is compared with the others"
    assert reference.guarantee.labelled + reference.ratio.held_out <= len(sample)
    assert reference.guarantee.labelled >= 74
    assert any("were compared with" in note for note in reference.notes)


def test_a_model_that_took_over_meanwhile_stays(process, stream, monkeypatch):
    project, *_ = stream(known=150, strangers=0)
    real = recalibrating.keep_reference

    def taken_over_meanwhile(store, reference):
        id = real(store, reference)
        with store.writing() as connection:
            change_project(connection, project.id, reference_id=id)
        return id

    monkeypatch.setattr(recalibrating, "keep_reference", taken_over_meanwhile)
    with pytest.raises(StateError, match="took over meanwhile"):
        recalibrate(process, present(process, project))
    assert present(process, project).next_reference_id is None


def test_strangers_that_people_found_count_against_the_guarantee(process, stream, digits_reference):
    """Every stranger in the sample is wrong whatever the model says: with many familiar-looking ones tau must rise or auto stop."""
    project, *_ = stream(known=150, strangers=150)
    reference = recalibrate(process, present(process, project))
    assert reference.guarantee.tau > digits_reference.guarantee.tau
    assert reference.guarantee.errors <= 0.04 * reference.guarantee.n


def test_too_few_answers_are_refused_with_the_number_that_it_takes(process, stream):
    project, *_ = stream(known=120, strangers=0, answered=0.2)
    with pytest.raises(FitError, match=r"project 1: \d+ items of the sample are answered, \d+ are needed for a limit of 4%"):
        recalibrate(process, present(process, project))
    assert present(process, project).next_reference_id is None


def test_one_change_of_reference_at_a_time(process, stream):
    project, *_ = stream(known=10, strangers=0)
    with process.store.writing() as connection:
        change_project(connection, project.id, next_reference_id=project.reference_id)
    with pytest.raises(StateError, match="taking over"):
        recalibrate(process, present(process, project))


def test_looking_at_the_same_answers_again_is_a_further_attempt(process, stream):
    project, *_ = stream()
    first = recalibrate(process, present(process, project))
    with process.store.writing() as connection:
        next_id = get_project(connection, project.id).next_reference_id
        change_project(connection, project.id, reference_id=next_id, next_reference_id=None)
    second = recalibrate(process, present(process, project))
    assert (first.guarantee.attempt, second.guarantee.attempt) == (1, 2)


def test_a_queued_recalibration_says_what_came_of_it(process, stream):
    project, *_ = stream()
    with process.store.writing() as connection:
        assert jobs.queue(connection, project.id, "recalibrate") == jobs.queue(connection, project.id, "recalibrate")
    assert run_queued(process)
    assert not run_queued(process)
    with process.store.reading() as connection:
        (job,) = jobs.jobs_of(connection, project.id)
    assert job.state == "done"
    assert job.text.startswith(("At most 4 in 100", "No label is automatic"))


def test_a_recalibration_that_cannot_be_done_fails_with_its_reason(process, stream):
    project, *_ = stream(known=10, strangers=0)
    with process.store.writing() as connection:
        jobs.queue(connection, project.id, "recalibrate")
    run_queued(process)
    with process.store.reading() as connection:
        (job,) = jobs.jobs_of(connection, project.id)
        assert history(connection, project.id)[0].facts == {"error": job.text}
    assert job.state == "failed"
    assert "are needed" in job.text


def test_labels_are_taken_from_the_sample_alone(process, stream, worker, digits, picture):
    project, tool, _ = stream(known=150, strangers=0)
    before = recalibrate(process, present(process, project)).guarantee.labelled
    with process.store.writing() as connection:
        change_project(connection, project.id, next_reference_id=None)
        sample = {str(row.item_id) for row in connection.execute(spot_check.select())}
    for id in [id for id in tool.tasks_by_id if id not in sample]:
        tool.annotate(id, "1")
    worker.follow()
    assert recalibrate(process, present(process, project)).guarantee.labelled == before


def test_what_was_said_of_the_training_set_outlives_a_recalibration_and_what_was_said_of_the_former_items_does_not(
    process, stream, digits_reference
):
    of_training = "broken held-out/7.png: 1 of 640 training items could not be used."
    of_former = "Thumbnails of the first calibration were scaled."
    noted = dataclasses.replace(digits_reference, training_notes=(of_training,), held_out_notes=(of_former,), version="")
    project, *_ = stream(reference=dataclasses.replace(noted, version=noted.content_hash()))
    notes = recalibrate(process, present(process, project)).notes
    assert of_training in notes
    assert of_former not in notes
