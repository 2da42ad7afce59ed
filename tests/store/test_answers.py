"""Queries on reviews, spot checks, acceptances, re-scoring and jobs, on both databases."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from delivery_states import set_state

from annotriage.engine.verdict import Verdict
from annotriage.labeling_tool import Review, Task
from annotriage.service.intake.reviewing import take_reviews
from annotriage.store import acceptances, deliveries, items, rescores, spot_checks, work
from annotriage.store.projects import change_project, get_project
from annotriage.store.schema import item, review
from annotriage.store.verdicts import Judgement, record


@pytest.fixture
def judged(store, project):
    """Tasks 1 to n, judged under a reference, their deliveries confirmed."""

    def judged(count, reference_id=None, *, spot_check=None, route="auto", confirmed=True):
        reference_id = reference_id or project.reference_id
        with store.writing() as connection:
            items.add_tasks(connection, project, [Task(str(number), f"http://host/{number}.png") for number in range(1, count + 1)])
            ids = [row.id for row in connection.execute(item.select().order_by(item.c.id))]
            verdict = Verdict("", "", ("cat",), 0.9, "cat", trust=0.9, route=route)
            shown = None if spot_check else ("cat",)
            present = get_project(connection, project.id)
            record(connection, present, reference_id, [Judgement(id, verdict, route, shown, 0.9, spot_check, b"", b"") for id in ids])
            connection.execute(work.work.delete().where(work.work.c.reference_id == reference_id))
            if confirmed:
                set_state(connection, reference_id, ids, "confirmed")
        return ids

    return judged


def answer(number, labels, who="ann", **values):
    given = Review(f"{number}-{who}", who, labels, updated_at=time.time() + 1, **values)
    return Task(str(number), f"http://host/{number}.png", labelled=True, reviews=(given,))


def test_answers_resolve_items_and_settle_spot_checks(store, project, judged):
    judged(3, spot_check="sample")
    with store.writing() as connection:
        take_reviews(connection, project, [answer(1, ("cat",)), answer(2, ("dog",)), answer(3, None, skipped=True)])
        rows = connection.execute(item.select().order_by(item.c.id)).all()
        assert [(row.answer, row.labels) for row in rows] == [("resolved", ["cat"]), ("resolved", ["dog"]), ("open", None)]
        assert spot_checks.automatic_answers(connection, project.id, project.reference_id) == ["right", "disagreed"]
        (row,) = spot_checks.unconfirmed(connection, project.id)
        assert (row.external_id, row.people, row.wanted) == ("2", 1, 1)
        assert spot_checks.outstanding(connection, project.id, project.reference_id)[0] == 2
        assert spot_checks.sample_size(connection, project.id) == (1, 3)
        assert [row.given for row in spot_checks.sample_answers(connection, project.id)] == [("cat",)]
        assert spot_checks.automatic_per_week(connection, project.id, project.reference_id) == 3


def test_a_forgotten_review_and_its_answer_are_gone(store, project, judged):
    judged(1)
    with store.writing() as connection:
        take_reviews(connection, project, [answer(1, ("cat",))])
        take_reviews(connection, project, [Task("1", "http://host/1.png", reviews=())])
        assert connection.execute(item.select()).one().labels is None
        assert connection.execute(review.select()).all() == []


def test_what_may_be_accepted_and_what_became_of_it(store, project, judged):
    ids = judged(4)
    with store.writing() as connection:
        datasets = spot_checks.datasets_of(connection, project.id)
        take_reviews(connection, project, [answer(4, None, skipped=True)])
        assert [row.id for row in acceptances.acceptable(connection, project, datasets, 10)] == ids[:3]
        assert acceptances.acceptable(connection, project, [], 10) == []
        batch, taken = acceptances.begin_batch(connection, project, ids[:2])
        assert taken == set(ids[:2])
        assert [row.id for row in acceptances.acceptable(connection, project, datasets, 10)] == ids[2:3]
        acceptances.end_batch(connection, {ids[0]: "77"})
        (row,) = acceptances.undecided(connection, project.id, time.time() + 1, 10)
        assert row.item_id == ids[1]
        acceptances.not_accepted(connection, [ids[0], ids[1]])
        assert acceptances.begin_undo(connection, project, batch) == {"1": ids[0]}
        acceptances.end_undo(connection, ids[:1])
        assert [row.id for row in acceptances.acceptable(connection, project, datasets, 10)] == ids[1:3]


def test_the_switch_waits_for_what_annotators_see_and_not_for_what_just_came_in(store, project, judged, references):
    old, new = references
    ids = judged(3)
    with store.writing() as connection:
        change_project(connection, project.id, next_reference_id=new)
        assert rescores.unjudged(connection, project, new, 10) == ids
        rescores.enqueue(connection, project, new, ids)
        assert rescores.unjudged(connection, project, new, 10) == []
        assert rescores.unready(connection, project, new)
    judged(3, new, confirmed=False)
    with store.writing() as connection:
        assert rescores.unready(connection, project, new)
        set_state(connection, new, ids[:2], "confirmed")
        set_state(connection, new, ids[2:], "refused")
        items.add_tasks(connection, get_project(connection, project.id), [Task("9", "http://host/9.png")])
        assert not rescores.unready(connection, project, new)
        assert rescores.confirmed(connection, project, new) == 2
        assert rescores.confirmed_tasks(connection, project, new, 0, 10) == {"1": ids[0], "2": ids[1]}
        rescores.switch(connection, project, new, "annotriage pets v2")
        present = get_project(connection, project.id)
        assert (present.reference_id, present.next_reference_id, present.old_reference_id) == (new, None, old)
        assert work.waiting(connection, project.id, old) == 0
        connection.execute(item.update().where(item.c.id == ids[1]).values(route="outlier"))
        behind = rescores.behind(connection, present, 0, 10)
        assert behind == [ids[1]]
        rescores.catch_up(connection, present, behind)
        assert rescores.behind(connection, present, 0, 10) == []
        set_state(connection, old, ids[:1], "sending")
        assert not rescores.forget_deliveries(connection, present, old)
        set_state(connection, old, ids[:1], "confirmed")
        assert rescores.forget_deliveries(connection, present, old)


def test_a_spot_check_that_waits_moves_to_the_next_reference_unless_its_label_is_seen_there(store, project, judged, references):
    _, new = references
    first, second = judged(2, spot_check="audit")
    with store.writing() as connection:
        change_project(connection, project.id, next_reference_id=new)
    judged(2, new, route="uncertain")
    with store.writing() as connection:
        deliveries.enqueue(connection, [{"item_id": first, "reference_id": new, "project_id": project.id, "labels": None, "trust": 0.1}])
        assert spot_checks.take_over(connection, project.id, new, [first, second]) == [first]
        assert spot_checks.unsettled(connection, [first, second]) == {first}


def test_changed_pictures_lose_their_spot_check(store, project, judged):
    (id,) = judged(1, spot_check="sample")
    with store.writing() as connection:
        take_reviews(connection, project, [replace(answer(1, ("cat",)), media="http://host/other.png")])
        assert spot_checks.unsettled(connection, [id]) == frozenset()
        assert spot_checks.sample_size(connection, project.id) == (0, 0)
