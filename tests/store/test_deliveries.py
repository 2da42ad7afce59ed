"""Deliveries are taken once and change state only from the state that they were read in."""

from __future__ import annotations

import time

import pytest
from delivery_states import states
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from stores import FACTS

from annotriage.errors import StateError
from annotriage.store import deliveries
from annotriage.store.pushing import PushedItem, add_pushed
from annotriage.store.references import save_reference
from annotriage.store.schema import delivery, item, reference, spot_check, verdict
from annotriage.store.schema import project as project_table


def shown(project, ids, trust=0.5):
    return [{"item_id": id, "reference_id": project.reference_id, "project_id": project.id, "labels": None, "trust": trust} for id in ids]


class TestDeliveries:
    def test_what_is_taken_is_nobody_elses(self, store, project, judged):
        judged(5)
        with store.writing() as connection:
            mine = deliveries.take(connection, project.id, "pending", "me", 3)
        with store.writing() as connection:
            others = deliveries.take(connection, project.id, "pending", "you", 10)
        assert [due.task_id for due in mine] == ["1", "2", "3"]
        assert [due.task_id for due in others] == ["4", "5"]
        assert (mine[0].labels, mine[0].trust, mine[0].version) == (("cat",), 0.9, project.version)

    def test_only_what_is_in_the_state_moves(self, store, project, judged):
        ids = judged(3)
        with store.writing() as connection:
            deliveries.take(connection, project.id, "pending", "me", 2)
            moved = deliveries.move(connection, project.reference_id, ids, ("sending",), "confirmed", held_by="me")
            assert moved == set(ids[:2])
            assert deliveries.move(connection, project.reference_id, ids, ("sending",), "unknown") == set()
            assert states(connection, project.id, project.reference_id) == {"confirmed": 2, "pending": 1}

    def test_what_somebody_else_holds_by_now_does_not_move(self, store, project, judged):
        ids = judged(1)
        with store.writing() as connection:
            deliveries.take(connection, project.id, "pending", "dead", 1)
            deliveries.release(connection, ["dead"])
            deliveries.move(connection, project.reference_id, ids, ("unknown",), "pending")
            deliveries.take(connection, project.id, "pending", "me", 1)
            assert deliveries.move(connection, project.reference_id, ids, ("sending",), "confirmed", held_by="dead") == set()

    def test_what_changes_while_it_is_sent_is_stale_and_stays_with_its_owner(self, store, project, judged):
        ids = judged(1)
        with store.writing() as connection:
            deliveries.take(connection, project.id, "pending", "me", 1)
            deliveries.enqueue(connection, shown(project, ids))
            assert deliveries.move(connection, project.reference_id, ids, ("sending",), "confirmed", held_by="me") == set()
            assert deliveries.take(connection, project.id, "stale", "you", 1) == []
            (due,) = deliveries.take(connection, project.id, "stale", "me", 1)
            assert (due.labels, due.trust) == (None, 0.5)

    def test_what_may_have_been_sent_again_does_not_tell_how_long_the_first_time_took(self, store, project, filled):
        (plain, sent, audited, again, early), (drawn,) = filled.judged(5), filled.judged(1, spot_check="sample")
        with store.writing() as connection:
            change = {sent: {"sent_by": "ann"}, early: {"at": connection.execute(select(reference.c.at)).scalars().first()}}
            for id, values in change.items():
                connection.execute(update(item).where(item.c.id == id).values(**values))
            check = {"item_id": audited, "project_id": project.id, "reference_id": project.reference_id, "route": "auto"}
            connection.execute(insert(spot_check).values(**check, kind="audit", state="open", drawn_at=time.time() + 60))
            deliveries.take(connection, project.id, "pending", "me", 10)
            deliveries.move(connection, project.reference_id, [plain, sent, audited, again, early, drawn], ("sending",), "confirmed")
            connection.execute(update(verdict).where(verdict.c.item_id == again).values(at=time.time() + 60))
            connected = connection.execute(select(project_table.c.at)).scalar_one()
            times = deliveries.last_times(connection, project, 10)
            own = dict(connection.execute(select(item.c.id, item.c.at)).all())
        assert [came for came, _, _ in times] == [own[drawn], connected, own[plain]]
        assert all(came <= judged <= seen for came, judged, seen in times)

    def test_the_dead_hold_nothing(self, store, project, judged):
        ids = judged(4)
        with store.writing() as connection:
            deliveries.take(connection, project.id, "pending", "dead", 4)
            deliveries.enqueue(connection, shown(project, ids[:1]))
            deliveries.release(connection, ["dead"])
            rows = connection.execute(select(delivery).order_by(delivery.c.item_id)).all()
            assert [row.state for row in rows] == ["stale", "unknown", "unknown", "unknown"]
            assert {row.owner for row in rows} == {None}
            assert rows[0].not_before > time.time(), "what was sent may still arrive"
            assert len(deliveries.take(connection, project.id, "unknown", "me", 10)) == 3

    def test_what_is_read_back_is_not_given_to_the_tool(self, store, project, judged):
        ids = judged(3)
        with store.writing() as connection:
            assert sorted(deliveries.answered(connection, project.reference_id, ids[:2])) == ids[:2]
            deliveries.move(connection, project.reference_id, ids[:1], ("answered",), "answered")  # its time has come
            assert [due.item_id for due in deliveries.take(connection, project.id, "answered", "me", 10)] == ids[:1]
            assert sorted(deliveries.answered(connection, project.reference_id, ids)) == ids[1:]

    def test_an_answer_that_may_still_be_stored_is_waited_for_before_it_is_withdrawn(self, store, project, judged):
        ids = judged(1)
        with store.writing() as connection:
            deliveries.answered(connection, project.reference_id, ids)
            deliveries.enqueue(connection, shown(project, ids))
            assert states(connection, project.id, project.reference_id) == {"stale": 1}
            assert deliveries.take(connection, project.id, "stale", "me", 1) == []

    def test_what_waits_is_counted_by_its_state(self, store, project, judged):
        ids = judged(3)
        with store.writing() as connection:
            deliveries.move(connection, project.reference_id, ids[:1], ("pending",), "confirmed")
            deliveries.move(connection, project.reference_id, ids[1:2], ("pending",), "pending", not_before=time.time() + 60)
            waiting = deliveries.waiting(connection, project.id)
        assert {state: figures.count for state, figures in waiting.items()} == {"pending": 1}

    def test_errors_are_told_until_the_prediction_arrives(self, store, project, judged):
        ids = judged(2)
        with store.writing() as connection:
            deliveries.move(connection, project.reference_id, ids, ("pending",), "refused", error="no such label", attempts=3)
            deliveries.move(connection, project.reference_id, ids[:1], ("refused",), "confirmed")
            (trouble,) = deliveries.troubles(connection, project.id)
        assert (trouble.external_id, trouble.state, trouble.error) == ("2", "refused", "no such label")

    def test_pushed_items_are_taken_with_what_their_tasks_need_up_to_a_size(self, store, project, judged):
        with store.writing() as connection:
            pushed = [PushedItem(f"m{number}", "data:" + "x" * 100, None, {"source": "PACS"}) for number in range(4)]
            add_pushed(connection, project, "ward", pushed)
            ids = connection.execute(select(item.c.id)).scalars().all()
            deliveries.enqueue(connection, shown(project, ids))
            assert deliveries.any_uncreated(connection, project)
            assert deliveries.take(connection, project.id, "pending", "me", 10) == []
            taken = deliveries.take_uncreated(connection, project, "me", 10, 250)
            assert [(due.marker, due.data) for due in taken] == [("m0", {"source": "PACS"}), ("m1", {"source": "PACS"})]
            deliveries.release(connection, ["me"])
            assert deliveries.any_unlinked(connection, project.id)
            assert [due.marker for due in deliveries.take_unlinked(connection, project.id, "me", 10)] == ["m0", "m1"]

    def test_a_task_has_one_delivery_of_a_version(self, store, project, judged):
        (id,) = judged(1)
        with store.writing() as connection, pytest.raises(IntegrityError), connection.begin_nested():
            connection.execute(delivery.insert().values(**shown(project, [id])[0], state="pending", at=0.0))
        with store.writing() as connection, pytest.raises(StateError, match="under another name"):
            save_reference(connection, version="v9", name="pets", prediction_version=project.version, facts=FACTS, files={})

    def test_what_was_refused_or_waits_after_an_error_is_tried_again_at_once(self, store, project, judged):
        refused, late, waits = judged(3)
        with store.writing() as connection:
            deliveries.move(connection, project.reference_id, [refused], ("pending",), "refused", error="400", attempts=5)
            deliveries.move(connection, project.reference_id, [late], ("pending",), "pending", error="503", not_before=time.time() + 600)
            assert deliveries.undelivered(connection, project.id) == {"pending": 2, "refused": 1}
            assert deliveries.retry(connection, project) == 2
            taken = deliveries.take(connection, project.id, "pending", "me", 9)
            assert [(due.item_id, due.attempts) for due in taken] == [(refused, 0), (late, 0), (waits, 0)]

    def test_an_items_deliveries_are_told_with_their_versions(self, store, filled, references):
        (id,) = filled.judged(1)
        filled.judge([id], reference_id=references[1])
        with store.reading() as connection:
            found = deliveries.deliveries_of_item(connection, id)
        assert [(sent.version, sent.state, sent.labels) for sent in found] == [
            (f"annotriage pets {name}", "pending", ("cat",)) for name in ("v1", "v2")
        ]
