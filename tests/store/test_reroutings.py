"""What people said on many items at once is kept with what it changed."""

from __future__ import annotations

import pytest

from annotriage.errors import UnknownError
from annotriage.store import reroutings


class TestReroutings:
    def test_what_it_changed_is_counted_as_it_goes_and_undone_once(self, store, project):
        with store.writing() as connection:
            id = reroutings.begin(connection, project.id, "review", "Ann")
            reroutings.grow(connection, id, 3)
            reroutings.grow(connection, id, 2)
            found = reroutings.rerouting_of(connection, project, id)
            assert (found.to, found.by, found.n, found.undone_at) == ("review", "Ann", 5, None)
            assert reroutings.mark_undone(connection, id)
            assert not reroutings.mark_undone(connection, id)
            with pytest.raises(UnknownError):
                reroutings.rerouting_of(connection, project, id + 1)

    def test_items_stand_as_they_were_judged_and_as_they_were_changed_last(self, store, project, judged):
        ids = judged(2)
        with store.writing() as connection:
            id = reroutings.begin(connection, project.id, "review", "Ann")
            reroutings.send(connection, project, id, ids[:1], "Ann")
            first, second = reroutings.hold(connection, project.id, ids)[1]
            assert (first.route, first.judged, first.sent_by, first.rerouting_id) == ("uncertain", "auto", "Ann", id)
            assert (second.route, second.judged, second.sent_by, second.rerouting_id) == ("auto", "auto", None, None)
            assert reroutings.items_of(connection, id) == ids[:1]
