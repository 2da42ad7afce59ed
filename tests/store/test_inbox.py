"""The inbox: webhooks are read in the order in which they came, once; of those that cannot be read the latest stay."""

from __future__ import annotations

from annotriage.store import inbox


class TestInbox:
    def test_webhooks_are_read_in_order_until_they_are_done(self, store):
        with store.writing() as connection:
            for body in (b"1", b"2", b"\xff\x00"):
                inbox.put(connection, body)
            first, second = inbox.unread(connection, 2)
            assert (first.body, second.body) == (b"1", b"2")
            inbox.done(connection, [first.id])
            assert [webhook.body for webhook in inbox.unread(connection, 5)] == [b"2", b"\xff\x00"]

    def test_what_cannot_be_read_is_told_and_not_read_again(self, store, monkeypatch):
        monkeypatch.setattr(inbox, "KEPT_FAILED", 2)
        with store.writing() as connection:
            for body in (b"1", b"2", b"3"):
                inbox.put(connection, body)
            for webhook in inbox.unread(connection, 5):
                inbox.failed(connection, webhook.id, f"no JSON: {webhook.body.decode()}")
            assert inbox.unread(connection, 5) == []
            inbox.put(connection, b"4")
            assert inbox.states(connection) == {"new": 1, "failed": 2}
            assert [trouble.error for trouble in inbox.troubles(connection)] == ["no JSON: 3", "no JSON: 2"]
            assert [trouble.error for trouble in inbox.troubles(connection, 1)] == ["no JSON: 3"]
            assert inbox.clear(connection) == 2
            assert inbox.states(connection) == {"new": 1, "failed": 0}
