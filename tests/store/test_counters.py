"""Counts follow what happens to items."""

from __future__ import annotations

from sqlalchemy import select, text
from stores import on_postgresql, while_it_waits
from waiting import PATIENCE

from annotriage.states import SpotCheckState
from annotriage.store import items, spot_checks
from annotriage.store.counters import recounted
from annotriage.store.reviews import Answer, set_answers
from annotriage.store.schema import counter, dataset, item, verdict


class TestCounters:
    def test_judged_items_are_counted_by_route_and_answered_ones_are_not_open(self, store, filled):
        ids = filled.judged(3)
        filled.judged(2, "outlier")
        with store.writing() as connection:
            set_answers(connection, {ids[0]: Answer("resolved", ("cat",), at=1.0)})
        assert filled.counts() == {"auto": (3, 2), "outlier": (2, 2)}

    def test_judging_again_moves_a_count_and_adds_none(self, filled):
        ids = filled.judged(2)
        filled.judge(ids, "outlier")
        filled.judge(ids, "outlier")
        assert filled.counts() == {"outlier": (2, 2)}

    def test_each_dataset_of_an_item_counts_it(self, store, filled):
        filled.judge(filled.add(2, fields={"scanner": "B"}))
        filled.judge(filled.add(1, fields={"scanner": "A"}))
        query = select(dataset.c.kind, dataset.c.name, counter.c.n).join(dataset, dataset.c.id == counter.c.dataset_id)
        with store.reading() as connection:
            counts = {(kind, name if kind == "field" else ""): n for kind, name, n in connection.execute(query)}
        assert counts == {("all", ""): 3, ("batch", ""): 3, ("field", "scanner=A"): 1, ("field", "scanner=B"): 2}

    def test_what_is_gone_or_was_labelled_before_is_not_counted(self, store, filled):
        ids = filled.judged(2)
        filled.judge(filled.add(1, labelled=True))
        with store.writing() as connection:
            items.mark_gone(connection, ids[:1])
        assert filled.counts() == {"auto": (1, 1)}
        with store.writing() as connection:
            items.mark_back(connection, filled.project, ids[:1])
        assert filled.counts() == {"auto": (2, 2)}

    def test_spot_checks_are_counted_until_they_are_settled_and_wait_until_they_are_answered(self, store, filled):
        ids = filled.judged(4, spot_check="sample")
        filled.judged(1, "outlier", spot_check="audit")

        def checks():
            query = select(counter.c.route, counter.c.checks, counter.c.open_checks).where(counter.c.dataset_id == 1)
            with store.reading() as connection:
                return {route: tuple(counts) for route, *counts in connection.execute(query) if any(counts)}

        def move(id, from_, to):
            with store.writing() as connection:
                spot_checks.move(connection, [spot_checks.Move(id, from_, to, ("cat",), 1.0)])

        assert checks() == {"auto": (4, 4), "outlier": (1, 1)}
        with store.writing() as connection:
            set_answers(connection, {ids[0]: Answer("resolved", ("cat",), at=1.0)})
        assert checks()["auto"] == (4, 3), "it is answered and not settled"
        move(ids[0], "open", "disagreed")
        move(ids[1], "open", "disagreed")
        assert checks()["auto"] == (4, 3), "a second answer is wanted"
        move(ids[0], "disagreed", "right")
        assert checks()["auto"] == (3, 3)
        with store.writing() as connection:
            spot_checks.decide(connection, ids[1], SpotCheckState.WRONG, ("dog",), "ada")
            spot_checks.forget_spot_checks(connection, ids[2:3])
        assert checks()["auto"] == (1, 1)
        filled.judge(ids[3:], "outlier", spot_check="sample")
        with store.writing() as connection:
            items.mark_gone(connection, ids[3:])
        assert checks() == {"outlier": (1, 1)}

    def test_a_count_that_does_not_change_is_not_written(self, store, filled):
        ids = filled.judged(1)
        with store.writing() as connection:
            connection.execute(counter.delete())
            with recounted(connection, ids):
                connection.execute(item.update().values(group="a"))
        assert filled.counts() == {}


@on_postgresql
class TestCountersOnPostgreSQL:
    def test_two_workers_that_change_the_same_item_count_it_once(self, store, filled):
        ids = filled.judged(1)

        def answer():
            with store.writing() as connection:
                set_answers(connection, {ids[0]: Answer("resolved", ("cat",), at=1.0)})

        first = store.writing()
        connection = first.__enter__()
        set_answers(connection, {ids[0]: Answer("resolved", ("dog",), at=1.0)})
        while_it_waits(store, answer, lambda: first.__exit__(None, None, None))
        assert filled.counts() == {"auto": (1, 0)}

    def test_two_workers_that_judge_the_same_item_count_it_once(self, store, filled):
        ids = filled.judged(1)
        first = store.writing()
        connection = first.__enter__()
        items.mark_gone(connection, ids)
        while_it_waits(store, lambda: filled.judge(ids, "outlier"), lambda: first.__exit__(None, None, None))
        assert filled.counts() == {}

    def test_two_transactions_that_each_change_counts_twice_do_not_wait_for_each_other(self, store, filled):
        automatic, strange = filled.judged(2), filled.judged(2, "outlier")

        def answer(connection, id):
            set_answers(connection, {id: Answer("resolved", ("cat",), at=1.0)})

        def answer_the_second_ones():
            with store.writing() as connection:
                answer(connection, strange[1])
                answer(connection, automatic[1])

        first = store.writing()
        connection = first.__enter__()
        answer(connection, automatic[0])

        def go_on():
            answer(connection, strange[0])
            first.__exit__(None, None, None)

        while_it_waits(store, answer_the_second_ones, go_on)
        assert filled.counts() == {"auto": (2, 0), "outlier": (2, 0)}

    def test_two_workers_that_move_items_crosswise_do_not_wait_for_each_other(self, store, filled):
        automatic, strange = filled.judged(2), filled.judged(2, "outlier")
        with store.writing() as connection, recounted(connection, automatic):
            connection.execute(verdict.update().where(verdict.c.item_id.in_(automatic)).values(route="outlier"))
            with store.writing() as other:
                other.execute(text(f"SET LOCAL lock_timeout = '{PATIENCE:.0f}s'"))
                with recounted(other, strange):
                    other.execute(verdict.update().where(verdict.c.item_id.in_(strange)).values(route="auto"))
        assert filled.counts() == {"auto": (2, 2), "outlier": (2, 2)}
