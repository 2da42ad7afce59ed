"""What to do next in a project."""

from __future__ import annotations

from math import inf

from triaged import import_tasks, judge

from annotriage.service.readings.next_step import next_step, next_steps
from annotriage.service.readings.waiting import waiting_work
from annotriage.states import Alarm
from annotriage.store.projects import keep_standing, project_of, raise_alarm


def steps(process):
    """All that would help, the most useful first, and what waits."""
    with process.store.reading() as connection:
        project = project_of(connection, "1")
        found = sorted(next_steps(connection, project), key=lambda step: -step.gain)
        assert next_step(connection, project) == found[0]
        return found, waiting_work(connection, project)


def test_before_the_first_item_tasks_are_imported(process, connect):
    connect()
    (only,), _ = steps(process)
    assert (only.page, only.gain) == ("", inf), "it leads to the labeling tool"
    assert "Import tasks" in only.sentence


def test_what_waits_is_worked_off_and_one_answer_frees_one_item(process, connect, digits):
    project, tool = connect()
    import_tasks(process, project, tool, digits.strangers[0][:8])
    judge(process)
    (*_, last), waits = steps(process)
    assert (last.page, last.gain) == ("queue", 1.0)
    assert last.sentence == f"{waits.sentence}.", "the figures of every page"


def test_answers_that_let_labels_be_automatic_again_come_before_the_queue(process, connect, digits):
    project, tool = connect()
    import_tasks(process, project, tool, digits.incoming[0][:30])
    judge(process)
    with process.store.writing() as connection:
        raise_alarm(connection, project.id, Alarm(5, 40, 0.05, 0.3, 0.04, 1.0))
        keep_standing(connection, project_of(connection, "1"), {"sample_answers": 10, "sample_needed": 20})
    first = steps(process)[0][0]
    assert first.sentence == "No label is automatic: 10 more blind answers are needed (10 there)."
    assert (first.page, dict(first.args), first.gain > 1) == ("queue", {"route": "spot check"}, True)
    with process.store.writing() as connection:
        keep_standing(connection, project_of(connection, "1"), {"sample_answers": 20, "sample_needed": 20})
    assert (steps(process)[0][0].page, steps(process)[0][0].gain) == ("guarantee", inf), "no answer is needed any more"
