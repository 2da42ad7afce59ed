"""What to do next in a project."""

from __future__ import annotations

from dataclasses import replace
from math import inf

from sqlalchemy import select
from triaged import import_tasks, judge

from annotriage.service.readings.next_step import next_step, next_steps
from annotriage.service.readings.waiting import waiting_work
from annotriage.states import Alarm
from annotriage.store.counters import recounted
from annotriage.store.projects import keep_standing, project_of, raise_alarm
from annotriage.store.reviews import Answer, set_answers
from annotriage.store.schema import item, spot_check


def steps(process, **seen):
    """All that would help, the most useful first, and what waits."""
    with process.store.reading() as connection:
        project = replace(project_of(connection, "1"), **seen)
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
    assert steps(process, hides_checks=True)[0][0].page == "", "who sees none in the queue answers in the labeling tool"
    with process.store.writing() as connection:
        keep_standing(connection, project_of(connection, "1"), {"sample_answers": 20, "sample_needed": 20})
    assert (steps(process)[0][0].page, steps(process)[0][0].gain) == ("guarantee", inf), "no answer is needed any more"


def test_where_spot_checks_alone_wait_the_queue_is_named_to_those_who_see_them_there(process, connect, digits):
    project, tool = connect()
    import_tasks(process, project, tool, digits.incoming[0][:3])
    judge(process)
    with process.store.writing() as connection:
        first, *others = connection.execute(select(item.c.id)).scalars()
        set_answers(connection, {id: Answer("resolved", ("1",), at=1.0) for id in others})
        with recounted(connection, [first, *others]):
            connection.execute(spot_check.delete())
            drawn = {"item_id": first, "project_id": project.id, "reference_id": project.reference_id, "kind": "sample", "route": "auto"}
            connection.execute(spot_check.insert().values(**drawn, state="open", drawn_at=1.0))
    only = "Only 1 spot check waits to be answered blind."
    assert only in [step.sentence for step in steps(process)[0]]
    assert only not in [step.sentence for step in steps(process, hides_checks=True)[0]]
