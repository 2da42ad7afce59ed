"""Old and new code on one database: additions disturb nobody, what old code would notice keeps it out, and nobody migrates twice.

The newer versions are copies of the package with more migrations, each in a process of its own. Whole services side by side, and killed
as they migrate, are among the storms.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from newer_versions import NewerVersion
from sqlalchemy import func, select, text
from waiting import PATIENCE

from annotriage.errors import StoreError
from annotriage.store import Store
from annotriage.store.schema import item, verdict
from annotriage.store.secrets import secret_of

OPENS = """
import sys
from annotriage.store import Store
from annotriage.store.secrets import secret_of

store = Store(sys.argv[1])
print(secret_of(store, sys.argv[2]))
"""


class Newer:
    """A newer version, which opens a database and reads a secret, or makes it."""

    def __init__(self, folder, migrations):
        self._version = NewerVersion(folder, migrations)

    def begin(self, address, secret):
        """Do so in a process of its own."""
        env = {**os.environ, "PYTHONPATH": self._version.path}
        return subprocess.Popen(
            [sys.executable, "-c", OPENS, address, secret], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def secret(self, address, secret):
        """The secret that such a process reads, or makes."""
        return self.ended(self.begin(address, secret))

    @staticmethod
    def ended(process):
        said, trouble = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, trouble
        return said.strip()


@pytest.fixture(scope="module")
def newer(tmp_path_factory):
    """The next version, which only adds, and the one after it, which tightens what was added; Python compiles them once."""
    folder = tmp_path_factory.mktemp("newer")
    return Newer(folder / "next", 1), Newer(folder / "after", 2)


@pytest.fixture
def address(store):
    return store.engine.url.render_as_string(hide_password=False)


def everything(store):
    with store.engine.connect() as connection:
        return [connection.execute(select(func.count()).select_from(table)).scalar_one() for table in (item, verdict)]


def sizes(store):
    with store.engine.connect() as connection:
        return sorted(tuple(row) for row in connection.execute(text("SELECT tbl, idx, stat FROM sqlite_stat1")))


class TestUpgrade:
    def test_old_code_goes_on_after_an_addition_and_is_refused_after_what_it_would_notice(self, store, filled, address, newer):
        added, tightened = newer
        filled.judged(3)
        ours = secret_of(store, "before")
        assert added.secret(address, "before") == ours
        theirs = added.secret(address, "theirs")
        filled.judge(filled.add(1))
        assert secret_of(store, "theirs") == theirs, "what was running goes on"
        store.refuse_newer()
        again = Store(address)
        meanwhile = secret_of(again, "meanwhile")
        again.close()
        assert added.secret(address, "meanwhile") == meanwhile, "what starts again works, and the new code reads it"

        assert tightened.secret(address, "theirs") == theirs
        with pytest.raises(StoreError, match=r"newer version of annotriage \(to migration 0003; .* up to 0001\).*start that version again"):
            Store(address)
        with pytest.raises(StoreError, match=r"newer version of annotriage .*start that version again"):
            store.refuse_newer()
        for transaction in (store.reading, store.writing):
            with pytest.raises(StoreError, match=r"newer version of annotriage .*start that version again"), transaction():
                pass  # what runs on does nothing any more
        assert tightened.secret(address, "meanwhile") == meanwhile, "who was refused has changed nothing"
        assert everything(store) == [4, 4], "rebuilding a table takes nothing along that names its rows"
        with store.engine.connect() as connection:
            made = dict(tuple(row) for row in connection.execute(text("SELECT name, made_at FROM secret")))
        assert made == {"before": 0.0, "meanwhile": 0.0, "migrated": 0.0, "theirs": 7.0}

    def test_the_version_between_is_refused_too_once_a_later_one_has_tightened(self, store, address, newer):
        added, tightened = newer
        tightened.secret(address, "a")
        process = added.begin(address, "a")
        _, trouble = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1
        assert "this version knows them up to 0002" in trouble

    def test_a_table_that_is_made_anew_is_still_known_to_grow_large(self, sqlite, newer):
        """SQLite drops what it was told of a table together with the table."""
        _, tightened = newer
        store = Store(sqlite)
        told = sizes(store)
        tightened.secret(sqlite, "a")
        assert "group_member" in {table for table, _, _ in told}, "which that version makes anew"
        assert sizes(store) == told
        store.close()

    def test_services_that_start_at_once_migrate_once(self, address, newer):
        added, _ = newer
        begun = [added.begin(address, "a") for _ in range(3)]
        assert len({Newer.ended(process) for process in begun}) == 1
        assert added.secret(address, "migrated") == "once"

    def test_a_database_of_something_else_is_refused(self, store, address):
        with store.writing() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = 'a1b2c3'"))
            connection.execute(text("DELETE FROM needed_migration"))
        with pytest.raises(StoreError, match="to migration unknown"):
            Store(address)
