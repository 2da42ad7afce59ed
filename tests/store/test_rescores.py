"""A reference takes over once, and what may still arrive of the former one is waited for."""

from __future__ import annotations

from annotriage.store import deliveries, rescores
from annotriage.store.projects import change_project, get_project
from annotriage.store.schema import delivery


class TestRescores:
    def test_the_switch_is_made_once(self, store, project, references, judged):
        _, new = references
        with store.writing() as connection:
            change_project(connection, project.id, next_reference_id=new)
            due = get_project(connection, project.id)
            assert rescores.switch(connection, due, new, "annotriage pets v2")
            assert not rescores.switch(connection, due, new, "annotriage pets v2")
            present = get_project(connection, project.id)
        assert (present.reference_id, present.next_reference_id, present.old_reference_id) == (new, None, references[0])

    def test_only_the_reference_that_was_cleared_is_forgotten(self, store, project, references):
        old, new = references
        with store.writing() as connection:
            change_project(connection, project.id, old_reference_id=new)
            assert not rescores.cleared(connection, project, old)
            assert get_project(connection, project.id).old_reference_id == new
            assert rescores.cleared(connection, project, new)
            assert get_project(connection, project.id).old_reference_id is None

    def test_what_is_held_or_may_still_arrive_is_not_forgotten(self, store, project, judged):
        ids = judged(3)
        with store.writing() as connection:
            deliveries.take(connection, project.id, "pending", "me", 1)
            row = {"reference_id": project.reference_id, "project_id": project.id, "labels": None, "trust": 0.5}
            deliveries.enqueue(connection, [{"item_id": ids[0], **row}])
            deliveries.move(connection, project.reference_id, ids[1:2], ("pending",), "stale", not_before=10.0**12)
            assert not rescores.forget_deliveries(connection, project, project.reference_id)
            deliveries.move(connection, project.reference_id, ids[:2], ("stale",), "confirmed")
            assert rescores.forget_deliveries(connection, project, project.reference_id)

    def test_what_only_awaits_a_new_verdict_holds_up_no_takeover(self, store, project, judged):
        ids = judged(2)
        with store.writing() as connection:
            connection.execute(delivery.delete())
            deliveries.expect_former(connection, project, ids)
            assert rescores.forget_deliveries(connection, project, project.reference_id)
