"""What counts as answered blind, with a suggestion in view, and by several people."""

from __future__ import annotations

import time
from collections import Counter

from sqlalchemy import select, update

from annotriage.labeling_tool import Review
from annotriage.states import EventKind
from annotriage.store import blind_answers as blind_answers_module
from annotriage.store.blind_answers import alike_answers, answers_of, blind_answers, first_answers, several_answers
from annotriage.store.database import stored
from annotriage.store.deliveries import enqueue
from annotriage.store.events import note
from annotriage.store.reviews import Answer, keep_reviews, set_answers
from annotriage.store.schema import item, review, spot_check


def answer(store, filled, ids, label, *, person="7", resolved=True, at=None):
    at = time.time() + 1 if at is None else at
    with store.writing() as connection:
        given = {id: [Review(f"{person}-{id}", person, (label,), updated_at=at)] for id in ids}
        keep_reviews(connection, filled.project.id, given)
        if resolved:
            set_answers(connection, {id: Answer("resolved", (label,), at=at) for id in ids})


def settle(store, id, state, label, at=5.0):
    with store.writing() as connection:
        values = {"state": state, "labels": [label], "answered_at": at}
        connection.execute(update(spot_check).where(spot_check.c.item_id == id).values(values))


def same_figures(store, filled):
    """How many blind answers there are, once what is counted of them was compared with what is listed."""
    with store.reading() as connection:
        listed, counted = blind_answers(connection, filled.project), alike_answers(connection, filled.project)
    alike = Counter((int(row.at // 86_400), row.route, row.said, row.answered) for row in listed)
    assert alike == {(row.day, row.route, row.said, row.answered): row.n for row in counted}
    return len(listed)


class TestBlindAnswers:
    def test_settled_checks_and_strange_items_were_answered_blind_and_nothing_else(self, store, filled):
        (right, wrong, unsettled), (seen,) = filled.judged(3, spot_check="sample"), filled.judged(1)
        strange, told = filled.judged(2, "outlier")
        settle(store, right, "right", "cat")
        settle(store, wrong, "wrong", "dog")
        answer(store, filled, [seen, strange, told, unsettled], "dog")
        with store.writing() as connection:
            note(connection, filled.project.id, EventKind.REVEALED, task=str(told), by="boss")
            found = {row.item_id: row for row in blind_answers(connection, filled.project)}
        assert set(found) == {right, wrong, strange}
        assert [found[id].right for id in (right, wrong, strange)] == [True, False, False]
        assert (found[strange].route, found[strange].said, found[strange].answered) == ("outlier", ("cat",), ("dog",))

    def test_a_strange_item_whose_label_another_reference_showed_before_was_not_answered_blind(self, store, filled):
        (id,) = filled.judged(1, "outlier")
        filled.judge([id], "auto", reference_id=filled.references[1])
        answer(store, filled, [id], "dog")
        with store.reading() as connection:
            assert blind_answers(connection, filled.project) == []

    def test_first_answers_tell_what_was_in_view_from_what_was_blind(self, store, filled):
        shown, early = filled.judged(2)
        (check,), (strange,) = filled.judged(1, spot_check="sample"), filled.judged(1, "outlier")
        answer(store, filled, [shown, check, strange], "dog")
        answer(store, filled, [early], "dog", at=1.0)  # before it was judged
        answer(store, filled, [shown], "cat", person="8", at=time.time() + 9)  # the second one
        settle(store, check, "wrong", "dog")
        with store.reading() as connection:
            found = {(row.route, row.blind, row.said, row.answered) for row in first_answers(connection, filled.project)}
        assert found == {("auto", False, ("cat",), ("dog",)), ("auto", True, ("cat",), ("dog",))}

    def test_what_is_answered_blind_is_told_up_to_the_first_that_awaits_a_second_answer(self, store, filled):
        checks = filled.judged(5, spot_check="sample")
        answer(store, filled, checks, "cat")
        states = ("right", "right", "disagreed", "right", "open")
        with store.writing() as connection:
            for at, (id, state) in enumerate(zip(checks, states, strict=True)):
                values = {"state": state, "answered_at": None if state == "open" else at}
                connection.execute(update(spot_check).where(spot_check.c.item_id == id).values(values))

        def told():
            with store.reading() as connection:
                return sum(row.n for row in first_answers(connection, filled.project) if row.blind)

        assert told() == 2, "later ones agree all the sooner"
        settle(store, checks[2], "wrong", "dog")
        assert told() == 4

    def test_of_an_item_whose_first_answer_is_empty_the_next_one_counts(self, store, filled):
        shown, empty = filled.judged(2)
        at = time.time() + 1
        with store.writing() as connection:
            given = {shown: [Review("a", "7", None, updated_at=at)], empty: [Review("b", "7", None, updated_at=at)]}
            keep_reviews(connection, filled.project.id, given)
            assert connection.execute(select(stored(review.c.labels))).scalars().all() == ["null", "null"]
        answer(store, filled, [shown], "dog", person="8", at=at + 1)
        answer(store, filled, [shown], "cat", person="9", at=at + 2)
        with store.reading() as connection:
            assert [(row.answered, row.n) for row in first_answers(connection, filled.project)] == [(("dog",), 1)]

    def test_items_that_are_gone_take_no_place_among_the_latest_first_answers(self, store, filled, monkeypatch):
        monkeypatch.setattr(blind_answers_module, "MOST_ITEMS", 2)
        shown = filled.judged(4)
        answer(store, filled, shown, "dog")
        with store.writing() as connection:
            connection.execute(update(item).where(item.c.id.in_(shown[2:])).values(gone=True))
        with store.reading() as connection:
            assert [(row.answered, row.n) for row in first_answers(connection, filled.project)] == [(("dog",), 2)]

    def test_what_is_counted_is_what_is_listed(self, store, filled):
        """Over answers, times at the ends of days, and what is taken back, deleted and erased."""
        checks, strange = filled.judged(12, spot_check="sample"), filled.judged(6, "outlier")
        days = [0.0, 86_399.999, 86_400.0, 86_400.001, 3 * 86_400.0 - 1e-6, 3 * 86_400.0]
        for place, id in enumerate(checks):
            settle(store, id, *(("right", "cat") if place % 2 else ("wrong", "dog")), at=days[place % len(days)])
        answer(store, filled, strange, "dog", at=days[4])
        assert same_figures(store, filled) == 18
        with store.writing() as connection:
            connection.execute(update(item).where(item.c.id.in_([checks[0], strange[0]])).values(gone=True))
            connection.execute(update(spot_check).where(spot_check.c.item_id == checks[1]).values(state="open"))
            set_answers(connection, {strange[1]: Answer("open", None)})
            note(connection, filled.project.id, EventKind.REVEALED, task=str(strange[2]), by="boss")
        assert same_figures(store, filled) == 13
        with store.writing() as connection:
            connection.execute(item.delete().where(item.c.id.in_([checks[2], strange[3]])))
        assert same_figures(store, filled) == 11

    def test_where_the_suggestion_was_taken_away_nothing_was_in_view(self, store, filled):
        hidden, _ = filled.judged(2)
        with store.writing() as connection:
            rows = [
                {
                    "item_id": hidden,
                    "reference_id": filled.project.reference_id,
                    "project_id": filled.project.id,
                    "labels": None,
                    "trust": 0.5,
                }
            ]
            enqueue(connection, rows)
        answer(store, filled, [hidden], "dog")
        with store.reading() as connection:
            assert first_answers(connection, filled.project) == []

    def test_answers_of_several_people_leave_out_those_that_were_asked_for(self, store, filled):
        twice, again, once = filled.judged(3)
        answer(store, filled, [twice, again, once], "cat")
        answer(store, filled, [twice, again], "dog", person="8")
        with store.writing() as connection:
            connection.execute(update(item).where(item.c.id == again).values(wanted=2))
            found, left_out = several_answers(connection, filled.project)
            counted = answers_of(connection, filled.project)
        assert [(row.item_id, row.given) for row in found] == [(twice, {"7": ("cat",), "8": ("dog",)})]
        assert left_out == 1
        assert counted == {"7": {("cat",): 3}, "8": {("dog",): 2}}
