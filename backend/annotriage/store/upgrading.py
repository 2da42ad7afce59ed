"""Bringing a database to the schema of this code, and telling whether this code may run on what a newer one has made of it.

What the migrations may do is in `store.migrations`. The database names the last migration that a version of the code must know
(`needed_migration`): old code runs on while only such have been added that it does not notice.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, select

from annotriage.errors import StoreError
from annotriage.store.schema import needed_migration
from annotriage.store.table_sizes import tell_sizes

if TYPE_CHECKING:
    from alembic.script import Script

MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(connection: Connection) -> list[str]:
    """Run the migrations that are missing, in the transaction at hand; nobody else may migrate meanwhile. All that this code knows, in
    their order.

    Raises StoreError if a newer version has changed what this one reads or writes: nothing is done then.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config)
    in_order = list(scripts.walk_revisions())[::-1]
    known = [script.revision for script in in_order]
    present = MigrationContext.configure(connection).get_current_revision()
    if present is not None and present not in known:
        if not inspect(connection).has_table(needed_migration.name):
            raise _refusal(present, known)
        refuse_newer(connection, known)
        return known
    if present == known[-1]:
        return known
    command.upgrade(config, "head")
    if connection.dialect.name == "sqlite":
        _refuse_dangling(connection)
        tell_sizes(connection)  # a table that a migration makes anew has lost what was told of it
    needed = [script.revision for script in in_order if not _is_addition(script)][-1]
    connection.execute(needed_migration.delete())
    connection.execute(needed_migration.insert().values(revision=needed))
    return known


def refuse_newer(connection: Connection, known: list[str]) -> None:
    """Raise StoreError if the database needs a migration that this code does not know."""
    needed = connection.execute(select(needed_migration.c.revision)).scalar_one_or_none()
    if needed not in known:
        raise _refusal(needed or "unknown", known)


def _refusal(needed: str, known: list[str]) -> StoreError:
    return StoreError(
        f"was upgraded by a newer version of annotriage (to migration {needed}; this version knows them up to {known[-1]}), and there"
        " is no way back: start that version again, or give this one another database or a copy from before the upgrade"
    )


def _refuse_dangling(connection: Connection) -> None:
    """On SQLite migrations run without foreign keys: what they left must keep to them."""
    row = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if row is not None:
        raise StoreError(f"the migrations leave rows of {row[0]} that name none of {row[2]}; nothing was changed: report this")


def _is_addition(script: Script) -> bool:
    """Whether old code does not notice it, by its file's name: NNNN_pre_<what>."""
    return Path(script.path).name.split("_")[1] == "pre"
