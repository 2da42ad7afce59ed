"""Reviews: what people answered, and the answer that follows for an item."""

from __future__ import annotations

import time

import pytest

from annotriage.labeling_tool import Review
from annotriage.store import reviews
from annotriage.store.reviews import DAY, Answer


def given(id, who="ann", labels=("cat",), at=1.0, **values):
    return Review(id, who, labels, updated_at=at, **values)


class TestReviews:
    def test_reviews_come_back_as_they_were_the_earliest_first(self, store, filled):
        first, second = filled.judged(2)
        late, early, skipped = given("a", at=2.0), given("b", "bob", ("dog",)), given("c", labels=None, skipped=True)
        with store.writing() as connection:
            reviews.keep_reviews(connection, filled.project.id, {first: [late, early], second: [skipped]})
            assert reviews.reviews_of(connection, [first, second]) == {first: [early, late], second: [skipped]}

    def test_a_review_that_was_changed_is_written_anew_and_one_that_was_deleted_is_forgotten(self, store, filled):
        (id,) = filled.judged(1)
        with store.writing() as connection:
            reviews.keep_reviews(connection, filled.project.id, {id: [given("a"), given("b", "bob")]})
            reviews.keep_reviews(connection, filled.project.id, {id: [given("a", labels=("dog",), at=3.0)]})
            reviews.drop_reviews(connection, filled.project.id, ["b"])
            assert reviews.reviews_of(connection, [id]) == {id: [given("a", labels=("dog",), at=3.0)]}

    def test_an_answer_is_known_with_the_reviews_that_it_comes_from(self, store, filled):
        first, second = filled.judged(2)
        with store.writing() as connection:
            reviews.keep_reviews(connection, filled.project.id, {first: [given("a")]})
            reviews.set_answers(connection, {first: Answer("resolved", ("cat",), at=1.0), second: Answer("disputed", at=2.0)})
            reviews.set_wanted(connection, {second: 3})
            known = reviews.known(connection, filled.project.id, [str(first), str(second), "99"])
        assert set(known) == {str(first), str(second)}
        mine, other = known[str(first)], known[str(second)]
        assert (mine.answer, mine.labels, mine.reviews) == ("resolved", ("cat",), {"a": given("a")})
        assert (other.answer, other.labels, other.wanted, other.reviews) == ("disputed", None, 3, {})

    def test_empty_annotations_are_listed_the_latest_first(self, store, filled):
        first, second = filled.judged(2)
        with store.writing() as connection:
            reviews.keep_reviews(connection, filled.project.id, {first: [given("a", labels=None, empty=True)], second: [given("b")]})
            reviews.keep_reviews(connection, filled.project.id, {second: [given("c", labels=None, empty=True)]})
            assert reviews.empty_answers(connection, filled.project, 10) == [str(second), str(first)]

    def test_peoples_speed_is_that_of_their_latest_answers(self, store, filled):
        ids, now = filled.judged(30), time.time()
        with store.writing() as connection:
            assert reviews.answers_per_day(connection, filled.project) == 0.0
            of_machine = {ids[29]: Answer("resolved", ("cat",), machine=True, at=now)}
            reviews.set_answers(connection, {id: Answer("resolved", ("cat",), at=now - 7 * DAY) for id in ids[:28]} | of_machine)
            assert reviews.answers_per_day(connection, filled.project) == pytest.approx(4.0, rel=0.01)

    def test_nobody_knows_the_speed_of_people_who_began_an_hour_ago(self, store, filled):
        ids, now = filled.judged(3), time.time()
        with store.writing() as connection:
            reviews.set_answers(connection, {id: Answer("resolved", ("cat",), at=now - 3_600) for id in ids})
            assert reviews.answers_per_day(connection, filled.project) is None

    def test_an_answer_takes_as_long_as_the_same_person_needs_between_two(self, store, filled):
        ids, now = filled.judged(24), time.time()
        with store.writing() as connection:
            told = {}
            for place, id in enumerate(ids):
                who, turn = ("ann", place // 2) if place % 2 else ("bob", place // 2)
                told[id] = [given(f"{who}{turn}", who, at=now - 20 * turn - 5_000 * (turn > 8))]
            reviews.keep_reviews(connection, filled.project.id, told)
            assert reviews.seconds_per_answer(connection, filled.project) == pytest.approx(20.0)
            people = reviews.answers_by_person(connection, filled.project)
            assert [(row.person, row.answers) for row in people] == [("ann", 12), ("bob", 12)]

    def test_a_few_answers_do_not_tell_how_long_one_takes(self, store, filled):
        ids = filled.judged(3)
        with store.writing() as connection:
            reviews.keep_reviews(connection, filled.project.id, {id: [given(str(id), at=20.0 * id)] for id in ids})
            assert reviews.seconds_per_answer(connection, filled.project) is None
