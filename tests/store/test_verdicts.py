"""Verdicts: written with all that follows from them, in one transaction, and written anew without a trace of the old."""

from __future__ import annotations

from dataclasses import replace

from delivery_states import set_state, states
from sqlalchemy import select
from stores import counted, verdict_of

from annotriage.engine.verdict import Verdict
from annotriage.store import deliveries, items
from annotriage.store.projects import change_project
from annotriage.store.schema import delivery, field_write, item, point, spot_check, thumbnail, verdict
from annotriage.store.verdicts import Judgement, record


def judgement(id, route="auto", labels=("cat",), **values):
    given = Verdict("", "", labels, 0.9, "cat", trust=0.9, route=route, reason="because")
    return replace(Judgement(id, given, route, labels if route == "auto" else None, 0.9, None, b"\0\0", b"png"), **values)


class TestVerdicts:
    def test_one_that_replaces_a_delivered_one_makes_it_stale(self, store, filled):
        ids = filled.judged(1)
        with store.writing() as connection:
            deliveries.take(connection, filled.project.id, "pending", "me", 10)
            set_state(connection, filled.project.reference_id, ids, "confirmed")
        filled.judge(ids, "outlier")
        with store.reading() as connection:
            assert states(connection, filled.project.id, filled.project.reference_id) == {"stale": 1}

    def test_a_verdict_is_written_with_its_place_in_the_queue_its_picture_and_its_delivery(self, store, filled):
        (id,) = filled.add(1)
        with store.writing() as connection:
            assert record(connection, filled.project, filled.references[0], [judgement(id, "uncertain", ("cat", "dog"), trust=0.4)]) == [id]
            row = verdict_of(connection, id, filled.references[0])
            assert (row.route, row.labels, row.label, row.trust, row.shown_trust) == ("uncertain", ["cat", "dog"], "cat + dog", 0.9, 0.4)
            assert connection.execute(select(item.c.route, item.c.trust)).one() == ("uncertain", 0.4)
            assert connection.execute(select(thumbnail.c.content)).scalar_one() == b"png"
            assert connection.execute(select(point.c.compressed)).scalar_one() == b"\0\0"
            assert connection.execute(select(delivery.c.state, delivery.c.labels, delivery.c.trust)).one() == ("pending", None, 0.4)
            assert [row.item_id for row in connection.execute(field_write.select())] == [id]
        with store.reading() as connection:
            assert counted(connection, filled.project.id, filled.references[0]) == (1, 1)

    def test_a_repeat_changes_nothing_and_another_verdict_takes_the_place_of_the_first(self, store, filled):
        (id,) = filled.add(1)
        for _ in range(2):
            with store.writing() as connection:
                record(connection, filled.project, filled.references[0], [judgement(id)])
                assert len(connection.execute(verdict.select()).all()) == 1
            assert filled.counts() == {"auto": (1, 1)}
        with store.writing() as connection:
            record(connection, filled.project, filled.references[0], [judgement(id, "outlier", ("dog",), thumbnail=b"other")])
        assert filled.counts() == {"outlier": (1, 1)}
        with store.reading() as connection:
            assert verdict_of(connection, id, filled.references[0]).labels == ["dog"]
            assert connection.execute(select(thumbnail.c.content)).scalar_one() == b"other"

    def test_a_verdict_that_replaces_a_delivered_one_makes_it_stale(self, store, filled):
        (id,) = filled.judged(1)
        with store.writing() as connection:
            set_state(connection, filled.references[0], [id], "confirmed")
            record(connection, filled.project, filled.references[0], [judgement(id, "outlier")])
            assert states(connection, filled.project.id, filled.references[0]) == {"stale": 1}

    def test_what_is_gone_or_shows_something_else_by_now_gets_no_verdict(self, store, filled):
        gone, changed, usual = filled.add(3)
        before = items.media_hash(f"http://host/{changed}.png")
        with store.writing() as connection:
            connection.execute(item.delete().where(item.c.id == gone))
            items.change_media(connection, filled.project, changed, "http://host/other.png")
            given = [judgement(gone), judgement(changed, media_hash=before), judgement(usual)]
            assert record(connection, filled.project, filled.references[0], given) == [usual]
            assert [row.item_id for row in connection.execute(verdict.select())] == [usual]

    def test_under_a_reference_that_is_to_take_over_the_queue_stays_as_it_is(self, store, filled):
        (id,) = filled.judged(1)
        with store.writing() as connection:
            record(connection, filled.project, filled.references[1], [judgement(id, "outlier", trust=0.1)])
            assert connection.execute(select(item.c.route, item.c.trust)).one() == ("auto", 0.9)
            assert len(connection.execute(delivery.select()).all()) == 2

    def test_a_spot_check_is_drawn_once_with_the_route_that_was_judged(self, store, filled):
        (id,) = filled.add(1)
        with store.writing() as connection:
            record(connection, filled.project, filled.references[0], [judgement(id, spot_check="audit", shown=None)])
            record(connection, filled.project, filled.references[0], [judgement(id, "outlier", spot_check="sample")])
            (drawn,) = connection.execute(spot_check.select()).all()
            assert (drawn.kind, drawn.route, drawn.state) == ("audit", "auto", "open")

    def test_a_project_that_is_only_watched_delivers_nothing(self, store, filled):
        (id,) = filled.add(1)
        with store.writing() as connection:
            change_project(connection, filled.project.id, watch=True)
        with store.writing() as connection:
            assert record(connection, filled.present(), filled.references[0], [judgement(id, "outlier")]) == [id]
            assert connection.execute(delivery.select()).all() == connection.execute(field_write.select()).all() == []
