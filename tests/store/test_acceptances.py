"""An item is accepted once, what became of it is known or looked for, and an undo holds."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import select

from annotriage.errors import UnknownError
from annotriage.store import acceptances
from annotriage.store.schema import accepted


def state(connection):
    return {row.item_id: row.state for row in connection.execute(select(accepted))}


class TestAcceptances:
    def test_an_item_is_in_one_batch(self, store, project, judged):
        ids = judged(3)
        with store.writing() as connection:
            first, taken = acceptances.begin_batch(connection, project, ids[:2])
            assert taken == set(ids[:2])
            second, taken = acceptances.begin_batch(connection, project, ids)
            assert taken == set(ids[2:])
            _, taken = acceptances.begin_batch(connection, project, ids)
            assert taken == set()
            assert [(batch.id, batch.items) for batch in acceptances.batches(connection, project.id)] == [(second, 1), (first, 2)]

    def test_what_is_made_is_not_given_back(self, store, project, judged):
        ids = judged(2)
        with store.writing() as connection:
            acceptances.begin_batch(connection, project, ids)
            acceptances.end_batch(connection, {ids[0]: "77"})
            acceptances.not_accepted(connection, ids)
            assert state(connection) == {ids[0]: "made"}

    def test_a_batch_that_is_taken_back_is_open_until_nothing_can_stand(self, store, project, judged):
        ids = judged(2)
        with store.writing() as connection:
            batch, _ = acceptances.begin_batch(connection, project, ids)
            acceptances.end_batch(connection, {ids[0]: "77"})
            assert acceptances.begin_undo(connection, project, batch) == {"1": ids[0], "2": ids[1]}
            acceptances.end_batch(connection, {ids[1]: "78"})
            acceptances.not_accepted(connection, ids)
            assert state(connection) == {ids[0]: "undoing", ids[1]: "asked"}
            acceptances.end_undo(connection, ids)
            (left,) = acceptances.undecided(connection, project.id, time.time() + 1, 10)
            assert (left.item_id, left.undone) == (ids[1], True)
            acceptances.end_undo(connection, ids, asked=True)
            assert state(connection) == dict.fromkeys(ids, "undone")
            assert acceptances.undecided(connection, project.id, time.time() + 1, 10) == []

    def test_only_what_was_asked_long_enough_ago_is_undecided(self, store, project, judged):
        ids = judged(1)
        with store.writing() as connection:
            acceptances.begin_batch(connection, project, ids)
            assert acceptances.undecided(connection, project.id, time.time() - 60, 10) == []
            assert len(acceptances.undecided(connection, project.id, time.time() + 1, 10)) == 1

    def test_an_unknown_batch_is_named(self, store, project, judged):
        with store.writing() as connection, pytest.raises(UnknownError, match="has no batch 7"):
            acceptances.begin_undo(connection, project, 7)
