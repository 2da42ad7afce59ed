"""Accounts and the log of who did what, on both databases."""

from __future__ import annotations

import pytest
from sqlalchemy import select, text

from annotriage.errors import SettingError, UnknownError
from annotriage.states import Role
from annotriage.store import people
from annotriage.store.schema import session
from annotriage.store.sessions import begin_session


class TestPeople:
    @pytest.fixture
    def connection(self, store):
        with store.writing() as connection:
            yield connection

    def add(self, connection, name="ann", role=Role.DECIDE, password="correct horse"):
        people.set_person(connection, name, role, password, service_user="annotriage")

    def test_a_password_is_kept_as_a_salted_hash(self, connection):
        self.add(connection)
        self.add(connection, "bob")
        kept = [people.hash_of(connection, name) for name in ("ann", "bob")]
        assert len(set(kept)) == 2
        assert not any("correct horse" in text for text in kept)
        assert people.is_password(kept[0], "correct horse")
        assert not people.is_password(kept[0], "correct hors")
        assert not people.is_password(people.hash_of(connection, "eve"), "")

    def test_an_account_is_changed_by_adding_it_again_and_its_sessions_end(self, connection):
        self.add(connection)
        begin_session(connection, "a", "ann", 100.0)
        begin_session(connection, "b", "bob", 100.0)
        self.add(connection, role=Role.LOOK, password=None)
        assert people.role_of(connection, "ann") == Role.LOOK
        assert [(person.name, person.signs_in) for person in people.people(connection)] == [("ann", False)]
        assert not people.is_password(people.hash_of(connection, "ann"), "correct horse")
        assert connection.execute(select(session.c.user)).scalars().all() == ["bob"]

    def test_who_is_removed_is_a_stranger(self, connection):
        self.add(connection)
        begin_session(connection, "a", "ann", 100.0)
        people.remove_person(connection, "ann")
        assert people.role_of(connection, "ann") is None
        assert not people.anybody(connection)
        assert connection.execute(text("SELECT count(*) FROM session")).scalar_one() == 0
        with pytest.raises(UnknownError, match="accounts have nobody"):
            people.remove_person(connection, "ann")

    @pytest.mark.parametrize("name", ["", "annotriage", "a:b", " ann", "a\nb", "x" * 201])
    def test_names_that_cannot_be_are_refused(self, connection, name):
        with pytest.raises(SettingError):
            self.add(connection, name)

    def test_a_short_password_is_refused(self, connection):
        with pytest.raises(SettingError, match="10 to 200"):
            self.add(connection, password="short")

    def test_deeds_are_paged_the_latest_first(self, connection):
        for number in range(5):
            people.write_deed(connection, "ann", f"deed {number}", "/x", 303)
        first = people.deeds(connection, limit=2)
        assert [deed.action for deed in first] == ["deed 4", "deed 3"]
        assert [deed.action for deed in people.deeds(connection, before=first[-1].id)] == ["deed 2", "deed 1", "deed 0"]


def test_each_role_may_what_those_before_may():
    assert [[role.may(needed) for needed in Role] for role in Role] == [[True, False, False], [True, True, False], [True, True, True]]
