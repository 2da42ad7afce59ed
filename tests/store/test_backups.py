"""A backup is whole, of one moment, and comes back the same, into either kind of database; what cannot be right is refused."""

from __future__ import annotations

import sqlite3
import threading

import pytest
from delivery_states import set_state, states
from sqlalchemy import select, text, update

from annotriage.errors import DataError, OutputError, StateError, StoreError
from annotriage.states import EventKind
from annotriage.store import Store, events, inbox, work
from annotriage.store.backups import CHECKSUM, back_up, restore
from annotriage.store.files import pieces_of, store_file
from annotriage.store.schema import delivery, heartbeat, item, metadata, notice, project, proposal, session, snapshot, stored_file


def contents(store):
    """Every row of every table, but for what a restore changes."""
    changed = {"heartbeat.at", "project.restored_at", "delivery.state", "delivery.not_before"}
    with store.reading() as connection:
        return {
            table.name: sorted(
                map(repr, connection.execute(select(*(column for column in table.c if f"{table.name}.{column.name}" not in changed))))
            )
            for table in metadata.sorted_tables
            if table not in (session, notice)
        }


def address(store):
    return store.engine.url.render_as_string(hide_password=False)


class TestBackup:
    @pytest.fixture
    def full(self, filled, tmp_path):
        filled.judged(3)
        filled.judged(2, "outlier")
        filled.add(2)
        (tmp_path / "model.bin").write_bytes(b"x" * 3_000_000)
        with filled.store.writing() as connection:
            store_file(connection, tmp_path / "model.bin")
            events.note(connection, filled.project.id, EventKind.PAUSED, reason="a 'quoted' reason, \u00fc \u2603")
            connection.execute(session.insert().values(key="k", user="u", ends_at=1e12))
        return filled

    def test_everything_comes_back_and_ids_go_on(self, full, tmp_path):
        made = back_up(full.store, tmp_path / "b")
        before = contents(full.store)
        with full.store.writing() as connection:
            connection.execute(project.delete())
        done = restore(address(full.store), tmp_path / "b", force=True)
        assert (done.rows, done.projects, done.notes) == (made.rows, 1, ())
        assert contents(full.store) == before
        with full.store.reading() as connection:
            assert not connection.execute(select(session.c.key)).all()
            (file,) = connection.execute(select(stored_file.c.id)).scalars()
            assert b"".join(pieces_of(connection, file)) == b"x" * 3_000_000
        assert len(full.judged(1)) == 1  # sequences stand behind what was put in

    def test_webhooks_stay_behind_and_leave_nothing_beside_the_backup(self, full, tmp_path):
        with full.store.inbox.writing() as connection:
            inbox.put(connection, b"of what was there before")
        folder = tmp_path / "backups"
        back_up(full.store, folder / "b")
        assert {file.name for file in folder.iterdir()} == {"b", f"b{CHECKSUM}"}
        restore(address(full.store), folder / "b", force=True)
        with full.store.inbox.reading() as connection:
            assert inbox.states(connection) == {"new": 0, "failed": 0}

    def test_it_comes_back_into_the_other_kind_of_database(self, full, tmp_path, request):
        back_up(full.store, tmp_path / "b")
        other = request.getfixturevalue("postgres") if full.store.is_sqlite else f"sqlite:///{tmp_path}/other.db"
        restore(other, tmp_path / "b")
        there = Store(other)
        assert contents(there) == contents(full.store)
        there.close()

    def test_a_half_that_was_changed_before_its_group_comes_back(self, full, tmp_path):
        with full.store.writing() as connection:
            values = {
                "project_id": full.project.id,
                "reason": "r",
                "members": 1,
                "group_error": 0.1,
                "confidence": 0.9,
                "state": "split",
                "by": "a",
            }
            whole, half = (
                connection.execute(proposal.insert().values(**values, at=1.0).returning(proposal.c.id)).scalar_one() for _ in range(2)
            )
            connection.execute(proposal.update().where(proposal.c.id == half).values(parent_id=whole))
            connection.execute(proposal.update().where(proposal.c.id == whole).values(note="last"))  # PostgreSQL reads it last
        back_up(full.store, tmp_path / "b")
        restore(address(full.store), tmp_path / "b", force=True)
        with full.store.reading() as connection:
            assert connection.execute(select(proposal.c.parent_id).order_by(proposal.c.id)).scalars().all() == [None, whole]

    def test_null_and_the_null_of_json_stay_apart(self, full, tmp_path):
        with full.store.writing() as connection:
            (dataset_id,) = connection.execute(text("SELECT id FROM dataset WHERE kind = 'all'")).scalars()
            row = {"dataset_id": dataset_id, "reference_id": full.project.reference_id, "n": 0, "outliers": 0, "failed": 0, "at": 0.1 + 0.2}
            connection.execute(snapshot.insert().values(**row, facts=None))
        nulls = "SELECT count(*) FROM snapshot WHERE CAST(facts AS TEXT) = 'null'", "SELECT count(*) FROM delivery WHERE labels IS NULL"
        back_up(full.store, tmp_path / "b")
        restore(address(full.store), tmp_path / "b", force=True)
        with full.store.reading() as connection:
            assert connection.execute(text(nulls[0])).scalar_one() == 1
            assert connection.execute(select(snapshot.c.at)).scalar_one() == 0.1 + 0.2

    def test_it_is_of_one_moment_while_others_write(self, full, tmp_path, monkeypatch):
        monkeypatch.setattr("annotriage.store.backups.PAGES", 5)
        wrote = threading.Event()

        def progress(label, total):
            if "project" in label or "database" in label:
                full.judged(40)
                wrote.set()
            return silent(label, total)

        from annotriage.progress import silent

        back_up(full.store, tmp_path / "b", progress)
        assert wrote.is_set()
        restored = f"sqlite:///{tmp_path}/other.db"
        restore(restored, tmp_path / "b")
        there = Store(restored)
        with there.reading() as connection:
            assert len(connection.execute(select(item.c.id)).all()) == 7
        there.close()

    def test_what_was_on_its_way_is_read_back_before_anything_is_sent(self, full, tmp_path):
        ids = [row.item_id for row in self._rows(full.store, delivery)]
        with full.store.writing() as connection:
            set_state(connection, full.project.reference_id, ids[:2], "confirmed")
        back_up(full.store, tmp_path / "b")
        restore(address(full.store), tmp_path / "b", force=True)
        with full.store.writing() as connection:
            assert states(connection, full.project.id, full.project.reference_id) == {"confirmed": 2, "unknown": 3}
            connection.execute(update(project).values(read_until=0.0))
        full.judged(1)  # a task from after the backup: it may have been delivered before
        with full.store.reading() as connection:
            assert states(connection, full.project.id, full.project.reference_id)["unknown"] == 4

    def test_who_ran_then_is_dead_and_who_runs_now_is_in_the_way(self, full, tmp_path):
        with full.store.writing() as connection:
            work.beat(connection, "me", "worker", "elsewhere", 1)
        back_up(full.store, tmp_path / "b")
        with pytest.raises(StateError, match=r"worker on elsewhere.*stop it first"):
            restore(address(full.store), tmp_path / "b", force=True)
        with full.store.writing() as connection:
            connection.execute(heartbeat.delete())
        restore(address(full.store), tmp_path / "b", force=True)
        with full.store.reading() as connection:
            assert work.living(connection) == []
            assert [row.owner for row in work.registered(connection)] == ["me"]

    def test_projects_are_given_up_by_force_alone(self, full, tmp_path):
        back_up(full.store, tmp_path / "b")
        before = contents(full.store)
        with pytest.raises(StateError, match=r"holds 1 projects \(Pets\); --force"):
            restore(address(full.store), tmp_path / "b")
        assert contents(full.store) == before

    def test_a_backup_that_has_changed_is_refused_and_nothing_is_touched(self, full, tmp_path):
        file = tmp_path / "b"
        back_up(full.store, file)
        before = contents(full.store)
        whole = file.read_bytes()
        file.write_bytes(whole[:50_000] + bytes([whole[50_000] ^ 1]) + whole[50_001:])
        with pytest.raises(DataError, match="checksum"):
            restore(address(full.store), file, force=True)
        file.with_name(file.name + CHECKSUM).unlink()
        file.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(DataError, match="damaged"):
            restore(address(full.store), file, force=True)
        assert contents(full.store) == before

    def test_a_newer_version_s_backup_is_refused(self, full, tmp_path):
        back_up(full.store, tmp_path / "b")
        with sqlite3.connect(tmp_path / "b") as connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.close()
        (tmp_path / f"b{CHECKSUM}").unlink()
        with pytest.raises(StoreError, match="newer version"):
            restore(address(full.store), tmp_path / "b", force=True)

    @staticmethod
    def _rows(store, table):
        with store.reading() as connection:
            return connection.execute(select(table)).all()


@pytest.fixture
def empty(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/empty.db")
    yield store
    store.close()


def test_a_file_that_is_there_is_replaced_only_if_asked(empty, tmp_path):
    back_up(empty, tmp_path / "b")
    with pytest.raises(OutputError, match="--replace"):
        back_up(empty, tmp_path / "b")
    assert back_up(empty, tmp_path / "b", replace=True).projects == 0
    assert (tmp_path / "b").stat().st_mode & 0o077 == 0
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith((".", "b"))) == ["b", "b.sha256"]


def test_a_folder_that_cannot_be_written_is_an_error_with_its_reason(empty, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="could not be written"):
        back_up(empty, tmp_path / "file" / "b")


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + b"\0" * 100])
def test_what_is_no_backup_is_refused(empty, tmp_path, content):
    (tmp_path / "b").write_bytes(content)
    with pytest.raises(DataError, match="backup"):
        restore(f"sqlite:///{tmp_path}/other.db", tmp_path / "b")
    assert not (tmp_path / "other.db").exists()


def test_another_database_is_no_backup(tmp_path):
    with sqlite3.connect(tmp_path / "b") as connection:
        connection.execute("CREATE TABLE project (id INTEGER)")
    connection.close()
    with pytest.raises(DataError, match="something else"):
        restore(f"sqlite:///{tmp_path}/other.db", tmp_path / "b")
