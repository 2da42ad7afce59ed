"""What people answered resolves the queue, and nothing else does."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import event, select
from stores import counted

from annotriage.engine.verdict import Verdict
from annotriage.labeling_tool import Review, Task
from annotriage.service.intake.answers import answer_of
from annotriage.service.intake.reviewing import take_reviews
from annotriage.store import items, reviews, work
from annotriage.store.projects import get_project
from annotriage.store.schema import item, review, verdict
from annotriage.store.verdicts import Judgement, record


@pytest.fixture
def project(connect):
    return connect()[0]


@pytest.fixture
def take(process, project):
    """Take tasks in, as following does, and give their items as they are then, by task id."""

    def take(*tasks):
        with process.store.writing() as connection:
            items.add_tasks(connection, project, tasks)
            take_reviews(connection, project, tasks)
            found = select(item).where(item.c.external_id.in_([task.id for task in tasks]))
            return {row.external_id: row for row in connection.execute(found)}

    return take


def task(number=1, *given, wanted=1, **values):
    """A task as the tool reads it; each given answer is labels, or the fields of a `Review`."""
    read = []
    for place, answered in enumerate(given):
        fields = answered if isinstance(answered, dict) else {"labels": (answered,)}
        read.append(Review(**{"id": f"{number}-{place}", "annotator": f"ann{place}", "labels": None, "updated_at": 100.0 + place} | fields))
    counted = sum(not review.skipped for review in read)
    return Task(str(number), f"http://host/{number}.png", wanted=wanted, labelled=counted >= wanted, reviews=tuple(read), **values)


def judged(process, project, row, route="uncertain"):
    verdict = Verdict(str(row.id), "", ("3",), 0.9, "3", trust=0.5, route=route)
    with process.store.writing() as connection:
        record(connection, project, project.reference_id, [Judgement(row.id, verdict, route, ("3",), 0.5, None, b"", b"")])


def open_ones(process, project):
    with process.store.reading() as connection:
        return counted(connection, project.id, project.reference_id)[1]


def test_an_answer_resolves_the_item_and_its_queue_shrinks(process, project, take):
    first = take(task(1), task(2))
    for row in first.values():
        judged(process, project, row)
    assert open_ones(process, project) == 2
    found = take(task(1, "5"))["1"]
    assert (found.answer, found.labels, found.machine, found.answered_at) == ("resolved", ["5"], False, 100.0)
    assert open_ones(process, project) == 1


def test_a_deleted_annotation_reopens_the_item(process, project, take):
    judged(process, project, take(task(1))["1"])
    take(task(1, "5"))
    found = take(task(1))["1"]
    assert (found.answer, found.labels, found.answered_at) == ("open", None, None)
    assert open_ones(process, project) == 1


def test_a_changed_answer_is_the_answer(take):
    take(task(1, "5"))
    assert take(task(1, {"labels": ("6",), "updated_at": 200.0}))["1"].labels == ["6"]


def test_a_late_reading_of_an_older_answer_changes_no_review(process, take):
    take(task(1, {"labels": ("6",), "updated_at": 200.0}))
    row = take(task(1, {"labels": ("5",), "updated_at": 100.0}))["1"]
    with process.store.reading() as connection:
        (kept,) = reviews.reviews_of(connection, [row.id])[row.id]
    assert kept.labels == ("6",)


def test_a_late_reading_of_an_older_answer_changes_no_answer(take):
    take(task(1, {"labels": ("6",), "updated_at": 200.0}))
    assert take(task(1, {"labels": ("5",), "updated_at": 100.0}))["1"].labels == ["6"]


def test_a_reading_that_is_older_than_what_is_known_takes_nothing_back(process, project, take):
    older = task(1, "5", changed_at=100.0)
    take(task(1, changed_at=50.0))
    later = task(1, {"labels": ("6",), "updated_at": 200.0}, {"labels": ("6",), "updated_at": 210.0}, wanted=2, changed_at=210.0)
    known = take(replace(later, media="http://host/other.png"))["1"]
    assert take(older)["1"] == take(replace(older, reviews=None))["1"] == known
    with process.store.reading() as connection:
        assert [given.labels for given in reviews.reviews_of(connection, [known.id])[known.id]] == [("6",), ("6",)]


def test_of_two_people_at_one_moment_none_is_lost_though_their_times_end_in_another_order(process, take):
    first, second = (
        {"id": "a", "labels": ("6",), "updated_at": 100.2},
        {"id": "b", "annotator": "ben", "labels": ("6",), "updated_at": 100.1},
    )
    take(task(1, first, wanted=2, changed_at=100.2))
    row = take(task(1, first, second, wanted=2, changed_at=100.1))["1"]
    assert row.labels == ["6"]
    with process.store.reading() as connection:
        assert len(reviews.reviews_of(connection, [row.id])[row.id]) == 2


@pytest.mark.parametrize("given", [{"skipped": True}, {"empty": True}])
def test_a_skip_and_an_empty_annotation_resolve_nothing_and_are_counted(process, project, take, given):
    take(task(1))
    assert take(task(1, given))["1"].answer == "open"
    with process.store.reading() as connection:
        (kept,) = connection.execute(review.select()).all()
        empty = reviews.empty_answers(connection, project, 10)
    assert (kept.skipped, kept.empty) == (bool(given.get("skipped")), bool(given.get("empty")))
    assert empty == (["1"] if given.get("empty") else [])


@pytest.mark.parametrize(
    ("given", "state", "labels"),
    [
        (["5"], "open", None),
        (["5", "5"], "open", None),
        (["5", "5", "6"], "resolved", ["5"]),
        (["5", "6", "7"], "disputed", None),
        (["5", {"skipped": True}, "5", "6"], "resolved", ["5"]),
    ],
)
def test_with_an_overlap_of_three_the_majority_decides(take, given, state, labels):
    take(task(1, wanted=3))
    found = take(task(1, *given, wanted=3))["1"]
    assert (found.answer, found.labels) == (state, labels)


def test_ground_truth_wins_at_once(take):
    take(task(1, wanted=3))
    found = take(task(1, "5", {"labels": ("6",), "ground_truth": True}, wanted=3))["1"]
    assert (found.answer, found.labels) == ("resolved", ["6"])


def test_each_person_is_counted_once_with_their_last_answer():
    twice = task(1, {"labels": ("5",), "annotator": "a"}, {"labels": ("6",), "annotator": "a"}, "6", wanted=2)
    assert answer_of(twice).labels == ("6",)


def test_a_machine_label_resolves_as_such_and_a_person_overrules_it(take):
    take(task(1))
    machine = {"labels": ("5",), "machine": True, "annotator": "service"}
    found = take(task(1, machine))["1"]
    assert (found.answer, found.labels, found.machine) == ("resolved", ["5"], True)
    found = take(task(1, machine, "6"))["1"]
    assert (found.labels, found.machine) == (["6"], False)


def test_tasks_labelled_before_take_no_part_until_their_annotation_goes_away(process, project, take):
    found = take(task(1, "5"))["1"]
    assert found.labelled
    with process.store.reading() as connection:
        assert work.waiting(connection, project.id, project.reference_id) == 0
    found = take(task(1))["1"]
    assert (found.labelled, found.answer) == (False, "open")
    with process.store.reading() as connection:
        assert work.waiting(connection, project.id, project.reference_id) == 1


def test_an_answer_between_import_and_verdict_is_a_review(process, project, take):
    take(task(1))
    found = take(task(1, "5"))["1"]
    assert (found.labelled, found.answer) == (False, "resolved")
    judged(process, project, found)
    assert open_ones(process, project) == 0


def test_a_task_that_shows_something_else_is_judged_again_and_other_edits_are_ignored(process, project, take):
    judged(process, project, take(task(1))["1"])
    with process.store.writing() as connection:
        connection.execute(work.work.delete())
    take(task(1, fields={"triage_route": "review"}))
    with process.store.reading() as connection:
        assert work.waiting(connection, project.id, project.reference_id) == 0
    take(replace(task(1), media="http://host/other.png"))
    with process.store.reading() as connection:
        assert work.waiting(connection, project.id, project.reference_id) == 1


def test_whoever_judges_what_a_task_showed_before_does_not_end_the_work_on_what_it_shows_now(process, project, take):
    take(task(1))
    with process.store.writing() as connection:
        claim = work.claim(connection, "me", 10)
    take(replace(task(1), media="http://host/other.png"))
    with process.store.writing() as connection:
        work.finish(connection, [row.work_id for row in claim.rows])
        assert work.waiting(connection, project.id, project.reference_id) == 1


def test_a_labelled_task_with_another_picture_is_not_judged(process, project, take):
    take(task(1, "5"))
    take(replace(task(1, "5"), media="http://host/other.png"))
    with process.store.reading() as connection:
        assert work.waiting(connection, project.id, project.reference_id) == 0


def test_how_many_answers_are_wanted_is_kept(take):
    take(task(1))
    assert take(task(1, wanted=2))["1"].wanted == 2


def test_tasks_read_without_reviews_keep_those_that_are_known(take):
    take(task(1))
    take(task(1, "5"))
    assert take(replace(task(1, "5"), reviews=None))["1"].answer == "resolved"


def test_the_same_reading_again_writes_nothing_and_asks_little(process, project, take):
    many = [task(number, "5") for number in range(1, 401)]
    take(*[task(number) for number in range(1, 401)])
    take(*many)
    statements = []
    event.listen(process.store.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    with process.store.reading() as connection:
        take_reviews(connection, get_project(connection, project.id), many)
    assert len(statements) <= 5
    assert all(statement.lstrip().startswith(("SELECT", "BEGIN")) for statement in statements)


def test_tasks_without_an_item_are_passed_over(process, project):
    with process.store.writing() as connection:
        take_reviews(connection, project, [task(99, "5")])
        assert not connection.execute(item.select()).all()
        assert not connection.execute(verdict.select()).all()
