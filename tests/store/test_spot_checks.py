"""Spot checks: drawn with the verdict, moved from state to state by people's answers."""

from __future__ import annotations

from collections import Counter

from stores import on_postgresql, while_it_waits

from annotriage.labeling_tool import Review
from annotriage.service.guarantee.spot_checks import settle
from annotriage.states import SpotCheckState
from annotriage.store import deliveries, items, spot_checks
from annotriage.store.projects import change_project
from annotriage.store.reviews import keep_reviews
from annotriage.store.schema import spot_check
from annotriage.store.spot_checks import Move


def says(connection, filled, id, who, label, at=1e12):
    keep_reviews(connection, filled.project.id, {id: [Review(f"{id}-{who}", who, (label,), updated_at=at)]})
    settle(connection, filled.project, [id])


class TestSpotChecks:
    def test_one_state_leads_to_the_next_and_only_from_where_it_was_seen(self, store, filled):
        (id,) = filled.judged(1, spot_check="sample")
        open_, disagreed, wrong = SpotCheckState.OPEN, SpotCheckState.DISAGREED, SpotCheckState.WRONG
        with store.writing() as connection:
            assert spot_checks.move(connection, [Move(id, open_, disagreed, None, 1.0)]) == [id]
            assert spot_checks.move(connection, [Move(id, open_, wrong, ("dog",), 2.0)]) == []
            (found,) = spot_checks.spot_checks_of(connection, [id])
            assert (found.state, found.given, found.answered_at) == (disagreed, None, 1.0)
            assert spot_checks.move(connection, [Move(id, disagreed, wrong, ("dog",), 2.0)]) == [id]
            (found,) = spot_checks.spot_checks_of(connection, [id])
            assert (found.state, found.given, found.answered_at) == (wrong, ("dog",), 2.0)

    def test_an_item_is_drawn_once(self, store, filled):
        (id,) = filled.judged(1, spot_check="sample")
        filled.judge([id], "outlier", spot_check="audit")
        with store.reading() as connection:
            (found,) = spot_checks.spot_checks_of(connection, [id])
        assert (found.kind, found.route, found.labels) == ("sample", "auto", ("cat",))

    def test_answers_move_a_spot_check_and_a_second_person_is_asked_where_one_disagrees(self, store, filled):
        ids = filled.judged(3, spot_check="sample")
        with store.writing() as connection:
            says(connection, filled, ids[0], "ann", "cat")
            says(connection, filled, ids[1], "ann", "dog")
            assert spot_checks.automatic_answers(connection, filled.project.id, filled.project.reference_id) == ["right", "disagreed"]
            (asked,) = spot_checks.unconfirmed(connection, filled.project.id)
            assert (asked.item_id, asked.people, asked.wanted) == (ids[1], 1, 1)
            assert spot_checks.outstanding(connection, filled.project.id, filled.project.reference_id)[0] == 2
            assert spot_checks.unsettled(connection, ids) == set(ids[1:])
            assert spot_checks.sample_size(connection, filled.project.id) == (1, 3)
            (answered,) = spot_checks.sample_answers(connection, filled.project.id)
            assert (answered.id, answered.given) == (ids[0], ("cat",))

    def test_what_waits_is_counted_without_what_was_deleted_and_dated_by_the_first_of_the_rest(self, store, filled):
        ids = filled.judged(6, spot_check="sample")
        of = (filled.project.id, filled.project.reference_id)
        with store.writing() as connection:
            for place, id in enumerate(ids):
                connection.execute(spot_check.update().where(spot_check.c.item_id == id).values(drawn_at=10.0 + place))
            says(connection, filled, ids[1], "ann", "dog")
            says(connection, filled, ids[5], "ann", "cat")
            items.mark_gone(connection, [ids[0], ids[3]])
            assert spot_checks.outstanding(connection, *of) == (3, 11.0)
            assert spot_checks.open_since(connection, *of, 14.0) == 1
            assert spot_checks.automatic_drawn(connection, *of) == 4
            assert spot_checks.outstanding(connection, filled.project.id, filled.references[1]) == (0, None)

    def test_automatic_ones_are_as_many_of_each_state_as_their_answers_say(self, store, filled):
        ids = filled.judged(5, spot_check="sample")
        filled.judged(2, "outlier", spot_check="sample")
        of = (filled.project.id, filled.project.reference_id)
        with store.writing() as connection:
            for id, label in zip(ids[:3], ("cat", "cat", "dog"), strict=True):
                says(connection, filled, id, "ann", label)
            counts = spot_checks.automatic_counts(connection, *of)
            assert counts == {"right": 2, "disagreed": 1, "open": 2}
            assert Counter(spot_checks.automatic_answers(connection, *of)) == Counter(counts) - Counter(open=2)

    def test_one_that_waits_moves_to_the_next_reference_unless_its_label_is_seen_there(self, store, filled):
        _, new = filled.references
        first, second = filled.judged(2, spot_check="audit")
        with store.writing() as connection:
            change_project(connection, filled.project.id, next_reference_id=new)
        filled.judge([first, second], "uncertain", reference_id=new)
        hidden = {"item_id": first, "reference_id": new, "project_id": filled.project.id, "labels": None, "trust": 0.1}
        with store.writing() as connection:
            deliveries.enqueue(connection, [hidden])
            assert spot_checks.take_over(connection, filled.project.id, new, []) == []
            assert spot_checks.unsettled(connection, [first, second]) == {first, second}, "nothing is done about what nobody has locked"
            assert spot_checks.take_over(connection, filled.project.id, new, [first, second]) == [first]
            assert spot_checks.unsettled(connection, [first, second]) == {first}
            (found,) = spot_checks.spot_checks_of(connection, [first])
            assert (found.route, found.again) == ("uncertain", False)


@on_postgresql
class TestSpotChecksOnPostgreSQL:
    def test_two_people_whose_answers_are_read_at_the_same_time_are_both_heard(self, store, filled):
        (id,) = filled.judged(1, spot_check="sample")

        def second():
            with store.writing() as connection:
                says(connection, filled, id, "bob", "dog")

        first = store.writing()
        says(first.__enter__(), filled, id, "ann", "dog")
        while_it_waits(store, second, lambda: first.__exit__(None, None, None))
        with store.reading() as connection:
            (found,) = spot_checks.spot_checks_of(connection, [id])
        assert found.state == "wrong"
