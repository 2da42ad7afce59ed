"""What happened to a project is kept as facts, and read from the latest on."""

from __future__ import annotations

from annotriage.states import EventKind
from annotriage.store.events import history, note


class TestEvents:
    def test_history_is_paged_from_the_latest_on_and_does_not_repeat_itself(self, store, filled):
        id, trouble = filled.project.id, {"error": "no model", "tasks": ("3", "4")}
        with store.writing() as connection:
            note(connection, id, EventKind.CONNECTED, version="pets", watch=False)
            note(connection, id, EventKind.TROUBLE, **trouble)
            note(connection, id, EventKind.TROUBLE, **trouble)
            note(connection, id, EventKind.SOLVED)
            note(connection, id, EventKind.TROUBLE, **trouble)
        with store.reading() as connection:
            first = history(connection, id, limit=3)
            assert [event.kind for event in first] == ["trouble", "solved", "trouble"]
            assert [event.facts for event in first] == [
                {"error": "no model", "tasks": ["3", "4"]},
                {},
                {"error": "no model", "tasks": ["3", "4"]},
            ]
            assert [event.facts for event in history(connection, id, before=first[-1].id)] == [{"version": "pets", "watch": False}]
