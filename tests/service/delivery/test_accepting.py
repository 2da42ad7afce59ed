"""Automatic labels become annotations only where nothing speaks against it, once, and can be taken back."""

from __future__ import annotations

import time
from dataclasses import asdict

import pytest
from click.testing import CliRunner
from memory_tool import Failure
from stores import verdict_of

from annotriage.advice.state_words import accepted_sentence
from annotriage.cli import main
from annotriage.errors import OutcomeUnknown, ToolError, ToolRefused, ToolUnavailable, UnknownError
from annotriage.guarantee.binomial import first_size, spent_confidence
from annotriage.service.delivery import accepting
from annotriage.service.delivery.accepting import Taken, accept_all, accept_batch, accept_due, undo, why_not
from annotriage.store import Store, acceptances
from annotriage.store.events import history
from annotriage.store.projects import change_project, get_project
from annotriage.store.schema import accepted, item, spot_check


@pytest.fixture
def running(process, scene, digits, picture):
    """A project whose first digits have passed their probation: answered by people, all in agreement with the model."""

    def running(count=200, *, agree=True, **options):
        def begin(scene):
            project, tool = scene.connect(**{"accept": "annotate", "sample_share": 0.0} | options)
            first = [tool.add(picture(image)) for image in digits.incoming[0][:120]]
            scene.worker.settle()
            if agree:
                answer_spot_checks(scene.process, tool)
            scene.worker.follow()
            for image in digits.incoming[0][120:count]:
                tool.add(picture(image))
            scene.worker.settle()
            return now(scene.process, project), [task.id for task in first]

        project, first = scene((count, agree, *options.items()), begin)
        return project, process.tool_project(project), first

    return running


def answer_spot_checks(process, tool):
    """People say what the model says, blind."""
    with process.store.reading() as connection:
        rows = connection.execute(spot_check.select().where(spot_check.c.state == "open")).all()
        said = {row.item_id: accepting_label(connection, row) for row in rows}
    for item_id, label in said.items():
        tool.annotate(str(item_id), label)


def accepting_label(connection, row):
    return verdict_of(connection, row.item_id, row.reference_id).labels[0]


def now(process, project):
    with process.store.reading() as connection:
        return get_project(connection, project.id)


def machine_made(tool):
    return {id: [review for review in task.reviews or () if review.machine] for id, task in tool.tasks_by_id.items()}


def test_after_its_probation_automatic_labels_of_a_dataset_become_annotations(process, running, worker):
    project, tool, _ = running()
    accept_due(process, project)
    made = {id for id, reviews in machine_made(tool).items() if reviews}
    assert len(made) > 30
    worker.follow()
    with process.store.reading() as connection:
        rows = {row.external_id: row for row in connection.execute(item.select())}
        spot_checks = {str(row.item_id) for row in connection.execute(spot_check.select())}
        (batch,) = acceptances.batches(connection, project.id)
        assert history(connection, project.id)[0].facts == {"batch": batch.id, "labels": len(made)}
    assert batch.items == len(made)
    assert all((rows[id].answer, rows[id].machine, rows[id].route) == ("resolved", True, "auto") for id in made)
    assert not made & spot_checks, "never spot checks"
    accept_due(process, project)
    assert {len(reviews) for id, reviews in machine_made(tool).items() if id in made} == {1}


def test_a_probation_takes_no_more_answers_than_it_needs(process, running):
    running(count=200, agree=False, audit_share=0.0)
    with process.store.reading() as connection:
        automatic = connection.execute(spot_check.select().where(spot_check.c.route == "auto")).all()
    assert len(automatic) == first_size(0.04, spent_confidence(0.95, 1))


def test_nothing_is_accepted_during_the_probation(process, running):
    project, tool, _ = running(agree=False)
    accept_due(process, project)
    assert not any(machine_made(tool).values())


def test_nothing_is_accepted_unless_the_project_wants_it(process, running):
    project, tool, _ = running(accept="suggest")
    accept_due(process, project)
    assert tool.calls.count("accept") == 0


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"paused_at": 1.0, "pause_reason": "new scanner"}, "automatic labels are paused"),
        ({"problem": "the config lost a choice"}, "delivery is stopped"),
        ({"next_reference_id": 1}, "a new reference is taking over"),
        ({"watch": True}, "only watched"),
    ],
)
def test_what_speaks_against_it_stops_it_and_is_named(process, running, state, reason):
    project, tool, _ = running()
    with process.store.writing() as connection:
        change_project(connection, project.id, **state)
    project = now(process, project)
    assert accept_batch(process, project) == 0
    assert not any(machine_made(tool).values())
    with process.store.reading() as connection:
        assert reason in why_not(connection, project)


def test_too_many_and_too_old_spot_checks_stop_it(process, running):
    project, _tool, _ = running()
    with process.store.writing() as connection:
        connection.execute(spot_check.update().values(state="open"))
        assert "wait for people's answers; at most 50 may" in why_not(connection, project)
        keep = connection.execute(spot_check.select().limit(1)).one().item_id
        connection.execute(spot_check.update().where(spot_check.c.item_id != keep).values(state="right"))
        connection.execute(spot_check.update().values(drawn_at=time.time() - 8 * 86400))
        assert "more than 7 days" in why_not(connection, project)
        connection.execute(spot_check.update().values(drawn_at=time.time() - 6 * 86400))
        assert why_not(connection, project) is None


def test_what_a_person_has_touched_and_what_wants_two_answers_is_left_to_people(process, running, worker):
    project, tool, _ = running()
    with process.store.reading() as connection:
        datasets = {row.shown_dataset_id for row in connection.execute(item.select())}
        skipped, twice, empty, *_ = [row.external_id for row in acceptances.acceptable(connection, project, datasets, 100)]
    tool.annotate(skipped, skipped=True)
    tool.annotate(empty, empty=True)
    tool.ask_again(twice, 2)
    worker.follow()
    accept_due(process, project)
    made = machine_made(tool)
    assert any(made.values())
    assert not made[skipped] + made[twice] + made[empty]


def test_all_is_accepted_but_what_people_are_at_however_the_batches_fall(process, running, worker, monkeypatch):
    project, tool, _ = running()
    monkeypatch.setattr(accepting, "BATCH", 10)
    with process.store.reading() as connection:
        datasets = {row.shown_dataset_id for row in connection.execute(item.select())}
        waiting = [row.external_id for row in acceptances.acceptable(connection, project, datasets, 1_000)]
    for task in waiting[:12]:  # the whole first batch and more, which the service has not read yet
        tool.annotate(task, "7")
    monkeypatch.setattr(accepting, "LOST_SECONDS", 0.0)  # what was refused may be tried again at once
    assert accept_all(process, project) == Taken(len(waiting) - 12, 12)
    assert {id for id, reviews in machine_made(tool).items() if reviews} == {*waiting[12:]}
    assert accept_all(process, project) == Taken(0, 12)
    worker.follow()
    assert accept_all(process, project) == Taken(0, 0)


@pytest.mark.parametrize(
    ("labels", "left", "said"),
    [
        (0, 0, "No automatic label may become an annotation now."),
        (1, 0, "1 automatic label became an annotation."),
        (1200, 0, "1,200 automatic labels became annotations."),
        (7, 1, "7 automatic labels became annotations. 1 was left, as people are at the tasks or have changed them; run it again later."),
        (
            0,
            500,
            "No automatic label became an annotation: 500 were left, as people are at the tasks or have changed them; run it again later.",
        ),
    ],
)
def test_what_was_left_is_told(labels, left, said):
    assert accepted_sentence(labels, left) == said


def test_a_lost_answer_makes_no_second_annotation(process, running, monkeypatch):
    project, tool, _ = running()
    tool.lose_answers = 1
    with pytest.raises(ToolUnavailable):
        accept_batch(process, project)
    count = sum(map(len, machine_made(tool).values()))
    assert count > 30
    assert accept_batch(process, project) == 0
    monkeypatch.setattr(accepting, "LOST_SECONDS", 0.0)
    assert accept_batch(process, project) == 0
    assert sum(map(len, machine_made(tool).values())) == count
    with process.store.reading() as connection:
        assert all(row.review for row in connection.execute(accepted.select())), "known after reading back"


def test_a_call_that_never_arrived_is_made_again(process, running, monkeypatch):
    project, tool, _ = running()

    def broken(name):
        if name == "accept":
            raise ToolUnavailable("no connection")

    tool.faults = broken
    with pytest.raises(ToolUnavailable):
        accept_batch(process, project)
    tool.faults = lambda name: None
    assert accept_batch(process, project) > 30


FAILURES = {
    "lost": (OutcomeUnknown("the connection broke off"), False),
    "unknown": (OutcomeUnknown("the connection broke off"), True),
    "down": (ToolUnavailable("no connection"), True),
    "refused": (ToolRefused("401: the token was revoked"), True),
}


@pytest.fixture
def recover(process, monkeypatch):
    """Let the time pass after which a lost call is over, and accept what is left."""

    def recover(project):
        with monkeypatch.context() as patched:
            patched.setattr(accepting, "LOST_SECONDS", -1.0)
            for _ in range(3):
                accept_due(process, now(process, project))

    return recover


@pytest.mark.parametrize("after", [0, 5])
@pytest.mark.parametrize("failure", FAILURES)
def test_an_acceptance_that_fails_in_its_middle_annotates_once_and_undo_reaches_all(process, running, recover, failure, after):
    project, tool, _ = running()
    error, told = FAILURES[failure]
    tool.failure = Failure("accept", after, error, told)
    with pytest.raises(ToolError):
        accept_batch(process, project)
    recover(project)
    made = machine_made(tool)
    assert sum(map(len, made.values())) > 30
    assert max(map(len, made.values())) == 1
    with process.store.reading() as connection:
        rows = connection.execute(accepted.select()).all()
        numbers = [batch.id for batch in acceptances.batches(connection, project.id)]
    assert {row.state for row in rows} == {"made"}
    assert {row.review for row in rows} == {review.id for reviews in made.values() for review in reviews}
    for number in numbers:
        undo(process, project, number)
    assert not any(machine_made(tool).values())


@pytest.mark.parametrize("after", [0, 5])
@pytest.mark.parametrize("failure", ["lost", "down", "refused"])
def test_an_undo_that_fails_in_its_middle_is_brought_to_its_end(process, running, recover, failure, after):
    project, tool, _ = running()
    accept_batch(process, project)
    with process.store.reading() as connection:
        (batch,) = acceptances.batches(connection, project.id)
    error, _ = FAILURES[failure]
    tool.failure = Failure("retract", after, error)
    with pytest.raises(ToolError):
        undo(process, project, batch.id)
    recover(project)
    assert not any(machine_made(tool).values())
    with process.store.reading() as connection:
        assert {row.state for row in connection.execute(accepted.select())} == {"undone"}


def test_an_annotation_that_appears_after_its_batch_was_taken_back_is_taken_back_too(process, running, recover):
    project, tool, _ = running()
    tool.lose_answers = 1
    with pytest.raises(OutcomeUnknown):
        accept_batch(process, project)
    late = {id: task for id, task in tool.tasks_by_id.items() if any(review.machine for review in task.reviews or ())}
    for id in late:  # not carried out yet
        tool._set_reviews(id, ())
    with process.store.reading() as connection:
        (batch,) = acceptances.batches(connection, project.id)
    assert undo(process, project, batch.id) == 0
    tool.tasks_by_id |= late
    recover(project)
    assert not any(machine_made(tool).values())
    assert accept_batch(process, project) == 0, "never again after an undo"


def test_a_batch_that_is_taken_back_while_it_is_accepted_leaves_no_annotation(process, running, recover):
    project, tool, _ = running()

    def undo_meanwhile(name):
        if name == "accept":
            with process.store.reading() as connection:
                (batch,) = acceptances.batches(connection, project.id)
            undo(process, project, batch.id)

    tool.faults = undo_meanwhile
    assert accept_batch(process, project) > 30
    tool.faults = lambda name: None
    recover(project)
    assert not any(machine_made(tool).values())


def test_what_is_accepted_is_read_back_after_acceptance_was_switched_off(process, running, recover):
    from dataclasses import replace

    project, tool, _ = running()
    tool.lose_answers = 1
    with pytest.raises(OutcomeUnknown):
        accept_batch(process, project)
    with process.store.writing() as connection:
        change_project(connection, project.id, options=asdict(replace(project.options, accept="suggest")))
    recover(project)
    with process.store.reading() as connection:
        assert {row.state for row in connection.execute(accepted.select())} == {"made"}


def test_a_pause_that_comes_just_before_stops_the_batch(process, running):
    """The batch was put together from what was true a moment ago."""
    project, tool, _ = running()
    with process.store.writing() as connection:
        change_project(connection, project.id, paused_at=1.0)
    assert accept_batch(process, project) == 0
    assert "accept" not in tool.calls


def test_a_process_that_died_before_it_asked_accepts_later(process, running, monkeypatch):
    project, tool, _ = running()
    with process.store.writing() as connection:
        datasets = {row.shown_dataset_id for row in connection.execute(item.select())}
        rows = acceptances.acceptable(connection, project, datasets, 10)
        acceptances.begin_batch(connection, project, [row.id for row in rows])
    monkeypatch.setattr(accepting, "LOST_SECONDS", 0.0)
    accept_batch(process, project)
    made = machine_made(tool)
    assert all(len(made[row.external_id]) == 1 for row in rows)


def test_a_batch_is_taken_back_as_a_whole_and_never_accepted_again(process, running, worker):
    project, tool, _ = running()
    count = accept_batch(process, project)
    worker.follow()
    with process.store.reading() as connection:
        (batch,) = acceptances.batches(connection, project.id)
    assert undo(process, project, batch.id) == count
    assert not any(machine_made(tool).values())
    with process.store.reading() as connection:
        rows = connection.execute(item.select().join(accepted)).all()
        assert {row.answer for row in rows} == {"open"}
        assert acceptances.batches(connection, project.id)[0].undone_at is not None
    assert accept_batch(process, project) == 0
    assert undo(process, project, batch.id) == 0


def test_what_a_person_has_changed_since_stays(process, running, worker):
    from dataclasses import replace

    project, tool, _ = running()
    count = accept_batch(process, project)
    id, (machine,) = next((id, reviews) for id, reviews in machine_made(tool).items() if reviews)
    tool._set_reviews(id, (replace(machine, machine=False, labels=("7",), updated_at=time.time() + 1),))
    worker.follow()
    with process.store.reading() as connection:
        (batch,) = acceptances.batches(connection, project.id)
    assert undo(process, project, batch.id) == count - 1
    assert tool.tasks_by_id[id].reviews[0].labels == ("7",)


def test_an_unknown_batch_is_named(process, running):
    project, *_ = running(count=120)
    with pytest.raises(UnknownError, match="project 1 has no batch 7 of accepted labels; the latest are none"):
        undo(process, project, 7)


def test_a_list_without_batches_says_so(running, process, tmp_path):
    running(count=1)
    environment = {"ANNOTRIAGE_LABEL_STUDIO_TOKEN": "unused", "ANNOTRIAGE_DATABASE": process.settings.database}
    result = CliRunner().invoke(main, ["accept", "--project", "1", "--list"], env=environment)
    assert "No automatic label has become an annotation yet." in result.output


def test_the_commands_say_which_project_they_do_not_know(tmp_path):
    config = tmp_path / "annotriage.toml"
    config.write_text('database = "sqlite:///x.db"\nlabel_studio_token = "unused"\n')
    Store(f"sqlite:///{tmp_path}/x.db").close()
    for command in (["undo", "--accept", "1"], ["accept"], ["recalibrate"]):
        result = CliRunner().invoke(main, [*command, "--project", "9", "--config", str(config)])
        assert result.exit_code == 1
        assert "project 9 is not connected" in result.output
