"""Other limits on the same held-out items: tested anew, more strictly, and never a way around the alarm."""

from __future__ import annotations

import pytest
from triaged import import_tasks, judge

from annotriage.advice.event_words import event_sentence
from annotriage.advice.guarantee_words import guarantee_sentence
from annotriage.engine.fitting import fit
from annotriage.errors import FitError, SettingError, StateError
from annotriage.service.guarantee.changing_limits import change_limits, preview_with, with_limits
from annotriage.service.guarantee.standings import Standings
from annotriage.service.operations.jobs import run_queued
from annotriage.states import Alarm
from annotriage.store import jobs
from annotriage.store.events import history
from annotriage.store.previews import preview
from annotriage.store.projects import change_project, get_project, raise_alarm, standing_of


def test_the_same_limits_on_the_same_items_are_tested_more_strictly_each_time(digits_reference):
    laxer = with_limits(digits_reference, {"max_error": 0.05})
    assert laxer.held_out.attempts == digits_reference.held_out.attempts + 1
    assert laxer.guarantee.attempt == 2
    assert laxer.guarantee.tested_confidence > digits_reference.guarantee.tested_confidence
    again = with_limits(laxer, {"max_error": 0.04})
    assert again.guarantee.tested_confidence > laxer.guarantee.tested_confidence
    assert again.version != digits_reference.version


def test_what_is_found_is_what_a_fit_with_these_limits_finds(digits_model, digits, digits_reference, quick):
    from dataclasses import replace

    fitted = fit(digits_model, digits.train, digits.held_out, settings=replace(quick, alpha=0.1), name="digits")
    changed = with_limits(digits_reference, {"alpha": 0.1})
    assert changed.threshold == fitted.threshold
    assert changed.guarantee.typical == fitted.guarantee.typical
    assert [(row.name, row.side) for row in changed.guarantee.classes] == [(row.name, row.side) for row in fitted.guarantee.classes]


def test_what_is_foreseen_of_costs_is_what_comes_of_them_but_for_the_stricter_test(process, connect, digits, digits_reference):
    project, tool = connect()
    import_tasks(process, project, tool, digits.incoming[0][:200])
    judge(process)
    asked = {"max_error": 0.2, "costs": [["3 > 5", 4]], "class_limits": [["1", 0.3]]}
    with process.store.reading() as connection:
        same = preview_with(process, connection, project, {})
        assert same == preview(connection, project)
        foreseen = preview_with(process, connection, project, asked)
    assert (foreseen.total, foreseen.max_error) == (same.total, 0.2)
    assert with_limits(digits_reference, asked).guarantee.tau >= foreseen.tau, "the test itself is stricter"
    with process.store.reading() as connection, pytest.raises(SettingError, match="setting costs: '33' is none of the model's classes"):
        preview_with(process, connection, project, {"costs": [["33 > 5", 4]]})


def test_a_limit_that_nothing_shows_switches_labels_off_and_says_so(digits_reference):
    strict = with_limits(digits_reference, {"max_error": 0.0001})
    assert not strict.guarantee.auto
    assert guarantee_sentence(strict.guarantee).startswith("No label is automatic")


def test_nonsense_is_refused(digits_reference):
    with pytest.raises(SettingError, match="max_error"):
        with_limits(digits_reference, {"max_error": 2.0})
    with pytest.raises(FitError, match="too few"):
        with_limits(digits_reference, {"alpha": 0.000001})


def test_a_reference_without_held_out_answers_says_which_command_to_run(digits_model, digits, quick):
    bare = fit(digits_model, digits.train, settings=quick, name="bare")
    with pytest.raises(FitError, match=r"annotriage fit --max-error 0\.03"):
        with_limits(bare, {"max_error": 0.03})


def test_the_job_lets_the_new_reference_take_over_and_is_written_down(process, connect, digits):
    project, tool = connect()
    import_tasks(process, project, tool, digits.incoming[0][:20])
    judge(process)
    with process.store.writing() as connection:
        jobs.queue(connection, project.id, "limits", {"max_error": 0.05, "by": "ada"})
    assert run_queued(process)
    with process.store.reading() as connection:
        now = get_project(connection, project.id)
        (event, *_) = history(connection, project.id)
        (job,) = jobs.jobs_of(connection, project.id)
    assert now.next_reference_id not in (None, project.reference_id)
    assert event_sentence(event.kind, event.facts).startswith("max_error 0.04 -> 0.05 by ada: At most 5 in 100")
    assert job.state == "done"


def test_other_limits_do_not_lift_the_alarm(process, connect):
    project, _ = connect()
    with process.store.writing() as connection:
        raise_alarm(connection, project.id, Alarm(9, 40, 0.1, 0.4, 0.04, 1.0))
        stopped = get_project(connection, project.id)
    with pytest.raises(StateError, match="the alarm stopped"):
        change_limits(process, stopped, {"max_error": 0.2})


def test_only_one_reference_takes_over_at_a_time(process, connect):
    project, _ = connect()
    change_limits(process, project, {"max_error": 0.05})
    with process.store.reading() as connection:
        busy = get_project(connection, project.id)
    with pytest.raises(StateError, match="taking over"):
        change_limits(process, busy, {"max_error": 0.06})


def test_the_standing_is_kept_and_found_again_only_when_something_changed(process, connect):
    project, _ = connect()
    standings = Standings(process)
    assert standings.step(project)
    assert not standings.step(project)
    with process.store.reading() as connection:
        kept = standing_of(connection, project)
    assert (kept["answers"], kept["max_error"], kept["ringing"]) == (0, 0.04, False)
    with process.store.writing() as connection:
        change_project(connection, project.id, paused_at=1.0)
        paused = get_project(connection, project.id)
    assert standings.step(paused)
