"""Who is signed in, until when."""

from __future__ import annotations

import time

from annotriage.states import Role
from annotriage.store.sessions import begin_session, end_session, prolong_session, session_of


class TestSessions:
    def test_a_session_lasts_until_its_time_or_its_end(self, store):
        with store.writing() as connection:
            begin_session(connection, "past", "ada", -1.0)
            begin_session(connection, "key", "ada", 60.0)
            assert session_of(connection, "past") is None
            assert session_of(connection, "unknown") is None
            found = session_of(connection, "key")
            assert (found.user, found.granted) == ("ada", None)
            assert 0 < found.ends_at - time.time() <= 60
            end_session(connection, "key")
            assert session_of(connection, "key") is None

    def test_a_session_keeps_what_an_identity_provider_granted(self, store):
        with store.writing() as connection:
            begin_session(connection, "key", "ada", 60.0, Role.DECIDE)
            assert session_of(connection, "key").granted == Role.DECIDE

    def test_a_visit_prolongs_it_and_brings_none_back(self, store):
        with store.writing() as connection:
            begin_session(connection, "key", "ada", 60.0)
            prolong_session(connection, "key", 600.0)
            assert session_of(connection, "key").ends_at - time.time() > 500
            end_session(connection, "key")
            prolong_session(connection, "key", 600.0)
            assert session_of(connection, "key") is None
