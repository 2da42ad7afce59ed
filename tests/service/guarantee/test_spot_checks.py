"""Spot checks: blind answers settle them, the alarm hears them in their order, and only a recalibration silences it."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np
import pytest
from answered_checks import MODEL_SAYS, SpotChecks
from scipy.stats import beta
from sqlalchemy import update

from annotriage.advice.state_words import why_paused
from annotriage.engine.verdict import Verdict
from annotriage.errors import StateError, ToolGone
from annotriage.guarantee.audit import alarm_levels
from annotriage.guarantee.binomial import first_size
from annotriage.labeling_tool import Review, Task
from annotriage.service.guarantee import spot_checks
from annotriage.service.guarantee.decisions import decide, decisions
from annotriage.service.guarantee.pausing import pause, resume
from annotriage.store import items
from annotriage.store import spot_checks as stored_checks
from annotriage.store.events import history
from annotriage.store.projects import change_project
from annotriage.store.references import get_reference, save_reference
from annotriage.store.schema import spot_check
from annotriage.store.verdicts import Judgement, record


@pytest.fixture
def drawn(process, connect):
    return SpotChecks(process, connect()[0])


def test_who_agrees_with_the_model_settles_a_spot_check(drawn):
    (id,) = drawn.draw(1)
    assert drawn.states() == ["open"]
    drawn.answer([(id, "ann", MODEL_SAYS)])
    assert drawn.states() == ["right"]


def test_a_contradiction_counts_as_wrong_at_once_until_a_second_person_says_otherwise(drawn):
    confirmed, refuted = drawn.draw(2)
    drawn.answer([(confirmed, "ann", "5"), (refuted, "ann", "5")])
    assert drawn.states() == ["disagreed", "disagreed"]
    standing = drawn.standing()
    assert (standing.answers, standing.wrong, standing.contradicted) == (2, 2, 2)
    drawn.answer([(confirmed, "ann", "6"), (refuted, "ann", "6")])
    assert drawn.states() == ["disagreed", "disagreed"], "the same person again"
    drawn.answer([(confirmed, "bob", "7"), (refuted, "bob", MODEL_SAYS)])
    assert drawn.states() == ["wrong", "right"]
    standing = drawn.standing()
    assert (standing.answers, standing.wrong, standing.contradicted) == (2, 1, 0)


def test_contradictions_alone_stop_automatic_labels_until_second_answers_side_with_the_model(drawn):
    ids = drawn.draw(20)
    drawn.answer([(id, "ann", "5") for id in ids])
    alarm = drawn.present().alarm
    assert (alarm.wrong, alarm.unconfirmed) == (20, 20)
    with drawn.process.store.writing() as connection, pytest.raises(StateError, match="await a second answer"):
        resume(connection, drawn.present())
    drawn.answer([(id, "bob", MODEL_SAYS) for id in ids], at=time.time() + 60)
    assert drawn.present().alarm is None
    with drawn.process.store.reading() as connection:
        assert [event.kind for event in history(connection, drawn.project.id)][:2] == ["alarm over", "alarm"]


def test_an_alarm_that_second_answers_confirm_ends_by_a_recalibration_alone(drawn):
    ids = drawn.draw(20)
    drawn.answer([(id, "ann", "5") for id in ids])
    drawn.answer([(id, "bob", "5") for id in ids], at=time.time() + 60)
    alarm = drawn.present().alarm
    assert (alarm.wrong, alarm.unconfirmed) == (20, 0)
    assert "recalibrate" in why_paused(None, alarm, "1")


# -- one person alone


def test_where_one_person_alone_answers_whoever_manages_decides_after_a_day_and_is_not_told_who_says_what(drawn):
    wrong, right, young = drawn.draw(3)
    long_ago = time.time() - 2 * 86_400
    drawn.answer([(wrong, "ann", "5"), (right, "ann", "6")], at=long_ago)
    drawn.answer([(young, "ann", "5")])
    with drawn.process.store.writing() as connection:
        assert decisions(connection, replace(drawn.present(), hides_checks=True)) == [], "who may only look sees none of them"
        found = {decision.name: decision for decision in decisions(connection, drawn.present())}
        assert found.keys() == {wrong, right}
        assert {frozenset(decision.choices) for decision in found.values()} == {
            frozenset({(MODEL_SAYS,), ("5",)}),
            frozenset({(MODEL_SAYS,), ("6",)}),
        }
        with pytest.raises(StateError, match="meanwhile"):  # the only annotator had said so when the page was loaded
            decide(connection, drawn.present(), found[wrong].item_id, ("2",), "Maria")
        decide(connection, drawn.present(), found[wrong].item_id, ("5",), "Maria")
        decide(connection, drawn.present(), found[right].item_id, (MODEL_SAYS,), "Maria")
        with pytest.raises(StateError, match="meanwhile"):
            decide(connection, drawn.present(), found[right].item_id, None, "Maria")
    assert drawn.states() == ["wrong", "right", "disagreed"]
    standing = drawn.standing()
    assert (standing.answers, standing.wrong, standing.contradicted) == (3, 2, 1)
    drawn.read(drawn.tasks.values())
    assert drawn.states() == ["wrong", "right", "disagreed"], "a decision stays"
    drawn.answer([(right, "ann", "6")], ground_truth=True)
    assert drawn.states() == ["wrong", "wrong", "disagreed"], "ground truth is above it"
    with drawn.process.store.reading() as connection:
        assert {event.facts["by"] for event in history(connection, drawn.project.id) if event.kind == "decided"} == {"Maria"}


def test_the_place_of_a_choice_does_not_tell_whose_it_is(drawn):
    ids = drawn.draw(40)
    drawn.answer([(id, "ann", "5") for id in ids], at=time.time() - 2 * 86_400)
    with drawn.process.store.reading() as connection:
        first = [decision.choices[0] for decision in decisions(connection, drawn.present())]
    assert 8 <= first.count((MODEL_SAYS,)) <= 32


def test_where_a_second_person_answers_nobody_decides_alone(drawn):
    contradicted, other = drawn.draw(2)
    drawn.answer([(contradicted, "ann", "5")], at=time.time() - 2 * 86_400)
    drawn.answer([(other, "bob", MODEL_SAYS)])
    with drawn.process.store.reading() as connection:
        assert decisions(connection, drawn.present()) == []


def test_ground_truth_needs_no_second_person(drawn):
    (id,) = drawn.draw(1)
    drawn.answer([(id, "ann", "5")], ground_truth=True)
    assert drawn.states() == ["wrong"]


def test_where_the_model_claimed_nothing_one_answer_is_enough(drawn):
    (id,) = drawn.draw(1, route="outlier", kind="sample")
    drawn.answer([(id, "ann", "5")])
    assert drawn.states() == ["wrong"]
    assert drawn.standing().answers == 0, "the alarm listens to automatic labels alone"
    assert drawn.standing().sample_answers == 1


def test_a_skipped_spot_check_is_unanswered_for_a_week_and_then_counts_as_wrong_in_the_bound(drawn):
    ids = drawn.draw(200)
    drawn.answer([(id, "ann", MODEL_SAYS) for id in ids[1:]])
    drawn.answer([(ids[0], "ann", None)])
    standing = drawn.standing()
    none_wrong, one_wrong = 1 - 0.05 ** (1 / 199), beta.ppf(0.95, 2, 199)
    assert drawn.states().count("open") == standing.outstanding == 1
    assert (standing.bound, standing.late) == (pytest.approx(none_wrong), 0)
    assert standing.bound_if_wrong == pytest.approx(one_wrong)
    assert standing.oldest_days == pytest.approx(0, abs=0.01)
    with drawn.process.store.writing() as connection:
        connection.execute(update(spot_check).values(drawn_at=spot_check.c.drawn_at - 8 * spot_checks.DAY))
    standing = drawn.standing()
    assert (standing.bound, standing.late) == (pytest.approx(one_wrong), 1)
    assert (standing.answers, standing.wrong) == (199, 0), "an answer it is not"


def test_taking_an_answer_back_opens_the_spot_check_again(drawn):
    (id,) = drawn.draw(1)
    drawn.answer([(id, "ann", MODEL_SAYS)])
    drawn.read([Task(id, drawn.tasks[id].media, reviews=())])
    assert drawn.states() == ["open"]
    assert drawn.standing().answers == 0


def test_machine_labels_answer_no_spot_check(drawn):
    (id,) = drawn.draw(1)
    drawn.answer([(id, "service", MODEL_SAYS)], machine=True)
    assert drawn.states() == ["open"]


def test_another_picture_makes_a_spot_check_void(drawn):
    (id,) = drawn.draw(1)
    drawn.answer([(id, "ann", MODEL_SAYS)])
    drawn.read([Task(id, "http://host/other.png", reviews=drawn.tasks[id].reviews, labelled=True)])
    assert drawn.states() == []


def test_an_answer_from_before_the_draw_counts_when_nothing_had_been_shown(process, drawn):
    (id,) = drawn.draw(1, spot_check=False)
    drawn.answer([(id, "ann", MODEL_SAYS)], at=time.time() - 3600)
    with process.store.writing() as connection:
        (row,) = items.find_items(connection, drawn.project.id, [id]).values()
        verdict = Verdict(id, "", (MODEL_SAYS,), 0.9, MODEL_SAYS, trust=0.9, route="auto")
        record(connection, drawn.project, drawn.project.reference_id, [Judgement(row.id, verdict, "auto", None, 0.1, "sample", b"", b"")])
    assert drawn.states() == ["open"]
    spot_checks.tend_spot_checks(process, drawn.project)
    assert drawn.states() == ["right"]


def test_a_second_answer_is_asked_for_once(process, connect):
    project, tool = connect()
    drawn = SpotChecks(process, project)
    for number in (1, 2):
        tool.add(f"http://host/{number}.png")
    right, disputed = drawn.draw(2)
    for id, labels in ((right, MODEL_SAYS), (disputed, "5")):
        tool.annotate(id, labels)
    drawn.read(tool.tasks([right, disputed]))
    spot_checks.tend_spot_checks(process, project)
    spot_checks.tend_spot_checks(process, project)
    assert tool.calls.count("ask_again") == 1
    assert (tool.tasks_by_id[right].wanted, tool.tasks_by_id[disputed].wanted) == (1, 2)
    assert not tool.tasks_by_id[disputed].labelled, "somebody else gets it"
    tool.annotate(disputed, "5", by="bob")
    drawn.read(tool.tasks([disputed]))
    assert sorted(drawn.states()) == ["right", "wrong"]


def test_in_watch_mode_nobody_is_asked(process, connect):
    project, tool = connect(watch=True)
    drawn = SpotChecks(process, project)
    (id,) = drawn.draw(1)
    drawn.answer([(id, "ann", "5")])
    spot_checks.tend_spot_checks(process, project)
    assert tool.calls == []


def test_the_alarm_hears_the_answers_in_the_order_in_which_they_were_given(drawn):
    ids = drawn.draw(120)
    wrong = np.zeros(120, dtype=bool)
    wrong[40:44] = True
    now = time.time() + 10
    order = np.random.default_rng(0).permutation(120)
    for part in np.array_split(order, 7):  # read in another order than answered
        drawn.answer([(ids[place], "ann", MODEL_SAYS) for place in part if not wrong[place]])
    for place in range(120):
        reviews = tuple(
            Review(f"{ids[place]}-{n}", f"p{n}", ("5",) if wrong[place] else (MODEL_SAYS,), updated_at=now + 10 * place + n)
            for n in range(2)
        )
        drawn.tasks[ids[place]] = Task(ids[place], drawn.tasks[ids[place]].media, labelled=True, reviews=reviews)
    drawn.read([drawn.tasks[ids[place]] for place in order])
    assert drawn.standing().level == pytest.approx(alarm_levels(wrong, 0.04)[-1])


def test_the_alarm_stops_auto_and_says_why(process, drawn, caplog):
    caplog.set_level("INFO", "annotriage.service")
    ids = drawn.draw(60)
    drawn.answer([(id, "ann", MODEL_SAYS) for id in ids[:40]])
    assert not drawn.present().paused
    drawn.wrong(ids[40:])
    standing, project = drawn.standing(), drawn.present()
    assert standing.ringing
    assert standing.level > 1
    assert (project.alarm.wrong, project.alarm.answers, project.alarm.max_error) == (20, 60, 0.04)
    said = why_paused(project.pause, project.alarm, project.external_id)
    assert said.startswith("alarm: ")
    assert "4% are allowed" in said
    assert "annotriage recalibrate --project 1" in said
    with process.store.reading() as connection:
        assert [row.kind for row in history(connection, project.id)] == ["alarm"]
    assert [json.dumps(record.fields) for record in caplog.records if record.message == "alarm"]


def test_nobody_resumes_what_the_alarm_stopped_and_a_persons_pause_outlives_it(process, drawn):
    ids = drawn.draw(30)
    with process.store.writing() as connection:
        pause(connection, drawn.present(), "new scanner")
    drawn.wrong(ids)
    with process.store.writing() as connection, pytest.raises(StateError, match="recalibrate"):
        resume(connection, drawn.present())
    assert drawn.present().pause.reason == "new scanner"


def test_the_alarm_does_not_hold_back_the_reference_that_will_take_over(process, drawn):
    drawn.wrong(drawn.draw(30))
    with process.store.writing() as connection:
        change_project(connection, drawn.project.id, next_reference_id=drawn.project.reference_id)
    project = drawn.present()
    assert not spot_checks.paused_under(project, project.next_reference_id)


@pytest.mark.parametrize(("rate", "rings"), [(0.02, (0, 0)), (0.12, (7, 8))])
def test_the_alarm_through_the_store_is_quiet_within_the_limit_and_finds_a_tripled_error(process, connect, rate, rings):
    """Eight projects of 300 answers each, at a limit of 4%."""
    rang = 0
    for number in range(8):
        drawn = SpotChecks(process, connect(str(number + 1))[0])
        wrong = np.random.default_rng(number).random(300) < rate
        ids = drawn.draw(300)
        at = time.time() + 1
        for part in np.array_split(np.arange(300), 10):
            answers = [(ids[n], who, "5" if wrong[n] else MODEL_SAYS) for n in part for who in (("a", "b") if wrong[n] else ("a",))]
            drawn.answer(answers, at=at + 10 * part[0])
        rang += drawn.present().paused
        assert drawn.present().paused == bool(alarm_levels(wrong, 0.04).max() >= 1)
    assert rings[0] <= rang <= rings[1]


def test_answers_under_another_reference_are_not_heard(process, drawn):
    ids = drawn.draw(3)
    drawn.answer([(id, "ann", MODEL_SAYS) for id in ids])
    with process.store.reading() as connection:
        assert stored_checks.automatic_answers(connection, drawn.project.id, drawn.project.reference_id) == ["right"] * 3
        assert stored_checks.automatic_answers(connection, drawn.project.id, 99) == []


def test_a_new_dataset_is_on_probation_until_its_first_automatic_items_are_shown_to_be_right(process, connect):
    project, _ = connect(accept="annotate")
    drawn = SpotChecks(process, project)
    least = first_size(0.04, checking_confidence())
    ids = drawn.draw(least - 1)

    def looked():
        with process.store.reading() as connection:
            (dataset,) = stored_checks.drawn_by_dataset(connection, project.id, project.reference_id)
            _, probation = spot_checks.audit_shares(connection, project)
            return probation.get(dataset), dataset in spot_checks.passed_probation(connection, project)

    assert looked() == (1, False)
    ids += drawn.draw(1)
    assert looked() == (None, False), "no more are drawn, should all be right"
    drawn.answer([(id, "ann", MODEL_SAYS) for id in ids[:-1]])
    assert looked() == (None, False), "the one that is open may be wrong"
    drawn.answer([(ids[-1], "ann", MODEL_SAYS)])
    assert looked() == (None, True)
    drawn.wrong(drawn.draw(1))
    assert looked() == (None, True), "once passed it stays passed; the alarm takes over"


def test_an_error_on_probation_asks_for_more(process, connect):
    project, _ = connect(accept="annotate")
    drawn = SpotChecks(process, project)
    ids = drawn.draw(first_size(0.04, checking_confidence()))
    drawn.wrong(ids[:1])
    drawn.answer([(id, "ann", MODEL_SAYS) for id in ids[1:]])
    with process.store.reading() as connection:
        _, probation = spot_checks.audit_shares(connection, project)
        (dataset,) = stored_checks.drawn_by_dataset(connection, project.id, project.reference_id)
        assert probation[dataset] > 20
        assert not spot_checks.passed_probation(connection, project)


def checking_confidence():
    from annotriage.guarantee.binomial import spent_confidence

    return spent_confidence(0.95, 1)


def test_what_a_recalibration_takes_is_said(drawn):
    standing = drawn.standing()
    assert standing.sample_answers == 0
    assert standing.sample_needed >= first_size(0.04, checking_confidence())
    assert 30 < standing.until_alarm < 1000


def test_an_item_with_its_group_counts_once_in_the_sample(drawn):
    ids = drawn.draw(3, kind="sample", group="patient 1") + drawn.draw(1, kind="sample")
    drawn.answer([(id, "ann", MODEL_SAYS) for id in ids])
    assert drawn.standing().sample_answers == 2


def test_a_deleted_task_does_not_keep_the_others_from_a_second_answer(process, connect):
    project, tool = connect()
    drawn = SpotChecks(process, project)
    tool.add("http://host/1.png")
    tool.add("http://host/2.png")
    ids = drawn.draw(2)
    drawn.answer([(id, "ann", "5") for id in ids])
    tool.delete_task(ids[0])
    original = tool.ask_again

    def ask_again(task_id, answers):
        if task_id == ids[0]:
            raise ToolGone("task 1 does not exist")
        original(task_id, answers)

    tool.ask_again = ask_again
    spot_checks.tend_spot_checks(process, project)
    assert tool.tasks_by_id[ids[1]].wanted == 2


def test_an_answer_that_followed_an_earlier_references_label_is_not_blind(process, drawn):
    (id,) = drawn.draw(1, spot_check=False)
    drawn.answer([(id, "ann", MODEL_SAYS)], at=time.time() - 3600)
    with process.store.writing() as connection:
        facts = get_reference(connection, drawn.project.reference_id).facts
        next_id = save_reference(connection, version="next", name="digits", prediction_version="next", facts=facts, files={})
        change_project(connection, drawn.project.id, next_reference_id=next_id)
        (row,) = items.find_items(connection, drawn.project.id, [id]).values()
        verdict = Verdict(id, "", (MODEL_SAYS,), 0.9, MODEL_SAYS, trust=0.9, route="auto")
        record(connection, drawn.present(), next_id, [Judgement(row.id, verdict, "auto", None, 0.1, "audit", b"", b"")])
    spot_checks.tend_spot_checks(process, drawn.present())
    assert drawn.states() == ["open"]
    drawn.answer([(id, "bob", MODEL_SAYS)], at=time.time() + 60)
    assert drawn.states() == ["right"]
