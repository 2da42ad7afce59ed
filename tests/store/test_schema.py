"""The migrations make the schema that the queries are written for."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from annotriage.states import InsightKind
from annotriage.store.insights import keep_insight
from annotriage.store.schema import metadata


class TestSchema:
    def test_migrations_end_at_the_schema_of_the_code(self, store):
        with store.reading() as connection:
            context = MigrationContext.configure(connection, opts={"compare_server_default": False})
            found = [change for change in compare_metadata(context, metadata) if "alembic_version" not in str(change)]
        assert found == []

    def test_what_is_found_anew_gets_an_id_that_nothing_had_before(self, store, project):
        with store.writing() as connection:
            ids = [keep_insight(connection, project.id, InsightKind.ATLAS, "v1", {}) for _ in range(3)]
        assert len(set(ids)) == 3
