"""The migrations make the schema that the queries are written for."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from annotriage.store.schema import metadata


class TestSchema:
    def test_migrations_end_at_the_schema_of_the_code(self, store):
        with store.reading() as connection:
            context = MigrationContext.configure(connection, opts={"compare_server_default": False})
            found = [change for change in compare_metadata(context, metadata) if "alembic_version" not in str(change)]
        assert found == []
