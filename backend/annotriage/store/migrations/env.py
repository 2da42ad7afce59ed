"""Alembic's entry: runs the migrations on the connection that `Store` holds, in its transaction."""

from alembic import context

from annotriage.store.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=connection.dialect.name == "sqlite")
context.run_migrations()
