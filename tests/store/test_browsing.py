"""Items as people and programs look at them, on both databases."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import update

from annotriage.errors import UnknownError
from annotriage.store import browsing, items
from annotriage.store.deliveries import deliveries_of_item
from annotriage.store.pushing import PushedItem, add_pushed
from annotriage.store.reviews import Answer, set_answers
from annotriage.store.schema import delivery, spot_check


def listed(connection, filled, **filters):
    return [found.id for found in browsing.items_page(connection, filled.project, limit=100, **filters)]


class TestBrowsing:
    def test_an_item_comes_with_its_verdict_its_spot_check_and_peoples_answer(self, store, filled):
        (id,) = filled.judged(1, spot_check="audit")
        with store.writing() as connection:
            set_answers(connection, {id: Answer("resolved", ("dog",), at=1.0)})
            (found,) = browsing.items_of(connection, filled.project, [id])
            connection.execute(update(spot_check).values(state="wrong", answered_at=1.0))
            (settled,) = browsing.items_of(connection, filled.project, [id])
        assert (found.task, found.pushed, found.name, found.route, found.trust) == (str(id), None, str(id), "spot check", 0.1)
        assert (found.answer, found.answered, found.machine, found.pictured) == ("resolved", ("dog",), False, True)
        assert (found.spot_check.kind, found.spot_check.state, found.spot_check.answered_at) == (None, "open", None)
        assert found.verdict is None, "hidden until the check is settled"
        assert (settled.route, settled.spot_check.kind) == ("auto", "audit")
        assert (settled.verdict.labels, settled.verdict.trust, settled.verdict.reason) == (("cat",), 0.9, "because")

    def test_what_an_earlier_reference_said_of_an_open_spot_check_is_hidden_too(self, store, filled):
        (id,) = filled.judged(1)
        with store.writing() as connection:
            connection.execute(delivery.update().values(labels=["cat"]))
            drawn = {"project_id": filled.project.id, "reference_id": filled.references[0], "kind": "audit", "route": "auto"}
            assert [found.labels for found in deliveries_of_item(connection, id)] == [("cat",)]
            connection.execute(spot_check.insert().values(item_id=id, state="open", drawn_at=1.0, **drawn))
            assert [found.labels for found in deliveries_of_item(connection, id)] == [None]

    def test_what_an_earlier_reference_said_of_an_outlier_is_hidden_until_it_is_answered(self, store, filled):
        (id,) = filled.judged(1, "outlier")
        with store.writing() as connection:
            connection.execute(delivery.update().values(labels=["cat"]))
            assert [found.labels for found in deliveries_of_item(connection, id)] == [None]
            set_answers(connection, {id: Answer("resolved", ("dog",), at=1.0)})
            assert [found.labels for found in deliveries_of_item(connection, id)] == [("cat",)]

    def test_what_is_not_judged_yet_has_no_verdict_and_what_was_labelled_before_says_so(self, store, filled):
        (new,) = filled.add(1)
        (labelled,) = filled.add(1, labelled=True)
        with store.reading() as connection:
            fresh, before = browsing.items_of(connection, filled.project, [new, labelled])
        assert (fresh.verdict, fresh.spot_check, fresh.route, fresh.answer, fresh.pictured) == (None, None, None, "open", False)
        assert before.answer == "labelled"

    def test_the_verdict_is_that_of_the_projects_reference(self, store, filled):
        ids = filled.judged(1)
        filled.judge(ids, "outlier", reference_id=filled.references[1], labels=("dog",))
        with store.reading() as connection:
            (found,) = browsing.items_of(connection, filled.project, ids)
        assert (found.verdict.judged, found.verdict.labels) == ("auto", ("cat",))

    def test_pages_follow_each_other_without_gaps(self, store, filled):
        ids = filled.judged(5)
        with store.reading() as connection:
            first = browsing.items_page(connection, filled.project, limit=2)
            rest = browsing.items_page(connection, filled.project, after=first[-1].id, limit=10)
            of_dataset = browsing.items_page(connection, filled.project, dataset_id=1, after=ids[2], limit=10)
        assert [found.id for found in [*first, *rest]] == ids
        assert [found.id for found in of_dataset] == ids[3:]

    def test_filters_together_find_what_is_found_among_all_items(self, store, filled):
        states = ("open", "resolved", "disputed")
        for route in ("auto", "outlier", "failed"):
            ids = filled.judged(3, route)
            with store.writing() as connection:
                set_answers(connection, {id: Answer(state, at=1.0) for id, state in zip(ids, states, strict=True)})
        filled.judge(filled.add(1, labelled=True))
        filled.judged(1, spot_check="sample")
        (new,) = filled.add(1)
        with store.writing() as connection:
            set_answers(connection, {new: Answer("disputed", at=1.0)})
            every = browsing.items_page(connection, filled.project, limit=100)
            for route in (None, "auto", "uncertain", "outlier", "failed"):
                for answer in (None, *states, "labelled"):
                    wanted = [row.id for row in every if route in (None, row.route) and answer in (None, row.answer)]
                    assert listed(connection, filled, route=route, answer=answer) == wanted, (route, answer)
                    assert listed(connection, filled, route=route, answer=answer, after=every[0].id) == [
                        id for id in wanted if id != every[0].id
                    ]

    def test_items_are_found_by_route_dataset_and_answer_and_deleted_ones_are_not(self, store, filled):
        automatic, strange = filled.judged(2), filled.judge(filled.add(2, fields={"scanner": "B"}), "outlier")
        labelled = filled.add(1, labelled=True)
        with store.writing() as connection:
            field = max(browsing.items_of(connection, filled.project, strange)[0].shown_dataset_id, 0)
            set_answers(connection, {automatic[0]: Answer("resolved", ("cat",), at=1.0)})
            assert listed(connection, filled, route="outlier") == strange
            assert listed(connection, filled, dataset_id=field) == strange
            assert listed(connection, filled, answer="resolved") == automatic[:1]
            assert listed(connection, filled, answer="open") == [automatic[1], *strange]
            assert listed(connection, filled, answer="labelled") == labelled
            items.mark_gone(connection, strange[:1])
            assert listed(connection, filled, route="outlier") == strange[1:]

    def test_an_item_is_found_by_its_task_by_what_it_was_pushed_with_and_by_its_number(self, store, filled):
        (id,) = filled.judged(1)
        with store.writing() as connection:
            add_pushed(connection, filled.project, "camera", [PushedItem("ab12", "http://host/p.png", None, {})])
            pushed = browsing.item_of_task(connection, filled.project, "ab12")
            assert (pushed.task, pushed.pushed, pushed.name) == (None, "ab12", "ab12")
            assert browsing.item_of_task(connection, filled.project, str(id)) == browsing.item_of_id(connection, filled.project, id)
            assert browsing.items_named(connection, filled.project, [str(id), "ab12", "x"]) == {str(id): id, "ab12": pushed.id}
            assert browsing.medium_of(connection, filled.project, pushed.id).media == "http://host/p.png"
            for find, name in ((browsing.item_of_task, "x"), (browsing.item_of_id, 99), (browsing.medium_of, 99)):
                with pytest.raises(UnknownError, match="project 3 has no"):
                    find(connection, filled.project, name)

    def test_a_small_picture_is_one_of_the_project(self, store, filled):
        (id,) = filled.judged(1)
        with store.reading() as connection:
            assert browsing.thumbnail_of(connection, filled.project, id) == b"png"
            assert browsing.thumbnail_of(connection, filled.project, id + 1) is None

    def test_the_strangest_are_outliers_the_strangest_first(self, store, filled):
        now = time.time()
        usual, strange = filled.judged(1, "outlier", trust=0.3), filled.judged(1, "outlier", trust=0.1)
        filled.judged(2)
        with store.reading() as connection:
            of_all = browsing.strangest_of(connection, filled.project, 1, 5)
            assert [(face.item_id, face.name) for face in of_all] == [(id, str(id)) for id in (*strange, *usual)]
            assert browsing.strangest_of(connection, filled.project, 1, 1) == of_all[:1]
            assert browsing.strangest_between(connection, filled.project, now - 60, now + 60, 5) == of_all
            assert browsing.strangest_between(connection, filled.project, 0.0, 1.0, 5) == []

    def test_what_could_not_be_judged_is_told_the_latest_first_until_people_answer(self, store, filled):
        first, second, third = filled.judged(3, "failed")
        with store.writing() as connection:
            set_answers(connection, {second: Answer("resolved", ("cat",), at=1.0)})
            found = browsing.failures(connection, filled.project, 10)
        assert [(failure.task, failure.reason) for failure in found] == [(str(third), "because"), (str(first), "because")]
