"""Transactions lock in one order: whoever waits for another one holds nothing that that one will ask for."""

from __future__ import annotations

from sqlalchemy import text
from stores import on_postgresql, verdict_of, while_it_waits

from annotriage.states import Alarm
from annotriage.store import deliveries, items, reroutings, rescores, spot_checks, work
from annotriage.store.locks import lock_items
from annotriage.store.projects import change_project, raise_alarm
from annotriage.store.reviews import Answer, set_answers
from annotriage.store.schema import delivery

ALARM = Alarm(9, 20, 0.2, 0.7, 0.02, 5.0)


@on_postgresql
class TestLocks:
    def test_an_answer_that_rings_the_alarm_and_a_rerouting_of_its_item_do_not_wait_for_each_other(self, store, filled):
        (id,) = filled.judged(1)
        first = store.writing()
        connection = first.__enter__()
        set_answers(connection, {id: Answer("resolved", ("dog",), at=1.0)})
        held = []

        def reroute():
            with store.writing() as other:
                held.append(reroutings.hold(other, filled.project.id, [id]))

        def ring():
            assert raise_alarm(connection, filled.project.id, ALARM)
            first.__exit__(None, None, None)

        while_it_waits(store, reroute, ring)
        ((project, rows),) = held
        assert (project.alarm, [row.answer for row in rows]) == (ALARM, ["resolved"]), "what the other one wrote is seen"

    def test_a_rerouting_and_a_new_verdict_of_the_same_items_follow_one_another(self, store, filled):
        ids = filled.judged(3)
        first = store.writing()
        connection = first.__enter__()
        project, _ = reroutings.hold(connection, filled.project.id, ids)

        def reroute():
            reroutings.send(connection, project, reroutings.begin(connection, project.id, "review", "Ann"), ids[1:], "Ann")
            reroutings.dismiss(connection, project, reroutings.begin(connection, project.id, "back", "Ann"), ids[:1], dismissed=True)
            first.__exit__(None, None, None)

        while_it_waits(store, lambda: filled.judge(ids[::-1], "outlier"), reroute)
        with store.reading() as connection:
            assert {verdict_of(connection, id, project.reference_id).route for id in ids} == {"outlier"}
        assert filled.counts() == {"outlier": (3, 2)}

    def test_what_a_dead_process_held_is_freed_item_by_item_in_the_same_order(self, store, filled):
        ids = filled.judged(2)
        with store.writing() as connection:
            assert len(deliveries.take(connection, filled.project.id, "pending", "dead", 10)) == 2
        first = store.writing()
        connection = first.__enter__()
        project, _ = reroutings.hold(connection, filled.project.id, ids)

        def deliver_anew(id):
            row = {"item_id": id, "reference_id": project.reference_id, "project_id": project.id, "labels": ["dog"], "trust": 0.8}
            deliveries.enqueue(connection, [row])

        def bury():
            with store.writing() as other:
                work.bury(other, ["dead"])

        def go_on():
            deliver_anew(ids[0])
            first.__exit__(None, None, None)

        deliver_anew(ids[1])
        while_it_waits(store, bury, go_on)
        with store.reading() as connection:
            assert {(row.state, row.owner) for row in connection.execute(delivery.select())} == {("stale", None)}

    def test_a_switch_of_references_does_not_wait_for_an_item_whose_holder_waits_for_the_project(self, store, filled):
        _, new = filled.references
        first, second = filled.judged(2, spot_check="audit")
        with store.writing() as connection:
            change_project(connection, filled.project.id, next_reference_id=new)
        filled.judge([first, second], "uncertain", reference_id=new)  # annotators see both labels
        switch = store.writing()
        connection = switch.__enter__()
        lock_items(connection, [first])
        assert rescores.switch(connection, filled.present(), new, "new")

        def reroute():
            with store.writing() as other:
                reroutings.hold(other, filled.project.id, [second])

        def go_on():
            spot_checks.take_over(connection, filled.project.id, new, [first])
            switch.__exit__(None, None, None)

        while_it_waits(store, reroute, go_on)
        with store.reading() as connection:
            assert spot_checks.unsettled(connection, [first, second]) == {second}

    def test_what_names_an_item_can_be_added_while_it_is_held(self, store, filled):
        ids = filled.judged(1)
        with store.writing() as connection:
            reroutings.hold(connection, filled.project.id, ids)
            with store.writing() as other:
                other.execute(text("SET LOCAL lock_timeout = '20s'"))
                items.add_work(other, filled.project, ids)
