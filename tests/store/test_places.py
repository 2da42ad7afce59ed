"""Where items stand in lists, and how spot checks come to the place of their own verdict."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from annotriage.states import SpotCheckState
from annotriage.store import reroutings, rescores, spot_checks
from annotriage.store.schema import item
from annotriage.store.schema import project as project_table
from annotriage.store.spot_checks import Move

DRAWN, OWN = 0.1, 0.8  # the place of an open spot check, and the trust of its verdict


@pytest.fixture
def check(filled):
    """A spot check that nobody has answered."""
    return filled.judged(1, trust=OWN, spot_check="sample")[0]


@pytest.fixture
def place(store):
    """Asks where an item stands."""

    def ask(id):
        with store.reading() as connection:
            return connection.execute(select(item.c.trust).where(item.c.id == id)).scalar_one()

    return ask


@pytest.fixture
def move(store):
    """Moves a spot check from one state to another."""

    def do(id, start, end):
        with store.writing() as connection:
            assert spot_checks.move(connection, [Move(id, start, end, ("cat",), 1.0)]) == [id]

    return do


class TestPlaces:
    def test_an_open_spot_check_stands_where_it_was_drawn_and_a_settled_one_by_its_own_verdict(self, check, place, move):
        assert place(check) == DRAWN
        move(check, "open", "disagreed")
        assert place(check) == DRAWN, "a second answer is still wanted"
        move(check, "disagreed", "wrong")
        assert place(check) == OWN

    def test_one_whose_answer_was_taken_back_stands_where_it_was_drawn_again(self, check, place, move):
        move(check, "open", "right")
        move(check, "right", "open")
        assert place(check) == DRAWN

    def test_one_that_somebody_decides_stands_by_its_own_verdict(self, store, check, place, move):
        move(check, "open", "disagreed")
        with store.writing() as connection:
            spot_checks.decide(connection, check, SpotCheckState.RIGHT, ("cat",), "ada")
        assert place(check) == OWN

    def test_what_is_no_spot_check_and_what_moves_no_more_stays_where_it_is(self, store, filled, check, place, move):
        other = filled.judged(1, trust=0.7)[0]
        move(check, "open", "right")
        with store.writing() as connection:
            assert spot_checks.move(connection, [Move(check, "open", "wrong", None, 2.0), Move(other, "open", "right", None, 2.0)]) == []
        assert (place(check), place(other)) == (OWN, 0.7)

    def test_a_settled_one_that_is_judged_again_stands_by_its_new_verdict(self, filled, check, place, move):
        filled.judge([check], trust=0.7, spot_check="sample")
        assert place(check) == DRAWN, "nobody has answered it"
        move(check, "open", "right")
        filled.judge([check], trust=0.75, spot_check="sample")
        assert place(check) == 0.75

    def test_a_settled_one_that_left_the_queue_and_came_back_stands_by_its_own_verdict(self, store, filled, place, move):
        id = filled.judged(1, "outlier", trust=0.2, spot_check="sample")[0]
        move(id, "open", "right")
        for out in (True, False):
            with store.writing() as connection:
                by = reroutings.begin(connection, filled.project.id, "back", "ada")
                reroutings.dismiss(connection, filled.project, by, [id], dismissed=out)
            assert place(id) == 0.2

    def test_one_that_the_next_reference_judged_stands_by_that_verdict(self, store, filled, check, place, move):
        still_open = filled.judged(1, trust=OWN, spot_check="sample")[0]
        move(check, "open", "right")
        later = filled.references[1]
        filled.judge([check, still_open], reference_id=later, trust=0.7, spot_check="sample")
        assert place(check) == OWN
        with store.writing() as connection:
            connection.execute(update(project_table).values(reference_id=later))
        project = filled.present()
        with store.writing() as connection:
            assert rescores.behind(connection, project, 0, 10) == [check], "the other was drawn at the same place"
            rescores.catch_up(connection, project, [check, still_open])
            assert rescores.behind(connection, project, 0, 10) == []
        assert (place(check), place(still_open)) == (0.7, DRAWN)
