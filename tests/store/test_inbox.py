"""The inbox: webhooks are read in the order in which they came, once; of those that cannot be read the latest stay."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from waiting import PATIENCE

from annotriage.store import inbox
from annotriage.store.database import Store
from annotriage.store.work import beat


class TestInbox:
    def test_webhooks_are_read_in_order_until_they_are_done(self, store):
        with store.inbox.writing() as connection:
            for body in (b"1", b"2", b"\xff\x00"):
                inbox.put(connection, body)
            first, second = inbox.unread(connection, 2)
            assert (first.body, second.body) == (b"1", b"2")
            inbox.done(connection, [first.id])
            assert [webhook.body for webhook in inbox.unread(connection, 5)] == [b"2", b"\xff\x00"]

    def test_no_more_is_read_at_once_than_fits_into_memory_though_always_one(self, store, monkeypatch):
        monkeypatch.setattr(inbox, "READ_BYTES", 10)
        with store.inbox.writing() as connection:
            inbox.put(connection, b"1" * 4, b"2" * 6, b"3", b"4" * 11, b"5")
            read = []
            while some := inbox.unread(connection, 9):
                read.append([webhook.body[:1] for webhook in some])
                inbox.done(connection, [webhook.id for webhook in some])
        assert read == [[b"1", b"2"], [b"3"], [b"4"], [b"5"]]

    def test_an_inbox_is_full_by_what_waits_in_it_and_by_how_large_that_is(self, store, monkeypatch):
        monkeypatch.setattr(inbox, "MOST_UNREAD", 3)
        monkeypatch.setattr(inbox, "MOST_BYTES", 10)
        full = []
        with store.inbox.writing() as connection:
            for body in (b"1" * 10, b"2"):
                inbox.put(connection, body)
                full.append(inbox.is_full(connection))
            inbox.failed(connection, inbox.unread(connection, 1)[0].id, "no JSON")
            for body in (b"3", b"4", b"5"):
                full.append(inbox.is_full(connection))
                inbox.put(connection, body)
            full.append(inbox.is_full(connection))
        assert full == [False, True, False, False, False, True]

    def test_what_cannot_be_read_is_told_and_not_read_again(self, store, monkeypatch):
        monkeypatch.setattr(inbox, "KEPT_FAILED", 2)
        with store.inbox.writing() as connection:
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

    def test_a_webhook_is_kept_while_somebody_writes_into_the_store(self, store):
        with ThreadPoolExecutor(1) as web, store.writing() as connection:
            beat(connection, "me", "worker", "here", 1)
            web.submit(_keep, store).result(PATIENCE)
        with store.inbox.reading() as connection:
            assert [webhook.body for webhook in inbox.unread(connection, 5)] == [b"1"]


def _keep(store):
    with store.inbox.writing() as connection:
        inbox.put(connection, b"1")


def test_a_damaged_inbox_is_made_anew_as_polls_bring_what_it_told(tmp_path):
    url = f"sqlite:///{tmp_path / 'annotriage.db'}"
    Store(url).close()
    (tmp_path / "annotriage.db-inbox").write_bytes(b"no database at all" * 1000)
    store = Store(url)
    with store.inbox.writing() as connection:
        inbox.put(connection, b"1")
        assert [webhook.body for webhook in inbox.unread(connection, 5)] == [b"1"]
    store.close()
