"""A project that was only watched: what is judged there is delivered once it may be."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from annotriage.store import items
from annotriage.store.projects import change_project
from annotriage.store.schema import delivery, item
from annotriage.store.watching import enqueue_watched


@pytest.fixture
def watched(filled):
    """The filled store, whose project is only watched."""
    with filled.store.writing() as connection:
        change_project(connection, filled.project.id, watch=True)
    return filled


def deliveries(connection):
    """What waits for delivery: {(item, reference): (labels, trust)}."""
    rows = connection.execute(delivery.select()).all()
    return {(row.item_id, row.reference_id): (row.labels, row.trust) for row in rows}


class TestWatching:
    def test_watching_delivers_nothing_until_it_ends(self, store, watched):
        ids = watched.judged(3)
        with store.writing() as connection:
            assert deliveries(connection) == {}
            assert enqueue_watched(connection, watched.project, 2) == 2
            assert enqueue_watched(connection, watched.project, 2) == 1
            assert enqueue_watched(connection, watched.project, 2) == 0
            assert deliveries(connection) == {(id, watched.references[0]): (["cat"], 0.9) for id in ids}

    def test_what_annotators_must_not_see_stays_hidden(self, store, watched):
        (outlier,), (failed,), (unsure,) = (watched.judged(1, route) for route in ("outlier", "failed", "uncertain"))
        (checked,), (dismissed,) = watched.judged(1, spot_check="sample"), watched.judged(1, "outlier")
        with store.writing() as connection:
            connection.execute(item.update().where(item.c.id == dismissed).values(dismissed=True))
            enqueue_watched(connection, watched.project, 10)
            shown = {id: labels for (id, _), (labels, _) in deliveries(connection).items()}
        assert shown == {outlier: None, failed: None, unsure: ["cat"], checked: None, dismissed: None}

    def test_spot_checks_keep_the_place_that_was_drawn_for_them(self, store, watched):
        watched.judged(1, spot_check="sample")
        with store.writing() as connection:
            enqueue_watched(connection, watched.project, 10)
            assert connection.execute(select(delivery.c.trust)).scalar_one() == 0.1

    def test_what_is_gone_or_labelled_or_under_a_reference_of_the_past_is_left_out(self, store, watched):
        gone, labelled, usual = watched.judged(3)
        watched.judge([usual], reference_id=watched.references[1])
        with store.writing() as connection:
            items.mark_gone(connection, [gone])
            connection.execute(item.update().where(item.c.id == labelled).values(labelled=True))
            enqueue_watched(connection, watched.project, 10)
            assert set(deliveries(connection)) == {(usual, watched.references[0])}

    def test_while_another_reference_takes_over_both_are_delivered(self, store, watched):
        (id,) = watched.judged(1)
        watched.judge([id], reference_id=watched.references[1])
        project = replace(watched.project, next_reference_id=watched.references[1])
        with store.writing() as connection:
            assert enqueue_watched(connection, project, 10) == 2
            assert set(deliveries(connection)) == {(id, reference) for reference in watched.references}
