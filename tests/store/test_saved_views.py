"""Views of a page that the team keeps by name."""

from __future__ import annotations

import pytest

from annotriage.errors import StateError
from annotriage.store.saved_views import MOST, forget_view, keep_view, saved_views


class TestSavedViews:
    def test_a_view_is_kept_by_name_and_one_of_the_same_name_replaces_it(self, store, filled):
        with store.writing() as connection:
            keep_view(connection, filled.project, "queue", "scanner B", "dataset=2", "ann")
            keep_view(connection, filled.project, "queue", "a first one", "route=failed", "ann")
            keep_view(connection, filled.project, "queue", "scanner B", "dataset=3", "bob")
            found = saved_views(connection, filled.project, "queue")
            assert [(view.name, view.query, view.by) for view in found] == [
                ("a first one", "route=failed", "ann"),
                ("scanner B", "dataset=3", "bob"),
            ]
            assert saved_views(connection, filled.project, "map") == []
            forget_view(connection, filled.project, found[0].id)
            assert [view.name for view in saved_views(connection, filled.project, "queue")] == ["scanner B"]

    def test_no_view_is_kept_that_would_not_be_listed(self, store, filled):
        with store.writing() as connection:
            for number in range(MOST):
                keep_view(connection, filled.project, "queue", f"view {number}", "", "ann")
            with pytest.raises(StateError, match="delete one"):
                keep_view(connection, filled.project, "queue", "one more", "", "ann")
            keep_view(connection, filled.project, "queue", "view 0", "route=failed", "ann")
            assert len(saved_views(connection, filled.project, "queue")) == MOST
