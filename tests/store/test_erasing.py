"""Asking for items to be erased."""

from __future__ import annotations

from stores import on_postgresql, while_it_waits

from annotriage.store import erasing, jobs


class TestAsked:
    @on_postgresql
    def test_what_two_ask_for_at_the_same_moment_is_all_to_be_erased(self, store, project):
        first = store.writing()
        connection = first.__enter__()
        erasing.ask(connection, project, ["1"], "ann")

        def ask():
            with store.writing() as other:
                erasing.ask(other, project, ["2"], "bob")

        while_it_waits(store, ask, lambda: first.__exit__(None, None, None))
        with store.reading() as connection:
            assert jobs.open_payload(connection, project.id, jobs.ERASURE)["names"] == ["1", "2"]

    def test_what_is_asked_for_again_need_not_wait_until_it_would_have_been_tried_again(self, store, project):
        with store.writing() as connection:
            erasing.ask(connection, project, ["1"], "ann")
            erasing.put_off(connection, jobs.take(connection, "me", [jobs.ERASURE]), "me", "no room", 1e12)
            assert not jobs.any_waiting(connection, [jobs.ERASURE])
            erasing.ask(connection, project, ["2"], "ann")
            assert jobs.take(connection, "me", [jobs.ERASURE]).payload["names"] == ["1", "2"]
