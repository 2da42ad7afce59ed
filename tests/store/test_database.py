"""Opening the database, and what its transactions see."""

from __future__ import annotations

import itertools
import math
import time
from contextlib import ExitStack, closing, suppress
from types import SimpleNamespace

import psutil
import pytest
from sqlalchemy import Text, case, cast, select, text
from sqlalchemy.exc import DBAPIError
from stores import on_postgresql
from waiting import wait_until

from annotriage.errors import StoreError
from annotriage.states import DeliveryState
from annotriage.store import DATABASE_TROUBLE, Store, database
from annotriage.store.database import KEPT, MANY, execute_many, insert, read_each, read_once
from annotriage.store.projects import change_project, get_project, projects
from annotriage.store.schema import delivery


class TestDatabase:
    def test_a_reading_transaction_sees_one_state_however_much_is_written_meanwhile(self, store, filled):
        with store.reading() as connection:
            before = get_project(connection, filled.project.id)
            with store.writing() as other:
                change_project(other, filled.project.id, title="Renamed")
            assert get_project(connection, filled.project.id) == before
        assert filled.present().title == "Renamed"

    def test_of_many_things_none_is_read_twice_while_reading_and_all_each_time_while_writing(self, store):
        asked = []

        @read_each
        def halves(connection, numbers, less):
            asked.append(tuple(numbers))
            return {number: number // 2 - less for number in numbers if number % 2 == 0}

        with store.reading() as connection:
            assert halves(connection, [2, 3], 0) == {2: 1}
            assert halves(connection, [4, 3, 2], 0) == {4: 2, 2: 1}
            assert halves(connection, [2, 3], 0) == {2: 1}
            assert halves(connection, [2], 1) == {2: 0}  # another question
        with store.writing() as connection:
            assert halves(connection, [2], 0) == halves(connection, [2], 0) == {2: 1}
        assert asked == [(2, 3), (4,), (2,), (2,), (2,)]

    def test_a_question_is_read_once_while_reading_and_each_time_while_writing(self, store, filled):
        asked = []

        @read_once
        def title(connection, id):
            asked.append(id)
            return get_project(connection, id).title

        with store.reading() as connection:
            assert [title(connection, filled.project.id) for _ in range(3)] == ["Pets"] * 3
        with store.writing() as connection:
            change_project(connection, filled.project.id, title="Renamed")
            assert title(connection, filled.project.id) == "Renamed"
            change_project(connection, filled.project.id, title="Once more")
            assert title(connection, filled.project.id) == "Once more"
        with store.reading() as connection:
            assert title(connection, filled.project.id) == "Once more"
        assert len(asked) == 4

    def test_many_rows_are_written_as_few_are(self, store, filled):
        ids = filled.judged(2 * MANY)
        few, many = ids[:MANY], ids[MANY:]

        def rows(some):
            labels = itertools.cycle((None, ["cat"], ["a", "b"], [math.nan]))
            of_it = {"reference_id": filled.project.reference_id, "project_id": filled.project.id, "state": DeliveryState.UNKNOWN}
            return [{"item_id": id, "labels": next(labels), "trust": 0.5, "at": 1.0, **of_it} for id in some]

        add = insert(store.engine, delivery)
        values = {"labels": add.excluded.labels, "attempts": 7, "state": case((delivery.c.trust > 0.4, "stale"), else_=add.excluded.state)}
        add = add.on_conflict_do_update(index_elements=["item_id", "reference_id"], set_=values)
        with store.writing() as connection:
            for row in rows(few):
                connection.execute(add, [row])
            execute_many(connection, add, rows(many))
            kept = connection.execute(select(delivery, cast(delivery.c.labels, Text).label("text")).order_by(delivery.c.item_id)).all()
        told = [{name: value for name, value in row._mapping.items() if name not in ("id", "item_id")} for row in kept]
        sides = [[line for row, line in zip(kept, told, strict=True) if row.item_id in some] for some in (set(few), set(many))]
        assert sides[0] == sides[1]
        assert len(sides[0]) == MANY

    def test_what_fails_is_undone(self, store, filled):
        def rename_and_fail():
            with store.writing() as connection:
                change_project(connection, filled.project.id, title="Renamed")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            rename_and_fail()
        assert filled.present().title == "Pets"

    def test_it_can_be_opened_again_and_is_as_it_was(self, store, filled):
        again = Store(store.engine.url.render_as_string(hide_password=False))
        with again.reading() as connection:
            assert projects(connection) == [filled.project]
        again.close()


@on_postgresql
class TestDatabaseOnPostgreSQL:
    def test_a_reading_transaction_cannot_write(self, store, filled):
        with store.reading() as connection, pytest.raises(DBAPIError, match="read-only"):
            change_project(connection, filled.project.id, title="Renamed")


def test_between_two_writes_others_have_a_turn_and_nobody_waits_after_the_last(tmp_path, monkeypatch):
    clock, slept = [time.monotonic() + 100.0], []  # ahead of the one by which the store is opened

    def sleep(seconds):
        slept.append(round(seconds, 6))
        clock[0] += seconds

    with closing(Store(f"sqlite:///{tmp_path / 'a.db'}")) as store:
        monkeypatch.setattr(database, "time", SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep))
        for _ in range(2):
            with store.writing():
                pass
            slept.append("written")
        clock[0] += 10
        with store.writing():
            pass
    assert [wait for wait in slept if wait] == ["written", database.GAP_SECONDS, "written"]


def test_sqlite_connections_keep_little_of_what_they_read(tmp_path):
    """Many threads may read at once: what each connection keeps is of a fixed size, few are kept, and who comes alone takes the same one
    again."""
    with closing(Store(f"sqlite:///{tmp_path / 'large.db'}")) as store:
        with store.writing() as connection:
            connection.execute(text("CREATE TABLE large (number INTEGER PRIMARY KEY, content BLOB)"))
            numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) SELECT i, randomblob(2000) FROM n"
            connection.execute(text(f"INSERT INTO large {numbers}"))
        before = psutil.Process().memory_info().rss
        with ExitStack() as opened:
            connections = [opened.enter_context(store.reading()) for _ in range(16)]
            for connection in connections:
                connection.execute(text("SELECT sum(length(content)) FROM large"))
            assert psutil.Process().memory_info().rss - before < 400 * 2**20
        assert store.engine.pool.checkedin() == KEPT
        alone = set()
        for _ in range(3):
            with store.reading() as connection:
                alone.add(id(connection.connection.driver_connection))
        assert len(alone) == 1


@pytest.mark.parametrize("url", ["nonsense", "mysql://host/x", "sqlite:////proc/nowhere/x.db"])
def test_an_impossible_database_says_what_is_wrong(url):
    with pytest.raises(StoreError, match=r"database|cannot be opened"):
        Store(url)


def test_a_password_is_never_shown():
    with pytest.raises(StoreError) as refusal:
        Store("postgresql://someone:s3cret@127.0.0.1:1/none")
    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize("replaced", [True, False])
def test_a_file_that_was_deleted_or_replaced_under_the_service_is_noticed(tmp_path, replaced):
    file = tmp_path / "store.db"
    store = Store(f"sqlite:///{file}")
    if replaced:
        file.rename(tmp_path / "moved.db")
        Store(f"sqlite:///{file}").close()
    else:
        file.unlink()
    for transaction in (store.reading, store.writing):
        with pytest.raises(StoreError, match=r"store\.db: was deleted or replaced while the service ran"), transaction():
            pass
    store.close()


def test_what_somebody_holds_for_ever_is_given_up_on_postgresql(postgres, monkeypatch):
    monkeypatch.setattr("annotriage.store.database.LOCK_SECONDS", 0.2)
    monkeypatch.setattr("annotriage.store.database.IDLE_SECONDS", 5.0)
    with closing(Store(postgres)) as first, closing(Store(postgres)) as second:
        hold = text("LOCK TABLE secret IN ACCESS EXCLUSIVE MODE")
        with suppress(*DATABASE_TROUBLE), first.writing() as connection:  # as a process that was stopped in its midst
            connection.execute(hold)
            with pytest.raises(DATABASE_TROUBLE), second.writing() as other:
                other.execute(hold)
            wait_until(lambda: _can(second, hold), what="for PostgreSQL to end the session")


def _can(store, statement):
    with suppress(*DATABASE_TROUBLE), store.writing() as connection:
        connection.execute(statement)
        return True
    return False
