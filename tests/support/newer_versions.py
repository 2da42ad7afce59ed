"""Newer versions of this code, which there are not yet: copies of the package with more migrations, run in processes of their own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import annotriage

HEAD = """
import time
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = {revision!r}, {before!r}, None, None


def upgrade():
"""
ADDS = """
    op.add_column("secret", sa.Column("made_at", sa.Float(), nullable=True))
    op.execute("INSERT INTO secret (name, value) VALUES ('migrated', 'once')")
"""
TIGHTENS = """
    op.execute("UPDATE secret SET made_at = 0 WHERE made_at IS NULL")
    with op.batch_alter_table("secret") as table:
        table.alter_column("made_at", existing_type=sa.Float(), nullable=False)
    {slowly}
    with op.batch_alter_table("project", recreate="always" if op.get_bind().dialect.name == "sqlite" else "never") as table:
        table.alter_column("title", existing_type=sa.Text(), nullable=True)
    {slowly}
    with op.batch_alter_table("group_member", recreate="always" if op.get_bind().dialect.name == "sqlite" else "never") as table:
        table.alter_column("number", existing_type=sa.Integer(), nullable=True)
    {slowly}
"""
MIGRATIONS = (("0002", "0002_pre_when_a_secret_was_made", ADDS), ("0003", "0003_post_when_a_secret_was_made", TIGHTENS))
MIGRATING = "in the midst of a migration"  # said by a slow version before each pause
SLOWLY = f'print("{MIGRATING}", flush=True); time.sleep(0.4)'


class NewerVersion:
    """The package with so many more migrations, whose secrets know when they were made. slow: it pauses within its migrations."""

    def __init__(self, folder: Path, migrations: int, *, slow: bool = False) -> None:
        self._folder = folder
        package = folder / "annotriage"
        shutil.copytree(Path(annotriage.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
        _replace(package / "store" / "schema.py", 'Table("secret", metadata, ', 'Table("secret", metadata, Column("made_at", Float), ')
        _replace(package / "store" / "secrets.py", "values(name=name, ", "values(name=name, made_at=7.0, ")
        before = "0001"
        for revision, name, body in MIGRATIONS[:migrations]:
            code = HEAD.format(revision=revision, before=before) + body.replace("{slowly}", SLOWLY if slow else "pass")
            (package / "store" / "migrations" / "versions" / f"{name}.py").write_text(code, "utf-8")
            before = revision

    @property
    def path(self) -> str:
        """PYTHONPATH of a process that runs it."""
        return os.pathsep.join([str(self._folder), os.environ.get("PYTHONPATH", "")])


def _replace(file: Path, old: str, new: str) -> None:
    code = file.read_text("utf-8")
    assert old in code
    file.write_text(code.replace(old, new), "utf-8")
